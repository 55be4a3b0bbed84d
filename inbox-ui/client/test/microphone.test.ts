import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { environmentError, type VoiceError } from "../src/errors.js";
import { Microphone } from "../src/microphone.js";

class FakeTrack extends EventTarget {
  enabled = true;
  stopped = false;
  stop() {
    this.stopped = true;
  }
}

class FakeStream {
  readonly track = new FakeTrack();
  getTracks() {
    return [this.track];
  }
  getAudioTracks() {
    return [this.track];
  }
}

class FakePort {
  onmessage: ((event: { data: unknown }) => void) | null = null;
  sent: unknown[] = [];
  postMessage(message: unknown) {
    this.sent.push(message);
  }
}

const nodes: FakeWorkletNode[] = [];
class FakeWorkletNode {
  port = new FakePort();
  constructor(_context: unknown, _name: string, readonly options: { processorOptions: unknown }) {
    nodes.push(this);
  }
  connect() {}
  disconnect() {}
}

let streams: FakeStream[];
let asked: MediaStreamConstraints[];
let answer: () => Promise<FakeStream>;

beforeEach(() => {
  streams = [];
  asked = [];
  nodes.length = 0;
  answer = async () => {
    const stream = new FakeStream();
    streams.push(stream);
    return stream;
  };
  const getUserMedia = (constraints: MediaStreamConstraints) => {
    asked.push(constraints);
    return answer();
  };
  vi.stubGlobal("isSecureContext", true);
  vi.stubGlobal("navigator", { mediaDevices: { getUserMedia } });
  vi.stubGlobal("AudioContext", class {});
  vi.stubGlobal("AudioWorkletNode", FakeWorkletNode);
});
afterEach(() => void vi.unstubAllGlobals());

function microphone(addModule: () => Promise<void> = async () => {}, deviceId?: string) {
  const context = { audioWorklet: { addModule }, destination: {}, createMediaStreamSource: () => ({ connect() {}, disconnect() {} }) };
  return new Microphone({ context: () => context as unknown as AudioContext, workletUrl: "/capture-worklet.js", deviceId });
}

async function failure(promise: Promise<unknown>): Promise<VoiceError | undefined> {
  return promise.then(
    () => undefined,
    (error: { detail: VoiceError }) => error.detail,
  );
}

function frame(node: FakeWorkletNode | undefined, rms: number, milliseconds = 20): void {
  node?.port.onmessage?.({ data: { pcm: new ArrayBuffer(32 * milliseconds), rms } });
}

describe("the microphone", () => {
  test("asks for one channel with echo cancellation, and for the chosen device only", async () => {
    await microphone(undefined, "desk").start();
    expect(asked[0]).toEqual({
      audio: { channelCount: 1, echoCancellation: true, noiseSuppression: true, autoGainControl: true, deviceId: { exact: "desk" } },
    });
  });

  test("is not asked for in a page that cannot have one, which says why", async () => {
    vi.stubGlobal("isSecureContext", false);
    expect(environmentError()?.code).toBe("insecure_context");
    expect((await failure(microphone().start()))?.message).toMatch(/HTTPS/);
    expect(asked).toHaveLength(0);
    vi.stubGlobal("isSecureContext", true);
    vi.stubGlobal("navigator", {});
    expect((await failure(microphone().start()))?.code).toBe("unsupported_browser");
  });

  test("is not opened when the recording code cannot be loaded", async () => {
    const broken = microphone(() => Promise.reject(new Error("404")));
    expect((await failure(broken.start()))?.code).toBe("capture_failed");
    expect(asked).toHaveLength(0);
  });

  test("is let go when it comes after it was no longer wanted", async () => {
    const mic = microphone();
    let allow = () => {};
    const allowed = new Promise<void>((done) => (allow = done));
    const give = answer;
    answer = () => allowed.then(give);
    const starting = mic.start();
    await vi.waitFor(() => expect(asked).toHaveLength(1));
    mic.stop();
    allow();
    await starting;
    expect(streams[0]?.track.stopped).toBe(true);
    expect(nodes).toHaveLength(0);
  });

  test("gives each frame at once and the level of each 100 ms", async () => {
    const mic = microphone();
    const sizes: number[] = [];
    const levels: number[] = [];
    mic.onAudioData = (pcm) => sizes.push(pcm.byteLength);
    mic.onAudioLevel = (level) => levels.push(level);
    await mic.start();
    for (const level of [0.1, 0.1, 0.1, 0.1, 0.3]) frame(nodes[0], level);
    expect(sizes).toEqual([640, 640, 640, 640, 640]);
    expect(levels).toHaveLength(1);
    expect(levels[0]).toBeCloseTo(Math.sqrt((4 * 0.01 + 0.09) / 5), 9);
  });

  test("records silence at the device while muted", async () => {
    const mic = microphone();
    mic.setMuted(true);
    await mic.start();
    expect(streams[0]?.track.enabled).toBe(false);
    mic.setMuted(false);
    expect(streams[0]?.track.enabled).toBe(true);
  });

  test("changes the frame length while it runs", async () => {
    const mic = microphone();
    await mic.start();
    mic.setFrameMs(20);
    expect(nodes[0]?.options.processorOptions).toEqual({ frameMs: 100 });
    expect(nodes[0]?.port.sent).toEqual([{ type: "frame", frameMs: 20 }]);
  });

  test("changes to another device, and stays with the old one where the new one does not open", async () => {
    const mic = microphone();
    await mic.start();
    await mic.setDevice("headset");
    expect(streams.map((s) => s.track.stopped)).toEqual([true, false]);
    answer = () => Promise.reject(Object.assign(new Error(), { name: "NotFoundError" }));
    expect((await failure(mic.setDevice("gone")))?.code).toBe("microphone_missing");
    expect(streams[1]?.track.stopped).toBe(false);
  });

  test("says so when it is pulled out", async () => {
    const mic = microphone();
    const errors: (string | undefined)[] = [];
    mic.onError = (error) => errors.push(error.code);
    await mic.start();
    streams[0]?.track.dispatchEvent(new Event("ended"));
    expect(errors).toEqual(["microphone_lost"]);
  });

  test("reports nothing after it was stopped", async () => {
    const mic = microphone();
    const seen: unknown[] = [];
    mic.onAudioData = (pcm) => seen.push(pcm);
    await mic.start();
    const node = nodes[0];
    mic.stop();
    frame(node, 0.5);
    expect(seen).toEqual([]);
    expect(streams[0]?.track.stopped).toBe(true);
    expect(node?.port.sent.at(-1)).toEqual({ type: "stop" });
  });
});
