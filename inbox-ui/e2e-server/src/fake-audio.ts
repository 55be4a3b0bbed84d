/**
 * What the published client needs of a browser's audio, in Node: a clock that runs in real time, sources
 * that end when their sound has been played, and a microphone that plays speech into it.
 */

import type { VoiceAudioInput } from "agents/voice/client";

/** Everything that was to be heard, in order; what was stopped counts as far as it was played. */
export class Loudspeaker {
  readonly played: Float32Array[] = [];
  rate = 16_000;
  /** Sources that play now or wait for their time. */
  readonly sources = new Set<object>();

  get isPlaying(): boolean {
    return this.sources.size > 0;
  }

  get samples(): Float32Array {
    const all = new Float32Array(this.played.reduce((sum, part) => sum + part.length, 0));
    let at = 0;
    for (const part of this.played) {
      all.set(part, at);
      at += part.length;
    }
    return all;
  }

  /** Puts `AudioContext` and `Audio` into the global scope, where the client looks for them. */
  install(): void {
    const speaker = this;
    class Source {
      buffer: Buffer_ | null = null;
      onended: (() => void) | null = null;
      #timer: NodeJS.Timeout | undefined;
      #begins = 0;
      constructor(private readonly context: Context) {}
      connect(): void {}
      start(at: number): void {
        if (!this.buffer) throw new Error("a source without a buffer");
        this.#begins = at;
        speaker.rate = this.buffer.sampleRate;
        speaker.sources.add(this);
        this.#timer = setTimeout(() => this.#end(), (at + this.buffer.duration - this.context.currentTime) * 1000);
      }
      stop(): void {
        if (speaker.sources.has(this)) this.#end();
      }
      #end(): void {
        clearTimeout(this.#timer);
        speaker.sources.delete(this);
        const buffer = this.buffer;
        const seconds = Math.max(0, this.context.currentTime - this.#begins);
        if (buffer) speaker.played.push(buffer.channel.slice(0, Math.round(seconds * buffer.sampleRate)));
        this.onended?.();
      }
    }
    class Buffer_ {
      readonly channel: Float32Array;
      constructor(length: number, readonly sampleRate: number) {
        this.channel = new Float32Array(length);
      }
      get duration(): number {
        return this.channel.length / this.sampleRate;
      }
      getChannelData(): Float32Array {
        return this.channel;
      }
    }
    class Context {
      readonly state = "running";
      readonly destination = {};
      readonly #since = performance.now();
      get currentTime(): number {
        return (performance.now() - this.#since) / 1000;
      }
      createBuffer(channels: number, length: number, rate: number): Buffer_ {
        if (channels !== 1) throw new Error("one channel is expected");
        return new Buffer_(length, rate);
      }
      createBufferSource(): Source {
        return new Source(this);
      }
      createMediaStreamDestination(): object {
        return { stream: {} };
      }
      async close(): Promise<void> {}
    }
    class Element {
      autoplay = false;
      srcObject: object | null = null;
      async play(): Promise<void> {}
      pause(): void {}
      async setSinkId(): Promise<void> {}
    }
    Object.assign(globalThis, { AudioContext: Context, Audio: Element });
  }
}

/** 100 ms, as the client's own microphone sends it. */
const CHUNK = 1_600;

/** A microphone with silence in it, until it is told what to say. 16 kHz, in real time. */
export class Microphone implements VoiceAudioInput {
  onAudioLevel: ((rms: number) => void) | null = null;
  onAudioData: ((pcm: ArrayBuffer) => void) | null = null;
  starts = 0;
  #waiting: Int16Array = new Int16Array();
  #timer: NodeJS.Timeout | undefined;

  get isOn(): boolean {
    return this.#timer !== undefined;
  }

  say(samples: Int16Array): void {
    this.#waiting = Int16Array.from([...this.#waiting, ...samples]);
  }

  async start(): Promise<void> {
    this.starts += 1;
    const since = performance.now();
    let sent = 0;
    this.#timer = setInterval(() => {
      // A timer comes late, but the sound it missed does not.
      for (; sent * 100 <= performance.now() - since; sent += 1) this.#chunk();
    }, 20);
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  #chunk(): void {
    const chunk = new Int16Array(CHUNK);
    chunk.set(this.#waiting.subarray(0, CHUNK));
    this.#waiting = this.#waiting.slice(CHUNK);
    this.onAudioData?.(chunk.buffer);
    this.onAudioLevel?.(Math.sqrt(chunk.reduce((sum, s) => sum + (s / 32_768) ** 2, 0) / CHUNK));
  }
}
