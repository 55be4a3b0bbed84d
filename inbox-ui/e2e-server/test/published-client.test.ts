/** The published client, as it is on npm, in a call with the real server. */

import { VoiceClient, type VoiceStatus } from "agents/voice/client";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import WebSocket from "ws";
import { padded, speech } from "../../talk/e2e/wav.mjs";
import { Ears } from "../src/ears.js";
import { Loudspeaker, Microphone } from "../src/fake-audio.js";
import { FrontdeskServer } from "../src/server.js";
import { understand } from "../src/sphinx.js";

const QUESTION = "is anybody there";
const GREETING = "hello this is the shop";
const ANSWER = "yes i am listening please go on and hang up when you are done";
const OTHERS = ["no on sunday we are closed", "thank you your message will be passed on goodbye"];

const AGENTS = `
[[agent]]
name = "shop"
talk = "public"
greeting = "Hello, this is the shop."
stt = "openai:sphinx"
[[agent]]
name = "basic"
talk = "public"
greeting = ""
[[agent]]
name = "closed"
talk = "off"
[[agent]]
name = "office"
talk = "staff"
[[agent]]
name = "hoarse"
talk = "public"
tts = "espeak:en"
`;

let ears: Ears;
let server: FrontdeskServer;
let caller: Caller;

beforeAll(async () => {
  // Node 20 has none of its own.
  Object.assign(globalThis, { WebSocket });
  ears = await Ears.open([QUESTION, "goodbye", "are you open on saturday"]);
  const missing = 'espeak = "/nonexistent/espeak-ng"\n';
  server = await FrontdeskServer.start({ sentences: [QUESTION, "are you open on saturday", "please wait"], ears: ears.base, voice: missing, agents: AGENTS });
});
afterEach(() => caller.client.disconnect());
afterAll(async () => {
  await server?.stop();
  await ears?.close();
});

/** A client with a loudspeaker and a microphone of its own, and everything it was told. */
class Caller {
  readonly speaker = new Loudspeaker();
  readonly microphone = new Microphone();
  readonly client: VoiceClient;
  readonly statuses: VoiceStatus[] = [];
  readonly interims: string[] = [];
  readonly errors: string[] = [];
  readonly closes: { code?: number; reason?: string }[] = [];
  readonly custom: unknown[] = [];

  constructor(agent: string) {
    this.speaker.install();
    this.client = new VoiceClient({ agent, host: new URL(server.origin).host, audioInput: this.microphone });
    this.client.addEventListener("statuschange", (status) => this.statuses.push(status));
    this.client.addEventListener("interimtranscript", (text) => text && this.interims.push(text));
    this.client.addEventListener("voiceerror", (error) => this.errors.push(error.message));
    this.client.addEventListener("connectiondiagnostic", (event) => event.type === "close" && this.closes.push(event));
    this.client.addEventListener("custommessage", (message) => this.custom.push(message));
    this.client.connect();
  }

  /** What was said by one side, as the client shows it. */
  said(role: "user" | "assistant"): string[] {
    return this.client.transcript.filter((message) => message.role === role).map((message) => message.text);
  }

  /** The statuses since the last look, without repetitions. */
  order(): VoiceStatus[] {
    return this.statuses.splice(0).filter((status, i, all) => status !== all[i - 1]);
  }

  async until(what: string, condition: () => boolean): Promise<void> {
    try {
      await expect.poll(condition, { timeout: 30_000, interval: 20 }).toBe(true);
    } catch (error) {
      const seen = { statuses: this.statuses, transcript: this.client.transcript, errors: this.errors, closes: this.closes };
      throw new Error(`waited in vain until ${what}: ${JSON.stringify(seen)}\n${await server.log()}`, { cause: error });
    }
  }

  async call(): Promise<void> {
    await this.until("it is connected", () => this.client.connected && this.client.serverProtocolVersion !== null);
    await this.client.startCall();
  }

  /** Until the agent has been heard to its end. */
  async untilQuiet(): Promise<void> {
    await this.until("the agent has been heard", () => this.client.status === "listening" && this.speaker.played.length > 0 && !this.speaker.isPlaying);
  }

  /** What was played since the last look. */
  async heard(): Promise<string> {
    const words = await understand(this.speaker.samples, this.speaker.rate, [GREETING, ANSWER, "noted", ...OTHERS]);
    this.speaker.played.length = 0;
    return words;
  }
}

describe("a whole call of the published client", () => {
  test("is greeted, heard, answered in speech, and ended", async () => {
    caller = new Caller("shop");
    const { client, microphone } = caller;
    await caller.until("the server said welcome", () => client.serverProtocolVersion === 1 && client.status === "idle");
    await caller.call();
    await caller.untilQuiet();
    expect(client.audioFormat).toBe("pcm16");
    expect(client.sampleRate).toBe(caller.speaker.rate);
    expect(caller.said("assistant")).toEqual(["Hello, this is the shop."]);
    expect(await caller.heard()).toBe(GREETING);
    expect(caller.order()).toEqual(["idle", "thinking", "speaking", "listening"]);

    microphone.say(padded(speech("Is anybody there?").samples, 16_000));
    await caller.until("it is answered", () => caller.said("assistant").length === 2);
    await caller.untilQuiet();
    expect(ears.heard.at(-1)).toBe(QUESTION);
    expect(caller.said("user")).toEqual([QUESTION]);
    expect(caller.said("assistant")[1]).toBe("Yes, I am listening. Please go on, and hang up when you are done.");
    expect(await caller.heard()).toBe(ANSWER);
    expect(caller.order()).toEqual(["thinking", "speaking", "listening"]);
    expect(client.metrics?.first_audio_ms).toBeGreaterThan(0);
    expect(client.interimTranscript).toBeNull();

    client.endCall();
    await caller.until("it is over", () => client.status === "idle");
    expect(microphone.isOn).toBe(false);
    expect(caller.errors).toEqual([]);
    expect(caller.custom).toEqual([]);
  });

  test("shows what is being heard before it is final", async () => {
    caller = new Caller("basic");
    await caller.call();
    await caller.until("it listens", () => caller.client.status === "listening");
    caller.microphone.say(padded(speech("Are you open on Saturday?").samples, 16_000));
    await caller.until("it is heard", () => caller.said("user").length === 1);
    expect(caller.said("user")).toEqual(["are you open on saturday"]);
    expect(caller.interims.length).toBeGreaterThan(0);
    for (const interim of caller.interims) expect("are you open on saturday".split(" ")).toEqual(expect.arrayContaining(interim.split(" ")));
    expect(caller.client.interimTranscript).toBeNull();
  });

  test("stops the agent when its caller speaks over it", async () => {
    caller = new Caller("shop");
    await caller.call();
    await caller.untilQuiet();
    await caller.heard();
    caller.client.sendText("are you there");
    await caller.until("the agent speaks", () => caller.speaker.isPlaying);
    const spoken = speech("Are you open on Saturday?").samples;
    caller.microphone.say(spoken);
    await caller.until("it is quiet", () => !caller.speaker.isPlaying);
    await caller.until("it listens again", () => caller.client.status === "listening");
    const played = caller.speaker.samples.length / caller.speaker.rate;
    const whole = speech("Yes, I am listening. Please go on, and hang up when you are done.");
    expect(played).toBeLessThan(whole.samples.length / whole.rate - 1);
    await caller.until("what was said over it is heard", () => caller.said("user").length === 2);
    expect(caller.said("user")).toEqual(["are you there", "are you open on saturday"]);
    expect(caller.client.connected).toBe(true);
  });

  test("speaks the answer to a text in a call, and only writes it outside of one", async () => {
    caller = new Caller("shop");
    const { client } = caller;
    await caller.until("it is connected", () => client.connected && client.status === "idle");
    client.sendText("I have a question.");
    await caller.until("it is answered", () => caller.said("assistant").length === 1 && client.status === "idle");
    expect(caller.said("user")).toEqual(["I have a question."]);
    expect(caller.said("assistant")[0]).toMatch(/^Thank you\. A person will read this\. Your reference is FD-\d+\.$/);
    expect(caller.order()).toEqual(["idle", "thinking", "idle"]);
    expect(client.audioFormat).toBeNull();
    expect(caller.speaker.played).toEqual([]);

    await caller.call();
    await caller.untilQuiet();
    await caller.heard();
    client.sendText("I am calling about my order.");
    await caller.until("it is answered", () => caller.said("assistant").at(-1) === "Noted.");
    await caller.untilQuiet();
    expect(caller.said("user").at(-1)).toBe("I am calling about my order.");
    expect(await caller.heard()).toBe("noted");
  });

  test("is ended by the agent after its farewell", async () => {
    caller = new Caller("shop");
    await caller.call();
    await caller.untilQuiet();
    await caller.heard();
    caller.client.sendText("goodbye");
    await caller.until("the agent hung up", () => caller.client.status === "idle");
    expect(caller.said("assistant").at(-1)).toBe("Thank you. Your message will be passed on. Goodbye.");
    expect(caller.microphone.isOn).toBe(false);
    expect(caller.errors).toEqual([]);
  });
});

describe("a call that cannot be", () => {
  test.each([
    ["closed", 4404, "There is nobody here by that name."],
    ["nobody", 4404, "There is nobody here by that name."],
    ["office", 4401, "Please sign in first, or use the link you were given."],
  ])("is rejected with its reason: %s", async (agent, code, reason) => {
    caller = new Caller(agent);
    await caller.until("it is rejected", () => caller.closes.length > 0);
    expect(caller.closes[0]).toMatchObject({ code, reason, wasClean: true });
    expect(caller.client.serverProtocolVersion).toBeNull();
  });

  test("fails with its reason where nothing can speak, and leaves text", async () => {
    caller = new Caller("hoarse");
    await caller.call();
    await caller.until("it failed", () => caller.errors.length > 0 && caller.client.status === "idle" && !caller.microphone.isOn);
    expect(caller.errors[0]).toMatch(/hoarse cannot speak: .*espeak/i);
    expect(caller.client.audioFormat).toBeNull();
    caller.client.sendText("Hello?");
    await caller.until("text is answered", () => caller.said("assistant").length === 1);
    // Nothing is left of the attempt: another one gets the same answer, not that a call is under way.
    await caller.client.startCall();
    await caller.until("it failed again", () => caller.errors.length > 1);
    expect(caller.errors[1]).toBe(caller.errors[0]);
  });
});
