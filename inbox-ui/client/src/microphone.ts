/**
 * The browser's microphone as a `VoiceAudioInput`.
 *
 * Always holds: after `stop` the device is released and nothing more is reported, also where `stop`
 * came while the permission question was still open. Leaves out: whether frames are sent.
 */

import { CAPTURE_PROCESSOR, type CaptureCommand, type CaptureFrame, type CaptureOptions } from "./capture-messages.js";
import { environmentError, localError, microphoneError, type VoiceError, VoiceFailure } from "./errors.js";

/** A source of the caller's voice. The first four members are those of `agents/voice`. */
export interface VoiceAudioInput {
  start(): Promise<void>;
  stop(): void;
  /** Set by the client: takes the level (root mean square, 0 to 1), about ten times a second. */
  onAudioLevel: ((rms: number) => void) | null;
  /** Set by the client: takes 16 kHz mono 16 bit little-endian audio for the server. */
  onAudioData?: ((pcm: ArrayBuffer) => void) | null;
  /** Set by the client: the source failed after it had started. */
  onError?: ((error: VoiceError) => void) | null;
  setMuted?(muted: boolean): void;
  setFrameMs?(frameMs: number): void;
  setDevice?(deviceId: string | undefined): Promise<void>;
}

export interface MicrophoneOptions {
  context: () => AudioContext;
  /** Address of `capture-worklet.js`. */
  workletUrl: string | URL;
  deviceId?: string | undefined;
  /** Browser processing; all on unless said otherwise. */
  processing?: { echoCancellation?: boolean; noiseSuppression?: boolean; autoGainControl?: boolean } | undefined;
}

/** Frame length of version 1. */
export const DEFAULT_FRAME_MS = 100;
/** Levels are reported over this long, so that thresholds mean the same for any frame length. */
const LEVEL_WINDOW_MS = 100;

export class Microphone implements VoiceAudioInput {
  onAudioLevel: ((rms: number) => void) | null = null;
  onAudioData: ((pcm: ArrayBuffer) => void) | null = null;
  onError: ((error: VoiceError) => void) | null = null;

  readonly #options: MicrophoneOptions;
  #deviceId: string | undefined;
  #frameMs = DEFAULT_FRAME_MS;
  #muted = false;
  #open: { stream: MediaStream; node: AudioWorkletNode; source: MediaStreamAudioSourceNode } | null = null;
  /** Counts starts and stops; whoever waits checks that it is still its turn. */
  #generation = 0;
  #energy = 0;
  #energyMs = 0;
  static readonly #loaded = new WeakMap<AudioContext, Promise<void>>();

  constructor(options: MicrophoneOptions) {
    this.#options = options;
    this.#deviceId = options.deviceId;
  }

  async start(): Promise<void> {
    const problem = environmentError();
    if (problem) throw new VoiceFailure(problem);
    const generation = ++this.#generation;
    const context = this.#options.context();
    await this.#load(context);
    if (generation !== this.#generation) return;
    const stream = await this.#acquire();
    if (generation !== this.#generation) {
      release(stream);
      return;
    }
    this.#attach(context, stream);
  }

  stop(): void {
    this.#generation++;
    this.#detach();
  }

  setMuted(muted: boolean): void {
    this.#muted = muted;
    for (const track of this.#open?.stream.getAudioTracks() ?? []) track.enabled = !muted;
  }

  setFrameMs(frameMs: number): void {
    this.#frameMs = frameMs;
    this.#command({ type: "frame", frameMs });
  }

  /** Changes to another device, now if one is open. The old one stays where the new one fails. */
  async setDevice(deviceId: string | undefined): Promise<void> {
    const before = this.#deviceId;
    this.#deviceId = deviceId;
    if (!this.#open) return;
    const generation = this.#generation;
    let stream: MediaStream;
    try {
      stream = await this.#acquire();
    } catch (error) {
      this.#deviceId = before;
      throw error;
    }
    if (generation !== this.#generation || this.#deviceId !== deviceId) {
      release(stream);
      return;
    }
    this.#detach();
    this.#attach(this.#options.context(), stream);
  }

  async #acquire(): Promise<MediaStream> {
    const { echoCancellation = true, noiseSuppression = true, autoGainControl = true } = this.#options.processing ?? {};
    const audio: MediaTrackConstraints = { channelCount: 1, echoCancellation, noiseSuppression, autoGainControl };
    if (this.#deviceId && this.#deviceId !== "default") audio.deviceId = { exact: this.#deviceId };
    return navigator.mediaDevices.getUserMedia({ audio }).catch((error: unknown) => {
      throw microphoneError(error);
    });
  }

  #load(context: AudioContext): Promise<void> {
    const known = Microphone.#loaded.get(context);
    if (known) return known;
    const loading = context.audioWorklet.addModule(this.#options.workletUrl).catch((error: unknown) => {
      Microphone.#loaded.delete(context);
      throw new VoiceFailure(localError("capture_failed"), error);
    });
    Microphone.#loaded.set(context, loading);
    return loading;
  }

  #attach(context: AudioContext, stream: MediaStream): void {
    const source = context.createMediaStreamSource(stream);
    const processorOptions: CaptureOptions = { frameMs: this.#frameMs };
    const node = new AudioWorkletNode(context, CAPTURE_PROCESSOR, { numberOfInputs: 1, numberOfOutputs: 1, processorOptions });
    node.port.onmessage = (event: MessageEvent<CaptureFrame>) => this.#frame(event.data);
    source.connect(node);
    // A node that leads nowhere may not be run; this one's output is silence.
    node.connect(context.destination);
    for (const track of stream.getAudioTracks()) {
      track.enabled = !this.#muted;
      track.addEventListener("ended", () => {
        if (this.#open?.stream === stream) this.onError?.(localError("microphone_lost"));
      });
    }
    this.#open = { stream, node, source };
  }

  #detach(): void {
    if (!this.#open) return;
    this.#command({ type: "stop" });
    const { stream, node, source } = this.#open;
    this.#open = null;
    node.port.onmessage = null;
    source.disconnect();
    node.disconnect();
    release(stream);
    this.#energy = this.#energyMs = 0;
  }

  #command(command: CaptureCommand): void {
    this.#open?.node.port.postMessage(command);
  }

  #frame({ pcm, rms }: CaptureFrame): void {
    const durationMs = pcm.byteLength / 32;
    this.onAudioData?.(pcm);
    this.#energy += rms * rms * durationMs;
    this.#energyMs += durationMs;
    if (this.#energyMs < LEVEL_WINDOW_MS) return;
    const level = Math.sqrt(this.#energy / this.#energyMs);
    this.#energy = this.#energyMs = 0;
    this.onAudioLevel?.(level);
  }
}

function release(stream: MediaStream): void {
  for (const track of stream.getTracks()) track.stop();
}
