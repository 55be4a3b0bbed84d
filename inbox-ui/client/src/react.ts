/**
 * React hooks over `VoiceClient`: its state as React state, and nothing else.
 *
 * Always holds: one client per identity (agent, name, host, query, tuning); it is disconnected when the
 * component goes or the identity changes, and what it says afterwards is not heard.
 */

import { useCallback, useEffect, useMemo, useRef, useState } from "react";
import { type VoiceCallState, VoiceClient, type VoiceClientEvent, type VoiceClientEventMap, type VoiceClientOptions } from "./client.js";
import type { PlaybackPosition, VoiceFeature, VoiceNotice, VoicePipelineMetrics, VoiceStatus, VoiceTurnMetrics } from "./protocol.js";
import type { TranscriptMessage } from "./transcript.js";

export * from "./index.js";

export interface UseVoiceAgentOptions extends VoiceClientOptions {
  /** Whether to connect at all. Default true. */
  enabled?: boolean;
  /** The identity changed, and with it the connection. */
  onReconnect?: () => void;
}

export interface UseVoiceAgentReturn {
  status: VoiceStatus;
  transcript: TranscriptMessage[];
  interimTranscript: string | null;
  metrics: VoicePipelineMetrics | null;
  turnMetrics: VoiceTurnMetrics | null;
  audioLevel: number;
  isMuted: boolean;
  connected: boolean;
  error: string | null;
  outputDeviceError: string | null;
  lastCustomMessage: unknown;
  startCall: () => Promise<void>;
  endCall: () => void;
  toggleMute: () => void;
  sendText: (text: string) => void;
  sendJSON: (data: Record<string, unknown>) => void;
  // Additions.
  callState: VoiceCallState;
  isPlaying: boolean;
  features: readonly VoiceFeature[];
  notice: VoiceNotice | null;
  interrupt: () => void;
  setPace: (rate: number) => void;
  setInputDevice: (deviceId?: string) => Promise<void>;
  setOutputDevice: (deviceId?: string) => Promise<void>;
  sendNoticeAction: (id: string) => void;
  playback: () => PlaybackPosition | null;
}

/** What of a client is shown. One object, replaced whole, so that a render never sees half a change. */
interface Snapshot {
  status: VoiceStatus;
  transcript: TranscriptMessage[];
  interimTranscript: string | null;
  metrics: VoicePipelineMetrics | null;
  turnMetrics: VoiceTurnMetrics | null;
  audioLevel: number;
  isMuted: boolean;
  connected: boolean;
  error: string | null;
  outputDeviceError: string | null;
  lastCustomMessage: unknown;
  callState: VoiceCallState;
  isPlaying: boolean;
  features: readonly VoiceFeature[];
}

const NOTHING: Snapshot = {
  status: "idle",
  transcript: [],
  interimTranscript: null,
  metrics: null,
  turnMetrics: null,
  audioLevel: 0,
  isMuted: false,
  connected: false,
  error: null,
  outputDeviceError: null,
  lastCustomMessage: null,
  callState: "none",
  isPlaying: false,
  features: [],
};

const SHOWN: readonly VoiceClientEvent[] = [
  "statuschange",
  "transcriptchange",
  "interimtranscript",
  "metricschange",
  "turnmetrics",
  "audiolevelchange",
  "mutechange",
  "connectionchange",
  "error",
  "outputdeviceerror",
  "custommessage",
  "callstatechange",
  "playingchange",
  "featureschange",
];

/** Talks to an agent: connects on mount, holds calls, disconnects on unmount. */
export function useVoiceAgent(options: UseVoiceAgentOptions): UseVoiceAgentReturn {
  const { enabled = true, onReconnect, ...clientOptions } = options;
  const identity = identityOf(clientOptions);
  const { client, snapshot } = useClient(clientOptions, identity, enabled);

  const reconnect = useRef(onReconnect);
  reconnect.current = onReconnect;
  const before = useRef(enabled ? identity : null);
  useEffect(() => {
    if (!enabled) {
      before.current = null;
      return;
    }
    if (before.current !== null && before.current !== identity) reconnect.current?.();
    before.current = identity;
  }, [enabled, identity]);

  const [notice, setNotice] = useState<VoiceNotice | null>(null);
  useEvent(client, "notice", (value) => setNotice(value.done ? null : value));
  useEffect(() => setNotice(null), [client]);

  const { outputDeviceId, inputDeviceId } = options;
  useEffect(() => void client?.setOutputDevice(outputDeviceId), [client, outputDeviceId]);
  useEffect(() => void client?.setInputDevice(inputDeviceId), [client, inputDeviceId]);

  const actions = useMemo(
    () => ({
      startCall: () => client?.startCall() ?? Promise.resolve(),
      endCall: () => client?.endCall(),
      toggleMute: () => client?.toggleMute(),
      sendText: (text: string) => client?.sendText(text),
      sendJSON: (data: Record<string, unknown>) => client?.sendJSON(data),
      interrupt: () => client?.interrupt(),
      setPace: (rate: number) => client?.setPace(rate),
      setInputDevice: (deviceId?: string) => client?.setInputDevice(deviceId) ?? Promise.resolve(),
      setOutputDevice: (deviceId?: string) => client?.setOutputDevice(deviceId) ?? Promise.resolve(),
      sendNoticeAction: (id: string) => client?.sendNoticeAction(id),
      playback: () => client?.playback ?? null,
    }),
    [client],
  );
  return { ...snapshot, notice, ...actions };
}

export interface UseVoiceInputOptions extends Omit<VoiceClientOptions, "preferredFormat" | "outputDeviceId"> {}

export interface UseVoiceInputReturn {
  /** All that was recognised since the last `clear`. */
  transcript: string;
  interimTranscript: string | null;
  turnMetrics: VoiceTurnMetrics | null;
  isListening: boolean;
  audioLevel: number;
  isMuted: boolean;
  error: string | null;
  start: () => Promise<void>;
  stop: () => void;
  toggleMute: () => void;
  clear: () => void;
}

/** Dictation: what the person says, as one growing text. */
export function useVoiceInput(options: UseVoiceInputOptions): UseVoiceInputReturn {
  const { client, snapshot } = useClient(options, identityOf(options), true);
  /** Messages up to this one have been cleared away. */
  const [clearedUpTo, setClearedUpTo] = useState(0);
  useEffect(() => setClearedUpTo(0), [client]);

  const said = snapshot.transcript.filter((message) => message.role === "user" && message.id > clearedUpTo);
  const newest = snapshot.transcript.at(-1)?.id ?? 0;
  return {
    transcript: said.map((message) => message.text).join(" "),
    interimTranscript: snapshot.interimTranscript,
    turnMetrics: snapshot.turnMetrics,
    isListening: snapshot.status === "listening" || snapshot.status === "thinking",
    audioLevel: snapshot.audioLevel,
    isMuted: snapshot.isMuted,
    error: snapshot.error,
    start: useCallback(() => client?.startCall() ?? Promise.resolve(), [client]),
    stop: useCallback(() => client?.endCall(), [client]),
    toggleMute: useCallback(() => client?.toggleMute(), [client]),
    clear: useCallback(() => setClearedUpTo(newest), [newest]),
  };
}

function useClient(options: VoiceClientOptions, identity: string, enabled: boolean): { client: VoiceClient | null; snapshot: Snapshot } {
  const [client, setClient] = useState<VoiceClient | null>(null);
  const [snapshot, setSnapshot] = useState<Snapshot>(NOTHING);
  const latest = useRef(options);
  latest.current = options;

  useEffect(() => {
    setSnapshot(NOTHING);
    if (!enabled) {
      setClient(null);
      return;
    }
    const created = new VoiceClient(latest.current);
    const show = () => setSnapshot(snapshotOf(created));
    for (const event of SHOWN) created.addEventListener(event, show);
    setClient(created);
    created.connect();
    return () => {
      for (const event of SHOWN) created.removeEventListener(event, show);
      created.disconnect();
    };
  }, [identity, enabled]);
  return { client, snapshot };
}

function useEvent<K extends VoiceClientEvent>(client: VoiceClient | null, event: K, listener: (data: VoiceClientEventMap[K]) => void): void {
  const latest = useRef(listener);
  latest.current = listener;
  useEffect(() => {
    if (!client) return;
    const call = (data: VoiceClientEventMap[K]) => latest.current(data);
    client.addEventListener(event, call);
    return () => client.removeEventListener(event, call);
  }, [client, event]);
}

function snapshotOf(client: VoiceClient): Snapshot {
  return {
    status: client.status,
    transcript: client.transcript,
    interimTranscript: client.interimTranscript,
    metrics: client.metrics,
    turnMetrics: client.turnMetrics,
    audioLevel: client.audioLevel,
    isMuted: client.isMuted,
    connected: client.connected,
    error: client.error,
    outputDeviceError: client.outputDeviceError,
    lastCustomMessage: client.lastCustomMessage,
    callState: client.callState,
    isPlaying: client.isPlaying,
    features: client.features,
  };
}

/** A change of any of these needs another connection; devices, for one, do not. */
function identityOf(o: VoiceClientOptions): string {
  return JSON.stringify([
    o.agent,
    o.name ?? "default",
    o.host ?? "",
    o.query ?? null,
    o.silenceThreshold ?? null,
    o.silenceDurationMs ?? null,
    o.interruptThreshold ?? null,
    o.interruptChunks ?? null,
  ]);
}
