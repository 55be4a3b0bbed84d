/**
 * Changes the sample rate of a stream that arrives in pieces of any size.
 *
 * A windowed-sinc filter in polyphase form: with out/in = L/M in lowest terms, output m lies at input
 * position m*M/L, whose fraction takes only L values, so there are L sets of coefficients and no
 * arithmetic on time that could drift.
 *
 * Always holds: how the input was cut into pieces changes no output bit; after `flush` exactly
 * ceil(inputs * L / M) samples have come out, the first at the time of the first input (no delay is
 * added); a constant signal keeps its value.
 */

/** Zero crossings of the sinc on each side, at the lower of the two rates. */
const HALF_WIDTH = 32;
/** Kaiser window shape: about 80 dB of stop band. */
const KAISER_BETA = 8;
/**
 * Where the filter is at half, as a share of the lower rate. With the width and window above the
 * transition ends at that rate's Nyquist frequency: nothing folds back, and 16 kHz keeps 6.7 kHz.
 */
const CUTOFF = 0.46;
/** More phases than this are rounded to the nearest; reached only by rates like 44,099 Hz. */
const MAX_PHASES = 1024;

export class Resampler {
  readonly #up: number;
  readonly #down: number;
  /** Input samples that the filter reaches on each side of an output. */
  readonly #reach: number;
  readonly #phases: readonly Float32Array[];
  /** Input not yet out of reach; its first sample has index `#first` in the stream. */
  #history: Float32Array;
  #held: number;
  #first: number;
  /** Input index and remainder (in 1/L of a sample) of the next output. */
  #index = 0;
  #remainder = 0;
  #inputs = 0;

  constructor(inputRate: number, outputRate: number) {
    if (!Number.isInteger(inputRate) || !Number.isInteger(outputRate) || inputRate <= 0 || outputRate <= 0) {
      throw new RangeError(`sample rates are whole and positive, not ${inputRate} and ${outputRate}`);
    }
    const divisor = gcd(inputRate, outputRate);
    this.#up = outputRate / divisor;
    this.#down = inputRate / divisor;
    this.#reach = Math.ceil(HALF_WIDTH * Math.max(1, inputRate / outputRate));
    this.#phases = design(Math.min(this.#up, MAX_PHASES), this.#reach, Math.min(1, outputRate / inputRate));
    this.#history = new Float32Array(4 * this.#reach);
    // What came before the stream counts as silence.
    this.#held = this.#reach;
    this.#first = -this.#reach;
  }

  /** Takes the next piece and gives what can be known of the output now. */
  process(input: Float32Array): Float32Array {
    this.#append(input);
    this.#inputs += input.length;
    return this.#drain(Number.POSITIVE_INFINITY);
  }

  /** Ends the stream and gives what the filter still held. Start a new stream with a new instance. */
  flush(): Float32Array {
    this.#append(new Float32Array(this.#reach));
    return this.#drain(this.#inputs);
  }

  #append(input: Float32Array): void {
    if (this.#held + input.length > this.#history.length) {
      const grown = new Float32Array(2 * (this.#held + input.length));
      grown.set(this.#history.subarray(0, this.#held));
      this.#history = grown;
    }
    this.#history.set(input, this.#held);
    this.#held += input.length;
  }

  /** Every output whose place in the input lies before `end` and whose surroundings have arrived. */
  #drain(end: number): Float32Array {
    const reach = this.#reach;
    const lastUsable = Math.min(this.#first + this.#held - reach - 1, end - 1);
    const estimate = Math.max(0, Math.ceil(((lastUsable - this.#index + 1) * this.#up) / this.#down) + 1);
    const output = new Float32Array(estimate);
    let written = 0;
    while (this.#index <= lastUsable) {
      output[written++] = this.#convolve();
      this.#remainder += this.#down;
      this.#index += Math.floor(this.#remainder / this.#up);
      this.#remainder %= this.#up;
    }
    this.#forget();
    return output.subarray(0, written);
  }

  #convolve(): number {
    const phase = this.#phases.length === this.#up ? this.#remainder : Math.floor((this.#remainder / this.#up) * this.#phases.length);
    const coefficients = this.#phases[phase];
    if (!coefficients) return 0;
    const from = this.#index - this.#reach + 1 - this.#first;
    let sum = 0;
    for (let j = 0; j < coefficients.length; j++) sum += (this.#history[from + j] ?? 0) * (coefficients[j] ?? 0);
    return sum;
  }

  #forget(): void {
    const outOfReach = Math.min(this.#held, this.#index - this.#reach + 1 - this.#first);
    if (outOfReach < this.#reach) return;
    this.#history.copyWithin(0, outOfReach, this.#held);
    this.#held -= outOfReach;
    this.#first += outOfReach;
  }
}

/** Coefficients for each phase: tap j stands for the input at `index - reach + 1 + j`. */
function design(phases: number, reach: number, ratio: number): Float32Array[] {
  const bandwidth = 2 * CUTOFF * ratio;
  return Array.from({ length: phases }, (_, phase) => {
    const taps = new Float64Array(2 * reach);
    let sum = 0;
    for (let j = 0; j < taps.length; j++) {
      const distance = phase / phases + reach - 1 - j;
      const tap = sinc(bandwidth * distance) * kaiser(distance / reach);
      taps[j] = tap;
      sum += tap;
    }
    return Float32Array.from(taps, (tap) => tap / sum);
  });
}

function sinc(x: number): number {
  return x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x);
}

/** Kaiser window over -1 to 1. */
function kaiser(x: number): number {
  return Math.abs(x) >= 1 ? 0 : besselI0(KAISER_BETA * Math.sqrt(1 - x * x)) / besselI0(KAISER_BETA);
}

/** Modified Bessel function of the first kind, order zero, by its power series. */
function besselI0(x: number): number {
  let term = 1;
  let sum = 1;
  for (let k = 1; term > sum * 1e-16; k++) {
    term *= (x / (2 * k)) ** 2;
    sum += term;
  }
  return sum;
}

function gcd(a: number, b: number): number {
  return b === 0 ? a : gcd(b, a % b);
}
