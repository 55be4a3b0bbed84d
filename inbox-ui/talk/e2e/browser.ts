/** Chromium with a WAV file as microphone, and a recorder on what the page plays. */

import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type BrowserContext, chromium, type Page } from "playwright-core";
import { padded, writeWav } from "./wav.mjs";

export interface Rig {
  page: Page;
  /** Console errors, failed requests, and requests to other origins. */
  complaints: string[];
  close(): Promise<void>;
}

declare global {
  interface Window {
    __played: {
      rate: number;
      blocks: Float32Array[];
      /** Brings in what has not been read yet. */
      finish?: () => Promise<void>;
    };
  }
}

/** Served as `/talk/recorder.js`: keeps what passes, in pieces of about a tenth of a second. */
export const RECORDER = `
registerProcessor("recorder", class extends AudioWorkletProcessor {
  #block = new Float32Array(4096);
  #filled = 0;
  process([input]) {
    for (const sample of input[0] ?? new Float32Array(128)) {
      this.#block[this.#filled++] = sample;
      if (this.#filled < this.#block.length) continue;
      this.port.postMessage(this.#block.slice());
      this.#filled = 0;
    }
    return true;
  }
});
`;

export interface Look {
  width?: number;
  height?: number;
  dark?: boolean;
  /** The person does not allow the microphone. */
  deny?: boolean;
  insecureHost?: string;
  /**
   * The server does not hand out {@link RECORDER}, and its page may load nothing from elsewhere: what is played
   * is recorded by the browser's own recorder, which keeps the words and not every sample.
   */
  recordWords?: boolean;
}

/** Opens a page whose microphone says this once (16 kHz), with a second of silence on both sides. */
export async function openPage(url: string, microphone: Int16Array, options: Look = {}): Promise<Rig> {
  const folder = mkdtempSync(join(tmpdir(), "talk-"));
  const wav = join(folder, "microphone.wav");
  writeFileSync(wav, writeWav(padded(microphone, 16_000), 16_000));
  const context = await chromium.launchPersistentContext(join(folder, "profile"), {
    executablePath: process.env["CHROMIUM"] ?? "/usr/bin/chromium",
    headless: true,
    viewport: { width: options.width ?? 1280, height: options.height ?? 800 },
    colorScheme: options.dark ? "dark" : "light",
    permissions: options.deny ? [] : ["microphone"],
    args: [
      "--no-sandbox",
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
      "--autoplay-policy=no-user-gesture-required",
      "--use-fake-device-for-media-stream",
      // After its end the file is silence; looping would say everything again.
      `--use-file-for-fake-audio-capture=${wav}%noloop`,
      ...(options.insecureHost ? [`--host-resolver-rules=MAP ${options.insecureHost} 127.0.0.1`] : []),
      ...(options.deny ? ["--deny-permission-prompts"] : []),
    ],
  });
  await context.addInitScript(instrument, options.recordWords ?? false);
  const page = context.pages()[0] ?? (await context.newPage());
  const complaints = listen(page, new URL(url).origin);
  await page.goto(url);
  return { page, complaints, close: () => close(context, folder) };
}

/** Runs in the page, before its own code. */
function instrument(wordsOnly: boolean): void {
  // The correlation below needs the microphone's sound unchanged.
  const real = navigator.mediaDevices?.getUserMedia.bind(navigator.mediaDevices);
  if (real) {
    navigator.mediaDevices.getUserMedia = (constraints) =>
      real({ audio: { ...(constraints?.audio as object), echoCancellation: false, noiseSuppression: false, autoGainControl: false } });
  }
  // Whatever goes to a loudspeaker also goes to a recorder, on the audio thread so that nothing is lost.
  const played: Window["__played"] = { rate: 0, blocks: [] };
  window.__played = played;
  const recorders = new WeakMap<BaseAudioContext, Promise<AudioNode>>();
  const recordWords = (context: AudioContext): AudioNode => {
    const tap = context.createMediaStreamDestination();
    const recorder = new MediaRecorder(tap.stream);
    const parts: Blob[] = [];
    recorder.addEventListener("dataavailable", (event) => parts.push(event.data));
    const stopped = new Promise((resolve) => recorder.addEventListener("stop", resolve));
    recorder.start();
    played.finish = async () => {
      if (recorder.state !== "inactive") recorder.stop();
      await stopped;
      const sound = await new OfflineAudioContext(1, 1, 48_000).decodeAudioData(await new Blob(parts).arrayBuffer());
      played.rate = sound.sampleRate;
      played.blocks = [sound.getChannelData(0).slice()];
    };
    return tap;
  };
  const record = async (context: AudioContext): Promise<AudioNode> => {
    if (wordsOnly) return recordWords(context);
    await context.audioWorklet.addModule("/talk/recorder.js");
    const recorder = new AudioWorkletNode(context, "recorder");
    recorder.port.onmessage = (event: MessageEvent<Float32Array>) => played.blocks.push(event.data);
    played.rate = context.sampleRate;
    connect.call(recorder, context.destination);
    return recorder;
  };
  const connect = AudioNode.prototype.connect as (this: AudioNode, to: AudioNode | AudioParam, ...rest: number[]) => AudioNode;
  const patched = function (this: AudioNode, to: AudioNode | AudioParam, ...rest: number[]) {
    if (to instanceof AudioDestinationNode && this instanceof GainNode) {
      const recorder = recorders.get(to.context) ?? record(to.context as AudioContext);
      recorders.set(to.context, recorder);
      void recorder.then((node) => connect.call(this, node));
    }
    return connect.call(this, to, ...rest);
  };
  AudioNode.prototype.connect = patched as typeof AudioNode.prototype.connect;
}

/** What the page has played, as it was played. */
export async function played(page: Page): Promise<{ rate: number; samples: Float32Array }> {
  const { rate, base64 } = await page.evaluate(async () => {
    await window.__played.finish?.();
    const { rate, blocks } = window.__played;
    const bytes = new Uint8Array(blocks.reduce((sum, block) => sum + block.byteLength, 0));
    let at = 0;
    for (const block of blocks) {
      bytes.set(new Uint8Array(block.buffer), at);
      at += block.byteLength;
    }
    let text = "";
    for (let i = 0; i < bytes.length; i += 8192) text += String.fromCharCode(...bytes.subarray(i, i + 8192));
    return { rate, base64: btoa(text) };
  });
  return { rate, samples: new Float32Array(Uint8Array.from(Buffer.from(base64, "base64")).buffer) };
}

function listen(page: Page, origin: string): string[] {
  const complaints: string[] = [];
  page.on("console", (message) => {
    if (message.type() === "error" && !message.text().includes("WebSocket connection")) complaints.push(message.text());
  });
  page.on("pageerror", (error) => complaints.push(String(error)));
  page.on("request", (request) => {
    if (new URL(request.url()).origin !== origin) complaints.push(`asked ${request.url()}`);
  });
  page.on("response", (response) => {
    if (response.status() >= 400) complaints.push(`${response.status()} for ${response.url()}`);
  });
  return complaints;
}

async function close(context: BrowserContext, folder: string): Promise<void> {
  await context.close();
  rmSync(folder, { recursive: true, force: true });
}
