/**
 * What was said, as a list that grows.
 *
 * Text from outside is only ever set as text. Elements are kept and changed in place, so that a
 * selection or a screen reader's position survives the next word. Words that the agent had prepared but
 * the caller did not hear are grey.
 */

import type { TranscriptMessage } from "@frontdesk/client";
import { element } from "./page.js";

/** This close to the end counts as reading along. */
const AT_END_PX = 48;

export class Conversation {
  readonly #name: string;
  readonly #list = element<HTMLOListElement>("messages");
  readonly #scroll = element("scroll");
  readonly #empty = element("empty");
  readonly #shown = new Map<number, { item: HTMLLIElement; message: TranscriptMessage }>();
  #interim: HTMLLIElement | null = null;
  #readingAlong = true;

  constructor(name: string) {
    this.#name = name;
    // What opens above the list takes room from it: keep the newest words in view.
    new ResizeObserver(() => {
      if (this.#readingAlong) this.#toEnd();
    }).observe(this.#scroll);
    this.#scroll.addEventListener("scroll", () => {
      this.#readingAlong = this.#atEnd;
    });
  }

  show(messages: readonly TranscriptMessage[]): void {
    this.#keepEnd(() => {
      const wanted = new Set(messages.map((message) => message.id));
      for (const [id, { item }] of this.#shown) {
        if (wanted.has(id)) continue;
        item.remove();
        this.#shown.delete(id);
      }
      for (const message of messages) this.#showOne(message);
      this.#empty.hidden = messages.length > 0;
    });
  }

  /** What is being said and may still change; `null` takes it away. */
  showInterim(text: string | null): void {
    this.#keepEnd(() => {
      this.#interim?.remove();
      this.#interim = null;
      if (!text) return;
      this.#interim = this.#item("user");
      this.#interim.classList.add("interim");
      // Half-known words would be read out again and again.
      this.#interim.setAttribute("aria-hidden", "true");
      this.#interim.append(paragraph(`${text} …`));
      this.#list.append(this.#interim);
    });
  }

  #showOne(message: TranscriptMessage): void {
    const known = this.#shown.get(message.id);
    if (known?.message === message) return;
    const item = known?.item ?? this.#item(message.role);
    item.querySelector("p")?.remove();
    item.querySelector("small")?.remove();
    item.append(body(message));
    if (message.interrupted) item.append(note(Boolean(message.unheard)));
    if (!known) this.#list.insertBefore(item, this.#interim);
    this.#shown.set(message.id, { item, message });
  }

  #item(role: TranscriptMessage["role"]): HTMLLIElement {
    const item = document.createElement("li");
    item.className = role;
    const who = document.createElement("b");
    who.textContent = role === "user" ? "You" : this.#name;
    item.append(who);
    return item;
  }

  /** Stays at the end if the reader was there, and where they were if not. */
  #keepEnd(change: () => void): void {
    const atEnd = this.#atEnd;
    change();
    if (atEnd) this.#toEnd();
  }

  get #atEnd(): boolean {
    const { scrollHeight, scrollTop, clientHeight } = this.#scroll;
    return scrollHeight - scrollTop - clientHeight < AT_END_PX;
  }

  #toEnd(): void {
    this.#scroll.scrollTop = this.#scroll.scrollHeight;
    this.#readingAlong = true;
  }
}

function body(message: TranscriptMessage): HTMLParagraphElement {
  if (message.heard === undefined) {
    const text = paragraph(message.text);
    if (!message.complete) text.classList.add("growing");
    return text;
  }
  const text = paragraph(message.heard);
  if (message.unheard) {
    const rest = document.createElement("del");
    rest.textContent = message.unheard;
    text.append(rest);
  }
  return text;
}

function note(split: boolean): HTMLElement {
  const small = document.createElement("small");
  small.textContent = split ? "Interrupted. The grey part was not heard." : "Interrupted.";
  return small;
}

function paragraph(text: string): HTMLParagraphElement {
  const p = document.createElement("p");
  p.textContent = text;
  return p;
}
