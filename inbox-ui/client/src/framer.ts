/** Cuts a stream of samples into frames of equal length. Always holds: no sample is lost or repeated. */
export class Framer {
  #frame: Float32Array;
  #filled = 0;

  constructor(frameSamples: number) {
    this.#frame = new Float32Array(frameSamples);
  }

  /** Changes the length from the next frame on; what is waiting for a full frame stays at its front. */
  resize(frameSamples: number, emit: (frame: Float32Array) => void): void {
    const waiting = this.#frame.subarray(0, this.#filled);
    this.#frame = new Float32Array(frameSamples);
    this.#filled = 0;
    this.push(waiting, emit);
  }

  /** Hands each full frame to `emit`, which may keep it. */
  push(samples: Float32Array, emit: (frame: Float32Array) => void): void {
    let taken = 0;
    while (taken < samples.length) {
      const part = samples.subarray(taken, taken + this.#frame.length - this.#filled);
      this.#frame.set(part, this.#filled);
      this.#filled += part.length;
      taken += part.length;
      if (this.#filled === this.#frame.length) {
        const full = this.#frame;
        this.#frame = new Float32Array(full.length);
        this.#filled = 0;
        emit(full);
      }
    }
  }
}
