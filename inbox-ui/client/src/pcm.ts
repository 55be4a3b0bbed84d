/**
 * Signed 16 bit little-endian samples to and from floats, and their level.
 *
 * Always holds: int16 -> float -> int16 gives the same bytes, and no input (NaN, infinities, values
 * beyond full scale) leaves the 16 bit range.
 */

/** Full scale: the float 1.0 stands for one step above the largest 16 bit sample. */
const SCALE = 32_768;

export function floatToPcm16(samples: Float32Array): ArrayBuffer {
  const buffer = new ArrayBuffer(samples.length * 2);
  const view = new DataView(buffer);
  for (let i = 0; i < samples.length; i++) {
    const scaled = Math.round((samples[i] ?? 0) * SCALE);
    view.setInt16(i * 2, scaled > 32_767 ? 32_767 : scaled < -32_768 ? -32_768 : scaled, true);
  }
  return buffer;
}

/** Reads whole samples; a trailing odd byte is left out. */
export function pcm16ToFloat(bytes: Uint8Array): Float32Array {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const samples = new Float32Array(bytes.byteLength >> 1);
  for (let i = 0; i < samples.length; i++) samples[i] = view.getInt16(i * 2, true) / SCALE;
  return samples;
}

/** Root mean square, 0 to 1. Of nothing it is 0. */
export function rms(samples: Float32Array): number {
  if (samples.length === 0) return 0;
  let sum = 0;
  for (let i = 0; i < samples.length; i++) sum += (samples[i] ?? 0) ** 2;
  return Math.sqrt(sum / samples.length);
}
