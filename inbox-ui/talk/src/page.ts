/** What the server wrote into this page, and where the page's own elements are. */

export interface PageInfo {
  /** The agent's name in addresses. */
  agent: string;
  /** What people call it. */
  name: string;
  about: string;
  instance: string;
  token: string;
}

/**
 * Reads the `frontdesk-*` meta elements. A value that the server did not fill in counts as empty; the
 * agent then comes from the address `/talk/{agent}`, the token from `?token=`.
 */
export function readPage(page: Document, location: { pathname: string; search: string }): PageInfo {
  const meta = (name: string): string => {
    const value = page.querySelector<HTMLMetaElement>(`meta[name="frontdesk-${name}"]`)?.content.trim() ?? "";
    return value.startsWith("__FRONTDESK_") ? "" : value;
  };
  const agent = meta("agent") || agentOf(location.pathname);
  return {
    agent,
    name: meta("agent-name") || titleCase(agent),
    about: meta("about"),
    instance: meta("instance") || "default",
    token: meta("token") || (new URLSearchParams(location.search).get("token") ?? ""),
  };
}

/** An element that `index.html` has. */
export function element<T extends HTMLElement = HTMLElement>(id: string): T {
  const found = document.getElementById(id);
  if (!found) throw new Error(`index.html has no element "${id}"`);
  return found as T;
}

function agentOf(pathname: string): string {
  const last = pathname.split("/").filter(Boolean).at(-1) ?? "";
  try {
    return decodeURIComponent(last);
  } catch {
    return last;
  }
}

function titleCase(name: string): string {
  return name.replace(/[-_]+/g, " ").replace(/(^|\s)\p{L}/gu, (letter) => letter.toUpperCase());
}
