/** The talk page in Chromium, in calls with the real server. */

import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import type { Look, Rig } from "../../talk/e2e/browser.js";
import { speech } from "../../talk/e2e/wav.mjs";
import { Ears } from "../src/ears.js";
import { heardFrom, shoot, visit } from "../src/page.js";
import { FrontdeskServer } from "../src/server.js";

const GREETING = "hello this is the shop";
const ANSWER = "yes i am listening please go on and hang up when you are done";
const OTHERS = ["no on sunday we are closed", "thank you your message will be passed on goodbye"];
const STORY = "We open at nine in the morning. We close at noon. In the afternoon we open again at two. In the evening we close at six. On Sunday we are closed all day.";

const AGENTS = `
[[agent]]
name = "shop"
display_name = "The shop"
about = "Takes messages for the shop."
talk = "public"
greeting = "Hello, this is the shop."
stt = "openai:sphinx"
[[agent]]
name = "basic"
talk = "public"
greeting = ""
[[agent]]
name = "story"
talk = "public"
greeting = ${JSON.stringify(STORY)}
stt = "openai:sphinx"
`;

let ears: Ears;
let server: FrontdeskServer;
let rig: Rig;

beforeAll(async () => {
  ears = await Ears.open(["is anybody there", "goodbye", "are you open on saturday"]);
  server = await FrontdeskServer.start({ sentences: ["is anybody there", "are you open on saturday", "please wait"], ears: ears.base, agents: AGENTS });
});
afterEach(async () => await rig?.close());
afterAll(async () => {
  await server?.stop();
  await ears?.close();
});

async function talkTo(agent: string, sentence: string, look: Look = {}) {
  const microphone = sentence === "" ? new Int16Array() : speech(sentence).samples;
  rig = await visit(`${server.origin}/talk/${agent}`, microphone, look);
  await rig.page.getByText("Ready. Start a call, or write below.").waitFor();
  return rig.page;
}

describe("a call on the talk page", () => {
  test("hears a sentence and shows it", async () => {
    const page = await talkTo("basic", "Are you open on Saturday?");
    await page.getByRole("button", { name: "Start call" }).click();
    await page.locator("#messages li.user").getByText("are you open on saturday", { exact: true }).waitFor();
    await page.getByRole("button", { name: "End call" }).click();
    await page.getByText("Ready. Start a call, or write below.").waitFor();
    expect(await page.locator("#error").isHidden()).toBe(true);
    expect(rig.complaints).toEqual([]);
  });

  test("answers in speech that says what the page shows", async () => {
    const page = await talkTo("shop", "Is anybody there?");
    await page.getByRole("button", { name: "Start call" }).click();
    await page.locator("#messages li.user").getByText("is anybody there", { exact: true }).waitFor();
    await page.getByText("Yes, I am listening. Please go on, and hang up when you are done.").waitFor();
    await page.getByText("The shop is speaking.").waitFor();
    await page.getByText("The shop is listening. Speak now.").waitFor();
    // The greeting may have been talked over.
    expect(await heardFrom(page, [GREETING, ANSWER, ...OTHERS])).toContain(ANSWER);
    expect(await page.locator("#error").isHidden()).toBe(true);
    expect(rig.complaints).toEqual([]);
  });

  test("stops when it is talked over, and greys what was not heard", async () => {
    const page = await talkTo("story", "Are you open on Saturday?");
    await page.getByRole("button", { name: "Start call" }).click();
    await page.locator("#messages li.user").getByText("are you open on saturday", { exact: true }).waitFor();
    await page.locator("del").waitFor();
    const unheard = await page.locator("del").innerText();
    expect(unheard).toMatch(/On Sunday we are closed all day\.$/);
    const item = page.locator("#messages li", { has: page.locator("del") });
    expect(await item.locator("p").innerText()).toBe(STORY);
    expect(unheard.length).toBeLessThan(STORY.length);
    await item.getByText("Interrupted. The grey part was not heard.").waitFor();
    // Silence after what was heard: the story takes more than ten seconds.
    expect(await heardFrom(page, ["on sunday we are closed all day", "we open at nine in the morning"])).not.toContain("on sunday");
    await shoot(page, "talk-interrupted");
  });

  test("answers what is written: aloud in a call, in writing outside of one", async () => {
    const page = await talkTo("shop", "");
    await page.getByLabel("Write instead of speaking").fill("I have a question.");
    await page.keyboard.press("Enter");
    await page.locator("#messages").getByText(/^Thank you\. A person will read this\. Your reference is FD-\d+\.$/).waitFor();
    await page.locator("#messages li.user").getByText("I have a question.").waitFor();
    expect(await page.locator("#announcer").innerText()).toMatch(/^The shop: Thank you\./);

    await page.getByRole("button", { name: "Start call" }).click();
    await page.getByText("The shop is listening. Speak now.").waitFor();
    await page.getByLabel("Write instead of speaking").fill("goodbye");
    await page.keyboard.press("Enter");
    await page.locator("#messages").getByText("Thank you. Your message will be passed on. Goodbye.").waitFor();
    await page.getByText("Ready. Start a call, or write below.").waitFor();
    expect(await heardFrom(page, [GREETING, ANSWER, ...OTHERS])).toContain("goodbye");
    expect(rig.complaints).toEqual([]);
  });
});

describe("the talk page of the real server", () => {
  test.each([
    ["desktop-light", 1280, 800, false],
    ["desktop-dark", 1280, 800, true],
    ["phone-light", 360, 740, false],
    ["phone-dark", 360, 740, true],
  ])("fits its window: %s", async (name, width, height, dark) => {
    const page = await talkTo("shop", "Is anybody there?", { width, height, dark });
    await page.getByText("Takes messages for the shop.").waitFor();
    await page.getByRole("button", { name: "Start call" }).click();
    await page.getByText("Yes, I am listening.").waitFor();
    await shoot(page, `talk-${name}`);
    expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(width);
  });
});
