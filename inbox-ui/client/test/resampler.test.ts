import { describe, expect, test } from "vitest";
import { rms } from "../src/pcm.js";
import { Resampler } from "../src/resampler.js";
import { tone } from "./fakes.js";

const RATES: [number, number][] = [
  [48_000, 16_000],
  [44_100, 16_000],
  [96_000, 16_000],
  [32_000, 16_000],
  [16_000, 16_000],
  [8_000, 16_000],
  [16_000, 48_000],
  [24_000, 48_000],
  [22_050, 44_100],
  [24_000, 44_100],
  [44_101, 16_000],
];

function resample(input: Float32Array, from: number, to: number, cut: (n: number) => number = () => input.length): Float32Array {
  const resampler = new Resampler(from, to);
  const parts: Float32Array[] = [];
  for (let at = 0, n = 0; at < input.length; n++) {
    const size = Math.max(1, cut(n));
    parts.push(resampler.process(input.subarray(at, at + size)).slice());
    at += size;
  }
  parts.push(resampler.flush().slice());
  return join(parts);
}

function join(parts: Float32Array[]): Float32Array {
  const out = new Float32Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

function decibels(ratio: number): number {
  return 20 * Math.log10(ratio);
}

describe("the resampler", () => {
  test.each(RATES)("turns one second at %i Hz into exactly one second at %i Hz", (from, to) => {
    expect(resample(tone(440, from, 1), from, to)).toHaveLength(to);
  });

  test.each(RATES)("gives the same samples however %i Hz input for %i Hz is cut", (from, to) => {
    const input = tone(997, from, 0.25).map((s, i) => s + 0.2 * Math.sin(i * i));
    const whole = resample(input, from, to);
    expect(resample(input, from, to, () => 128)).toEqual(whole);
    let seed = 1;
    const odd = () => (seed = (seed * 48_271) % 2_147_483_647) % 701;
    expect(resample(input, from, to, odd)).toEqual(whole);
    expect(resample(input, from, to, () => 1)).toEqual(whole);
  });

  test("gives 128-sample blocks at 48 kHz no extra samples: ten seconds stay ten seconds", () => {
    const resampler = new Resampler(48_000, 16_000);
    let count = 0;
    for (let block = 0; block < 3750; block++) count += resampler.process(new Float32Array(128)).length;
    // What is missing is what the filter must still look ahead at: 2 ms.
    expect(count).toBe(160_000 - 32);
    expect(resampler.flush()).toHaveLength(32);
  });

  test.each([8_200, 9_000, 12_000, 15_900, 20_000, 23_000])("lets nothing of a %i Hz tone fold back into 16 kHz", (hertz) => {
    const out = resample(tone(hertz, 48_000, 1, 1), 48_000, 16_000).subarray(200, 15_800);
    expect(decibels(rms(out) / Math.SQRT1_2)).toBeLessThan(-70);
  });

  test.each([100, 1_000, 3_400, 6_500])("keeps a %i Hz tone as loud as it was", (hertz) => {
    const out = resample(tone(hertz, 48_000, 1, 1), 48_000, 16_000).subarray(200, 15_800);
    expect(Math.abs(decibels(rms(out) / Math.SQRT1_2))).toBeLessThan(0.1);
  });

  test("adds no delay: a tone comes out in phase", () => {
    const out = resample(tone(1_000, 44_100, 0.5), 44_100, 16_000);
    const wanted = tone(1_000, 16_000, 0.5);
    const error = out.subarray(200, 7_800).map((s, i) => s - (wanted[i + 200] ?? 0));
    expect(decibels(rms(error) / rms(wanted))).toBeLessThan(-60);
  });

  test("makes no images above the old Nyquist frequency when it raises the rate", () => {
    const out = resample(tone(3_000, 16_000, 0.5), 16_000, 48_000);
    const wanted = tone(3_000, 48_000, 0.5);
    const error = out.subarray(600, 23_400).map((s, i) => s - (wanted[i + 600] ?? 0));
    expect(decibels(rms(error) / rms(wanted))).toBeLessThan(-60);
  });

  test("keeps a constant signal's value", () => {
    const out = resample(new Float32Array(4_410).fill(0.25), 44_100, 16_000).subarray(100, 1_500);
    for (const sample of out) expect(sample).toBeCloseTo(0.25, 5);
  });

  test("refuses rates that are not whole and positive", () => {
    expect(() => new Resampler(0, 16_000)).toThrow(RangeError);
    expect(() => new Resampler(44_100.5, 16_000)).toThrow(RangeError);
  });
});
