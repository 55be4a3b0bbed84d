/** Stand-ins for the browser: a socket, an audio clock that only tests move, and a microphone. */

import { vi } from "vitest";
import { VoiceClient, type VoiceAudioInput, type VoiceClientOptions, type VoiceError } from "../src/index.js";

export class FakeSocket {
  static readonly all: FakeSocket[] = [];
  static get last(): FakeSocket {
    const socket = FakeSocket.all.at(-1);
    if (!socket) throw new Error("no socket was opened");
    return socket;
  }

  readyState = 0;
  binaryType = "";
  bufferedAmount = 0;
  sent: (Record<string, unknown> | ArrayBuffer)[] = [];
  onopen: (() => void) | null = null;
  onclose: ((event: { code: number; reason: string; wasClean: boolean }) => void) | null = null;
  onerror: ((event: unknown) => void) | null = null;
  onmessage: ((event: { data: string | ArrayBuffer }) => void) | null = null;

  constructor(readonly url: string) {
    FakeSocket.all.push(this);
  }

  send(data: string | ArrayBuffer): void {
    this.sent.push(typeof data === "string" ? (JSON.parse(data) as Record<string, unknown>) : data);
  }
  close(): void {
    this.readyState = 3;
  }

  open(): void {
    this.readyState = 1;
    this.onopen?.();
  }
  drop(code = 1006, reason = ""): void {
    this.readyState = 3;
    this.onclose?.({ code, reason, wasClean: code === 1000 });
  }
  says(...messages: Record<string, unknown>[]): void {
    for (const message of messages) this.onmessage?.({ data: JSON.stringify(message) });
  }
  plays(samples: ArrayLike<number>): void {
    this.onmessage?.({ data: Int16Array.from(samples).buffer });
  }

  get json(): Record<string, unknown>[] {
    return this.sent.filter((m): m is Record<string, unknown> => !(m instanceof ArrayBuffer));
  }
  get audio(): ArrayBuffer[] {
    return this.sent.filter((m): m is ArrayBuffer => m instanceof ArrayBuffer);
  }
  types(): unknown[] {
    return this.json.map((m) => m["type"]);
  }
  ofType(type: string): Record<string, unknown>[] {
    return this.json.filter((m) => m["type"] === type);
  }
}

class FakeParam {
  events: [string, number, number][] = [];
  value = 1;
  setValueAtTime(value: number, time: number) {
    this.events.push(["set", value, time]);
  }
  linearRampToValueAtTime(value: number, time: number) {
    this.events.push(["ramp", value, time]);
  }
  setTargetAtTime(value: number, time: number) {
    this.events.push(["target", value, time]);
    this.value = value;
  }
}

class FakeNode {
  to: unknown[] = [];
  connect(node: unknown) {
    this.to.push(node);
  }
  disconnect() {
    this.to = [];
  }
}

export class FakeGain extends FakeNode {
  gain = new FakeParam();
}

class FakeBuffer {
  readonly channel: Float32Array;
  constructor(
    readonly numberOfChannels: number,
    readonly length: number,
    readonly sampleRate: number,
  ) {
    this.channel = new Float32Array(length);
  }
  copyToChannel(from: Float32Array) {
    this.channel.set(from);
  }
  getChannelData() {
    return this.channel;
  }
}

class FakeSource extends FakeNode {
  buffer: FakeBuffer | null = null;
  startAt = Number.NaN;
  stopAt = Number.POSITIVE_INFINITY;
  start(at: number) {
    this.startAt = at;
  }
  stop(at: number) {
    this.stopAt = Math.min(this.stopAt, at);
  }
}

/** An audio context whose clock moves only by `advance`, and which can say what it played. */
export class FakeAudioContext {
  static last: FakeAudioContext | null = null;
  currentTime = 0;
  outputLatency = 0;
  baseLatency = 0;
  state = "running";
  destination = new FakeNode();
  sources: FakeSource[] = [];
  gains: FakeGain[] = [];
  onstatechange: (() => void) | null = null;
  sinkId = "";
  setSinkId: ((id: string) => Promise<void>) | undefined = async (id) => {
    this.sinkId = id;
  };
  decode: (data: ArrayBuffer) => Promise<FakeBuffer> = async () => {
    throw new Error("not decodable");
  };

  constructor(readonly sampleRate = 48_000) {
    FakeAudioContext.last = this;
  }
  createGain() {
    const gain = new FakeGain();
    this.gains.push(gain);
    return gain;
  }
  createBuffer(channels: number, length: number, rate: number) {
    return new FakeBuffer(channels, length, rate);
  }
  createBufferSource() {
    const source = new FakeSource();
    this.sources.push(source);
    return source;
  }
  decodeAudioData(data: ArrayBuffer) {
    return this.decode(data);
  }
  async resume() {
    this.state = "running";
  }
  async close() {
    this.state = "closed";
  }

  /** Moves the audio clock, and the timers with it, in steps as small as a browser's. */
  advance(seconds: number): void {
    const target = this.currentTime + seconds;
    while (this.currentTime < target - 1e-9) {
      const step = Math.min(0.01, target - this.currentTime);
      this.currentTime += step;
      vi.advanceTimersByTime(step * 1000);
    }
  }

  /** Everything that was played, mixed, from the clock's beginning. Fades are left out. */
  rendered(): Float32Array {
    const end = Math.max(0, ...this.sources.map((s) => Math.round(s.startAt * this.sampleRate) + (s.buffer?.length ?? 0)));
    const out = new Float32Array(end);
    for (const { startAt, stopAt, buffer } of this.sources) {
      const start = Math.round(startAt * this.sampleRate);
      const stop = Math.min(Math.round(stopAt * this.sampleRate), start + (buffer?.length ?? 0));
      for (let i = start; i < stop; i++) out[i] = (out[i] ?? 0) + (buffer?.channel[i - start] ?? 0);
    }
    return out;
  }
  asContext(): AudioContext {
    return this as unknown as AudioContext;
  }
}

export function fakeBuffer(rate: number, samples: Float32Array): FakeBuffer {
  const buffer = new FakeBuffer(1, samples.length, rate);
  buffer.copyToChannel(samples);
  return buffer;
}

export class FakeMicrophone implements VoiceAudioInput {
  onAudioLevel: ((rms: number) => void) | null = null;
  onAudioData: ((pcm: ArrayBuffer) => void) | null = null;
  onError: ((error: VoiceError) => void) | null = null;
  started = 0;
  stopped = 0;
  muted = false;
  frameMs = 0;
  device: string | undefined;
  refuse: unknown = null;
  gate: Promise<void> = Promise.resolve();

  async start() {
    this.started++;
    await this.gate;
    if (this.refuse) throw this.refuse;
  }
  stop() {
    this.stopped++;
  }
  setMuted(muted: boolean) {
    this.muted = muted;
  }
  setFrameMs(frameMs: number) {
    this.frameMs = frameMs;
  }
  async setDevice(deviceId: string | undefined) {
    if (this.refuse) throw this.refuse;
    this.device = deviceId;
  }
  /** One frame of speech at this level. */
  speaks(level = 0.2, value = 1000) {
    this.onAudioData?.(new Int16Array(320).fill(value).buffer);
    this.onAudioLevel?.(level);
  }
}

export const ALL_FEATURES = ["frames-20ms", "playback", "resume", "ping", "pace", "notice", "resume-text"];

export interface Rig {
  client: VoiceClient;
  microphone: FakeMicrophone;
  socket: FakeSocket;
  context: () => FakeAudioContext;
}

/** A connected client. `features` is what the server's welcome offers. */
export function connected(features: string[] = [], options: Partial<VoiceClientOptions> = {}): Rig {
  const microphone = new FakeMicrophone();
  const client = new VoiceClient({
    agent: "hello",
    host: "desk.test",
    audioInput: microphone,
    audioContext: () => new FakeAudioContext().asContext(),
    webSocket: (url) => new FakeSocket(url) as unknown as WebSocket,
    ...options,
  });
  client.connect();
  const socket = FakeSocket.last;
  socket.open();
  welcome(socket, features);
  return {
    client,
    microphone,
    socket,
    context: () => {
      if (!FakeAudioContext.last) throw new Error("no audio context");
      return FakeAudioContext.last;
    },
  };
}

export function welcome(socket: FakeSocket, features: string[] = []): void {
  socket.says({ type: "welcome", protocol_version: 1, ...(features.length ? { features } : {}) }, { type: "status", status: "idle" });
}

/** A client in a running call whose server listens. */
export async function inCall(features: string[] = [], options: Partial<VoiceClientOptions> = {}): Promise<Rig> {
  const rig = connected(features, options);
  await rig.client.startCall();
  rig.socket.says({ type: "audio_config", format: "pcm16", sampleRate: 16_000 });
  if (features.includes("resume")) rig.socket.says({ type: "call_started", resume_token: "first", resume_within_ms: 30_000 });
  rig.socket.says({ type: "status", status: "listening" });
  return rig;
}

/** A tone at 16 bit scale. */
export function tone(hertz: number, rate: number, seconds: number, amplitude = 0.5): Float32Array {
  return Float32Array.from({ length: Math.round(rate * seconds) }, (_, i) => amplitude * Math.sin((2 * Math.PI * hertz * i) / rate));
}

export function toInt16(samples: Float32Array): Int16Array {
  return Int16Array.from(samples, (s) => Math.round(s * 32_768));
}
