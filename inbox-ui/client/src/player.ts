/**
 * Plays what the server sends, without gaps, and knows how much of it has been heard.
 *
 * Each piece is brought to the audio clock's own rate by one stateful resampler and scheduled on a
 * whole sample of that clock, right behind the piece before it, so that joins cannot be heard.
 *
 * Always holds:
 * - samples of one reply (a generation) are played once, in order, also across pause and resume;
 * - after `clear` nothing that was sent before is played, also where it was still being decoded;
 * - a reported position never runs backwards within a generation, and counts only what has left the
 *   loudspeaker as far as the browser says.
 *
 * Leaves out: when to pause or clear, which is the client's business.
 */

import { localError, type VoiceError } from "./errors.js";
import { pcm16ToFloat } from "./pcm.js";
import type { PlaybackPosition, PlaybackState, VoiceAudioFormat } from "./protocol.js";
import { Resampler } from "./resampler.js";

export interface PlayerEvents {
  /** Every 100 ms while playing, and at each change. */
  report(state: PlaybackState, position: PlaybackPosition): void;
  playing(playing: boolean): void;
  failed(error: VoiceError): void;
}

/** Time between reports while playing. */
export const REPORT_EVERY_MS = 100;
/** Sound starts this long after it arrives, so that the next piece can be a little late. */
const LEAD_SECONDS = 0.04;
/** Sound is faded out and in over this long; a cut would click. */
const FADE_SECONDS = 0.01;
/** How loud the agent stays while it may have been interrupted. */
const DUCKED = 0.3;

/** One reply as the server numbers them. */
interface Generation {
  id: number;
  /** Samples that arrived, at the server's rate. */
  received: number;
  /** Samples at the audio clock's rate that became of them so far. */
  frames: number;
  /** The server has sent all of it. */
  complete: boolean;
  /** Its end has been reported. */
  settled: boolean;
}

/** A stretch of sound at the audio clock's rate, and its place in its reply. */
interface Chunk {
  generation: Generation;
  sound: Float32Array<ArrayBuffer>;
  firstFrame: number;
  /** The server's samples per sample of sound. */
  ratio: number;
}

interface Scheduled extends Chunk {
  startFrame: number;
  node: AudioBufferSourceNode;
}

export class Player {
  readonly #context: AudioContext;
  readonly #rate: number;
  readonly #events: PlayerEvents;
  readonly #duck: GainNode;
  #run: GainNode | null = null;

  #format: VoiceAudioFormat = "pcm16";
  #sourceRate = 16_000;
  #resampler: Resampler | null = null;
  #oddByte: Uint8Array | null = null;

  #generation: Generation = newGeneration(0);
  #scheduled: Scheduled[] = [];
  /** Sound that waits for `resume`. */
  #waiting: Chunk[] = [];
  /** The audio clock's sample at which the next chunk goes. */
  #cursor = 0;
  #heard: { generation: Generation; samples: number };
  #playing = false;
  #paused = false;
  #fadeIn = false;
  /** What still arrives belongs to something that was cut off. */
  #discarding = false;
  /** Decodes in flight that began under another number are stale. */
  #epoch = 0;
  #decoding: Promise<void> = Promise.resolve();
  #decodes = 0;
  #timer: ReturnType<typeof setInterval> | undefined;

  constructor(context: AudioContext, output: AudioNode, events: PlayerEvents) {
    this.#context = context;
    this.#rate = context.sampleRate;
    this.#events = events;
    this.#duck = context.createGain();
    this.#duck.connect(output);
    this.#heard = { generation: this.#generation, samples: 0 };
  }

  get playing(): boolean {
    return this.#playing;
  }

  get paused(): boolean {
    return this.#paused;
  }

  /** What has been heard up to now. */
  get position(): PlaybackPosition {
    this.#advance(this.#heardFrame());
    return this.#position();
  }

  /** The reply that is arriving, and how much of it has. It may be later than the one that is heard. */
  get arrived(): { generation: number; samples: number } {
    return { generation: this.#generation.id, samples: this.#generation.received };
  }

  /** Whether what still arrives is dropped. */
  get discarding(): boolean {
    return this.#discarding;
  }

  /** What binary frames contain from now on. */
  configure(format: VoiceAudioFormat, sampleRate: number): void {
    if (format === this.#format && sampleRate === this.#sourceRate) return;
    this.#finishInput();
    this.#format = format;
    this.#sourceRate = sampleRate;
  }

  /** The frames that follow belong to this reply. */
  begin(id: number): void {
    if (id === this.#generation.id && id !== 0) return;
    this.#finishInput();
    this.#discarding = false;
    this.#generation = newGeneration(id);
  }

  /** The server has sent all of this reply. */
  end(id: number): void {
    if (id !== this.#generation.id || this.#discarding) return;
    this.endInput();
    this.#generation.complete = true;
    if (this.#generation.received === 0) this.#hear(this.#generation, 0);
    if (!this.#playing) this.#settle("finished");
  }

  /** No more comes for now: lets the last samples out of the resampler. */
  endInput(): void {
    this.#finishInput();
    this.#discarding = false;
  }

  push(data: ArrayBuffer): void {
    if (this.#discarding || data.byteLength === 0) return;
    if (this.#format !== "pcm16") {
      this.#decode(data);
      return;
    }
    const samples = pcm16ToFloat(this.#whole(new Uint8Array(data)));
    this.#generation.received += samples.length;
    this.#enqueue(this.#convert(samples));
  }

  /** Stops at once and keeps what was not heard. */
  pause(): void {
    if (this.#paused) return;
    this.#paused = true;
    if (!this.#playing) return;
    this.#waiting = [...this.#silence(), ...this.#waiting];
    this.#stopTimer();
    this.#events.report("paused", this.#position());
  }

  /** Goes on at the sample after the last one heard. */
  resume(): void {
    if (!this.#paused) return;
    this.#paused = false;
    this.#fadeIn = true;
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const chunk of waiting) this.#schedule(chunk);
    if (this.#playing) this.#startTimer();
  }

  /**
   * Stops at once and forgets what was not heard. With `discardLate`, what still arrives is dropped
   * until a new reply begins (`begin`) or the server is known to have stopped (`endInput`).
   */
  clear(discardLate: boolean): PlaybackPosition {
    const wasPlaying = this.#playing;
    this.#epoch++;
    this.#decodes = 0;
    const [unheard] = [...this.#silence(), ...this.#waiting];
    if (unheard) this.#hear(unheard.generation, 0);
    this.#waiting = [];
    this.#paused = false;
    this.#resampler = null;
    this.#oddByte = null;
    this.#discarding = discardLate;
    this.#stopTimer();
    this.duck(false);
    if (wasPlaying) {
      this.#setPlaying(false);
      this.#settle("stopped");
    }
    return this.#position();
  }

  /** Makes the agent quieter, or as loud as before. */
  duck(ducked: boolean): void {
    this.#duck.gain.setTargetAtTime(ducked ? DUCKED : 1, this.#context.currentTime, 0.015);
  }

  close(): void {
    this.clear(true);
    this.#duck.disconnect();
  }

  #whole(bytes: Uint8Array): Uint8Array {
    let joined = bytes;
    if (this.#oddByte) {
      joined = new Uint8Array(1 + bytes.length);
      joined.set(this.#oddByte);
      joined.set(bytes, 1);
    }
    this.#oddByte = joined.length % 2 === 1 ? joined.slice(-1) : null;
    return joined;
  }

  #convert(samples: Float32Array): Float32Array {
    if (this.#sourceRate === this.#rate) return samples;
    this.#resampler ??= new Resampler(this.#sourceRate, this.#rate);
    return this.#resampler.process(samples);
  }

  #finishInput(): void {
    this.#oddByte = null;
    const rest = this.#resampler?.flush();
    this.#resampler = null;
    if (rest && !this.#discarding) this.#enqueue(rest);
  }

  #decode(data: ArrayBuffer): void {
    const epoch = this.#epoch;
    const generation = this.#generation;
    const decoded = this.#context.decodeAudioData(data.slice(0)).catch(() => null);
    this.#decodes++;
    this.#setPlaying(true);
    this.#decoding = this.#decoding.then(async () => {
      const buffer = await decoded;
      if (epoch !== this.#epoch) return;
      this.#decodes--;
      if (!buffer) {
        this.#events.failed(localError("playback_failed"));
        if (this.#idle) this.#setPlaying(false);
        return;
      }
      generation.received += Math.round((buffer.length * this.#sourceRate) / this.#rate);
      this.#enqueue(mono(buffer), generation);
    });
  }

  /** Puts sound at the end. */
  #enqueue(sound: Float32Array, generation = this.#generation): void {
    if (sound.length === 0) return;
    const chunk: Chunk = {
      generation,
      sound: new Float32Array(sound),
      firstFrame: generation.frames,
      ratio: this.#sourceRate / this.#rate,
    };
    generation.frames += sound.length;
    this.#setPlaying(true);
    if (this.#paused) this.#waiting.push(chunk);
    else this.#schedule(chunk);
  }

  #schedule(chunk: Chunk): void {
    const now = this.#context.currentTime;
    // Whole samples of the audio clock; a hundredth of one absorbs the rounding of seconds.
    const earliest = Math.ceil(now * this.#rate - 0.01);
    if (!this.#run || this.#cursor < earliest) {
      this.#cursor = earliest + Math.round(LEAD_SECONDS * this.#rate);
      this.#run ??= this.#startRun(this.#cursor / this.#rate);
    }
    const buffer = this.#context.createBuffer(1, chunk.sound.length, this.#rate);
    buffer.copyToChannel(chunk.sound, 0);
    const node = this.#context.createBufferSource();
    node.buffer = buffer;
    node.connect(this.#run);
    node.start(this.#cursor / this.#rate);
    this.#scheduled.push({ ...chunk, startFrame: this.#cursor, node });
    this.#cursor += chunk.sound.length;
    this.#startTimer();
  }

  /** One gain per uninterrupted stretch, so that fading the old one out leaves the next one alone. */
  #startRun(at: number): GainNode {
    const run = this.#context.createGain();
    run.connect(this.#duck);
    if (this.#fadeIn) {
      run.gain.setValueAtTime(0, at);
      run.gain.linearRampToValueAtTime(1, at + FADE_SECONDS);
    }
    this.#fadeIn = false;
    return run;
  }

  /** Fades out what plays, takes everything off the clock, and gives back what was not heard. */
  #silence(): Chunk[] {
    const now = this.#context.currentTime;
    const end = now + FADE_SECONDS;
    const endFrame = Math.round(end * this.#rate);
    if (this.#run) {
      this.#run.gain.setValueAtTime(1, now);
      this.#run.gain.linearRampToValueAtTime(0, end);
      this.#run = null;
    }
    const all = this.#scheduled;
    this.#advance(endFrame);
    this.#scheduled = [];
    const rest: Chunk[] = [];
    for (const { node, startFrame, ...chunk } of all) {
      node.stop(end);
      const heard = Math.min(chunk.sound.length, Math.max(0, endFrame - startFrame));
      if (heard < chunk.sound.length) rest.push(after(chunk, heard));
    }
    return rest;
  }

  /** The audio clock's sample that is at the loudspeaker now. */
  #heardFrame(): number {
    const latency = this.#context.outputLatency || this.#context.baseLatency || 0;
    return Math.floor((this.#context.currentTime - latency) * this.#rate + 0.01);
  }

  /** Moves what is heard up to this sample of the audio clock. */
  #advance(frame: number): void {
    let done = 0;
    for (const chunk of this.#scheduled) {
      if (frame <= chunk.startFrame) break;
      const played = Math.min(chunk.sound.length, frame - chunk.startFrame);
      this.#hear(chunk.generation, samplesUpTo(chunk, played));
      if (played === chunk.sound.length) done++;
    }
    this.#scheduled = this.#scheduled.slice(done);
  }

  /** Moves what is heard; where that is another reply, the one before it has been heard to its end. */
  #hear(generation: Generation, samples: number): void {
    if (this.#heard.generation === generation) {
      this.#heard.samples = Math.max(this.#heard.samples, samples);
      return;
    }
    if (this.#heard.generation.received > 0) this.#settle("finished");
    this.#heard = { generation, samples };
  }

  /** Says once how the reply that is heard now ended. */
  #settle(state: "finished" | "stopped"): void {
    if (this.#heard.generation.settled) return;
    this.#heard.generation.settled = true;
    this.#events.report(state, this.#position());
  }

  #position(): PlaybackPosition {
    const { generation, samples } = this.#heard;
    return { generation: generation.id, samples, received: generation.received };
  }

  #tick(): void {
    this.#advance(this.#heardFrame());
    if (!this.#idle) {
      this.#events.report("playing", this.#position());
      return;
    }
    this.#stopTimer();
    this.#run = null;
    this.#setPlaying(false);
    if (this.#heard.generation.complete) this.#settle("finished");
    else this.#events.report("starved", this.#position());
  }

  get #idle(): boolean {
    return this.#scheduled.length === 0 && this.#waiting.length === 0 && this.#decodes === 0;
  }

  #setPlaying(playing: boolean): void {
    if (this.#playing === playing) return;
    this.#playing = playing;
    this.#events.playing(playing);
  }

  #startTimer(): void {
    this.#timer ??= setInterval(() => this.#tick(), REPORT_EVERY_MS);
  }

  #stopTimer(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }
}

function newGeneration(id: number): Generation {
  return { id, received: 0, frames: 0, complete: false, settled: false };
}

/** What remains of a chunk after this many of its sound samples. */
function after(chunk: Chunk, heard: number): Chunk {
  return heard === 0 ? chunk : { ...chunk, sound: chunk.sound.slice(heard), firstFrame: chunk.firstFrame + heard };
}

/** The server's samples of the reply that have been heard when so much of this chunk has. */
function samplesUpTo(chunk: Chunk, heard: number): number {
  // A millionth absorbs the rounding of the ratio.
  return Math.min(chunk.generation.received, Math.floor((chunk.firstFrame + heard) * chunk.ratio + 1e-6));
}

function mono(buffer: AudioBuffer): Float32Array {
  const channels = Array.from({ length: buffer.numberOfChannels }, (_, i) => buffer.getChannelData(i));
  const first = channels[0] ?? new Float32Array(0);
  if (channels.length === 1) return first;
  return first.map((_, i) => channels.reduce((sum, channel) => sum + (channel[i] ?? 0), 0) / channels.length);
}
