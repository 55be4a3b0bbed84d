/** Signing in with Chromium, and the talk page of people who work here. */

import type { Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import type { Look, Rig } from "../../talk/e2e/browser.js";
import { speech } from "../../talk/e2e/wav.mjs";
import { shoot, visit } from "../src/page.js";
import { FrontdeskServer } from "../src/server.js";

const AGENTS = `
[[agent]]
name = "office"
display_name = "The office"
talk = "staff"
greeting = ""
[[agent]]
name = "shop"
talk = "public"
[[agent]]
name = "closed"
talk = "off"
`;
const PASSWORD = "correct horse battery";

let server: FrontdeskServer;
let rig: Rig;

beforeAll(async () => {
  server = await FrontdeskServer.start({ sentences: ["are you open on saturday", "is anybody there", "please wait"], agents: AGENTS });
});
afterEach(async () => await rig?.close());
afterAll(async () => await server?.stop());

async function open(path: string, look: Look = {}): Promise<Page> {
  rig = await visit(new URL(path, server.origin).href, speech("Are you open on Saturday?").samples, look);
  return rig.page;
}

/** Sets the owner's password by a new link. */
async function choose(page: Page): Promise<void> {
  await page.getByLabel("New password").fill(PASSWORD);
  await page.keyboard.press("Enter");
}

async function signIn(page: Page, password = PASSWORD): Promise<void> {
  await page.getByLabel("Name or email address").fill("owner");
  await page.getByLabel("Password", { exact: true }).fill(password);
  await page.keyboard.press("Enter");
}

/** Complaints beyond those for answers that the test asked for. */
const unexpected = (statuses: number[]) => rig.complaints.filter((complaint) => !statuses.some((status) => complaint.includes(String(status))));

describe("the sign-in page", () => {
  test("lets the first owner in by the link that the server printed, once", async () => {
    const page = await open(server.signInLink);
    await page.getByRole("heading", { name: "Welcome, owner" }).waitFor();
    expect(page.url()).toBe(`${server.origin}/signin`);
    expect(await page.evaluate(() => document.activeElement?.id)).toBe("new-password");
    await page.getByLabel("New password").fill("short");
    await page.keyboard.press("Enter");
    await page.getByRole("alert").getByText("A password has 10 to 256 characters; this one has 5.").waitFor();
    await choose(page);
    await page.getByRole("heading", { name: "You are signed in" }).waitFor();
    expect(await page.evaluate(() => document.activeElement?.id)).toBe("title");
    expect(await page.getByRole("link").allInnerTexts()).toEqual(["The office", "shop"]);
    // Nothing of the token is left where going back would find it.
    expect(await page.evaluate(() => history.length)).toBeLessThanOrEqual(2);
    expect(unexpected([401])).toEqual([]);

    await page.getByRole("button", { name: "Sign out" }).click();
    await page.getByRole("heading", { name: "Sign in" }).waitFor();
    await page.goto("about:blank");
    await page.goto(server.signInLink);
    await page.getByRole("alert").getByText(/used already or has expired.*frontdesk users link NAME/).waitFor();
    expect(page.url()).toBe(`${server.origin}/signin`);
    await signIn(page);
    await page.getByRole("heading", { name: "You are signed in" }).waitFor();
  });

  test("brings staff back to the agent they wanted to talk to, and they are heard there", async () => {
    const page = await open("/talk/office");
    await page.getByRole("heading", { name: "Sign in" }).waitFor();
    expect(page.url()).toBe(`${server.origin}/signin?next=/talk/office`);
    await signIn(page);
    await page.getByRole("heading", { name: "Talk to The office" }).waitFor();
    await page.getByRole("button", { name: "Start call" }).click();
    await page.locator("#messages li.user").getByText("are you open on saturday", { exact: true }).waitFor();
    expect(unexpected([401])).toEqual([]);
  });

  test("goes to no other site", async () => {
    const page = await open(`/signin?next=${encodeURIComponent("//evil.example/")}`);
    await signIn(page);
    await page.getByRole("heading", { name: "You are signed in" }).waitFor();
    expect(new URL(page.url()).origin).toBe(server.origin);
    expect(unexpected([401])).toEqual([]);
  });

  test("takes a new link of somebody who is signed in", async () => {
    const page = await open("/signin");
    await signIn(page);
    await page.getByRole("heading", { name: "You are signed in" }).waitFor();
    await page.goto("about:blank");
    await page.goto(await server.link("owner"));
    await choose(page);
    await page.getByRole("heading", { name: "You are signed in" }).waitFor();
    expect(unexpected([401])).toEqual([]);
  });

  test("can be used by keyboard alone", async () => {
    const page = await open("/signin");
    await page.getByRole("heading", { name: "Sign in" }).waitFor();
    expect(await page.evaluate(() => document.activeElement?.id)).toBe("name");
    await page.keyboard.type("owner");
    await page.keyboard.press("Tab");
    await page.keyboard.type(PASSWORD);
    await page.keyboard.press("Tab");
    await page.keyboard.press("Enter");
    await page.getByRole("heading", { name: "You are signed in" }).waitFor();
    await page.keyboard.press("Tab");
    await page.keyboard.press("Enter");
    await page.getByRole("heading", { name: "Talk to The office" }).waitFor();
  });

  test.each([
    ["desktop-light", 1280, 800, false],
    ["desktop-dark", 1280, 800, true],
    ["phone-light", 360, 740, false],
    ["phone-dark", 360, 740, true],
  ])("fits its window: %s", async (name, width, height, dark) => {
    const narrow = () => page.evaluate(() => document.documentElement.scrollWidth);
    const page = await open(await server.link("owner"), { width, height, dark });
    await page.getByRole("heading", { name: "Welcome, owner" }).waitFor();
    await shoot(page, `choose-${name}`);
    expect(await narrow()).toBeLessThanOrEqual(width);
    await choose(page);
    await page.getByRole("link", { name: "The office" }).waitFor();
    await shoot(page, `inside-${name}`);
    expect(await narrow()).toBeLessThanOrEqual(width);
    await page.getByRole("button", { name: "Sign out" }).click();
    await page.getByRole("heading", { name: "Sign in" }).waitFor();
    await page.goto("about:blank");
    await page.goto(`${server.origin}/signin#used`);
    await page.getByRole("alert").getByText(/used already/).waitFor();
    await shoot(page, `signin-${name}`);
    expect(await narrow()).toBeLessThanOrEqual(width);
  });

  // The last: it makes the server slow to believe this account.
  test("says that a password is wrong, and after too many how long to wait", async () => {
    const page = await open("/signin");
    await signIn(page, "not the password");
    await page.getByRole("alert").getByText("This name and password do not belong together.").waitFor();
    expect(await page.evaluate(() => document.activeElement?.id)).toBe("password");
    const tooMany = page.getByRole("alert").getByText(/^Too many attempts\. Try again in \d+ seconds?\.$/);
    for (let attempts = 0; !(await tooMany.isVisible()); attempts++) {
      expect(attempts).toBeLessThan(20);
      const answered = page.waitForResponse((response) => response.url().endsWith("/api/v1/session") && response.request().method() === "POST");
      await signIn(page, "not the password");
      await answered;
      await page.getByRole("alert").waitFor();
    }
    expect(await page.getByRole("button", { name: "Sign in" }).isDisabled()).toBe(true);
    await page.getByText("You can try again now.").waitFor({ state: "attached" });
    expect(await page.getByRole("button", { name: "Sign in" }).isEnabled()).toBe(true);
    expect(unexpected([401, 429])).toEqual([]);
  });
});
