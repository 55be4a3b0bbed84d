import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeAll, describe, expect, test } from "vitest";
import { floatToPcm16 } from "../../client/src/pcm.js";
import { Resampler } from "../../client/src/resampler.js";
import { openPage, played, RECORDER, type Rig } from "./browser.js";
import { find, toFloat } from "./compare.js";
import { FakeDesk } from "./fake-desk.mjs";
import { speech } from "./wav.mjs";

const QUESTION = "Good morning. Are you open on Saturday?";
const ANSWER = "Yes. On Saturday we open at nine, and we close at noon. On Sunday we are closed all day.";

let question: Int16Array;
let answer: Int16Array;
let desk: FakeDesk;
let rig: Rig;

beforeAll(() => {
  question = speech(QUESTION).samples;
  answer = at(speech(ANSWER).samples, 22_050);
});
afterEach(async () => {
  await rig.close();
  await desk.close();
});

/** 16 kHz sound at the server's own rate. */
function at(samples: Int16Array, rate: number): Int16Array {
  const resampler = new Resampler(16_000, rate);
  const parts = [resampler.process(toFloat(samples)).slice(), resampler.flush().slice()];
  return Int16Array.from(parts.flatMap((part) => [...new Int16Array(floatToPcm16(part))]));
}

async function visit(options: ConstructorParameters<typeof FakeDesk>[0] = {}, look: Parameters<typeof openPage>[2] = {}) {
  desk = new FakeDesk({ about: "Answers questions about the shop. Calls are not recorded.", ...options });
  desk.files["/talk/recorder.js"] = RECORDER;
  const port = await desk.listen();
  rig = await openPage(`http://localhost:${port}/talk/hello`, question, look);
  return rig.page;
}

async function startCall() {
  await rig.page.getByRole("button", { name: "Start call" }).click();
  await rig.page.getByText("Hello is listening. Speak now.").waitFor();
}

async function until(what: string, condition: () => boolean, milliseconds = 15_000): Promise<void> {
  const end = Date.now() + milliseconds;
  while (!condition()) {
    if (Date.now() > end) throw new Error(`waited in vain until ${what}`);
    await rig.page.waitForTimeout(20);
  }
}

const lengthInSeconds = (samples: Int16Array, rate: number) => samples.length / rate;

describe("a call on the talk page", () => {
  test("brings the microphone to the server as 16 kHz in 20 ms frames, and the answer to the loudspeaker", async () => {
    const page = await visit();
    await startCall();
    await until("the question has arrived", () => desk.call.heard.length > question.length + 40_000);
    const heard = find(toFloat(question), 16_000, toFloat(desk.call.heard), 16_000);
    expect(heard.correlation).toBeGreaterThan(0.9);
    expect(new Set(desk.call.audio.map((frame) => frame.length))).toEqual(new Set([640]));

    desk.call.send({ type: "transcript", role: "user", text: QUESTION });
    desk.call.say(ANSWER, answer);
    await page.getByText("Hello is speaking.").waitFor();
    await until("the answer has been heard", () => desk.call.of("playback").some((m) => m["state"] === "finished"), 20_000);
    const finished = desk.call.of("playback").at(-1);
    expect(finished).toMatchObject({ generation: 1, samples: answer.length, received: answer.length });
    await page.getByText("Hello is listening. Speak now.").waitFor();

    const out = await played(page);
    const said = find(toFloat(answer), 22_050, out.samples, out.rate);
    expect(said.correlation).toBeGreaterThan(0.99);

    await page.getByRole("button", { name: "End call" }).click();
    await page.getByText("Ready. Start a call, or write below.").waitFor();
    expect(desk.call.ended).toBe(true);
    expect(rig.complaints).toEqual([]);
  });

  test("takes real time: as much audio arrives as time passes, not more or less", async () => {
    await visit();
    await startCall();
    await until("audio arrives", () => desk.call.heard.length > 0);
    const [samples, time] = [desk.call.heard.length, Date.now()];
    await rig.page.waitForTimeout(4_000);
    const rate = (desk.call.heard.length - samples) / ((Date.now() - time) / 1000);
    expect(Math.abs(rate - 16_000)).toBeLessThan(240);
  });

  test("stops the agent by Escape, and greys what was not heard", async () => {
    const page = await visit();
    await startCall();
    desk.call.say(ANSWER, answer);
    await until("two seconds were heard", () => (desk.call.of("playback").at(-1)?.["samples"] ?? 0) > 2 * 22_050);
    await page.keyboard.press("Escape");
    const pressed = Date.now();
    await until("the interrupt arrives", () => desk.call.of("interrupt").length > 0);
    expect(Date.now() - pressed).toBeLessThan(1_000);
    const [interrupt] = desk.call.of("interrupt");
    const seconds = (interrupt?.["samples"] ?? 0) / 22_050;
    expect(seconds).toBeGreaterThan(2);
    expect(seconds).toBeLessThan(lengthInSeconds(answer, 22_050) - 1);
    await page.locator("del").waitFor();
    const whole = await page.locator("#messages li.assistant p").innerText();
    expect(whole).toBe(ANSWER);
    expect(await page.locator("del").innerText()).not.toBe("");
    await page.getByText("Interrupted. The grey part was not heard.").waitFor();

    // Nothing of it is played afterwards: what was played is as long as what was reported.
    await page.waitForTimeout(1_000);
    const out = await played(page);
    const loud = out.samples.findLastIndex((s) => Math.abs(s) > 0.01) - out.samples.findIndex((s) => Math.abs(s) > 0.01);
    expect(loud / out.rate).toBeLessThan(seconds + 0.1);
  });

  test("pauses and goes on at the same word when the server says so", async () => {
    const page = await visit();
    await startCall();
    desk.call.say(ANSWER, answer);
    await until("one second was heard", () => (desk.call.of("playback").at(-1)?.["samples"] ?? 0) > 22_050);
    desk.call.send({ type: "playback_pause" });
    await until("it is paused", () => desk.call.of("playback").at(-1)?.["state"] === "paused");
    await page.waitForTimeout(700);
    desk.call.send({ type: "playback_resume" });
    await until("the answer has been heard", () => desk.call.of("playback").some((m) => m["state"] === "finished"), 20_000);
    expect(desk.call.of("playback").at(-1)?.["samples"]).toBe(answer.length);
  });

  test("sends nothing while muted", async () => {
    const page = await visit();
    await startCall();
    await until("audio arrives", () => desk.call.audio.length > 10);
    await page.getByRole("button", { name: "Mute" }).click();
    await page.getByText("You are muted. Nothing is sent.").waitFor();
    await page.waitForTimeout(300); // what was on its way
    const before = desk.call.audio.length;
    await page.waitForTimeout(1_500);
    expect(desk.call.audio.length).toBe(before);
    await page.getByRole("button", { name: "Unmute" }).click();
    await until("audio arrives again", () => desk.call.audio.length > before + 10);
  });

  test("goes on after the line was cut, without losing or repeating a sample of the answer", async () => {
    const page = await visit();
    await startCall();
    desk.call.say(ANSWER, answer);
    await until("two seconds were heard", () => (desk.call.of("playback").at(-1)?.["samples"] ?? 0) > 2 * 22_050);
    desk.accepting = false;
    desk.connections.at(-1)?.drop();
    await page.getByText("Connection interrupted. Trying again…").waitFor();
    await page.waitForTimeout(1_200);
    desk.accepting = true;
    await until("the call is resumed", () => desk.call.resumed === 1);
    await until("the answer has been heard", () => desk.call.of("playback").some((m) => m["state"] === "finished"), 20_000);
    expect(desk.calls).toHaveLength(1);
    expect(desk.call.of("playback").at(-1)).toMatchObject({ samples: answer.length, received: answer.length });
    const before = desk.call.audio.length;
    await until("audio arrives again", () => desk.call.audio.length > before + 10);
    expect(await page.locator("#error").isHidden()).toBe(true);
  });

  test("is started anew where the server cannot resume it", async () => {
    await visit();
    await startCall();
    desk.refuseResume = true;
    desk.connections.at(-1)?.drop();
    await until("there is a second call", () => desk.calls.length === 2);
    await rig.page.getByText("Hello is listening. Speak now.").waitFor();
  });

  test("works with a server of version 1 that offers nothing more", async () => {
    const page = await visit({ features: [] });
    await startCall();
    // Such a server leaves it to the page to notice that someone speaks: let the question pass.
    await until("the question has passed", () => desk.call.heard.length > question.length + 32_000);
    expect(new Set(desk.call.audio.map((frame) => frame.length))).toEqual(new Set([3200]));
    desk.call.say(ANSWER, answer);
    await page.getByText("Hello is speaking.").waitFor();
    await page.getByText("Hello is listening. Speak now.").waitFor({ timeout: 15_000 });
    const out = await played(page);
    expect(find(toFloat(answer), 22_050, out.samples, out.rate).correlation).toBeGreaterThan(0.98);
    expect(desk.call.of("playback")).toEqual([]);
    expect(await page.getByLabel("Speech").isHidden()).toBe(true);
  });
});

describe("speaking over the agent", () => {
  test("stops a server of version 1", async () => {
    const page = await visit({ features: [] });
    await startCall();
    desk.call.say(ANSWER, answer);
    await until("the interrupt arrives", () => desk.call.of("interrupt").length > 0);
    await page.getByText("Interrupted.", { exact: true }).waitFor();
    await page.getByText("Hello is listening. Speak now.").waitFor();
  });

  test("is told to a server that follows playback, which alone decides", async () => {
    await visit();
    await startCall();
    desk.call.say(ANSWER, answer);
    await until("the hint arrives", () => desk.call.of("barge_in_hint").length > 0);
    await until("the answer has been heard", () => desk.call.of("playback").some((m) => m["state"] === "finished"), 20_000);
    expect(desk.call.of("interrupt")).toEqual([]);
  });
});

describe("the talk page", () => {
  test("says what to do when the microphone is not allowed, and still takes writing", async () => {
    const page = await visit({}, { deny: true });
    await page.getByRole("button", { name: "Start call" }).click();
    await page.getByRole("alert").getByText(/The microphone was not allowed/).waitFor();
    expect(desk.calls).toHaveLength(0);
    await page.getByLabel("Write instead of speaking").fill("Are you open?");
    await page.keyboard.press("Enter");
    await until("the text arrives", () => desk.connections.at(-1)?.received.at(-1)?.["text"] === "Are you open?");
    desk.connections.at(-1)?.send({ type: "transcript", role: "assistant", text: "Yes <b>we</b> are." });
    await page.locator("#messages").getByText("Yes <b>we</b> are.").waitFor();
    expect(await page.locator("#announcer").innerText()).toBe("Hello: Yes <b>we</b> are.");
  });

  test("shows why the server will not talk, and does not try again", async () => {
    const page = await visit();
    await page.getByText("Ready. Start a call, or write below.").waitFor();
    desk.connections.at(-1)?.ws.close(4403, "This link has expired.");
    await page.getByRole("alert").getByText("This link has expired.").waitFor();
    await page.getByText("Not connected.").waitFor();
    await page.waitForTimeout(1_000);
    expect(desk.connections).toHaveLength(1);
    expect(await page.getByRole("button", { name: "Start call" }).isDisabled()).toBe(true);
  });

  test("can be used by keyboard alone, in the order of the page", async () => {
    const page = await visit();
    await page.getByText("Ready. Start a call, or write below.").waitFor();
    const order: string[] = [];
    for (let i = 0; i < 5; i++) {
      await page.keyboard.press("Tab");
      order.push(await page.evaluate(() => document.activeElement?.id || document.activeElement?.tagName.toLowerCase() || ""));
    }
    expect(order).toEqual(["start", "scroll", "text", "send", "summary"]);
    await page.locator("#start").focus();
    await page.keyboard.press("Enter");
    await page.getByText("Hello is listening. Speak now.").waitFor();
    expect(await page.evaluate(() => document.activeElement?.id)).toBe("end");
    await page.keyboard.press("Enter");
    await page.getByText("Ready. Start a call, or write below.").waitFor();
    expect(await page.evaluate(() => document.activeElement?.id)).toBe("start");
  });

  test("lists devices, asks for a slower pace, and passes on the button of a notice", async () => {
    const page = await visit();
    await startCall();
    await page.getByText("Sound settings").click();
    await expect.poll(() => page.getByLabel("Microphone", { exact: true }).locator("option").count()).toBeGreaterThan(1);
    await page.getByLabel("Speech").selectOption("0.85");
    await until("the pace arrives", () => desk.call.of("pace").at(-1)?.["rate"] === 0.85);
    desk.call.send({ type: "notice", id: "model", level: "warning", text: "No speech model is installed.", action: { id: "pull", label: "Download it" } });
    await page.getByRole("button", { name: "Download it" }).click();
    await until("the button arrives", () => desk.call.of("notice_action").at(-1)?.["id"] === "pull");
  });

  test("explains itself when it was not opened by HTTPS or localhost, and still takes writing", async () => {
    desk = new FakeDesk();
    const port = await desk.listen();
    // A name that is this machine, but that the browser does not know to be.
    rig = await openPage(`http://localhost:${port}/talk/hello`, question, { insecureHost: "desk.test", dark: true });
    const page = rig.page;
    await page.goto(`http://desk.test:${port}/talk/hello`);
    await page.getByRole("heading", { name: "Speaking is not possible in this page" }).waitFor();
    expect(await page.getByRole("button", { name: "Start call" }).count()).toBe(0);
    await page.getByText(/gives a microphone only to pages opened by HTTPS/).waitFor();
    await page.getByLabel("Write instead of speaking").fill("Hello?");
    await page.getByRole("button", { name: "Send" }).click();
    await until("the text arrives", () => desk.connections.at(-1)?.received.at(-1)?.["text"] === "Hello?");
    expect(await page.evaluate(contrastProblems)).toEqual([]);
    await shoot(page, "insecure");
  });

  test.each([
    ["desktop-light", 1280, 800, false],
    ["desktop-dark", 1280, 800, true],
    ["phone-light", 360, 740, false],
    ["phone-dark", 360, 740, true],
  ])("fits its window and has readable colours: %s", async (name, width, height, dark) => {
    const page = await visit({}, { width, height, dark });
    await page.getByText("Ready. Start a call, or write below.").waitFor();
    await shoot(page, `${name}-ready`);
    await startCall();
    const call = desk.call;
    call.send({ type: "transcript", role: "user", text: QUESTION });
    call.say(ANSWER, answer);
    await until("two seconds were heard", () => (call.of("playback").at(-1)?.["samples"] ?? 0) > 2 * 22_050);
    await page.keyboard.press("Escape");
    await page.locator("del").waitFor();
    call.send({ type: "transcript_interim", text: "and on the twenty-fourth of" });
    await page.getByText("and on the twenty-fourth of …").waitFor();
    await shoot(page, `${name}-interrupted`);
    call.send({ type: "transcript_interim", text: "" }, { type: "transcript", role: "user", text: "And on the twenty-fourth of December?" });
    call.say("Then we are open until two in the afternoon.", at(speech("Then we are open until two in the afternoon.").samples, 22_050));
    await page.getByText("Hello is speaking.").waitFor();
    await page.getByText("Sound settings").click();
    call.send({ type: "notice", id: "m", level: "warning", text: "The speech model is being downloaded.", progress: 0.4 });
    await page.locator("progress").waitFor();
    await shoot(page, `${name}-speaking`);
    desk.accepting = false;
    desk.connections.at(-1)?.drop();
    await page.getByText("Connection interrupted. Trying again…").waitFor();
    await shoot(page, `${name}-lost`);
    expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(width);
    expect(await page.evaluate(contrastProblems)).toEqual([]);
  });
});

/** Set `SCREENSHOTS` to a folder to look at the page. */
async function shoot(page: Rig["page"], name: string): Promise<void> {
  const folder = process.env["SCREENSHOTS"];
  if (!folder) return;
  mkdirSync(folder, { recursive: true });
  await page.screenshot({ path: join(folder, `${name}.png`), fullPage: true });
}

/** Runs in the page: text whose contrast with its ground is below 4.5 (WCAG 2.2, criterion 1.4.3). */
function contrastProblems(): string[] {
  const parse = (color: string) => (color.match(/[\d.]+/g) ?? []).map(Number);
  const luminance = ([r = 0, g = 0, b = 0]: number[]) => {
    const linear = [r, g, b].map((v) => (v / 255 <= 0.04045 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * (linear[0] ?? 0) + 0.7152 * (linear[1] ?? 0) + 0.0722 * (linear[2] ?? 0);
  };
  const ground = (from: Element | null): number[] => {
    for (let at = from; at; at = at.parentElement) {
      const color = parse(getComputedStyle(at).backgroundColor);
      if (color.length === 3 || (color[3] ?? 0) > 0) return color;
    }
    return [255, 255, 255];
  };
  const problems: string[] = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const parent = node.parentElement;
    if (!parent || !node.textContent?.trim() || !parent.checkVisibility() || parent.closest("button:disabled, option")) continue;
    const [a, b] = [luminance(parse(getComputedStyle(parent).color)), luminance(ground(parent))];
    const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (contrast < 4.5) problems.push(`${contrast.toFixed(2)}: ${node.textContent.trim()}`);
  }
  return problems;
}

