/** Things the server wants known, such as a speech model that is missing or being downloaded. */

import type { VoiceNotice } from "@frontdesk/client";
import { element } from "./page.js";

export class Notices {
  readonly #place = element("notices");
  readonly #shown = new Map<string, HTMLElement>();
  readonly #act: (id: string) => void;

  constructor(act: (id: string) => void) {
    this.#act = act;
  }

  show(notice: VoiceNotice): void {
    if (notice.done) {
      this.#shown.get(notice.id)?.remove();
      this.#shown.delete(notice.id);
      return;
    }
    const box = this.#shown.get(notice.id) ?? this.#place.appendChild(document.createElement("div"));
    this.#shown.set(notice.id, box);
    box.className = notice.level === "warning" ? "message warning" : "message";
    box.setAttribute("role", "status");
    const text = document.createElement("p");
    text.textContent = notice.text;
    box.replaceChildren(text);
    if (notice.progress !== undefined) box.append(bar(notice.progress, notice.text));
    if (notice.action) box.append(this.#button(notice.action));
  }

  #button({ id, label }: { id: string; label: string }): HTMLButtonElement {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = label;
    button.addEventListener("click", () => {
      button.disabled = true;
      this.#act(id);
    });
    return button;
  }
}

function bar(share: number, label: string): HTMLProgressElement {
  const progress = document.createElement("progress");
  progress.max = 1;
  progress.value = share;
  progress.setAttribute("aria-label", label);
  return progress;
}
