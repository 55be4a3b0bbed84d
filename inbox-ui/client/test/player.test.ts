import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { Player } from "../src/player.js";
import { Resampler } from "../src/resampler.js";
import { FakeAudioContext, fakeBuffer, toInt16, tone } from "./fakes.js";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

function rig(rate = 48_000) {
  const context = new FakeAudioContext(rate);
  const reports: [string, number, number][] = [];
  const playing: boolean[] = [];
  const failed: string[] = [];
  const player = new Player(context.asContext(), context.destination as unknown as AudioNode, {
    report: (state, { generation, samples }) => reports.push([state, generation, samples]),
    playing: (value) => playing.push(value),
    failed: (error) => failed.push(error.code ?? ""),
  });
  return { context, player, reports, playing, failed };
}

/** Sends sound in pieces of `size` samples. */
function send(player: Player, sound: Int16Array, size = 320): void {
  for (let at = 0; at < sound.length; at += size) player.push(sound.slice(at, at + size).buffer);
}

/** The sound between its first and its last sample that are not silence. */
function trimmed(sound: Float32Array): Float32Array {
  const first = sound.findIndex((s) => s !== 0);
  return sound.subarray(first, sound.findLastIndex((s) => s !== 0) + 1);
}

describe("playback", () => {
  test("joins 20 ms pieces so that nobody can tell where they were cut", () => {
    const { context, player } = rig();
    const sound = toInt16(tone(440, 16_000, 1));
    player.configure("pcm16", 16_000);
    player.begin(1);
    send(player, sound);
    player.end(1);
    context.advance(2);

    const whole = new Resampler(16_000, 48_000);
    const floats = Float32Array.from(sound, (s) => s / 32_768);
    const wanted = trimmed(Float32Array.of(...whole.process(floats).slice(), ...whole.flush()));
    const played = trimmed(context.rendered());
    expect(played.length).toBe(48_000);
    expect(played).toEqual(wanted);
  });

  test("starts each piece on the very sample after the last one", () => {
    const { context, player } = rig(44_100);
    player.configure("pcm16", 24_000);
    send(player, toInt16(tone(300, 24_000, 0.5)), 480);
    const starts = context.sources.map((s) => s.startAt * 44_100);
    for (const [i, source] of context.sources.entries()) {
      expect(Math.abs((starts[i] ?? 0) - Math.round(starts[i] ?? 0))).toBeLessThan(1e-6);
      const next = starts[i + 1];
      if (next !== undefined) expect(Math.round(next)).toBe(Math.round(starts[i] ?? 0) + (source.buffer?.length ?? 0));
    }
    expect(starts.length).toBe(25);
  });

  test("puts together samples whose two bytes arrived in different frames", () => {
    const { context, player } = rig(16_000);
    player.configure("pcm16", 16_000);
    const bytes = new Uint8Array(Int16Array.of(100, 200, 300, 400).buffer);
    player.push(bytes.slice(0, 3).buffer);
    player.push(bytes.slice(3, 4).buffer);
    player.push(bytes.slice(4).buffer);
    context.advance(0.2);
    expect([...trimmed(context.rendered())].map((s) => Math.round(s * 32_768))).toEqual([100, 200, 300, 400]);
  });

  test("reports every 100 ms how much was heard, and the end", () => {
    const { context, player, reports, playing } = rig(16_000);
    player.configure("pcm16", 16_000);
    player.begin(7);
    send(player, toInt16(tone(440, 16_000, 0.5)));
    player.end(7);
    context.advance(1);
    // It starts 40 ms after it arrived; the reports are 100 ms apart from then.
    expect(reports).toEqual([
      ["playing", 7, 960],
      ["playing", 7, 2_560],
      ["playing", 7, 4_160],
      ["playing", 7, 5_760],
      ["playing", 7, 7_360],
      ["finished", 7, 8_000],
    ]);
    expect(playing).toEqual([true, false]);
  });

  test("counts as heard only what has left the loudspeaker", () => {
    const { context, player } = rig(16_000);
    context.outputLatency = 0.1;
    player.configure("pcm16", 16_000);
    player.begin(1);
    send(player, toInt16(tone(440, 16_000, 1)));
    context.advance(0.5);
    expect(player.position).toEqual({ generation: 1, samples: Math.round((0.5 - 0.04 - 0.1) * 16_000), received: 16_000 });
  });

  test("says that it starved when the server is late, and goes on when more comes", () => {
    const { context, player, reports } = rig(16_000);
    player.configure("pcm16", 16_000);
    player.begin(1);
    send(player, toInt16(tone(440, 16_000, 0.1)));
    context.advance(0.5);
    expect(reports.at(-1)).toEqual(["starved", 1, 1_600]);
    send(player, toInt16(tone(440, 16_000, 0.1)));
    player.end(1);
    context.advance(0.5);
    expect(reports.at(-1)).toEqual(["finished", 1, 3_200]);
  });

  test("pauses at a sample and goes on at the next one", () => {
    const { context, player, reports } = rig(16_000);
    player.configure("pcm16", 16_000);
    player.begin(1);
    const sound = Int16Array.from({ length: 16_000 }, (_, i) => i + 1);
    send(player, sound);
    context.advance(0.34);
    player.pause();
    const [state, , heard] = reports.at(-1) ?? ["", 0, 0];
    expect(state).toBe("paused");
    expect(heard).toBe(0.31 * 16_000); // 0.34 s less the lead, up to the end of the fade
    context.advance(1.5);
    expect(player.position.samples).toBe(heard);
    expect(player.playing).toBe(true);
    player.resume();
    player.end(1);
    context.advance(1.5);
    const played = [...context.rendered()].map((s) => Math.round(s * 32_768)).filter((s) => s !== 0);
    expect(played).toEqual([...sound]);
    expect(reports.at(-1)).toEqual(["finished", 1, 16_000]);
  });

  test("keeps what arrives during a pause for afterwards", () => {
    const { context, player } = rig(16_000);
    player.configure("pcm16", 16_000);
    player.pause();
    send(player, Int16Array.of(1, 2, 3));
    context.advance(0.5);
    expect(context.sources).toHaveLength(0);
    player.resume();
    context.advance(0.2);
    expect([...trimmed(context.rendered())].map((s) => Math.round(s * 32_768))).toEqual([1, 2, 3]);
  });

  test("forgets on clear what was not heard, and says how far it came", () => {
    const { context, player, reports, playing } = rig(16_000);
    player.configure("pcm16", 16_000);
    player.begin(3);
    send(player, toInt16(tone(440, 16_000, 2)));
    context.advance(0.54);
    const position = player.clear(true);
    expect(position).toEqual({ generation: 3, samples: (0.5 + 0.01) * 16_000, received: 32_000 });
    expect(reports.at(-1)).toEqual(["stopped", 3, position.samples]);
    expect(playing).toEqual([true, false]);
    const last = Math.max(...context.sources.map((s) => Math.min(s.stopAt, s.startAt + (s.buffer?.length ?? 0) / 16_000)));
    expect(last).toBeCloseTo(0.55, 6);
    const before = reports.length;
    context.advance(2);
    expect(reports).toHaveLength(before);
  });

  test("drops audio that comes late, and plays the next reply", () => {
    const { context, player } = rig(16_000);
    player.configure("pcm16", 16_000);
    player.begin(1);
    send(player, toInt16(tone(440, 16_000, 0.2)));
    player.clear(true);
    const scheduled = context.sources.length;
    send(player, toInt16(tone(440, 16_000, 0.2)));
    player.end(1);
    expect(context.sources).toHaveLength(scheduled);
    player.begin(2);
    send(player, toInt16(tone(440, 16_000, 0.2)));
    expect(context.sources.length).toBeGreaterThan(scheduled);
  });

  test("reports the end of one reply although the next follows without a gap", () => {
    const { context, player, reports } = rig(16_000);
    player.configure("pcm16", 16_000);
    for (const id of [1, 2]) {
      player.begin(id);
      send(player, toInt16(tone(440, 16_000, 0.15)));
      player.end(id);
    }
    context.advance(1);
    expect(reports.filter(([state]) => state === "finished")).toEqual([
      ["finished", 1, 2_400],
      ["finished", 2, 2_400],
    ]);
  });

  test("reports the end of a reply that had no sound", () => {
    const { player, reports } = rig();
    player.begin(5);
    player.end(5);
    expect(reports).toEqual([["finished", 5, 0]]);
  });

  test("plays encoded frames in the order they came, whichever is decoded first", async () => {
    const { context, player } = rig(16_000);
    const waits = new Map<number, () => void>();
    context.decode = (data) =>
      new Promise((done) => {
        const mark = new Uint8Array(data)[0] ?? 0;
        waits.set(mark, () => done(fakeBuffer(16_000, Float32Array.of(mark / 8))));
      });
    player.configure("mp3", 16_000);
    for (const mark of [1, 2, 3]) player.push(Uint8Array.of(mark).buffer);
    for (const mark of [3, 1, 2]) waits.get(mark)?.();
    await vi.advanceTimersByTimeAsync(0);
    expect([...trimmed(context.rendered())]).toEqual([1 / 8, 2 / 8, 3 / 8]);
  });

  test("does not play what was still being decoded when it was cleared", async () => {
    const { context, player } = rig(16_000);
    let decoded = () => {};
    context.decode = () => new Promise((done) => (decoded = () => done(fakeBuffer(16_000, Float32Array.of(0.5)))));
    player.configure("mp3", 16_000);
    player.push(Uint8Array.of(1).buffer);
    player.clear(false);
    decoded();
    await vi.advanceTimersByTimeAsync(0);
    expect(context.sources).toHaveLength(0);
  });

  test("says so when a frame cannot be decoded, and is not stuck in playing", async () => {
    const { player, failed, playing } = rig();
    player.configure("mp3", 16_000);
    player.push(Uint8Array.of(1).buffer);
    await vi.advanceTimersByTimeAsync(0);
    expect(failed).toEqual(["playback_failed"]);
    expect(playing).toEqual([true, false]);
  });
});
