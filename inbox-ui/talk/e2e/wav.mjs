// @ts-check
/** Small WAV files (PCM, 16 bit, one channel), and speech in them made with flite. */

import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/**
 * @param {Buffer} file
 * @returns {{ rate: number, samples: Int16Array }}
 */
export function readWav(file) {
  let rate = 0;
  for (let at = 12; at + 8 <= file.length; ) {
    const id = file.toString("latin1", at, at + 4);
    const size = file.readUInt32LE(at + 4);
    if (id === "fmt ") rate = file.readUInt32LE(at + 12);
    if (id === "data") return { rate, samples: new Int16Array(Uint8Array.from(file.subarray(at + 8, at + 8 + size)).buffer) };
    at += 8 + size + (size % 2);
  }
  throw new Error("not a WAV file with data");
}

/**
 * @param {Int16Array} samples
 * @param {number} rate
 */
export function writeWav(samples, rate) {
  const header = Buffer.alloc(44);
  header.write("RIFF", 0, "latin1");
  header.writeUInt32LE(36 + samples.byteLength, 4);
  header.write("WAVEfmt ", 8, "latin1");
  header.writeUInt32LE(16, 16);
  header.writeUInt16LE(1, 20);
  header.writeUInt16LE(1, 22);
  header.writeUInt32LE(rate, 24);
  header.writeUInt32LE(rate * 2, 28);
  header.writeUInt16LE(2, 32);
  header.writeUInt16LE(16, 34);
  header.write("data", 36, "latin1");
  header.writeUInt32LE(samples.byteLength, 40);
  return Buffer.concat([header, Buffer.from(samples.buffer, samples.byteOffset, samples.byteLength)]);
}

/**
 * Says a text with flite's voice `slt`, 16 kHz.
 * @param {string} text
 * @returns {{ rate: number, samples: Int16Array }}
 */
export function speech(text) {
  const folder = mkdtempSync(join(tmpdir(), "speech-"));
  try {
    const file = join(folder, "speech.wav");
    execFileSync("flite", ["-voice", "slt", "-t", text, "-o", file]);
    return readWav(readFileSync(file));
  } catch (error) {
    throw new Error("flite is needed for the test's speech: apt install flite", { cause: error });
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/**
 * Puts silence before and after.
 * @param {Int16Array} samples
 * @param {number} silence samples on each side
 */
export function padded(samples, silence) {
  const out = new Int16Array(samples.length + 2 * silence);
  out.set(samples, silence);
  return out;
}
