/**
 * What was said, in order, as the page shows it.
 *
 * Always holds: every change makes a new array, and a new object for the message that changed, so that
 * whoever compares by identity sees it; no more than `limit` messages are kept, the oldest go first; a
 * call's reply and one of text outside of calls do not mix, though they are written at the same time.
 */

import type { VoiceRole } from "./protocol.js";

export interface TranscriptMessage {
  role: VoiceRole;
  text: string;
  /** Milliseconds since 1970, this computer's clock. */
  timestamp: number;
  /** Different for every message of one client; stays when the text grows. */
  id: number;
  /** Whether the text can still grow. */
  complete: boolean;
  /** The server's number for this reply's speech, where it gives one. */
  generation?: number;
  /** The reply was cut off before its end. */
  interrupted?: boolean;
  /** Where the server knows how far the reply was heard: the part that was, and the part that was not. */
  heard?: string;
  unheard?: string;
}

/** Whose reply is being written: `text` is numbered text outside of calls, `call` everything else. */
export type ReplySource = "call" | "text";

export class Transcript {
  readonly #limit: number;
  #messages: TranscriptMessage[] = [];
  #nextId = 1;
  /** The replies that are being written. */
  readonly #open = new Map<ReplySource, number>();

  constructor(limit: number) {
    this.#limit = limit;
  }

  get messages(): TranscriptMessage[] {
    return this.#messages;
  }

  add(role: VoiceRole, text: string): void {
    this.#append({ role, text, complete: true });
  }

  start(source: ReplySource, role: VoiceRole, generation?: number): void {
    this.#close(source);
    this.#open.set(source, this.#append({ role, text: "", complete: false, ...(generation === undefined ? {} : { generation }) }));
  }

  delta(source: ReplySource, text: string): void {
    this.#change(this.#open.get(source), (message) => ({ ...message, text: message.text + text }));
  }

  end(source: ReplySource, text: string): void {
    this.#change(this.#open.get(source), (message) => ({ ...message, text }));
    this.#close(source);
  }

  /** No more comes of what is being written, though it is not all. Answers whether anything was. */
  breakOff(source: ReplySource): boolean {
    if (!this.#open.has(source)) return false;
    this.#change(this.#open.get(source), (message) => ({ ...message, interrupted: true }));
    this.#close(source);
    return true;
  }

  /** Marks the reply of this generation, or the newest reply, as cut off. */
  interrupt(generation?: number): void {
    const wanted = this.#messages.findLast((m) => m.role === "assistant" && (!generation || m.generation === undefined || m.generation === generation));
    if (wanted) this.#change(wanted.id, (message) => ({ ...message, interrupted: true }));
  }

  heard(generation: number, heard: string, unheard: string): void {
    const wanted = this.#messages.findLast((m) => m.generation === generation);
    if (wanted) this.#change(wanted.id, (message) => ({ ...message, heard, unheard, interrupted: unheard.trim() !== "" }));
  }

  #append(message: Omit<TranscriptMessage, "id" | "timestamp">): number {
    const id = this.#nextId++;
    this.#messages = [...this.#messages, { ...message, id, timestamp: Date.now() }].slice(-this.#limit);
    return id;
  }

  #close(source: ReplySource): void {
    this.#change(this.#open.get(source), (message) => ({ ...message, complete: true }));
    this.#open.delete(source);
  }

  #change(id: number | undefined, change: (message: TranscriptMessage) => TranscriptMessage): void {
    if (id === undefined || !this.#messages.some((m) => m.id === id)) return;
    this.#messages = this.#messages.map((m) => (m.id === id ? change(m) : m));
  }
}
