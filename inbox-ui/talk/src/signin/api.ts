/** What this page asks of the server: one function for each request. */

export interface Session {
  kind: string;
  name: string;
  /** What writes of this browser carry. */
  csrf: string | null;
}

export interface LinkOwner {
  name: string;
  role: string;
}

export interface Agent {
  name: string;
  display_name: string;
  /** `off`, `staff`, `link` or `public`. */
  talk: string;
}

/** An answer that is no success, or none at all (status 0). */
export class Problem extends Error {
  constructor(
    readonly status: number,
    detail: string,
    /** Seconds to wait before the next attempt. */
    readonly retryAfter: number | null = null,
  ) {
    super(detail);
  }
}

/** Who this browser is signed in as, if it is. */
export async function session(): Promise<Session | null> {
  try {
    return (await ask("GET", "/session", null)) as Session;
  } catch (error) {
    if (error instanceof Problem && error.status === 401) return null;
    throw error;
  }
}

/** Whose link this is, without using it up. */
export async function lookAtLink(token: string, csrf: string | null): Promise<LinkOwner> {
  return (await ask("POST", "/session/link/look", csrf, { token })) as LinkOwner;
}

/** Uses a link up: this browser is signed in, with this password from now on. */
export async function redeemLink(token: string, password: string, csrf: string | null): Promise<Session> {
  return (await ask("POST", "/session/link", csrf, { token, password })) as Session;
}

export async function signIn(name: string, password: string, csrf: string | null): Promise<Session> {
  return (await ask("POST", "/session", csrf, { name, password })) as Session;
}

export async function signOut(csrf: string | null): Promise<void> {
  await ask("DELETE", "/session", csrf);
}

/** Every agent that this person sees and can talk to. */
export async function agents(): Promise<Agent[]> {
  const all: Agent[] = [];
  let cursor: string | null = null;
  do {
    const query: string = cursor === null ? "" : `?cursor=${encodeURIComponent(cursor)}`;
    const page = (await ask("GET", `/agents${query}`, null)) as { items: Agent[]; next: string | null };
    all.push(...page.items);
    cursor = page.next;
  } while (cursor !== null);
  return all.filter((agent) => agent.talk !== "off");
}

async function ask(method: string, path: string, csrf: string | null, body?: object): Promise<unknown> {
  const headers: Record<string, string> = { Accept: "application/json" };
  if (body) headers["Content-Type"] = "application/json";
  if (csrf !== null) headers["X-CSRF-Token"] = csrf;
  let response: Response;
  try {
    response = await fetch(`/api/v1${path}`, { method, headers, credentials: "same-origin", body: body ? JSON.stringify(body) : null });
  } catch {
    throw new Problem(0, "no answer");
  }
  if (response.status === 204) return null;
  const said: unknown = await response.json().catch(() => null);
  if (response.ok) return said;
  const detail = said !== null && typeof said === "object" && "detail" in said ? String(said.detail) : response.statusText;
  const wait = Number(response.headers.get("Retry-After") ?? Number.NaN);
  throw new Problem(response.status, detail, Number.isFinite(wait) && wait > 0 ? wait : null);
}
