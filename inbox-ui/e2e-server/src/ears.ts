/**
 * A transcription server with OpenAI's API whose ears are PocketSphinx: what the real server gets from
 * there it takes for well heard, so that its agents answer it.
 */

import { once } from "node:events";
import { createServer, type IncomingMessage, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { readWav } from "../../talk/e2e/wav.mjs";
import { understandPcm } from "./sphinx.js";

export class Ears {
  /** What was heard, in order. */
  readonly heard: string[] = [];
  readonly #server: Server;

  private constructor(sentences: readonly string[]) {
    this.#server = createServer((request, response) => {
      void this.#transcribe(request, sentences).then(
        (text) => {
          this.heard.push(text);
          response.setHeader("Content-Type", "application/json").end(JSON.stringify({ text }));
        },
        (error: unknown) => response.writeHead(500).end(String(error)),
      );
    });
  }

  /** Hears these sentences and no others. */
  static async open(sentences: readonly string[]): Promise<Ears> {
    const ears = new Ears(sentences);
    ears.#server.listen(0, "127.0.0.1");
    await once(ears.#server, "listening");
    return ears;
  }

  get base(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/v1`;
  }

  async #transcribe(request: IncomingMessage, sentences: readonly string[]): Promise<string> {
    if (request.method !== "POST" || request.url !== "/v1/audio/transcriptions") throw new Error(`asked for ${request.method} ${request.url}`);
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const form = await new Response(Buffer.concat(chunks), { headers: { "Content-Type": request.headers["content-type"] ?? "" } }).formData();
    const file = form.get("file");
    if (!(file instanceof Blob)) throw new Error("there is no file in the form");
    return await understandPcm(readWav(Buffer.from(await file.arrayBuffer())).samples, sentences);
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, "close");
  }
}
