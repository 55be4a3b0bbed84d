import { afterEach, describe, expect, test, vi } from "vitest";
import * as api from "../src/signin/api.js";
import { destination, tokenOf } from "../src/signin/place.js";
import { explain, passwordProblem } from "../src/signin/words.js";

const here = { origin: "https://desk.example.org", pathname: "/signin" };
const next = (value: string) => destination(`?next=${encodeURIComponent(value)}`, here);

describe("the token of a link", () => {
  test.each([
    ["", ""],
    ["#", ""],
    ["#fd_abc-123", "fd_abc-123"],
    ["#%66d_a", "fd_a"],
    ["#100%", "100%"],
    ["# fd_a\n", "fd_a"],
  ])("behind the fragment %j is %j", (hash, token) => {
    expect(tokenOf(hash)).toBe(token);
  });
});

describe("where to go afterwards", () => {
  test.each([
    ["/talk/hello", "https://desk.example.org/talk/hello"],
    ["/talk/hello?a=b#c", "https://desk.example.org/talk/hello?a=b#c"],
    ["/", "https://desk.example.org/"],
    ["/signing", "https://desk.example.org/signing"],
    // Still here, because the whole address is gone to and not the path alone.
    ["/.//evil.example", "https://desk.example.org//evil.example"],
  ])("is %s of this origin", (path, url) => {
    expect(next(path)).toBe(url);
  });

  test.each([
    "",
    "talk/hello",
    "//evil.example",
    "///evil.example",
    "/\\evil.example",
    "\\\\evil.example",
    "/\t/evil.example",
    "/\n/evil.example",
    "\t//evil.example",
    " //evil.example",
    "https://evil.example/",
    "https:evil.example",
    "javascript:alert(1)",
    "data:text/html,x",
    "/signin",
    "/signin?next=/talk/hello",
    "/x/../signin",
  ])("is never %j", (path) => {
    expect(next(path)).toBeNull();
  });

  test("is nowhere without being asked for, and the first of two", () => {
    expect(destination("", here)).toBeNull();
    expect(destination("?other=/talk/hello", here)).toBeNull();
    expect(destination("?next=//evil.example&next=/talk/hello", here)).toBeNull();
  });
});

describe("a new password", () => {
  test("is counted in characters, as the server counts", () => {
    expect(passwordProblem("123456789")).toMatch("this one has 9");
    expect(passwordProblem("1234567890")).toBeNull();
    expect(passwordProblem("🦊".repeat(9))).toMatch("this one has 9");
    expect(passwordProblem("🦊".repeat(256))).toBeNull();
    expect(passwordProblem("🦊".repeat(257))).toMatch("this one has 257");
  });
});

describe("what went wrong", () => {
  test.each<[number, number | null, Parameters<typeof explain>[1], RegExp]>([
    [401, null, "sign in", /^This name and password do not belong together\.$/],
    [429, 8, "sign in", /Try again in 8 seconds\.$/],
    [429, 1, "sign in", /Try again in 1 second\.$/],
    [429, null, "sign in", /^Too many attempts/],
    [404, null, "look at the link", /used already or has expired.*frontdesk users link NAME/],
    [403, null, "sign in", /Load this page again/],
    [0, null, "sign in", /does not answer/],
    [503, null, "sign in", /in a moment/],
    [422, null, "choose a password", /^A password has 10 characters\.$/],
  ])("with status %i, to wait %j: %s", (status, wait, attempt, words) => {
    expect(explain(new api.Problem(status, "a password has 10 characters", wait), attempt)).toMatch(words);
  });

  test("names the user whose link it was, and never shows what it does not know", () => {
    expect(explain(new api.Problem(404, "x"), "choose a password", "owner")).toMatch("frontdesk users link owner");
    expect(explain(new Error("token fd_secret"), "sign in")).not.toMatch("secret");
  });
});

describe("requests", () => {
  afterEach(() => vi.unstubAllGlobals());
  const answers = (...responses: Response[]) => {
    const asked = vi.fn(async (_url: string, _init: RequestInit) => responses.shift() ?? new Response(null, { status: 500 }));
    vi.stubGlobal("fetch", asked);
    return asked;
  };
  const json = (body: unknown, init: ResponseInit = {}) => new Response(JSON.stringify(body), init);

  test("carry the session's token where there is a session, and JSON", async () => {
    const asked = answers(json({ name: "ann", kind: "user", csrf: "c" }), json({ name: "ann", kind: "user", csrf: "d" }));
    await api.signIn("ann", "a password", null);
    await api.signIn("ann", "a password", "c");
    expect(asked.mock.calls.map(([url, init]) => [url, init.method, (init.headers as Record<string, string>)["X-CSRF-Token"]])).toEqual([
      ["/api/v1/session", "POST", undefined],
      ["/api/v1/session", "POST", "c"],
    ]);
    expect(JSON.parse(String(asked.mock.calls[0]?.[1].body))).toEqual({ name: "ann", password: "a password" });
  });

  test("tell nobody from a problem", async () => {
    answers(json({ detail: "sign in first" }, { status: 401 }), json({ detail: "starting" }, { status: 503 }));
    expect(await api.session()).toBeNull();
    await expect(api.session()).rejects.toMatchObject({ status: 503, message: "starting" });
  });

  test("say how long to wait, and that nobody answered", async () => {
    answers(json({ detail: "too many" }, { status: 429, headers: { "Retry-After": "7" } }));
    await expect(api.signIn("a", "b", null)).rejects.toMatchObject({ status: 429, retryAfter: 7 });
    vi.stubGlobal("fetch", () => Promise.reject(new TypeError("failed")));
    await expect(api.signIn("a", "b", null)).rejects.toMatchObject({ status: 0 });
  });

  test("list every page of agents, without those nobody talks to", async () => {
    const agent = (name: string, talk: string) => ({ name, display_name: name, talk });
    const asked = answers(json({ items: [agent("a", "staff"), agent("b", "off")], next: "b c" }), json({ items: [agent("d", "public")], next: null }));
    expect((await api.agents()).map((a) => a.name)).toEqual(["a", "d"]);
    expect(asked.mock.calls.map(([url]) => url)).toEqual(["/api/v1/agents", "/api/v1/agents?cursor=b%20c"]);
  });
});
