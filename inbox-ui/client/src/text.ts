/**
 * Text outside of calls whose connection drops: go on with it, or leave what was being written as it is.
 *
 * Always holds:
 * - a numbered message is taken once;
 * - after a loss exactly one of going on and `brokenOff` follows;
 * - words are not sent before it is known whether this connection goes on with the text, since they would
 *   begin another one.
 */

import type { VoiceStatus } from "./protocol.js";

export interface TextEvents {
  /** Ask the server for what came after the message of this number. */
  resume(token: string, at: number): void;
  /** No more comes of what was being written. */
  brokenOff(): void;
  send(words: string): void;
}

export class TextSession {
  readonly #events: TextEvents;
  #token: string | null = null;
  #withinMs = 0;
  /** The number of the last that arrived; 0 for none. */
  #at = 0;
  #status: VoiceStatus = "idle";
  /** `null` where nothing is lost. */
  #stage: "offline" | "greeting" | "asked" | null = null;
  #giveUp: ReturnType<typeof setTimeout> | undefined;
  /** Words for after the server's welcome. */
  #held: string[] = [];

  constructor(events: TextEvents) {
    this.#events = events;
  }

  /** The last status that the text had. */
  get status(): VoiceStatus {
    return this.#status;
  }

  /** A text began that this token gets back. Nothing more comes of one before it. */
  started(token: string, withinMs: number): void {
    this.end();
    this.#token = token;
    this.#withinMs = withinMs;
  }

  /** Whether the message of this number is new. */
  arrived(at: number): boolean {
    if (at <= this.#at) return false;
    this.#at = at;
    return true;
  }

  statusChanged(status: VoiceStatus): void {
    this.#status = status;
  }

  say(words: string): void {
    if (this.#stage === "greeting") this.#held.push(words);
    else this.#events.send(words);
  }

  lost(): void {
    if (this.#token === null) return;
    this.#stage = "offline";
    // Runs until the text goes on: a server that does not answer is no better than none.
    this.#giveUp ??= setTimeout(() => this.end(), this.#withinMs);
  }

  /** A connection is open again; the server's welcome says whether it resumes text. */
  opened(): void {
    if (this.#stage === "offline") this.#stage = "greeting";
  }

  welcomed(resumes: boolean): void {
    if (this.#stage !== "greeting") return;
    if (resumes && this.#token !== null) {
      this.#stage = "asked";
      this.#events.resume(this.#token, this.#at);
      this.#release();
    } else {
      this.end();
    }
  }

  /** The server goes on with the text. */
  resumed(): void {
    this.#settle();
  }

  /** The server does not go on with the text. */
  refused(): void {
    if (this.#stage === "asked") this.end();
  }

  /** There is no going on with the text. */
  end(): void {
    this.#settle();
    this.#token = null;
    this.#at = 0;
    this.#status = "idle";
    this.#events.brokenOff();
    this.#release();
  }

  #settle(): void {
    clearTimeout(this.#giveUp);
    this.#giveUp = undefined;
    this.#stage = null;
  }

  #release(): void {
    const held = this.#held;
    this.#held = [];
    for (const words of held) this.#events.send(words);
  }
}
