/** Speech turned back into words by PocketSphinx, among a few sentences that it may be. */

import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { Resampler } from "../../client/src/resampler.js";
import { toFloat } from "../../talk/e2e/compare.js";
import { writeWav } from "../../talk/e2e/wav.mjs";

/** What PocketSphinx's acoustic model takes. */
const RATE = 16_000;

const run = promisify(execFile);

/**
 * Which of these sentences was said; empty where it was none of them. Lower case, words only. The sentences
 * should hold some that were not said, or hearing the right one shows little.
 */
export async function understand(samples: Float32Array, rate: number, sentences: readonly string[]): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "heard-"));
  try {
    const [sound, grammar] = [join(folder, "sound.wav"), join(folder, "sentences.gram")];
    await writeFile(sound, writeWav(at16k(samples, rate), RATE));
    await writeFile(grammar, `#JSGF V1.0;\ngrammar sentences;\npublic <said> = ${sentences.join(" | ")};\n`);
    const { stdout } = await run("pocketsphinx_continuous", ["-infile", sound, "-jsgf", grammar, "-logfn", "/dev/null"]);
    // One line for each stretch between pauses.
    return stdout.split("\n").map((line) => line.trim()).filter(Boolean).join(" ");
  } catch (error) {
    throw new Error("PocketSphinx could not be run: apt install pocketsphinx pocketsphinx-en-us", { cause: error });
  } finally {
    await rm(folder, { recursive: true });
  }
}

/** 16 bit at 16 kHz. */
function at16k(samples: Float32Array, rate: number): Int16Array {
  const resampler = new Resampler(rate, RATE);
  const parts = rate === RATE ? [samples] : [resampler.process(samples).slice(), resampler.flush().slice()];
  return Int16Array.from(parts.flatMap((part) => Array.from(part, (s) => Math.round(Math.max(-1, Math.min(1, s)) * 32_767))));
}

/** 16 kHz sound as it is in a WAV file. */
export async function understandPcm(samples: Int16Array, sentences: readonly string[]): Promise<string> {
  return await understand(toFloat(samples), RATE, sentences);
}

/**
 * How the words of these sentences sound, of all that the system's dictionary has. With the whole of it a small
 * language model takes seconds to load, and on a busy machine longer than a caller waits.
 */
export async function soundsOf(sentences: readonly string[]): Promise<string> {
  const words = new Set(sentences.flatMap((sentence) => sentence.split(" ")));
  const whole = await readFile("/usr/share/pocketsphinx/model/en-us/cmudict-en-us.dict", "utf8");
  const lines = whole.split("\n").filter((line) => words.has(line.split(/[ (]/, 1)[0] ?? ""));
  return `${lines.join("\n")}\n`;
}

/** An ARPA language model of these sentences, for a server that is to hear no others. */
export function languageModel(sentences: readonly string[]): string {
  const split = sentences.map((sentence) => sentence.split(" "));
  const words = ["<s>", "</s>", ...new Set(split.flat())];
  const pairs = new Set(split.flatMap((sentence) => ["<s>", ...sentence].map((word, i) => `${word} ${sentence[i] ?? "</s>"}`)));
  return [
    "\\data\\",
    `ngram 1=${words.length}`,
    `ngram 2=${pairs.size}`,
    "\n\\1-grams:",
    ...words.map((word) => `-1.5\t${word}\t-2.0`),
    "\n\\2-grams:",
    ...[...pairs].sort().map((pair) => `-0.2\t${pair}`),
    "\n\\end\\\n",
  ].join("\n");
}
