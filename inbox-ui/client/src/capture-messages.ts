/** What the page and the capture processor on the audio thread say to each other. */

export const CAPTURE_PROCESSOR = "frontdesk-capture";

export interface CaptureOptions {
  frameMs: number;
}

export type CaptureCommand = { type: "frame"; frameMs: number } | { type: "stop" };

export interface CaptureFrame {
  /** 16 kHz, signed 16 bit, little endian, one channel. */
  pcm: ArrayBuffer;
  rms: number;
}
