/** Whether one sound is in another, and where. */

import { Resampler } from "../../client/src/resampler.js";

/** Rate at which sounds are compared: enough for speech, and quick. */
const RATE = 2_000;

export interface Match {
  /** Normalised correlation at the best place, 1 for the same sound. */
  correlation: number;
  /** Seconds into `where` at which `what` begins. */
  at: number;
}

export function find(what: Float32Array, whatRate: number, where: Float32Array, whereRate: number): Match {
  const [a, b] = [resample(what, whatRate), resample(where, whereRate)];
  const energyA = Math.sqrt(a.reduce((sum, s) => sum + s * s, 0));
  let best: Match = { correlation: 0, at: 0 };
  // `what` may be cut by a little at its beginning.
  for (let lag = -Math.floor(RATE / 4); lag + a.length <= b.length + RATE / 4; lag++) {
    let dot = 0;
    let energy = 0;
    for (let i = Math.max(0, -lag); i < a.length && i + lag < b.length; i++) {
      const s = b[i + lag] ?? 0;
      dot += (a[i] ?? 0) * s;
      energy += s * s;
    }
    const correlation = energy > 0 ? dot / (energyA * Math.sqrt(energy)) : 0;
    if (correlation > best.correlation) best = { correlation, at: lag / RATE };
  }
  return best;
}

export function toFloat(samples: Int16Array): Float32Array {
  return Float32Array.from(samples, (s) => s / 32_768);
}

function resample(samples: Float32Array, rate: number): Float32Array {
  if (rate === RATE) return samples;
  const resampler = new Resampler(rate, RATE);
  const first = resampler.process(samples).slice();
  const rest = resampler.flush();
  const out = new Float32Array(first.length + rest.length);
  out.set(first);
  out.set(rest, first.length);
  return out;
}
