/**
 * Runs on the audio thread: microphone at the device's rate in, 16 kHz frames of 16 bit samples out.
 *
 * Always holds: blocks arrive in order and each sample is used once; nothing is allocated but the
 * frames that leave, and these are transferred, not copied. Leaves out: muting, levels over time, and
 * sending, which the main thread does.
 */

import { CAPTURE_PROCESSOR, type CaptureCommand, type CaptureFrame, type CaptureOptions } from "./capture-messages.js";
import { Framer } from "./framer.js";
import { floatToPcm16, rms } from "./pcm.js";
import { UPLINK_RATE } from "./protocol.js";
import { Resampler } from "./resampler.js";

// The audio thread's own globals, which TypeScript's DOM library does not describe.
declare const sampleRate: number;
declare class AudioWorkletProcessor {
  readonly port: MessagePort;
}
declare function registerProcessor(name: string, processor: new (options: { processorOptions: CaptureOptions }) => AudioWorkletProcessor): void;

class CaptureProcessor extends AudioWorkletProcessor {
  readonly #resampler = new Resampler(sampleRate, UPLINK_RATE);
  readonly #framer: Framer;
  #stopped = false;

  constructor(options: { processorOptions: CaptureOptions }) {
    super();
    this.#framer = new Framer(samplesIn(options.processorOptions.frameMs));
    this.port.onmessage = (event: MessageEvent<CaptureCommand>) => {
      if (event.data.type === "stop") this.#stopped = true;
      else this.#framer.resize(samplesIn(event.data.frameMs), (frame) => this.#post(frame));
    };
  }

  process(inputs: Float32Array[][]): boolean {
    const channels = inputs[0];
    const first = channels?.[0];
    if (channels && first) this.#framer.push(this.#resampler.process(mix(channels, first)), (frame) => this.#post(frame));
    return !this.#stopped;
  }

  #post(frame: Float32Array): void {
    const message: CaptureFrame = { pcm: floatToPcm16(frame), rms: rms(frame) };
    this.port.postMessage(message, [message.pcm]);
  }
}

/** One channel out of however many the device has. */
function mix(channels: Float32Array[], first: Float32Array): Float32Array {
  if (channels.length === 1) return first;
  return first.map((_, i) => channels.reduce((sum, channel) => sum + (channel[i] ?? 0), 0) / channels.length);
}

function samplesIn(milliseconds: number): number {
  return Math.round((milliseconds * UPLINK_RATE) / 1000);
}

registerProcessor(CAPTURE_PROCESSOR, CaptureProcessor);
