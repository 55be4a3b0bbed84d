/** What is going on, in words. */

import type { VoiceCallState, VoiceStatus } from "@frontdesk/client";

export type Tone = "calm" | "live" | "busy" | "bad";

export interface Situation {
  name: string;
  connected: boolean;
  /** There was no connection when it was last tried. */
  down: boolean;
  /** The server ended the connection for good. */
  refused: boolean;
  callState: VoiceCallState;
  status: VoiceStatus;
  playing: boolean;
  muted: boolean;
}

/** The line above the buttons, and its colour. */
export function describe(now: Situation): { text: string; tone: Tone } {
  switch (now.callState) {
    case "starting":
      return { text: "Asking for the microphone…", tone: "busy" };
    case "reconnecting":
      return { text: "Connection interrupted. Trying again…", tone: "bad" };
    case "ending":
      return { text: `${now.name} is ending the call.`, tone: "live" };
    case "active":
      return inCall(now);
    case "none":
      if (now.connected) return { text: "Ready. Start a call, or write below.", tone: "calm" };
      if (now.refused) return { text: "Not connected.", tone: "bad" };
      return now.down ? { text: "No connection to the server. Trying again…", tone: "bad" } : { text: "Connecting…", tone: "busy" };
  }
}

function inCall({ name, status, playing, muted }: Situation): { text: string; tone: Tone } {
  if (playing || status === "speaking") return { text: muted ? `${name} is speaking. You are muted.` : `${name} is speaking.`, tone: "live" };
  if (status === "thinking") return { text: `${name} is thinking…`, tone: "busy" };
  if (muted) return { text: "You are muted. Nothing is sent.", tone: "bad" };
  if (status === "listening") return { text: `${name} is listening. Speak now.`, tone: "live" };
  return { text: "The call is starting…", tone: "busy" };
}

/** What to say aloud to someone who cannot see the page. Not what is heard anyway: who is speaking. */
export function announcement(before: Situation, now: Situation): string | null {
  if (before.callState !== now.callState) {
    if (now.callState === "active") return before.callState === "reconnecting" ? "The connection is back." : `Call with ${now.name} started.`;
    if (now.callState === "reconnecting") return "The connection was interrupted. The call goes on as soon as it is back.";
    if (now.callState === "none" && before.callState !== "starting") return "The call has ended.";
  }
  if (before.muted !== now.muted) return now.muted ? "You are muted." : "You are no longer muted.";
  if (!before.connected && now.connected && now.callState === "none") return `Connected to ${now.name}.`;
  return null;
}

/** Shown once per answer, for those who want to know. */
export function figures(firstAudioMs: number | null, roundTripMs: number | null): string {
  const parts: string[] = [];
  if (firstAudioMs) parts.push(`Last answer after ${(firstAudioMs / 1000).toFixed(1)} s`);
  if (roundTripMs !== null) parts.push(`network ${Math.round(roundTripMs)} ms`);
  return parts.join(" · ");
}
