import { describe, expect, test } from "vitest";
import { Framer } from "../src/framer.js";
import { floatToPcm16, pcm16ToFloat, rms } from "../src/pcm.js";

describe("16 bit samples", () => {
  test("survive the way to floats and back, all 65,536 of them", () => {
    const all = Int16Array.from({ length: 65_536 }, (_, i) => i - 32_768);
    expect(new Int16Array(floatToPcm16(pcm16ToFloat(new Uint8Array(all.buffer))))).toEqual(all);
  });

  test("are little endian", () => {
    expect([...new Uint8Array(floatToPcm16(Float32Array.of(1 / 32_768)))]).toEqual([1, 0]);
  });

  test("stay in range for floats that are not", () => {
    const wild = Float32Array.of(2, -2, Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY);
    expect([...new Int16Array(floatToPcm16(wild))]).toEqual([32_767, -32_768, 0, 32_767, -32_768]);
  });

  test("leave out half a sample at the end", () => {
    expect(pcm16ToFloat(Uint8Array.of(0, 64, 7))).toEqual(Float32Array.of(0.5));
  });

  test("have the level of a full-scale square wave, and none where there are none", () => {
    expect(rms(Float32Array.of(1, -1, 1, -1))).toBe(1);
    expect(rms(new Float32Array(0))).toBe(0);
  });
});

describe("frames", () => {
  const numbers = (from: number, count: number) => Float32Array.from({ length: count }, (_, i) => from + i);

  test("have equal length and lose no sample, also when the length changes in between", () => {
    const seen: number[][] = [];
    const keep = (frame: Float32Array) => seen.push([...frame]);
    const framer = new Framer(10);
    framer.push(numbers(0, 3), keep);
    framer.push(numbers(3, 14), keep);
    framer.resize(4, keep);
    framer.push(numbers(17, 5), keep);
    expect(seen.map((frame) => frame.length)).toEqual([10, 4, 4, 4]);
    expect(seen.flat()).toEqual([...numbers(0, 22)]);
  });
});
