/**
 * What can go wrong on this side, in words for the person at the page.
 *
 * Each text says what happened and what to do about it. `code` is for programs and does not change;
 * errors that the server sends keep the server's own code and text.
 */

export interface VoiceError {
  message: string;
  code?: string;
  stage?: string;
  retryable?: boolean;
}

const TEXTS = {
  insecure_context:
    "The browser gives a microphone only to pages opened by HTTPS, or on this computer as http://localhost. Open this page by one of these.",
  unsupported_browser: "This browser cannot record sound in a page. Use a current version of Firefox, Chrome, Edge or Safari.",
  microphone_denied:
    "The microphone was not allowed. Allow it for this page in the browser's address bar or settings, then start the call again.",
  microphone_missing: "No microphone was found. Connect one, then start the call again.",
  microphone_busy: "The microphone could not be opened. Another program may be using it. Close that program, then start the call again.",
  microphone_lost: "The microphone was disconnected. Connect it or choose another one.",
  microphone_failed: "The microphone could not be started.",
  capture_failed: "The part of this page that records sound could not be loaded. Reload the page.",
  playback_failed: "The sound from the agent could not be played.",
  output_unsupported: "This browser cannot choose the loudspeaker for a page. Sound goes to the system's default.",
  output_failed: "That loudspeaker could not be used. Sound goes to the one used before.",
  not_connected: "There is no connection to the server yet.",
  connection_lost: "The connection to the server is down. Trying again…",
  connection_refused: "The server ended the connection.",
  call_lost: "The connection was lost for too long, so the call ended. You can start a new one.",
  protocol_mismatch: "The server speaks another version of the call protocol. Reload the page.",
} as const;

export type VoiceLocalErrorCode = keyof typeof TEXTS;

/** The plain text for one of this side's errors; `detail` is added as a further sentence. */
export function localError(code: VoiceLocalErrorCode, detail?: string): VoiceError {
  return { code, message: detail ? `${TEXTS[code]} ${detail}` : TEXTS[code] };
}

/** Why a call cannot start in this page at all, or `null` where it can. Needs no permission to ask. */
export function environmentError(scope: typeof globalThis = globalThis): VoiceError | null {
  if (scope.isSecureContext === false) return localError("insecure_context");
  if (!scope.navigator?.mediaDevices?.getUserMedia) return localError("unsupported_browser");
  if (typeof scope.AudioContext !== "function" || typeof scope.AudioWorkletNode !== "function") return localError("unsupported_browser");
  return null;
}

/** An error thrown by this package, carrying what to show. */
export class VoiceFailure extends Error {
  readonly detail: VoiceError;

  constructor(detail: VoiceError, cause?: unknown) {
    super(detail.message, { cause });
    this.name = "VoiceFailure";
    this.detail = detail;
  }
}

/** What a rejected `getUserMedia` means. Names from the Media Capture specification, section 10.3. */
export function microphoneError(cause: unknown): VoiceFailure {
  if (cause instanceof VoiceFailure) return cause;
  const name = typeof cause === "object" && cause !== null && "name" in cause ? String(cause.name) : "";
  const code = MICROPHONE_ERRORS.get(name) ?? "microphone_failed";
  return new VoiceFailure(localError(code), cause);
}

const MICROPHONE_ERRORS = new Map<string, VoiceLocalErrorCode>([
  ["NotAllowedError", "microphone_denied"],
  ["SecurityError", "microphone_denied"],
  ["NotFoundError", "microphone_missing"],
  ["OverconstrainedError", "microphone_missing"],
  ["NotReadableError", "microphone_busy"],
  ["AbortError", "microphone_busy"],
]);
