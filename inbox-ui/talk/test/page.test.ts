import { beforeEach, describe, expect, test } from "vitest";
import { Conversation } from "../src/conversation.js";
import { readPage } from "../src/page.js";
import type { TranscriptMessage } from "@frontdesk/client";

const at = (pathname: string, search = "") => ({ pathname, search });

describe("what the server wrote into the page", () => {
  test("is read from its meta elements", () => {
    document.head.innerHTML = `
      <meta name="frontdesk-agent" content="front-desk"><meta name="frontdesk-agent-name" content="Ms &quot;Desk&quot;">
      <meta name="frontdesk-about" content="Shop"><meta name="frontdesk-instance" content="i7"><meta name="frontdesk-token" content="secret">`;
    expect(readPage(document, at("/talk/other", "?token=x"))).toEqual({
      agent: "front-desk",
      name: 'Ms "Desk"',
      about: "Shop",
      instance: "i7",
      token: "secret",
    });
  });

  test("comes from the address where the server filled nothing in", () => {
    document.head.innerHTML = '<meta name="frontdesk-agent" content="__FRONTDESK_AGENT__"><meta name="frontdesk-token" content="__FRONTDESK_TOKEN__">';
    expect(readPage(document, at("/talk/caf%C3%A9_desk/", "?token=abc"))).toEqual({
      agent: "café_desk",
      name: "Café Desk",
      about: "",
      instance: "default",
      token: "abc",
    });
    expect(readPage(document, at("/talk/%E0%A4%A")).agent).toBe("%E0%A4%A");
  });
});

describe("the conversation", () => {
  let conversation: Conversation;
  const say = (id: number, role: "user" | "assistant", text: string, more: Partial<TranscriptMessage> = {}): TranscriptMessage => ({
    id,
    role,
    text,
    timestamp: 0,
    complete: true,
    ...more,
  });
  const shown = () => [...document.querySelectorAll("#messages li")].map((li) => li.textContent);

  beforeEach(() => {
    document.body.innerHTML = '<div id="scroll"><p id="empty"></p><ol id="messages"></ol></div>';
    conversation = new Conversation("Hello");
  });

  test("shows who said what, as text and never as markup", () => {
    conversation.show([say(1, "user", "<img src=x onerror=alert(1)>"), say(2, "assistant", "No.")]);
    expect(shown()).toEqual(["You<img src=x onerror=alert(1)>", "HelloNo."]);
    expect(document.querySelector("img")).toBeNull();
  });

  test("changes a growing reply in place, and takes away what is no longer kept", () => {
    conversation.show([say(1, "user", "Hi"), say(2, "assistant", "Good", { complete: false })]);
    const item = document.querySelectorAll("li")[1];
    conversation.show([say(2, "assistant", "Good day.")]);
    expect(document.querySelectorAll("li")[0]).toBe(item);
    expect(shown()).toEqual(["HelloGood day."]);
  });

  test("parts what was heard from what was not", () => {
    conversation.show([say(1, "assistant", "At nine, at noon.", { interrupted: true, heard: "At nine,", unheard: " at noon." })]);
    expect(document.querySelector("del")?.textContent).toBe(" at noon.");
    expect(shown()).toEqual(["HelloAt nine, at noon.Interrupted. The grey part was not heard."]);
  });

  test("keeps the words that are still being recognised last, and out of a screen reader's way", () => {
    conversation.showInterim("and on");
    conversation.show([say(1, "assistant", "Yes.")]);
    expect(shown()).toEqual(["HelloYes.", "Youand on …"]);
    expect(document.querySelector(".interim")?.getAttribute("aria-hidden")).toBe("true");
    conversation.showInterim(null);
    expect(shown()).toEqual(["HelloYes."]);
  });
});
