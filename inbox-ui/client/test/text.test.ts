/** Text outside of calls, and what becomes of it when the connection drops. */

import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { VOICE_FEATURES } from "../src/index.js";
import { ALL_FEATURES, connected, FakeSocket, inCall, welcome } from "./fakes.js";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => {
  vi.useRealTimers();
  FakeSocket.all.length = 0;
});

const OLDER = ALL_FEATURES.filter((feature) => feature !== "resume-text");

const QUESTION = [
  { type: "status", status: "thinking", at: 1 },
  { type: "transcript", role: "user", text: "When do you open?", at: 2 },
];
const BEGINNING = [
  { type: "transcript_start", role: "assistant", at: 3 },
  { type: "transcript_delta", text: "We open ", at: 4 },
];
const REST = [
  { type: "transcript_delta", text: "at ", at: 5 },
  { type: "transcript_delta", text: "nine.", at: 6 },
];
const END = [
  { type: "transcript_end", text: "We open at nine.", at: 7 },
  { type: "status", status: "idle", at: 8 },
];

/** A reply of which only the beginning came before the connection dropped. */
function cut(features = ALL_FEATURES) {
  const rig = connected(features);
  rig.client.sendText("When do you open?");
  if (features.includes("resume-text")) rig.socket.says({ type: "text_started", resume_token: "first", resume_within_ms: 120_000 });
  rig.socket.says(...QUESTION, ...BEGINNING);
  rig.socket.drop();
  return rig;
}

/** The next connection, open; the server has said nothing yet. */
function connection(): FakeSocket {
  while (FakeSocket.last.readyState !== 0) vi.advanceTimersByTime(100);
  FakeSocket.last.open();
  return FakeSocket.last;
}

function reopen(features = ALL_FEATURES): FakeSocket {
  const socket = connection();
  welcome(socket, features);
  return socket;
}

const wish = (at: number, token = "first") => [{ type: "resume_text", token, at }];
const shown = (client: ReturnType<typeof cut>["client"]) => client.transcript.map((m) => m.text);

describe("a reply in text that a drop cut in the middle", () => {
  test("goes on after the last that arrived, and is shown once", () => {
    const { client } = cut();
    expect(client.transcript.at(-1)).toMatchObject({ text: "We open ", complete: false });
    const socket = reopen();
    expect(socket.types()).toEqual(["hello", "resume_text"]);
    expect(socket.ofType("resume_text")).toEqual(wish(4));
    socket.says({ type: "text_resumed" });
    expect(client.status).toBe("thinking");
    socket.says(...REST);
    expect(shown(client)).toEqual(["When do you open?", "We open at nine."]);
    socket.says(...END);
    expect(client.status).toBe("idle");
    expect(client.transcript).toHaveLength(2);
    const reply = client.transcript.at(-1);
    expect(reply).toMatchObject({ text: "We open at nine.", complete: true });
    expect(reply?.interrupted).toBeUndefined();
  });

  test("takes nothing twice that the server says again", () => {
    const { client } = cut();
    const socket = reopen();
    socket.says({ type: "text_resumed" }, ...QUESTION, ...BEGINNING, ...REST);
    socket.says(...REST, ...END);
    expect(shown(client)).toEqual(["When do you open?", "We open at nine."]);
  });

  test("goes on over one drop after another, each time from what arrived since", () => {
    const { client } = cut();
    const second = reopen();
    second.says({ type: "text_resumed" }, ...REST.slice(0, 1));
    second.drop();
    const third = connection();
    third.drop();
    const fourth = reopen();
    expect(fourth.ofType("resume_text")).toEqual(wish(5));
    fourth.says({ type: "text_resumed" }, ...REST.slice(1), ...END);
    expect(shown(client)).toEqual(["When do you open?", "We open at nine."]);
  });

  test("is not broken off later on, once it went on", () => {
    const { client } = cut();
    const socket = reopen();
    socket.says({ type: "text_resumed" });
    vi.advanceTimersByTime(20_000);
    for (let i = 0; i < 10; i++) {
      socket.says({ type: "pong", id: i });
      vi.advanceTimersByTime(20_000);
    }
    expect(FakeSocket.last).toBe(socket);
    socket.says(...REST, ...END);
    expect(client.transcript.at(-1)).toMatchObject({ text: "We open at nine." });
    expect(client.transcript.at(-1)?.interrupted).toBeUndefined();
  });

  test.each(["unknown", "gone", "busy"])("stays as it is, marked as cut off, where the server answers %s", (reason) => {
    const { client } = cut();
    const socket = reopen();
    expect(client.transcript.at(-1)?.complete).toBe(false);
    socket.says({ type: "text_resume_failed", reason });
    expect(client.transcript.at(-1)).toMatchObject({ text: "We open ", complete: true, interrupted: true });
    expect(client.transcript[0]?.interrupted).toBeUndefined();
    expect(client.status).toBe("idle");

    // The next words begin anew, with numbers of their own.
    client.sendText("And on Sunday?");
    socket.says({ type: "text_started", resume_token: "second", resume_within_ms: 120_000 });
    socket.says({ type: "status", status: "thinking", at: 1 }, { type: "transcript", role: "user", text: "And on Sunday?", at: 2 });
    expect(shown(client)).toEqual(["When do you open?", "We open ", "And on Sunday?"]);
    socket.drop();
    expect(reopen().ofType("resume_text")).toEqual(wish(2, "second"));
  });

  test("is taken for cut off when there is no connection for as long as the server keeps it", () => {
    const { client } = cut();
    const wait = (milliseconds: number) => {
      for (let waited = 0; waited < milliseconds; waited += 500) {
        if (FakeSocket.last.readyState === 0) FakeSocket.last.drop();
        vi.advanceTimersByTime(500);
      }
    };
    wait(119_500);
    expect(client.transcript.at(-1)).toMatchObject({ complete: false });
    wait(500);
    expect(client.transcript.at(-1)).toMatchObject({ text: "We open ", complete: true, interrupted: true });
    expect(reopen().types()).toEqual(["hello"]);
  });

  test("is taken for cut off where a server that can resume does not answer", () => {
    const { client } = cut();
    // Without pings, or the silence would be taken for a dead connection first.
    const socket = reopen(["resume-text"]);
    expect(socket.ofType("resume_text")).toEqual(wish(4));
    vi.advanceTimersByTime(120_000);
    expect(client.transcript.at(-1)).toMatchObject({ text: "We open ", complete: true, interrupted: true });
    socket.says({ type: "text_resumed" });
    expect(client.status).toBe("idle");
  });

  test("is cut off where the server that came back does not know of resuming", () => {
    const { client } = cut();
    const socket = reopen(OLDER);
    expect(socket.types()).toEqual(["hello"]);
    expect(client.transcript.at(-1)).toMatchObject({ text: "We open ", complete: true, interrupted: true });
    socket.drop();
    expect(reopen().types()).toEqual(["hello"]);
  });

  test("is cut off when the server does not let the page back, and when the page leaves", () => {
    const refused = connected(ALL_FEATURES);
    refused.socket.says({ type: "text_started", resume_token: "first" }, ...QUESTION, ...BEGINNING);
    refused.socket.drop(4403, "This link has expired.");
    expect(refused.client.transcript.at(-1)).toMatchObject({ complete: true, interrupted: true });

    const left = connected(ALL_FEATURES);
    left.socket.says({ type: "text_started", resume_token: "first" }, ...QUESTION, ...BEGINNING);
    left.client.disconnect();
    expect(left.client.transcript.at(-1)).toMatchObject({ complete: true, interrupted: true });
    left.client.connect();
    FakeSocket.last.open();
    welcome(FakeSocket.last, ALL_FEATURES);
    expect(FakeSocket.last.types()).toEqual(["hello"]);
  });
});

describe("text", () => {
  test("of which nothing came before the drop is asked for from its beginning", () => {
    const { client, socket: before } = connected(ALL_FEATURES);
    client.sendText("When do you open?");
    before.says({ type: "text_started", resume_token: "first", resume_within_ms: 120_000 });
    before.drop();
    const socket = reopen();
    expect(socket.ofType("resume_text")).toEqual(wish(0));
    socket.says({ type: "text_resumed" }, ...QUESTION, ...BEGINNING, ...REST, ...END);
    expect(shown(client)).toEqual(["When do you open?", "We open at nine."]);
  });

  test("that is complete is not marked, whatever becomes of the connection", () => {
    const { client, socket } = connected(ALL_FEATURES);
    socket.says({ type: "text_started", resume_token: "first" }, ...QUESTION, ...BEGINNING, ...REST, ...END);
    socket.drop();
    const again = reopen();
    expect(again.ofType("resume_text")).toEqual(wish(8));
    again.says({ type: "text_resume_failed", reason: "unknown" });
    expect(client.transcript.some((m) => m.interrupted)).toBe(false);
  });

  test("typed before the server's welcome waits, so that it does not begin another conversation", () => {
    const { client } = cut();
    const socket = connection();
    client.sendText("And on Sunday?");
    expect(socket.types()).toEqual(["hello"]);
    socket.drop();
    const next = connection();
    client.sendText("And on Monday?");
    welcome(next, ALL_FEATURES);
    expect(next.json.slice(1)).toEqual([
      ...wish(4),
      { type: "text_message", text: "And on Sunday?" },
      { type: "text_message", text: "And on Monday?" },
    ]);
    next.says({ type: "text_resumed" });
    client.sendText("And on Tuesday?");
    expect(next.json.at(-1)).toEqual({ type: "text_message", text: "And on Tuesday?" });
    expect(next.ofType("text_message")).toHaveLength(3);
  });

  test("typed before the welcome of a server that cannot resume is sent after it", () => {
    const { client } = cut();
    const socket = connection();
    client.sendText("And on Sunday?");
    welcome(socket, OLDER);
    expect(socket.json.slice(1)).toEqual([{ type: "text_message", text: "And on Sunday?" }]);
  });

  test("that begins anew leaves an unfinished reply behind as cut off", () => {
    const { client, socket } = connected(ALL_FEATURES);
    socket.says({ type: "text_started", resume_token: "first" }, ...QUESTION, ...BEGINNING);
    socket.says({ type: "text_started", resume_token: "second" }, ...QUESTION);
    expect(client.transcript.map((m) => [m.text, m.interrupted])).toEqual([
      ["When do you open?", undefined],
      ["We open ", true],
      ["When do you open?", undefined],
    ]);
  });

  test("tells its errors without the number", () => {
    const { client, socket } = connected(ALL_FEATURES);
    socket.says({ type: "text_started", resume_token: "first" }, { type: "error", message: "The agent could not answer.", at: 1 });
    expect(client.errorDetail).toEqual({ message: "The agent could not answer." });
  });

  test("of a server that does not go on with it is as before, and its unfinished reply is cut off", () => {
    const { client } = cut(OLDER);
    expect(client.transcript.at(-1)).toMatchObject({ text: "We open ", complete: true, interrupted: true });
    const socket = connection();
    client.sendText("And on Sunday?");
    welcome(socket, OLDER);
    expect(socket.types()).toEqual(["hello", "text_message"]);
    // Numbers mean nothing there.
    socket.says({ type: "transcript_start", at: 1 }, { type: "transcript_end", text: "Closed.", at: 1 });
    expect(shown(client)).toEqual(["When do you open?", "We open ", "Closed."]);
  });

  test("is not asked for where the page does not offer it", () => {
    const { client, socket } = connected(ALL_FEATURES, { features: VOICE_FEATURES.filter((feature) => feature !== "resume-text") });
    expect(client.features).not.toContain("resume-text");
    socket.says(...QUESTION, ...BEGINNING);
    socket.drop();
    expect(reopen().types()).toEqual(["hello"]);
  });
});

describe("text that goes on during a call", () => {
  test("neither ends the call nor mixes with what is said in it", async () => {
    const { client, socket } = connected(ALL_FEATURES);
    socket.says({ type: "text_started", resume_token: "first" }, ...QUESTION, ...BEGINNING);
    await client.startCall();
    socket.says({ type: "call_started", resume_token: "call", resume_within_ms: 30_000 }, { type: "status", status: "listening" });
    socket.says({ type: "transcript_start", role: "assistant", generation: 1 }, { type: "transcript_delta", text: "Hello " });
    socket.says(...REST, ...END, { type: "transcript_delta", text: "there." });
    expect(client.callState).toBe("active");
    expect(client.status).toBe("listening");
    expect(shown(client)).toEqual(["When do you open?", "We open at nine.", "Hello there."]);
  });

  test("takes neither the caller's words nor the agent's voice for its own", async () => {
    const { client, socket } = await inCall(["resume-text"]);
    socket.says({ type: "text_started", resume_token: "first" }, { type: "transcript_interim", text: "are you" });
    socket.plays(new Int16Array(16_000).fill(100));
    socket.says(...QUESTION);
    expect(client.interimTranscript).toBe("are you");
    expect(client.isPlaying).toBe(true);
  });

  test("comes back after a drop beside the call", async () => {
    const { client, socket: before } = await inCall(ALL_FEATURES);
    before.says({ type: "text_started", resume_token: "first" }, ...QUESTION, ...BEGINNING);
    before.says({ type: "transcript_start", role: "assistant", generation: 1 }, { type: "transcript_delta", text: "Hello " });
    before.drop();
    const socket = reopen();
    expect(socket.types()).toEqual(["hello", "resume_call", "resume_text"]);
    socket.says({ type: "call_resumed", resume_token: "second" }, { type: "status", status: "speaking" });
    socket.says({ type: "text_resumed" }, ...REST, ...END, { type: "transcript_delta", text: "there." });
    expect(client.callState).toBe("active");
    expect(client.status).toBe("speaking");
    expect(shown(client)).toEqual(["When do you open?", "We open at nine.", "Hello there."]);
  });
});
