/** What this page says. */

import { Problem } from "./api.js";

/** What somebody was trying to do. */
export type Attempt = "sign in" | "look at the link" | "choose a password" | "sign out" | "list the agents";

/** A problem, in words for whoever sees this page, with what helps. `name` is the link's user, where known. */
export function explain(error: unknown, attempt: Attempt, name = "NAME"): string {
  if (!(error instanceof Problem)) return "This page failed. Load it again, and if that does not help, tell whoever runs this server.";
  if (error.status === 0) return "The server does not answer. Check that it runs and that you are online, and try again.";
  if (error.status === 429) {
    const wait = error.retryAfter;
    return wait === null ? "Too many attempts. Wait a moment, then try again." : `Too many attempts. Try again in ${seconds(wait)}.`;
  }
  if (error.status === 401 && attempt === "sign in") return "This name and password do not belong together.";
  if (error.status === 404 && (attempt === "look at the link" || attempt === "choose a password")) {
    return `This link was used already or has expired. If you have a password, sign in with it. For another link, run “frontdesk users link ${name}” on the server, or ask whoever runs it.`;
  }
  if (error.status === 403) return "This browser is signed in by another tab or as somebody else. Load this page again and try once more.";
  if (error.status >= 500) return `The server could not ${attempt === "list the agents" ? attempt : "do this"} now. Try again in a moment.`;
  return sentence(error.message);
}

/** What is wrong with a new password, if anything is. The server has the last word. */
export function passwordProblem(password: string): string | null {
  const length = [...password].length;
  if (length >= 10 && length <= 256) return null;
  return `A password has 10 to 256 characters; this one has ${length}.`;
}

export function seconds(count: number): string {
  return count === 1 ? "1 second" : `${count} seconds`;
}

function sentence(text: string): string {
  const trimmed = text.trim();
  const begun = trimmed.charAt(0).toUpperCase() + trimmed.slice(1);
  return /[.!?]$/.test(begun) ? begun : `${begun}.`;
}
