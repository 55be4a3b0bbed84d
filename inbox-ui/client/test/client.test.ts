import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { VOICE_FEATURES } from "../src/index.js";
import { ALL_FEATURES, connected, FakeAudioContext, FakeSocket, inCall, welcome } from "./fakes.js";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => {
  vi.useRealTimers();
  FakeSocket.all.length = 0;
});

const second = (value = 100) => new Int16Array(16_000).fill(value);

describe("connecting", () => {
  test("says hello with the version and the additions it knows, and waits for the welcome", () => {
    const { client, socket } = connected();
    expect(socket.url).toBe("wss://desk.test/agents/hello/default");
    expect(socket.json).toEqual([{ type: "hello", protocol_version: 1, features: [...VOICE_FEATURES] }]);
    expect(client.serverProtocolVersion).toBe(1);
    expect(client.connected).toBe(true);
  });

  test("uses only the additions that both sides have", () => {
    const { client } = connected(["resume", "ping", "something-newer"], { features: ["ping", "pace"] });
    expect(client.features).toEqual(["ping"]);
  });

  test("says plainly that a server of another version will not do", () => {
    const { client, socket } = connected();
    socket.says({ type: "welcome", protocol_version: 2 });
    expect(client.errorDetail?.code).toBe("protocol_mismatch");
  });

  test("comes back after a loss, sooner at first and then less often", () => {
    const { client } = connected();
    FakeSocket.last.drop();
    expect(client.connected).toBe(false);
    expect(client.errorDetail?.code).toBe("connection_lost");
    const waits: number[] = [];
    for (let i = 0; i < 6; i++) {
      const count = FakeSocket.all.length;
      let waited = 0;
      while (FakeSocket.all.length === count) {
        vi.advanceTimersByTime(10);
        waited += 10;
      }
      waits.push(waited);
      FakeSocket.last.drop();
    }
    expect(waits[0]).toBeLessThanOrEqual(140);
    expect(waits.at(-1)).toBeGreaterThan(5_000);
    expect([...waits].sort((a, b) => a - b)).toEqual(waits);
  });

  test("stays away when the server says that it is not wanted, and shows the server's reason", () => {
    const { client } = connected();
    FakeSocket.last.drop(4403, "This link has expired.");
    vi.advanceTimersByTime(120_000);
    expect(FakeSocket.all).toHaveLength(1);
    expect(client.error).toMatch(/This link has expired\.$/);
    expect(client.errorDetail?.code).toBe("connection_refused");
    client.connect();
    expect(FakeSocket.all).toHaveLength(2);
  });

  test("gives up a connection attempt that nobody answers", () => {
    const { client } = connected();
    FakeSocket.last.drop();
    vi.advanceTimersByTime(200);
    const silent = FakeSocket.last;
    vi.advanceTimersByTime(10_000);
    expect(silent.readyState).toBe(3);
    vi.advanceTimersByTime(1_000);
    expect(FakeSocket.last).not.toBe(silent);
    expect(client.connected).toBe(false);
  });

  test("hears nothing more after disconnect", () => {
    const { client, socket } = connected();
    client.disconnect();
    const events: unknown[] = [];
    client.addEventListener("statuschange", (s) => events.push(s));
    socket.says({ type: "status", status: "speaking" });
    socket.drop();
    vi.advanceTimersByTime(60_000);
    expect(events).toEqual([]);
    expect(FakeSocket.all).toHaveLength(1);
  });

  test("keeps asking for a sign of life, and takes a silent connection for dead", () => {
    const { client, socket } = connected(["ping"]);
    vi.advanceTimersByTime(20_000);
    expect(socket.ofType("ping")).toEqual([{ type: "ping", id: 1 }]);
    vi.advanceTimersByTime(30);
    socket.says({ type: "pong", id: 1 });
    expect(client.roundTripMs).toBeCloseTo(30, 0);
    vi.advanceTimersByTime(80_000);
    expect(FakeSocket.all.length).toBeGreaterThan(1);
    expect(socket.readyState).toBe(3);
  });

  test("never pings a server that did not offer it", () => {
    const { socket } = connected();
    vi.advanceTimersByTime(300_000);
    expect(socket.ofType("ping")).toEqual([]);
    expect(FakeSocket.all).toHaveLength(1);
  });
});

describe("a call", () => {
  test("cannot start without a connection, and says so", async () => {
    const { client, microphone } = connected();
    FakeSocket.last.drop();
    await client.startCall();
    expect(client.errorDetail?.code).toBe("not_connected");
    expect(microphone.started).toBe(0);
  });

  test("opens the microphone before it tells the server, so that the greeting is not spoken to a question", async () => {
    const { client, microphone, socket } = connected();
    let allow = () => {};
    microphone.gate = new Promise((done) => (allow = done));
    const starting = client.startCall();
    await vi.advanceTimersByTimeAsync(1_000);
    expect(client.callState).toBe("starting");
    expect(socket.types()).not.toContain("start_call");
    allow();
    await starting;
    expect(socket.ofType("start_call")).toEqual([{ type: "start_call" }]);
    expect(client.callState).toBe("active");
  });

  test("asks for a format, a language and engines where told to", async () => {
    const { socket } = await inCall([], { preferredFormat: "pcm16", callOptions: { language: "de", tts: "espeak" } });
    expect(socket.ofType("start_call")).toEqual([{ type: "start_call", preferred_format: "pcm16", language: "de", tts: "espeak" }]);
  });

  test.each([
    ["NotAllowedError", "microphone_denied"],
    ["NotFoundError", "microphone_missing"],
    ["NotReadableError", "microphone_busy"],
    ["SomethingElse", "microphone_failed"],
  ])("does not begin where the browser answers %s, and says what to do (%s)", async (name, code) => {
    const { client, microphone, socket } = connected();
    microphone.refuse = Object.assign(new Error("no"), { name });
    await client.startCall();
    expect(client.errorDetail?.code).toBe(code);
    expect(client.callState).toBe("none");
    expect(socket.types()).not.toContain("start_call");
    expect(FakeAudioContext.last?.state).toBe("closed");
  });

  test("that was ended while the microphone was asked for does not begin afterwards", async () => {
    const { client, microphone, socket } = connected();
    let allow = () => {};
    microphone.gate = new Promise((done) => (allow = done));
    const starting = client.startCall();
    client.endCall();
    allow();
    await starting;
    expect(socket.types()).not.toContain("start_call");
    expect(client.callState).toBe("none");
    expect(microphone.stopped).toBeGreaterThan(0);
  });

  test("sends what the microphone hears, in frames of the agreed length", async () => {
    const plain = await inCall();
    expect(plain.microphone.frameMs).toBe(100);
    const { microphone, socket } = await inCall(["frames-20ms"]);
    expect(microphone.frameMs).toBe(20);
    microphone.speaks();
    expect(socket.audio).toHaveLength(1);
    expect(socket.audio[0]?.byteLength).toBe(640);
  });

  test("sends nothing while muted, and ends the speech that muting cut off", async () => {
    const { client, microphone, socket } = await inCall();
    microphone.speaks(0.2);
    client.toggleMute();
    expect(microphone.muted).toBe(true);
    expect(socket.types().slice(-2)).toEqual(["start_of_speech", "end_of_speech"]);
    const before = socket.sent.length;
    for (let i = 0; i < 50; i++) microphone.speaks(0.2);
    vi.advanceTimersByTime(5_000);
    expect(socket.sent).toHaveLength(before);
    expect(client.audioLevel).toBe(0);
    client.toggleMute();
    microphone.speaks(0.2);
    expect(socket.audio).toHaveLength(2);
  });

  test("starts muted if it was muted before", async () => {
    const { client, microphone, socket } = connected();
    client.toggleMute();
    await client.startCall();
    microphone.speaks();
    expect(microphone.muted).toBe(true);
    expect(socket.audio).toHaveLength(0);
  });

  test("tells the server where speech begins and, half a second after it stopped, ends", async () => {
    const { microphone, socket } = await inCall();
    microphone.speaks(0.2);
    microphone.speaks(0.2);
    microphone.speaks(0.01);
    vi.advanceTimersByTime(499);
    expect(socket.types().at(-1)).toBe("start_of_speech");
    vi.advanceTimersByTime(1);
    expect(socket.types().at(-1)).toBe("end_of_speech");
  });

  test("drops audio rather than delivering it ever later when the network is too slow", async () => {
    const { microphone, socket } = await inCall();
    socket.bufferedAmount = 200_000;
    microphone.speaks();
    expect(socket.audio).toHaveLength(0);
    socket.bufferedAmount = 0;
    microphone.speaks();
    expect(socket.audio).toHaveLength(1);
  });

  test("ends on both sides when the person ends it", async () => {
    const { client, microphone, socket, context } = await inCall();
    socket.plays(second());
    client.endCall();
    expect(socket.types().at(-1)).toBe("end_call");
    expect(client.status).toBe("idle");
    expect(microphone.stopped).toBe(1);
    expect(context().state).toBe("closed");
    microphone.speaks();
    expect(socket.audio).toHaveLength(0);
  });

  test("does not mind the idle that a server sends before it has begun", async () => {
    const { client, socket } = connected();
    await client.startCall();
    socket.says({ type: "status", status: "idle" });
    expect(client.callState).toBe("active");
  });

  test("ends when the server rejects it, and keeps the reason in view", async () => {
    const { client, socket } = connected();
    await client.startCall();
    socket.says({ type: "error", message: "Voice call was rejected" }, { type: "status", status: "idle" });
    expect(client.callState).toBe("none");
    expect(client.error).toBe("Voice call was rejected");
  });

  test("lets the last words be heard when the server hangs up after them", async () => {
    const { client, microphone, socket, context } = await inCall();
    socket.says({ type: "status", status: "speaking" });
    socket.plays(second());
    socket.says({ type: "status", status: "idle" });
    expect(client.callState).toBe("ending");
    expect(microphone.stopped).toBe(1);
    context().advance(0.9);
    expect(context().state).toBe("running");
    context().advance(0.4);
    expect(client.callState).toBe("none");
    expect(context().state).toBe("closed");
  });

  test("can be followed by another while the last words of the one before still play", async () => {
    const { client, socket } = await inCall();
    socket.plays(second());
    socket.says({ type: "status", status: "idle" });
    await client.startCall();
    expect(client.callState).toBe("active");
    expect(socket.ofType("start_call")).toHaveLength(2);
  });

  test("takes another microphone in its stride, and keeps the old one where the new one fails", async () => {
    const { client, microphone } = await inCall();
    await client.setInputDevice("desk-mic");
    expect(microphone.device).toBe("desk-mic");
    microphone.refuse = Object.assign(new Error(), { name: "NotReadableError" });
    await client.setInputDevice("other");
    expect(microphone.device).toBe("desk-mic");
    expect(client.errorDetail?.code).toBe("microphone_busy");
  });

  test("falls back to the system's microphone when the chosen one is pulled out, and keeps saying so where there is none", async () => {
    const { client, microphone, socket } = await inCall([], { inputDeviceId: "headset" });
    microphone.device = "headset";
    microphone.onError?.({ code: "microphone_lost", message: "gone" });
    await vi.advanceTimersByTimeAsync(0);
    expect(microphone.device).toBeUndefined();
    expect(client.error).toBeNull();

    microphone.refuse = Object.assign(new Error(), { name: "NotFoundError" });
    microphone.onError?.({ code: "microphone_lost", message: "gone" });
    await vi.advanceTimersByTimeAsync(0);
    socket.says({ type: "status", status: "listening" });
    expect(client.error).toBe("gone");
    expect(client.callState).toBe("active");
  });

  test("plays on the chosen loudspeaker and says where that cannot be", async () => {
    const { client, context } = await inCall([], { outputDeviceId: "headset" });
    expect(context().sinkId).toBe("headset");
    await client.setOutputDevice("default");
    expect(context().sinkId).toBe("");
    context().setSinkId = () => Promise.reject(new Error("gone"));
    await client.setOutputDevice("gone");
    expect(client.outputDeviceError).toMatch(/could not be used/);
  });
});

describe("what is said", () => {
  test("grows with each piece and settles at the end", async () => {
    const { client, socket } = await inCall();
    socket.says({ type: "transcript_interim", text: "are you" });
    expect(client.interimTranscript).toBe("are you");
    socket.says({ type: "transcript_interim", text: "" }, { type: "transcript", role: "user", text: "Are you open?" });
    expect(client.interimTranscript).toBeNull();
    socket.says({ type: "transcript_start", role: "assistant" }, { type: "transcript_delta", text: "Yes, " }, { type: "transcript_delta", text: "we a" });
    expect(client.transcript.map((m) => [m.role, m.text, m.complete])).toEqual([
      ["user", "Are you open?", true],
      ["assistant", "Yes, we a", false],
    ]);
    socket.says({ type: "transcript_end", text: "Yes, we are." });
    expect(client.transcript.at(-1)).toMatchObject({ text: "Yes, we are.", complete: true });
  });

  test("keeps a reply together although the caller's words came in between", async () => {
    const { client, socket } = await inCall();
    socket.says(
      { type: "transcript_start", role: "assistant" },
      { type: "transcript_delta", text: "One " },
      { type: "transcript", role: "user", text: "mhm" },
      { type: "transcript_delta", text: "two" },
    );
    expect(client.transcript.map((m) => m.text)).toEqual(["One two", "mhm"]);
  });

  test("shows the part of a reply that was heard and the part that was not", async () => {
    const { client, socket } = await inCall(ALL_FEATURES);
    socket.says(
      { type: "transcript_start", role: "assistant", generation: 4 },
      { type: "transcript_end", text: "We open at nine and close at five." },
      { type: "transcript_heard", generation: 4, heard: "We open at nine", unheard: " and close at five." },
    );
    expect(client.transcript.at(-1)).toMatchObject({ heard: "We open at nine", unheard: " and close at five.", interrupted: true });
  });

  test("keeps no more messages than asked for", () => {
    const { client, socket } = connected([], { maxTranscriptMessages: 3 });
    for (const text of ["a", "b", "c", "d"]) socket.says({ type: "transcript", role: "user", text });
    expect(client.transcript.map((m) => m.text)).toEqual(["b", "c", "d"]);
  });

  test("can be typed", () => {
    const { client, socket } = connected();
    client.sendText("Hello");
    client.sendJSON({ type: "kick", who: 3 });
    expect(socket.json.slice(1)).toEqual([
      { type: "text_message", text: "Hello" },
      { type: "kick", who: 3 },
    ]);
  });

  test("reaches the application where it is none of ours, and harms nothing where it is nonsense", () => {
    const { client, socket } = connected();
    const seen: unknown[] = [];
    client.addEventListener("custommessage", (m) => seen.push(m));
    socket.says({ type: "weather", sky: "blue" }, { type: "status", status: "dancing" }, { type: "transcript", role: "user" });
    for (const raw of ["", "[]", "null", "{", '"x"', "7"]) socket.onmessage?.({ data: raw });
    expect(seen).toEqual([
      { type: "weather", sky: "blue" },
      { type: "status", status: "dancing" },
      { type: "transcript", role: "user" },
    ]);
    expect(client.status).toBe("idle");
  });

  test("comes with the server's figures and its errors in full", async () => {
    const { client, socket } = await inCall();
    const errors: unknown[] = [];
    client.addEventListener("voiceerror", (e) => errors.push(e));
    socket.says(
      { type: "metrics", llm_ms: 1, tts_ms: 2, first_audio_ms: 3, total_ms: 4 },
      { type: "turn_metrics", turnId: "t1", source: "speech", outcome: "completed", turnTotalMs: 900 },
      { type: "error", message: "Speech recognition stopped.", code: "stt_connection_lost", stage: "stt", retryable: true },
    );
    expect(client.metrics).toEqual({ llm_ms: 1, tts_ms: 2, first_audio_ms: 3, total_ms: 4 });
    expect(client.turnMetrics).toMatchObject({ turnId: "t1", turnTotalMs: 900 });
    expect(errors).toEqual([{ message: "Speech recognition stopped.", code: "stt_connection_lost", stage: "stt", retryable: true }]);
    socket.says({ type: "status", status: "listening" });
    expect(client.error).toBeNull();
  });

  test("is not lost on other listeners when one of them throws", () => {
    const { client, socket } = connected();
    const thrown: (() => void)[] = [];
    vi.spyOn(globalThis, "queueMicrotask").mockImplementation((run) => void thrown.push(run));
    const seen: unknown[] = [];
    client.addEventListener("statuschange", () => {
      throw new Error("the page's own mistake");
    });
    client.addEventListener("statuschange", (s) => seen.push(s));
    socket.says({ type: "status", status: "thinking" });
    expect(seen).toEqual(["thinking"]);
    expect(thrown).toHaveLength(1);
    expect(() => thrown[0]?.()).toThrow("the page's own mistake");
    vi.restoreAllMocks();
  });
});

describe("speaking over the agent", () => {
  test("stops a version 1 server after 200 ms, as its own client does", async () => {
    const { client, microphone, socket } = await inCall();
    socket.says({ type: "status", status: "speaking" }, { type: "transcript_start", role: "assistant" }, { type: "transcript_delta", text: "Well, " });
    socket.plays(second());
    microphone.speaks(0.2);
    expect(socket.types()).not.toContain("interrupt");
    microphone.speaks(0.2);
    expect(socket.ofType("interrupt")).toEqual([{ type: "interrupt" }]);
    expect(client.isPlaying).toBe(false);
    expect(client.transcript.at(-1)?.interrupted).toBe(true);
  });

  test("does not let a version 1 server's late audio be heard, but its next answer", async () => {
    const { client, socket, context } = await inCall();
    socket.says({ type: "status", status: "speaking" });
    socket.plays(second());
    client.interrupt();
    const scheduled = context().sources.length;
    socket.plays(second());
    expect(context().sources).toHaveLength(scheduled);
    socket.says({ type: "status", status: "listening" }, { type: "status", status: "thinking" }, { type: "status", status: "speaking" });
    socket.plays(second());
    expect(context().sources.length).toBeGreaterThan(scheduled);
  });

  test("is only a hint to a server that follows playback: the agent grows quiet, and loud again if nothing comes of it", async () => {
    const { client, microphone, socket, context } = await inCall(ALL_FEATURES);
    socket.says({ type: "audio_start", generation: 1 }, { type: "status", status: "speaking" });
    socket.plays(second());
    context().advance(0.3);
    microphone.speaks(0.2);
    microphone.speaks(0.2);
    expect(socket.types()).not.toContain("interrupt");
    expect(socket.ofType("barge_in_hint")).toEqual([{ type: "barge_in_hint", generation: 1, samples: 0.26 * 16_000, received: 16_000 }]);
    const loudness = () => context().gains.find((g) => g.gain.events.some(([kind]) => kind === "target"))?.gain.value;
    expect(loudness()).toBe(0.3);
    expect(client.isPlaying).toBe(true);
    vi.advanceTimersByTime(700);
    expect(loudness()).toBe(1);
  });

  test("pauses, resumes and interrupts as such a server says", async () => {
    const { client, socket, context } = await inCall(ALL_FEATURES);
    socket.says({ type: "audio_start", generation: 1 }, { type: "transcript_start", role: "assistant", generation: 1 });
    socket.plays(second());
    context().advance(0.24);
    socket.says({ type: "playback_pause" });
    expect(socket.ofType("playback").at(-1)).toMatchObject({ state: "paused", generation: 1, samples: 0.21 * 16_000 });
    context().advance(1);
    socket.says({ type: "playback_resume" });
    context().advance(0.24);
    socket.says({ type: "playback_interrupt" });
    const [stopped] = socket.ofType("playback").slice(-1);
    expect(stopped).toMatchObject({ state: "stopped", generation: 1 });
    expect(stopped?.["samples"]).toBeCloseTo((0.21 + 0.21) * 16_000, -1);
    expect(client.transcript.at(-1)?.interrupted).toBe(true);
    const scheduled = context().sources.length;
    socket.plays(second());
    expect(context().sources).toHaveLength(scheduled);
  });

  test("by a button tells the server how far the agent was heard", async () => {
    const { client, socket, context } = await inCall(ALL_FEATURES);
    socket.says({ type: "audio_start", generation: 9 });
    socket.plays(second());
    context().advance(0.54);
    client.interrupt();
    expect(socket.ofType("interrupt")).toEqual([{ type: "interrupt", generation: 9, samples: 8_160, received: 16_000 }]);
  });

  test("is nothing while the agent is silent", async () => {
    const { microphone, socket } = await inCall();
    for (let i = 0; i < 5; i++) microphone.speaks(0.3);
    expect(socket.types()).not.toContain("interrupt");
  });

  test("stops a version 1 server also when the caller's words come back as text", async () => {
    const { client, socket } = await inCall();
    socket.plays(second());
    socket.says({ type: "transcript", role: "user", text: "stop" });
    expect(client.isPlaying).toBe(false);
  });
});

describe("a dropped call", () => {
  async function dropped(features = ALL_FEATURES) {
    const rig = await inCall(features);
    rig.socket.says({ type: "audio_start", generation: 2 });
    rig.socket.plays(second());
    rig.context().advance(0.54);
    rig.socket.drop();
    expect(rig.client.callState).toBe("reconnecting");
    return { ...rig, resumed: [] as boolean[] };
  }

  function reopen(features = ALL_FEATURES): FakeSocket {
    vi.advanceTimersByTime(200);
    const socket = FakeSocket.last;
    socket.open();
    welcome(socket, features);
    return socket;
  }

  test("goes on with its token, telling what was heard and what arrived", async () => {
    const { client, microphone } = await dropped();
    const results: boolean[] = [];
    client.addEventListener("resumed", (same) => results.push(same));
    const socket = reopen();
    expect(socket.types()).toEqual(["hello", "resume_call"]);
    expect(socket.ofType("resume_call")).toEqual([
      { type: "resume_call", token: "first", heard: { generation: 2, samples: 8_000 }, received: { generation: 2, samples: 16_000 } },
    ]);
    expect(client.callState).toBe("reconnecting");
    socket.says({ type: "call_resumed", resume_token: "second" }, { type: "status", status: "speaking" });
    expect(client.callState).toBe("active");
    expect(results).toEqual([true]);
    expect(client.error).toBeNull();
    microphone.speaks();
    expect(socket.audio).toHaveLength(1);
    socket.drop();
    const third = reopen();
    expect(third.ofType("resume_call")[0]).toMatchObject({ token: "second" });
  });

  test("tells which reply was arriving, where that is later than the one being heard", async () => {
    const { client, socket: before, context } = await inCall(ALL_FEATURES);
    before.says({ type: "audio_start", generation: 1 });
    before.plays(second());
    before.says({ type: "audio_end", generation: 1 }, { type: "audio_start", generation: 2 });
    before.plays(second().slice(0, 3_200));
    context().advance(0.54);
    before.drop();
    expect(client.callState).toBe("reconnecting");
    const [wish] = reopen().ofType("resume_call");
    expect(wish).toMatchObject({ heard: { generation: 1, samples: 8_000 }, received: { generation: 2, samples: 3_200 } });
  });

  test("is interrupted after all where the person asked for it while the line was down", async () => {
    const { client } = await dropped();
    client.interrupt();
    const socket = reopen();
    socket.says({ type: "call_resumed", resume_token: "second" });
    expect(socket.ofType("interrupt")).toEqual([{ type: "interrupt", generation: 2, samples: 8_160, received: 16_000 }]);
  });

  test("brings along what was said meanwhile, two seconds of it and no more", async () => {
    const { microphone } = await dropped();
    for (let i = 0; i < 150; i++) microphone.speaks(0.2, i);
    const socket = reopen();
    expect(socket.audio).toHaveLength(0);
    socket.says({ type: "call_resumed", resume_token: "second" });
    expect(socket.audio).toHaveLength(100);
    expect(new Int16Array(socket.audio.at(-1) ?? new ArrayBuffer(2))[0]).toBe(149);
  });

  test("is started anew where the server has lost it, and where the server does not know of resuming", async () => {
    const { client, socket: before } = await dropped();
    const results: boolean[] = [];
    client.addEventListener("resumed", (same) => results.push(same));
    const socket = reopen();
    socket.says({ type: "call_resume_failed", reason: "unknown" });
    expect(socket.types()).toEqual(["hello", "resume_call", "start_call"]);
    expect(before.ofType("start_call")).toHaveLength(1);

    socket.drop();
    const older = reopen([]);
    expect(older.types()).toEqual(["hello", "start_call"]);
    expect(results).toEqual([false, false]);
    expect(client.callState).toBe("active");
  });

  test("is started anew where the server says nothing to the wish to resume", async () => {
    await dropped();
    const socket = reopen();
    vi.advanceTimersByTime(3_000);
    expect(socket.types().filter((type) => type !== "ping")).toEqual(["hello", "resume_call", "start_call"]);
  });

  test("ends after 30 seconds without a connection, and says so", async () => {
    const { client, microphone } = await dropped();
    for (let i = 0; i < 40; i++) {
      vi.advanceTimersByTime(1_000);
      if (FakeSocket.last.readyState === 0) FakeSocket.last.drop();
    }
    expect(client.callState).toBe("none");
    expect(microphone.stopped).toBe(1);
    const socket = await (async () => {
      while (FakeSocket.last.readyState !== 0) await vi.advanceTimersByTimeAsync(500);
      return FakeSocket.last;
    })();
    socket.open();
    welcome(socket, ALL_FEATURES);
    expect(socket.types()).toEqual(["hello"]);
  });

  test("does not come back after the person has ended it", async () => {
    const { client } = await dropped();
    client.endCall();
    const socket = reopen();
    expect(socket.types()).toEqual(["hello"]);
    expect(client.callState).toBe("none");
  });

  test("is noticed within 10 seconds although the network says nothing", async () => {
    const { client, socket } = await inCall(ALL_FEATURES);
    socket.readyState = 1;
    vi.advanceTimersByTime(10_000);
    expect(client.callState).toBe("reconnecting");
  });
});

describe("the pace of speech", () => {
  test("is asked for within limits, and again after a reconnect", async () => {
    const { client, socket } = await inCall(ALL_FEATURES);
    client.setPace(0.1);
    expect(socket.ofType("pace")).toEqual([{ type: "pace", rate: 0.5 }]);
    socket.drop();
    vi.advanceTimersByTime(200);
    FakeSocket.last.open();
    welcome(FakeSocket.last, ALL_FEATURES);
    expect(FakeSocket.last.ofType("pace")).toEqual([{ type: "pace", rate: 0.5 }]);
  });

  test("is not asked of a server that cannot change it", async () => {
    const { client, socket } = await inCall();
    client.setPace(0.8);
    expect(socket.types()).not.toContain("pace");
  });
});

describe("notices", () => {
  test("arrive with progress and a button, and the button is answered", () => {
    const { client, socket } = connected(ALL_FEATURES);
    const seen: unknown[] = [];
    client.addEventListener("notice", (n) => seen.push(n));
    socket.says({ type: "notice", id: "model", text: "No model.", level: "warning", action: { id: "pull", label: "Download" } });
    socket.says({ type: "notice", id: "model", text: "Downloading", progress: 7 });
    expect(seen).toEqual([
      { id: "model", text: "No model.", level: "warning", action: { id: "pull", label: "Download" } },
      { id: "model", text: "Downloading", level: "info", progress: 1 },
    ]);
    client.sendNoticeAction("pull");
    expect(socket.json.at(-1)).toEqual({ type: "notice_action", id: "pull" });
  });
});
