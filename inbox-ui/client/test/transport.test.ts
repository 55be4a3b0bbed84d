import { describe, expect, test } from "vitest";
import { voiceUrl } from "../src/transport.js";

const https = { host: "desk.example", protocol: "https:" };
const local = { host: "localhost:8080", protocol: "http:" };

describe("the address of an agent", () => {
  test.each([
    [{ agent: "hello" }, https, "wss://desk.example/agents/hello/default"],
    [{ agent: "hello", name: "a/b c" }, local, "ws://localhost:8080/agents/hello/a%2Fb%20c"],
    [{ agent: "SupportDesk" }, https, "wss://desk.example/agents/support-desk/default"],
    [{ agent: "support_desk" }, https, "wss://desk.example/agents/support-desk/default"],
    [{ agent: "HELLO" }, https, "wss://desk.example/agents/hello/default"],
    [{ agent: "hello", host: "other.example" }, local, "wss://other.example/agents/hello/default"],
    [{ agent: "hello", host: "127.0.0.1:8080" }, https, "ws://127.0.0.1:8080/agents/hello/default"],
    [{ agent: "hello", host: "localhost.evil.example" }, https, "wss://localhost.evil.example/agents/hello/default"],
    [{ agent: "hello", host: "http://box:99/" }, https, "ws://box:99/agents/hello/default"],
    [{ agent: "hello", query: { token: "a&b", none: null, gone: undefined } }, https, "wss://desk.example/agents/hello/default?token=a%26b"],
    [{ agent: "hello", host: "desk.example" }, undefined, "wss://desk.example/agents/hello/default"],
  ])("of %o on a page at %o is %s", (options, page, url) => {
    expect(voiceUrl(options, page)).toBe(url);
  });
});
