/** Whether one sound is in another, and where. */

import { Resampler } from "../../client/src/resampler.js";

/** First a rough look over everything, then a close one around the best place: quick, and exact. */
const ROUGH_RATE = 2_000;
const CLOSE_RATE = 16_000;
/** `what` may be cut by this much at its beginning. */
const CUT_SECONDS = 0.25;

export interface Match {
  /** Normalised correlation at the best place, 1 for the same sound. */
  correlation: number;
  /** Seconds into `where` at which `what` begins. */
  at: number;
}

export function find(what: Float32Array, whatRate: number, where: Float32Array, whereRate: number): Match {
  const end = Math.max(0, where.length / whereRate - what.length / whatRate) + CUT_SECONDS;
  const rough = search(ROUGH_RATE, -CUT_SECONDS, end);
  return search(CLOSE_RATE, rough.at - 1 / ROUGH_RATE, rough.at + 1 / ROUGH_RATE);

  function search(rate: number, from: number, to: number): Match {
    const [a, b] = [resample(what, whatRate, rate), resample(where, whereRate, rate)];
    let best: Match = { correlation: 0, at: from };
    for (let lag = Math.floor(from * rate); lag <= Math.ceil(to * rate); lag++) {
      const correlation = correlate(a, b, lag);
      if (correlation > best.correlation) best = { correlation, at: lag / rate };
    }
    return best;
  }
}

/** Over all of `a`; where `b` has nothing it counts as silence. */
function correlate(a: Float32Array, b: Float32Array, lag: number): number {
  let dot = 0;
  let energyA = 0;
  let energyB = 0;
  for (let i = 0; i < a.length; i++) {
    const x = a[i] ?? 0;
    const y = b[i + lag] ?? 0;
    dot += x * y;
    energyA += x * x;
    energyB += y * y;
  }
  return energyA * energyB > 0 ? dot / Math.sqrt(energyA * energyB) : 0;
}

export function toFloat(samples: Int16Array): Float32Array {
  return Float32Array.from(samples, (s) => s / 32_768);
}

function resample(samples: Float32Array, from: number, to: number): Float32Array {
  if (from === to) return samples;
  const resampler = new Resampler(from, to);
  const first = resampler.process(samples).slice();
  const rest = resampler.flush();
  const out = new Float32Array(first.length + rest.length);
  out.set(first);
  out.set(rest, first.length);
  return out;
}
