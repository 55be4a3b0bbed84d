/**
 * One conversation with one agent: connects, holds calls, and tells the page what happens.
 *
 * Always holds:
 * - a call has at most one microphone and one player, and both are let go when it ends, however;
 * - whatever awaited something (a permission, a device) checks afterwards that its call still exists;
 * - additions to the protocol are used only where this connection's `welcome` named them;
 * - muted means that no audio is sent.
 *
 * Leaves out: sound (`player`, `microphone`), sockets (`transport`), and words for status, which are
 * the page's.
 */

import { type DetectorOptions, SpeechDetector } from "./detector.js";
import { Emitter } from "./emitter.js";
import { localError, microphoneError, type VoiceError, type VoiceLocalErrorCode } from "./errors.js";
import { Keepalive } from "./keepalive.js";
import { DEFAULT_FRAME_MS, Microphone, type MicrophoneOptions, type VoiceAudioInput } from "./microphone.js";
import { AudioOutput } from "./output.js";
import { Player } from "./player.js";
import {
  type CallOptions,
  type ClientMessage,
  isNumbered,
  parseServerMessage,
  type PlaybackPosition,
  type PlaybackState,
  type ServerMessage,
  VOICE_FEATURES,
  VOICE_PROTOCOL_VERSION,
  type VoiceAudioFormat,
  type VoiceCompletionOutcome,
  type VoiceFeature,
  type VoiceNotice,
  type VoicePipelineMetrics,
  type VoiceStatus,
  type VoiceTurnMetrics,
} from "./protocol.js";
import { Rejoin } from "./rejoin.js";
import { TextSession } from "./text.js";
import { type ReplySource, Transcript, type TranscriptMessage } from "./transcript.js";
import { type VoiceTransport, type VoiceTransportCloseInfo, type WebSocketTransportOptions, WebSocketVoiceTransport } from "./transport.js";
import { Uplink } from "./uplink.js";

export interface VoiceClientOptions extends WebSocketTransportOptions, DetectorOptions {
  /** Instead of the WebSocket to `/agents/{agent}/{name}`. */
  transport?: VoiceTransport | undefined;
  /** Instead of the browser's microphone. */
  audioInput?: VoiceAudioInput | undefined;
  preferredFormat?: VoiceAudioFormat | undefined;
  /** Default 200. */
  maxTranscriptMessages?: number | undefined;
  outputDeviceId?: string | undefined;

  inputDeviceId?: string | undefined;
  /** Echo cancellation, noise suppression and gain control by the browser; all on by default. */
  audioProcessing?: MicrophoneOptions["processing"];
  /** Asked of the server at each call's start. */
  callOptions?: CallOptions | undefined;
  /** Where `capture-worklet.js` of this package is served, where a bundler does not find it by itself. */
  workletUrl?: string | URL | undefined;
  /** Additions to offer to the server. Default: all. */
  features?: readonly VoiceFeature[] | undefined;
  audioContext?: (() => AudioContext) | undefined;
}

export type VoiceConnectionDiagnostic = { type: "error"; cause: unknown } | ({ type: "close" } & VoiceTransportCloseInfo);

/** `starting`: asking for the microphone. `reconnecting`: the call waits for the network. `ending`: only the last words still play. */
export type VoiceCallState = "none" | "starting" | "active" | "reconnecting" | "ending";

export interface VoiceClientEventMap {
  statuschange: VoiceStatus;
  transcriptchange: TranscriptMessage[];
  interimtranscript: string | null;
  metricschange: VoicePipelineMetrics | null;
  turnmetrics: VoiceTurnMetrics;
  audiolevelchange: number;
  connectionchange: boolean;
  connectiondiagnostic: VoiceConnectionDiagnostic;
  voiceerror: VoiceError;
  completionoutcome: VoiceCompletionOutcome;
  error: string | null;
  outputdeviceerror: string | null;
  mutechange: boolean;
  custommessage: unknown;
  // Additions.
  callstatechange: VoiceCallState;
  /** The agent is, or is no longer, audible. */
  playingchange: boolean;
  featureschange: readonly VoiceFeature[];
  /** After a drop: whether the same call goes on, or a new one had to be started. */
  resumed: boolean;
  roundtrip: number;
  notice: VoiceNotice;
}

export type VoiceClientEvent = keyof VoiceClientEventMap;

const SHORT_FRAME_MS = 20;
/** A hint that the server does not act on within this time was a false one. */
const DUCK_MS = 700;
/** Slowest and fastest speech that `setPace` asks for, as a share of normal. */
const PACE = { min: 0.5, max: 1.5 };

/** What exists only during a call. */
interface Call {
  context: AudioContext;
  output: AudioOutput;
  player: Player;
  input: VoiceAudioInput;
}

export class VoiceClient extends Emitter<VoiceClientEventMap> {
  readonly #options: VoiceClientOptions;
  readonly #detector: SpeechDetector;
  readonly #keepalive: Keepalive;
  readonly #rejoin: Rejoin;
  readonly #text: TextSession;
  readonly #uplink: Uplink;
  readonly #log: Transcript;
  #transport: VoiceTransport | null = null;

  #status: VoiceStatus = "idle";
  #callState: VoiceCallState = "none";
  #connected = false;
  #error: VoiceError | null = null;
  #outputDeviceError: string | null = null;
  #interim: string | null = null;
  #metrics: VoicePipelineMetrics | null = null;
  #turnMetrics: VoiceTurnMetrics | null = null;
  #level = 0;
  #muted = false;
  #lastCustomMessage: unknown = null;
  #serverProtocolVersion: number | null = null;
  #features: readonly VoiceFeature[] = [];
  #roundTripMs: number | null = null;

  #format: VoiceAudioFormat | null = null;
  #sampleRate = 16_000;
  #call: Call | null = null;
  /** Counts calls begun and ended; whoever waited compares. */
  #generation = 0;
  /** The server has said something that only a running call makes it say. */
  #acknowledged = false;
  #inputDeviceId: string | undefined;
  #outputDeviceId: string | undefined;
  #pace = 1;
  #duckTimer: ReturnType<typeof setTimeout> | undefined;

  constructor(options: VoiceClientOptions) {
    super();
    this.#options = options;
    this.#inputDeviceId = options.inputDeviceId;
    this.#outputDeviceId = options.outputDeviceId;
    this.#log = new Transcript(options.maxTranscriptMessages ?? 200);
    this.#uplink = new Uplink();
    this.#detector = new SpeechDetector(options, {
      speechStart: () => this.#send({ type: "start_of_speech" }),
      speechEnd: () => this.#send({ type: "end_of_speech" }),
      bargeIn: () => this.#bargeIn(),
    });
    this.#keepalive = new Keepalive({
      ping: (id) => this.#send({ type: "ping", id }),
      roundTrip: (milliseconds) => {
        this.#roundTripMs = milliseconds;
        this.emit("roundtrip", milliseconds);
      },
      dead: () => this.#transport?.reconnect?.(),
    });
    this.#rejoin = new Rejoin({
      resume: (token) => this.#sendResume(token),
      restart: () => this.#restartCall(),
      giveUp: () => {
        this.#endLocally();
        this.#fail("call_lost");
      },
    });
    this.#text = new TextSession({
      resume: (token, at) => this.#send({ type: "resume_text", token, at }),
      brokenOff: () => this.#breakOff("text"),
      send: (text) => this.#send({ type: "text_message", text }),
    });
  }

  get status(): VoiceStatus {
    return this.#status;
  }
  get callState(): VoiceCallState {
    return this.#callState;
  }
  get inCall(): boolean {
    return this.#callState !== "none" && this.#callState !== "ending";
  }
  get transcript(): TranscriptMessage[] {
    return this.#log.messages;
  }
  /** Text of the sentence being spoken, as far as it is recognised. */
  get interimTranscript(): string | null {
    return this.#interim;
  }
  get metrics(): VoicePipelineMetrics | null {
    return this.#metrics;
  }
  get turnMetrics(): VoiceTurnMetrics | null {
    return this.#turnMetrics;
  }
  /** Microphone level, root mean square, 0 to 1. */
  get audioLevel(): number {
    return this.#level;
  }
  get isMuted(): boolean {
    return this.#muted;
  }
  get isPlaying(): boolean {
    return this.#call?.player.playing ?? false;
  }
  get connected(): boolean {
    return this.#connected;
  }
  get error(): string | null {
    return this.#error?.message ?? null;
  }
  /** The error with its code, where there is one. */
  get errorDetail(): VoiceError | null {
    return this.#error;
  }
  get outputDeviceError(): string | null {
    return this.#outputDeviceError;
  }
  get lastCustomMessage(): unknown {
    return this.#lastCustomMessage;
  }
  get audioFormat(): VoiceAudioFormat | null {
    return this.#format;
  }
  get sampleRate(): number {
    return this.#sampleRate;
  }
  get serverProtocolVersion(): number | null {
    return this.#serverProtocolVersion;
  }
  /** Additions that this connection uses. */
  get features(): readonly VoiceFeature[] {
    return this.#features;
  }
  /** Last time from a question to its answer on this connection, in milliseconds. */
  get roundTripMs(): number | null {
    return this.#roundTripMs;
  }
  /** How much of which reply has been heard. */
  get playback(): PlaybackPosition | null {
    return this.#call?.player.position ?? null;
  }

  connect(): void {
    if (this.#transport) return;
    const transport = this.#options.transport ?? new WebSocketVoiceTransport(this.#options);
    this.#transport = transport;
    transport.onopen = () => this.#opened();
    transport.onclose = (info) => this.#closed(info);
    transport.onerror = (cause) => {
      this.emit("connectiondiagnostic", { type: "error", cause });
      this.#fail("connection_lost");
    };
    transport.onmessage = (data) => this.#received(data);
    transport.connect();
  }

  disconnect(): void {
    this.endCall();
    const transport = this.#transport;
    this.#transport = null;
    this.#keepalive.stop();
    if (transport) {
      transport.onopen = transport.onclose = transport.onerror = transport.onmessage = null;
      transport.disconnect();
    }
    this.#text.end();
    this.#breakOff("call");
    this.#setConnected(false);
  }

  /**
   * Opens the microphone and starts a call. Never rejects: what fails is shown in `error` and told by
   * the `voiceerror` event. Call it from a click or a key, or the browser may refuse to play sound.
   */
  async startCall(): Promise<void> {
    if (!this.#transport?.connected) {
      this.#fail("not_connected");
      return;
    }
    if (this.inCall) return;
    this.#letGo();
    const generation = ++this.#generation;
    this.#setError(null);
    this.#setInterim(null);
    this.#setMetrics(null);
    this.#acknowledged = false;
    this.#setCallState("starting");
    try {
      const call = this.#openCall();
      this.#call = call;
      // Before any waiting, so that it counts as the person's own act.
      const sound = call.context.resume();
      await Promise.all([sound, this.#applyOutputDevice(call.output), this.#startInput(call.input)]);
    } catch (error) {
      if (generation !== this.#generation) return;
      this.#letGo();
      this.#setCallState("none");
      this.#setError(microphoneError(error).detail);
      return;
    }
    if (generation !== this.#generation) return;
    this.#setCallState("active");
    if (this.#connected) this.#sendStart();
    else this.#lost();
  }

  /** Ends the call, also where it has only begun to start. */
  endCall(): void {
    if (this.inCall || this.#transport?.connected) this.#send({ type: "end_call" });
    this.#endLocally();
  }

  toggleMute(): void {
    this.setMuted(!this.#muted);
  }

  setMuted(muted: boolean): void {
    if (muted === this.#muted) return;
    this.#muted = muted;
    this.#call?.input.setMuted?.(muted);
    if (muted) {
      this.#detector.endSpeech();
      this.#detector.reset();
      this.#setLevel(0);
    }
    this.emit("mutechange", muted);
  }

  /** Sends words instead of speech. During a call the answer is spoken. */
  sendText(text: string): void {
    this.#text.say(text);
  }

  /** Sends the application's own message. */
  sendJSON(data: Record<string, unknown>): void {
    if (this.#transport?.connected) this.#transport.sendJSON(data);
  }

  /** Stops the agent in mid-sentence. */
  interrupt(): void {
    const player = this.#call?.player;
    if (!player) return;
    const wasPlaying = player.playing;
    const position = player.clear(true);
    this.#send({ type: "interrupt", ...(this.#has("playback") ? position : {}) });
    if (wasPlaying) this.#markInterrupted(position.generation);
  }

  /** Asks for slower (below 1) or faster speech, from the next sentence on, where the server can. */
  setPace(rate: number): void {
    this.#pace = Math.min(PACE.max, Math.max(PACE.min, rate));
    if (this.#has("pace")) this.#send({ type: "pace", rate: this.#pace });
  }

  /** Presses the button of a notice. */
  sendNoticeAction(id: string): void {
    if (this.#has("notice")) this.#send({ type: "notice_action", id });
  }

  /** Uses this microphone from now on. Where it cannot be opened, the former one stays. */
  async setInputDevice(deviceId?: string): Promise<void> {
    const before = this.#inputDeviceId;
    this.#inputDeviceId = deviceId;
    try {
      await this.#call?.input.setDevice?.(deviceId);
      if (this.#error?.code === "microphone_lost") this.#setError(null);
    } catch (error) {
      this.#inputDeviceId = before;
      this.#setError(microphoneError(error).detail);
    }
  }

  /** Uses this loudspeaker from now on. */
  async setOutputDevice(deviceId?: string): Promise<void> {
    this.#outputDeviceId = deviceId;
    if (this.#call) await this.#applyOutputDevice(this.#call.output);
  }

  // The connection.

  #opened(): void {
    if (this.#error?.code === "connection_lost" || this.#error?.code === "not_connected") this.#setError(null);
    this.#features = [];
    this.#send({ type: "hello", protocol_version: VOICE_PROTOCOL_VERSION, features: this.#options.features ?? VOICE_FEATURES });
    this.#setConnected(true);
    if (this.#callState === "reconnecting") this.#rejoin.opened();
    this.#text.opened();
  }

  #closed(info: VoiceTransportCloseInfo | undefined): void {
    this.#keepalive.stop();
    this.#setInterim(null);
    this.#setConnected(false);
    this.emit("connectiondiagnostic", { type: "close", ...info });
    if (info?.willReconnect === false) {
      // `connect` may be called again, for instance after signing in.
      this.#transport = null;
      this.#endLocally();
      this.#text.end();
      this.#breakOff("call");
      this.#fail("connection_refused", info.reason);
      return;
    }
    this.#text.lost();
    // Without a call it is text of a server that does not go on with it.
    if (!this.inCall) this.#breakOff("call");
    if (this.#callState === "active" || this.#callState === "reconnecting") this.#lost();
    this.#fail("connection_lost");
  }

  #lost(): void {
    this.#detector.reset();
    this.#setCallState("reconnecting");
    this.#rejoin.lost();
  }

  #received(data: string | ArrayBuffer | Blob): void {
    this.#keepalive.heard();
    if (typeof data === "string") {
      const message = parseServerMessage(data);
      if (message) this.#handle(message);
    } else if (data instanceof ArrayBuffer) {
      this.#call?.player.push(data);
    } else {
      const player = this.#call?.player;
      void data.arrayBuffer().then((buffer) => {
        if (player === this.#call?.player) player?.push(buffer);
      });
    }
  }

  #handle(message: ServerMessage): void {
    let source: ReplySource = "call";
    if (isNumbered(message) && message.at !== undefined && this.#has("resume-text")) {
      if (!this.#text.arrived(message.at)) return;
      source = "text";
    }
    switch (message.type) {
      case "welcome":
        return this.#welcome(message.protocolVersion, message.features);
      case "status":
        return source === "text" ? this.#textStatus(message.status) : this.#serverStatus(message.status);
      case "audio_config":
        this.#acknowledged = true;
        this.#format = message.format;
        this.#sampleRate = message.sampleRate;
        this.#call?.player.configure(message.format, message.sampleRate);
        return;
      case "transcript":
        if (source === "call") this.#setInterim(null);
        // A server that follows playback says itself when to stop.
        if (source === "call" && message.role === "user" && this.isPlaying && !this.#has("playback")) this.#cutOff(false);
        this.#log.add(message.role, message.text);
        return this.#transcriptChanged();
      case "transcript_start":
        this.#log.start(source, message.role, message.generation);
        return this.#transcriptChanged();
      case "transcript_delta":
        this.#log.delta(source, message.text);
        return this.#transcriptChanged();
      case "transcript_end":
        this.#log.end(source, message.text);
        return this.#transcriptChanged();
      case "transcript_interim":
        return this.#setInterim(message.text === "" ? null : message.text);
      case "transcript_heard":
        this.#log.heard(message.generation, message.heard, message.unheard);
        return this.#transcriptChanged();
      case "playback_interrupt":
        return this.#cutOff(this.#has("playback"));
      case "playback_pause":
        this.#unduck();
        return this.#call?.player.pause();
      case "playback_resume":
        this.#unduck();
        return this.#call?.player.resume();
      case "audio_start":
        return this.#call?.player.begin(message.generation);
      case "audio_end":
        return this.#call?.player.end(message.generation);
      case "metrics":
        return this.#setMetrics(message.metrics);
      case "turn_metrics":
        this.#turnMetrics = message.metrics;
        return this.emit("turnmetrics", message.metrics);
      case "completion_outcome":
        return this.emit("completionoutcome", message.outcome);
      case "error": {
        const { type: _, at: __, ...error } = message;
        return this.#setError(error);
      }
      case "call_started":
        return this.#rejoin.started(message.token, message.withinMs);
      case "call_resumed":
        this.#rejoin.resumed(message.token, message.withinMs);
        return this.#rejoined(true);
      case "call_resume_failed":
        return this.#rejoin.refused();
      case "text_started":
        return this.#text.started(message.token, message.withinMs);
      case "text_resumed":
        this.#text.resumed();
        // The connection began with `idle`, whatever the text does.
        return this.#textStatus(this.#text.status);
      case "text_resume_failed":
        return this.#text.refused();
      case "pong":
        return this.#keepalive.pong(message.id);
      case "notice":
        return this.emit("notice", message.notice);
      case "diagnostic":
        return;
      case "custom":
        this.#lastCustomMessage = message.message;
        return this.emit("custommessage", message.message);
    }
  }

  #welcome(version: number, offered: readonly VoiceFeature[]): void {
    this.#serverProtocolVersion = version;
    if (version !== VOICE_PROTOCOL_VERSION) this.#fail("protocol_mismatch");
    const mine = this.#options.features ?? VOICE_FEATURES;
    this.#features = offered.filter((feature) => mine.includes(feature));
    this.emit("featureschange", this.#features);
    this.#call?.input.setFrameMs?.(this.#frameMs);
    if (this.#has("ping")) this.#keepalive.start(this.inCall);
    if (this.#has("pace") && this.#pace !== 1) this.#send({ type: "pace", rate: this.#pace });
    this.#rejoin.welcomed(this.#has("resume"));
    this.#text.welcomed(this.#has("resume-text"));
  }

  #serverStatus(status: VoiceStatus): void {
    this.#status = status;
    if (status !== "idle") this.#acknowledged = true;
    // Version 1 has no other sign that what was interrupted has come to its end.
    if (status !== "speaking" && !this.#has("playback")) this.#call?.player.endInput();
    if (status === "listening" && this.#error?.code !== "microphone_lost") this.#setError(null);
    if (status === "idle" && this.#callState === "active" && (this.#acknowledged || this.#error)) this.#endedByServer();
    this.emit("statuschange", status);
  }

  /** What text outside of calls does is not shown during a call, and does not end it. */
  #textStatus(status: VoiceStatus): void {
    this.#text.statusChanged(status);
    if (!this.inCall) this.#serverStatus(status);
  }

  // The call.

  #openCall(): Call {
    const context = this.#options.audioContext?.() ?? new AudioContext({ latencyHint: "interactive" });
    const output = new AudioOutput(context);
    const player = new Player(context, output.input, {
      report: (state, position) => this.#report(state, position),
      playing: (playing) => this.#playingChanged(playing),
      failed: (error) => this.#setError(error),
    });
    if (this.#format) player.configure(this.#format, this.#sampleRate);
    const input =
      this.#options.audioInput ??
      new Microphone({
        context: () => context,
        workletUrl: this.#options.workletUrl ?? new URL("./capture-worklet.js", import.meta.url),
        deviceId: this.#inputDeviceId,
        processing: this.#options.audioProcessing,
      });
    // Telephones and screen locks take the sound away; ask for it back.
    context.onstatechange = () => {
      if (context.state !== "running" && context.state !== "closed" && this.#call?.context === context) void context.resume().catch(() => {});
    };
    return { context, output, player, input };
  }

  async #startInput(input: VoiceAudioInput): Promise<void> {
    input.onAudioLevel = (level) => this.#levelMeasured(level);
    input.onAudioData = (pcm) => this.#audioCaptured(pcm);
    input.onError = (error) => void this.#inputFailed(input, error);
    input.setMuted?.(this.#muted);
    input.setFrameMs?.(this.#frameMs);
    await input.start();
  }

  /** A microphone that was pulled out is replaced by the system's own choice, where there is one. */
  async #inputFailed(input: VoiceAudioInput, error: VoiceError): Promise<void> {
    this.#setError(error);
    if (error.code !== "microphone_lost" || !input.setDevice) return;
    try {
      await input.setDevice(undefined);
    } catch {
      return; // The error on show stays true.
    }
    if (this.#call?.input !== input) return;
    this.#inputDeviceId = undefined;
    if (this.#error === error) this.#setError(null);
  }

  #sendStart(): void {
    const { preferredFormat, callOptions } = this.#options;
    this.#acknowledged = false;
    this.#send({ type: "start_call", ...(preferredFormat ? { preferred_format: preferredFormat } : {}), ...callOptions });
    if (this.#has("ping")) this.#keepalive.start(true);
  }

  #sendResume(token: string): void {
    const player = this.#call?.player;
    const { generation, samples } = player?.position ?? { generation: 0, samples: 0 };
    const received = player?.arrived ?? { generation: 0, samples: 0 };
    this.#send({ type: "resume_call", token, heard: { generation, samples }, received });
  }

  #restartCall(): void {
    this.#uplink.drop();
    this.#call?.player.clear(false);
    this.#sendStart();
    this.#rejoined(false);
  }

  #rejoined(same: boolean): void {
    if (this.#callState !== "reconnecting") return;
    this.#acknowledged ||= same;
    this.#setCallState("active");
    if (this.#has("ping")) this.#keepalive.start(true);
    if (same && this.#transport) this.#uplink.drain(this.#transport);
    // The wish to interrupt may have been lost with the line.
    if (same && this.#call?.player.discarding) this.#send({ type: "interrupt", ...this.#call.player.position });
    this.emit("resumed", same);
  }

  #endedByServer(): void {
    const call = this.#call;
    // The agent's last words were sent but may not have been heard yet.
    if (call?.player.playing && !this.#error) {
      this.#generation++;
      this.#stopInput(call.input);
      this.#rejoin.forget();
      this.#setCallState("ending");
      this.#setInterim(null);
      return;
    }
    this.#endLocally();
  }

  #endLocally(): void {
    this.#generation++;
    this.#letGo();
    this.#setInterim(null);
    this.#setCallState("none");
    if (this.#has("ping") && this.#connected) this.#keepalive.start(false);
    this.#status = "idle";
    this.emit("statuschange", "idle");
  }

  #letGo(): void {
    this.#rejoin.forget();
    this.#uplink.drop();
    this.#unduck();
    const call = this.#call;
    this.#call = null;
    if (!call) return;
    this.#stopInput(call.input);
    const wasPlaying = call.player.playing;
    call.player.close();
    call.output.close();
    call.context.onstatechange = null;
    void call.context.close().catch(() => {});
    if (wasPlaying) this.emit("playingchange", false);
  }

  #stopInput(input: VoiceAudioInput): void {
    input.stop();
    input.onAudioLevel = null;
    input.onAudioData = null;
    input.onError = null;
    this.#detector.reset();
    this.#setLevel(0);
  }

  // Sound.

  #audioCaptured(pcm: ArrayBuffer): void {
    if (this.#muted || !this.#transport) return;
    if (this.#callState === "active" && this.#connected) this.#uplink.send(this.#transport, pcm);
    else if (this.#callState === "reconnecting" && this.#rejoin.resumable) this.#uplink.hold(pcm);
  }

  #levelMeasured(level: number): void {
    if (this.#muted) return;
    this.#setLevel(level);
    if (this.#callState === "active") this.#detector.level(level, this.isPlaying && !this.#call?.player.paused);
  }

  #bargeIn(): void {
    const player = this.#call?.player;
    if (!player) return;
    if (!this.#has("playback")) {
      this.interrupt();
      return;
    }
    // The server hears the caller too and knows words from noise: make room, and let it decide.
    this.#send({ type: "barge_in_hint", ...player.position });
    player.duck(true);
    clearTimeout(this.#duckTimer);
    this.#duckTimer = setTimeout(() => this.#unduck(), DUCK_MS);
  }

  #unduck(): void {
    clearTimeout(this.#duckTimer);
    this.#duckTimer = undefined;
    this.#call?.player.duck(false);
  }

  #cutOff(discardLate: boolean): void {
    const player = this.#call?.player;
    if (!player) return;
    this.#unduck();
    const wasPlaying = player.playing;
    const { generation } = player.clear(discardLate);
    if (wasPlaying) this.#markInterrupted(generation);
  }

  #markInterrupted(generation: number): void {
    this.#log.interrupt(generation);
    this.#transcriptChanged();
  }

  #breakOff(source: ReplySource): void {
    if (this.#log.breakOff(source)) this.#transcriptChanged();
  }

  #playingChanged(playing: boolean): void {
    this.emit("playingchange", playing);
    if (!playing && this.#callState === "ending") this.#endLocally();
  }

  #report(state: PlaybackState, position: PlaybackPosition): void {
    if (this.#has("playback") && this.#callState === "active") this.#send({ type: "playback", state, ...position });
  }

  async #applyOutputDevice(output: AudioOutput): Promise<void> {
    const problem = await output.setDevice(this.#outputDeviceId);
    const text = problem?.message ?? null;
    if (text === this.#outputDeviceError) return;
    this.#outputDeviceError = text;
    this.emit("outputdeviceerror", text);
  }

  // Small things.

  get #frameMs(): number {
    return this.#has("frames-20ms") ? SHORT_FRAME_MS : DEFAULT_FRAME_MS;
  }

  #has(feature: VoiceFeature): boolean {
    return this.#features.includes(feature);
  }

  #send(message: ClientMessage): void {
    if (this.#transport?.connected) this.#transport.sendJSON({ ...message });
  }

  #fail(code: VoiceLocalErrorCode, detail?: string): void {
    this.#setError(localError(code, detail));
  }

  #setError(error: VoiceError | null): void {
    if (error === null && this.#error === null) return;
    this.#error = error;
    if (error) this.emit("voiceerror", error);
    this.emit("error", error?.message ?? null);
  }

  #setCallState(state: VoiceCallState): void {
    if (state === this.#callState) return;
    this.#callState = state;
    this.emit("callstatechange", state);
  }

  #setConnected(connected: boolean): void {
    if (connected === this.#connected) return;
    this.#connected = connected;
    this.emit("connectionchange", connected);
  }

  #setInterim(text: string | null): void {
    if (text === this.#interim) return;
    this.#interim = text;
    this.emit("interimtranscript", text);
  }

  #setMetrics(metrics: VoicePipelineMetrics | null): void {
    this.#metrics = metrics;
    this.emit("metricschange", metrics);
  }

  #setLevel(level: number): void {
    if (level === this.#level) return;
    this.#level = level;
    this.emit("audiolevelchange", level);
  }

  #transcriptChanged(): void {
    this.emit("transcriptchange", this.#log.messages);
  }
}
