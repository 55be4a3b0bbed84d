/**
 * The messages on the wire, and the only place that turns bytes from the server into values.
 *
 * Version 1 of the `agents/voice` protocol: JSON in text frames, audio in binary frames. Everything
 * else here is an addition that both sides must have named first: the client in `hello.features`,
 * the server in `welcome.features`. A server that names none is served exactly as that protocol says.
 *
 * Always holds: `parseServerMessage` never throws, and a message whose fields have the wrong type is
 * not mistaken for one of the protocol's own.
 */

export const VOICE_PROTOCOL_VERSION = 1;

/** Audio from the microphone: samples per second, signed 16 bit, little endian, one channel. */
export const UPLINK_RATE = 16_000;

export type VoiceStatus = "idle" | "listening" | "thinking" | "speaking";
export type VoiceRole = "user" | "assistant";
export type VoiceAudioFormat = "mp3" | "pcm16" | "wav" | "opus";

/** What a client or a server may offer beyond version 1. */
export const VOICE_FEATURES = ["frames-20ms", "playback", "resume", "ping", "pace", "notice", "resume-text"] as const;
export type VoiceFeature = (typeof VOICE_FEATURES)[number];

/** Server-side timing of one answered turn, in milliseconds. */
export interface VoicePipelineMetrics {
  llm_ms: number;
  tts_ms: number;
  first_audio_ms: number;
  total_ms: number;
}

/** Summary of one turn whatever its outcome; durations in milliseconds on the server's clock. */
export interface VoiceTurnMetrics {
  turnId: string;
  source: "speech" | "text";
  outcome: string;
  turnTotalMs: number;
  [timing: string]: string | number | undefined;
}

/** How a reply ended when it did not end in the ordinary way. */
export interface VoiceCompletionOutcome {
  code: string;
  stage: "llm";
  finishReason?: string;
  partialOutput: boolean;
}

/** What the client counted as played, of which reply. */
export interface PlaybackPosition {
  /** Number that the server gave the reply in `audio_start`; 0 where it gave none. */
  generation: number;
  /** Samples of it that have left the loudspeaker, at the rate of `audio_config`. */
  samples: number;
  /** Samples of it that have arrived, at the same rate. */
  received: number;
}

/** So many samples of a reply, at the rate of `audio_config`. */
export interface SamplesOf {
  generation: number;
  samples: number;
}

export type PlaybackState = "playing" | "paused" | "starved" | "stopped" | "finished";

export type ClientMessage =
  | { type: "hello"; protocol_version: number; features: readonly VoiceFeature[] }
  | ({ type: "start_call"; preferred_format?: VoiceAudioFormat } & CallOptions)
  | { type: "end_call" }
  | { type: "start_of_speech" }
  | { type: "end_of_speech" }
  | ({ type: "interrupt" } & Partial<PlaybackPosition>)
  | { type: "text_message"; text: string }
  // Additions.
  | ({ type: "playback"; state: PlaybackState } & PlaybackPosition)
  | ({ type: "barge_in_hint" } & PlaybackPosition)
  | { type: "resume_call"; token: string; heard: SamplesOf; received: SamplesOf }
  | { type: "resume_text"; token: string; at: number }
  | { type: "ping"; id: number }
  | { type: "pace"; rate: number }
  | { type: "notice_action"; id: string };

/** Choices for one call; the server takes them from its allow list or says why not. */
export interface CallOptions {
  language?: string;
  stt?: string;
  tts?: string;
}

/** Something the server wants shown, such as a model being downloaded. Same `id`: the newer replaces. */
export interface VoiceNotice {
  id: string;
  text: string;
  level: "info" | "warning";
  /** Share done, 0 to 1. */
  progress?: number;
  /** Button to offer; pressing it sends `notice_action` with this id. */
  action?: { id: string; label: string };
  /** The notice has had its time. */
  done?: boolean;
}

/** A message of text outside of calls has a number there, where text can go on after a drop. */
export interface Numbered {
  at?: number;
}

export type ServerMessage =
  | { type: "welcome"; protocolVersion: number; features: VoiceFeature[] }
  | ({ type: "status"; status: VoiceStatus } & Numbered)
  | { type: "audio_config"; format: VoiceAudioFormat; sampleRate: number }
  | ({ type: "transcript"; role: VoiceRole; text: string } & Numbered)
  | ({ type: "transcript_start"; role: VoiceRole; generation?: number } & Numbered)
  | ({ type: "transcript_delta"; text: string } & Numbered)
  | ({ type: "transcript_end"; text: string } & Numbered)
  | { type: "transcript_interim"; text: string }
  | { type: "playback_interrupt" }
  | { type: "metrics"; metrics: VoicePipelineMetrics }
  | { type: "turn_metrics"; metrics: VoiceTurnMetrics }
  | { type: "completion_outcome"; outcome: VoiceCompletionOutcome }
  | ({ type: "error"; message: string; code?: string; stage?: string; retryable?: boolean } & Numbered)
  | { type: "diagnostic" }
  // Additions.
  | { type: "call_started"; token: string; withinMs: number }
  | { type: "call_resumed"; token: string; withinMs: number }
  | { type: "call_resume_failed"; reason: string }
  | { type: "text_started"; token: string; withinMs: number }
  | { type: "text_resumed" }
  | { type: "text_resume_failed"; reason: string }
  | { type: "audio_start"; generation: number }
  | { type: "audio_end"; generation: number }
  | { type: "playback_pause" }
  | { type: "playback_resume" }
  | { type: "transcript_heard"; generation: number; heard: string; unheard: string }
  | { type: "pong"; id: number }
  | { type: "notice"; notice: VoiceNotice }
  // Anything else belongs to the application.
  | { type: "custom"; message: unknown };

const STATUSES: readonly string[] = ["idle", "listening", "thinking", "speaking"];
const FORMATS: readonly string[] = ["mp3", "pcm16", "wav", "opus"];
/** What `audio_config` means without a rate. */
const DEFAULT_DOWNLINK_RATE = 16_000;
/** How long a dropped call can be resumed where the server does not say. */
const DEFAULT_RESUME_MS = 30_000;
/** The same for text outside of calls. */
const DEFAULT_RESUME_TEXT_MS = 120_000;

type Fields = Record<string, unknown>;

/** Reads one text frame. `null` where it is not a JSON object. */
export function parseServerMessage(data: string): ServerMessage | null {
  let value: unknown;
  try {
    value = JSON.parse(data);
  } catch {
    return null;
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) return null;
  const fields = value as Fields;
  const read = typeof fields["type"] === "string" ? READERS.get(fields["type"]) : undefined;
  const message = read?.(fields) ?? { type: "custom", message: value };
  const at = count(fields["at"]);
  return at !== undefined && isNumbered(message) ? { ...message, at } : message;
}

const NUMBERED = ["status", "transcript", "transcript_start", "transcript_delta", "transcript_end", "error"] as const;

/** Whether it is one of the messages that may have a number. */
export function isNumbered(message: ServerMessage): message is Extract<ServerMessage, { type: (typeof NUMBERED)[number] }> {
  return (NUMBERED as readonly string[]).includes(message.type);
}

/** One reader per message; `null` says "not one of ours after all". */
const READERS = new Map<string, (m: Fields) => ServerMessage | null>([
  [
    "welcome",
    (m) => ({
      type: "welcome",
      protocolVersion: number(m["protocol_version"]) ?? 0,
      features: Array.isArray(m["features"]) ? VOICE_FEATURES.filter((f) => (m["features"] as unknown[]).includes(f)) : [],
    }),
  ],
  ["status", (m) => (STATUSES.includes(m["status"] as string) ? { type: "status", status: m["status"] as VoiceStatus } : null)],
  [
    "audio_config",
    (m) => {
      if (!FORMATS.includes(m["format"] as string)) return null;
      const rate = number(m["sampleRate"]);
      // 3 to 192 kHz is what every browser's audio buffers must take.
      const usable = rate !== undefined && Number.isInteger(rate) && rate >= 3_000 && rate <= 192_000;
      return { type: "audio_config", format: m["format"] as VoiceAudioFormat, sampleRate: usable ? rate : DEFAULT_DOWNLINK_RATE };
    },
  ],
  [
    "transcript",
    (m) => {
      const [who, text] = [role(m["role"]), string(m["text"])];
      return who && text !== undefined ? { type: "transcript", role: who, text } : null;
    },
  ],
  [
    "transcript_start",
    (m) => {
      const generation = count(m["generation"]);
      return { type: "transcript_start", role: role(m["role"]) ?? "assistant", ...(generation === undefined ? {} : { generation }) };
    },
  ],
  ["transcript_delta", text("transcript_delta")],
  ["transcript_end", text("transcript_end")],
  ["transcript_interim", text("transcript_interim")],
  ["playback_interrupt", () => ({ type: "playback_interrupt" })],
  [
    "metrics",
    (m) => ({
      type: "metrics",
      metrics: {
        llm_ms: number(m["llm_ms"]) ?? 0,
        tts_ms: number(m["tts_ms"]) ?? 0,
        first_audio_ms: number(m["first_audio_ms"]) ?? 0,
        total_ms: number(m["total_ms"]) ?? 0,
      },
    }),
  ],
  [
    "turn_metrics",
    (m) => {
      const { type: _, ...metrics } = m;
      return string(m["turnId"]) === undefined ? null : { type: "turn_metrics", metrics: metrics as VoiceTurnMetrics };
    },
  ],
  [
    "completion_outcome",
    (m) => {
      const code = string(m["code"]);
      if (code === undefined) return null;
      const reason = string(m["finishReason"]);
      const outcome: VoiceCompletionOutcome = { code, stage: "llm", partialOutput: m["partialOutput"] === true };
      if (reason !== undefined) outcome.finishReason = reason;
      return { type: "completion_outcome", outcome };
    },
  ],
  [
    "error",
    (m) => {
      const [code, stage] = [string(m["code"]), string(m["stage"])];
      return {
        type: "error",
        message: string(m["message"]) ?? "The server reported an error without saying which.",
        ...(code === undefined ? {} : { code }),
        ...(stage === undefined ? {} : { stage }),
        ...(typeof m["retryable"] === "boolean" ? { retryable: m["retryable"] } : {}),
      };
    },
  ],
  ["diagnostic", () => ({ type: "diagnostic" })],
  ["call_started", resumable("call_started")],
  ["call_resumed", resumable("call_resumed")],
  ["call_resume_failed", (m) => ({ type: "call_resume_failed", reason: string(m["reason"]) ?? "" })],
  ["text_started", resumable("text_started", DEFAULT_RESUME_TEXT_MS)],
  ["text_resumed", () => ({ type: "text_resumed" })],
  ["text_resume_failed", (m) => ({ type: "text_resume_failed", reason: string(m["reason"]) ?? "" })],
  ["audio_start", generation("audio_start")],
  ["audio_end", generation("audio_end")],
  ["playback_pause", () => ({ type: "playback_pause" })],
  ["playback_resume", () => ({ type: "playback_resume" })],
  [
    "transcript_heard",
    (m) => {
      const [gen, heard] = [count(m["generation"]), string(m["heard"])];
      return gen === undefined || heard === undefined
        ? null
        : { type: "transcript_heard", generation: gen, heard, unheard: string(m["unheard"]) ?? "" };
    },
  ],
  ["pong", (m) => ({ type: "pong", id: count(m["id"]) ?? -1 })],
  ["notice", (m) => notice(m)],
]);

function notice(m: Fields): ServerMessage | null {
  const [id, body] = [string(m["id"]), string(m["text"])];
  if (id === undefined || body === undefined) return null;
  const read: VoiceNotice = { id, text: body, level: m["level"] === "warning" ? "warning" : "info" };
  const progress = number(m["progress"]);
  if (progress !== undefined) read.progress = Math.min(1, Math.max(0, progress));
  const action = m["action"];
  if (typeof action === "object" && action !== null) {
    const [actionId, label] = [string((action as Fields)["id"]), string((action as Fields)["label"])];
    if (actionId !== undefined && label !== undefined) read.action = { id: actionId, label };
  }
  if (m["done"] === true) read.done = true;
  return { type: "notice", notice: read };
}

function text(type: "transcript_delta" | "transcript_end" | "transcript_interim") {
  return (m: Fields): ServerMessage | null => {
    const body = string(m["text"]);
    return body === undefined ? null : { type, text: body };
  };
}

function resumable(type: "call_started" | "call_resumed" | "text_started", defaultMs = DEFAULT_RESUME_MS) {
  return (m: Fields): ServerMessage | null => {
    const token = string(m["resume_token"]);
    return token === undefined ? null : { type, token, withinMs: count(m["resume_within_ms"]) ?? defaultMs };
  };
}

function generation(type: "audio_start" | "audio_end") {
  return (m: Fields): ServerMessage | null => {
    const value = count(m["generation"]);
    return value === undefined ? null : { type, generation: value };
  };
}

function string(value: unknown): string | undefined {
  return typeof value === "string" ? value : undefined;
}

function number(value: unknown): number | undefined {
  return typeof value === "number" && Number.isFinite(value) ? value : undefined;
}

function count(value: unknown): number | undefined {
  const n = number(value);
  return n !== undefined && Number.isSafeInteger(n) && n >= 0 ? n : undefined;
}

function role(value: unknown): VoiceRole | undefined {
  return value === "user" || value === "assistant" ? value : undefined;
}
