/** What tests do with a page in Chromium. */

import { mkdirSync } from "node:fs";
import { join } from "node:path";
import type { Page } from "playwright-core";
import { type Look, openPage, played, type Rig } from "../../talk/e2e/browser.js";
import { understand } from "./sphinx.js";

/** Opens a page of the real server. */
export async function visit(url: string, microphone: Int16Array, look: Look = {}): Promise<Rig> {
  return await openPage(url, microphone, { ...look, recordWords: true });
}

/** Which of these sentences the page has played. */
export async function heardFrom(page: Page, sentences: readonly string[]): Promise<string> {
  const { rate, samples } = await played(page);
  return await understand(samples, rate, sentences);
}

/** Set `SCREENSHOTS` to a folder to look at the page. */
export async function shoot(page: Page, name: string): Promise<void> {
  const folder = process.env["SCREENSHOTS"];
  if (!folder) return;
  mkdirSync(folder, { recursive: true });
  await page.screenshot({ path: join(folder, `${name}.png`), fullPage: true });
}
