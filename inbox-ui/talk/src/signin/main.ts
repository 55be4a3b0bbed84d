/**
 * The sign-in page: with a link's token behind the `#` somebody chooses a password, without one they sign
 * in with theirs; then they go where they wanted to, or see whom they can talk to.
 *
 * Always holds: the token leaves the address bar and the history before anything else happens; the next
 * page is on this origin; what fails is said in words, and the keyboard is where the next step is.
 */

import { element } from "../page.js";
import * as api from "./api.js";
import { destination, tokenOf } from "./place.js";
import { type Attempt, explain, passwordProblem } from "./words.js";

const token = tokenOf(location.hash);
if (location.hash !== "") history.replaceState(null, "", location.pathname + location.search);
const next = destination(location.search, location);

const title = element("title");
const about = element("about");
const error = element("error");
const signIn = element<HTMLFormElement>("sign-in");
const choose = element<HTMLFormElement>("choose");
const inside = element("inside");
const name = element<HTMLInputElement>("name");
const password = element<HTMLInputElement>("password");
const newPassword = element<HTMLInputElement>("new-password");
const signOut = element<HTMLButtonElement>("sign-out");

let session: api.Session | null = null;

signIn.addEventListener("submit", (event) => {
  event.preventDefault();
  void attempt("sign in", signIn, async () => {
    session = await api.signIn(name.value.trim(), password.value, csrf());
    await proceed();
  });
});
choose.addEventListener("submit", (event) => {
  event.preventDefault();
  const wrong = passwordProblem(newPassword.value);
  newPassword.setAttribute("aria-invalid", String(wrong !== null));
  if (wrong !== null) {
    say(wrong);
    newPassword.focus();
    return;
  }
  void attempt("choose a password", choose, async () => {
    session = await api.redeemLink(token, newPassword.value, csrf());
    await proceed();
  });
});
element<HTMLInputElement>("show").addEventListener("change", (event) => {
  newPassword.type = (event.target as HTMLInputElement).checked ? "text" : "password";
});
signOut.addEventListener("click", () => {
  void attempt("sign out", signOut, async () => {
    await api.signOut(csrf());
    session = null;
    // A new page, so that nothing of this person stays in this one.
    location.replace(location.pathname);
  });
});

void begin();

async function begin(): Promise<void> {
  try {
    session = await api.session();
  } catch (problem) {
    // Whoever can sign in finds out by trying; nothing to be seen here depends on it.
    say(explain(problem, "sign in"));
  }
  if (token !== "") return welcome();
  if (session) return proceed();
  show(signIn, "Sign in", next ? "Then you go on to the page you asked for." : "");
  name.focus();
}

/** Somebody opened a link. */
async function welcome(): Promise<void> {
  try {
    const owner = await api.lookAtLink(token, csrf());
    element<HTMLInputElement>("chooser").value = owner.name;
    const other = session && session.name !== owner.name ? ` Until then this browser stays signed in as ${session.name}.` : "";
    show(choose, `Welcome, ${owner.name}`, `Choose a password to sign in with from now on.${other}`);
    newPassword.focus();
  } catch (problem) {
    show(signIn, "Sign in");
    say(explain(problem, "look at the link"));
    name.focus();
  }
}

/** Somebody is in: to where they wanted, or to whom they can talk to. */
async function proceed(): Promise<void> {
  if (next !== null) {
    location.replace(next);
    return;
  }
  show(inside, "You are signed in", session ? `As ${session.name}.` : "");
  password.value = newPassword.value = "";
  title.focus();
  try {
    list(await api.agents());
  } catch (problem) {
    say(explain(problem, "list the agents"));
  }
}

function list(agents: api.Agent[]): void {
  element("agents").replaceChildren(
    ...agents.map((agent) => {
      const link = document.createElement("a");
      link.href = `/talk/${encodeURIComponent(agent.name)}`;
      link.textContent = agent.display_name || agent.name;
      const item = document.createElement("li");
      item.append(link);
      return item;
    }),
  );
  element("talk-title").hidden = agents.length === 0;
  element("nobody").hidden = agents.length > 0;
}

/** Tries something, with its buttons off meanwhile, and says what went wrong. */
async function attempt(what: Attempt, where: HTMLElement, act: () => Promise<void>): Promise<void> {
  const buttons = where instanceof HTMLButtonElement ? [where] : [...where.querySelectorAll("button")];
  const focused = document.activeElement;
  for (const button of buttons) button.disabled = true;
  hush();
  let wait = 0;
  try {
    await act();
  } catch (problem) {
    if (what === "choose a password" && problem instanceof api.Problem && problem.status === 404) {
      show(signIn, "Sign in");
    }
    say(explain(problem, what, element<HTMLInputElement>("chooser").value || undefined));
    wait = problem instanceof api.Problem ? (problem.retryAfter ?? 0) : 0;
    if (what === "sign in" && wait === 0) password.select();
  }
  const again = () => {
    for (const button of buttons) button.disabled = false;
  };
  if (wait === 0) {
    again();
    // A button that was off has lost the keyboard.
    if (focused instanceof HTMLElement && focused.isConnected && document.activeElement === document.body) focused.focus();
    return;
  }
  setTimeout(() => {
    again();
    hush();
    element("announcer").textContent = "You can try again now.";
  }, wait * 1000);
}

function show(part: HTMLElement, heading: string, line = ""): void {
  for (const other of [signIn, choose, inside]) other.hidden = other !== part;
  document.title = title.textContent = heading;
  about.textContent = line;
  about.hidden = line === "";
}

function say(words: string): void {
  error.textContent = words;
  error.hidden = false;
}

function hush(): void {
  error.hidden = true;
  error.textContent = "";
}

function csrf(): string | null {
  return session?.csrf ?? null;
}
