import { describe as group, expect, test } from "vitest";
import { announcement, describe, figures, type Situation } from "../src/words.js";

const ready: Situation = { name: "Hello", connected: true, down: false, refused: false, callState: "none", status: "idle", playing: false, muted: false };
const call: Situation = { ...ready, callState: "active", status: "listening" };

group("the status line", () => {
  test.each<[Partial<Situation>, string]>([
    [{}, "Ready. Start a call, or write below."],
    [{ connected: false }, "Connecting…"],
    [{ connected: false, down: true }, "No connection to the server. Trying again…"],
    [{ connected: false, refused: true }, "Not connected."],
    [{ callState: "starting" }, "Asking for the microphone…"],
    [{ callState: "active", status: "idle" }, "The call is starting…"],
    [{ callState: "active", status: "listening" }, "Hello is listening. Speak now."],
    [{ callState: "active", status: "listening", muted: true }, "You are muted. Nothing is sent."],
    [{ callState: "active", status: "thinking", muted: true }, "Hello is thinking…"],
    [{ callState: "active", status: "speaking" }, "Hello is speaking."],
    [{ callState: "active", status: "listening", playing: true, muted: true }, "Hello is speaking. You are muted."],
    [{ callState: "reconnecting", connected: false }, "Connection interrupted. Trying again…"],
    [{ callState: "ending" }, "Hello is ending the call."],
  ])("for %o says: %s", (change, text) => {
    expect(describe({ ...ready, ...change }).text).toBe(text);
  });
});

group("what is announced", () => {
  test.each<[string, Situation, Situation, string | null]>([
    ["a call's start", ready, call, "Call with Hello started."],
    ["a call's end", call, ready, "The call has ended."],
    ["a loss", call, { ...call, callState: "reconnecting" }, "The connection was interrupted. The call goes on as soon as it is back."],
    ["a return", { ...call, callState: "reconnecting" }, call, "The connection is back."],
    ["muting", call, { ...call, muted: true }, "You are muted."],
    ["the end of muting", { ...call, muted: true }, call, "You are no longer muted."],
    ["the first connection", { ...ready, connected: false }, ready, "Connected to Hello."],
    ["no change of who speaks, which is heard", call, { ...call, status: "speaking", playing: true }, null],
    ["nothing where the microphone was refused, which is an error of its own", { ...ready, callState: "starting" }, ready, null],
  ])("is %s", (_, before, now, words) => {
    expect(announcement(before, now)).toBe(words);
  });
});

test("figures leave out what is not known", () => {
  expect(figures(840, 31.6)).toBe("Last answer after 0.8 s · network 32 ms");
  expect(figures(0, null)).toBe("");
});
