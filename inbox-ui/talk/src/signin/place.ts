/** What stands in the page's address: the link's token, and where to go afterwards. */

/** The token behind the `#` of a sign-in link; empty where there is none. */
export function tokenOf(hash: string): string {
  const text = hash.replace(/^#/, "");
  try {
    return decodeURIComponent(text).trim();
  } catch {
    return text.trim();
  }
}

/**
 * The address to go to once somebody is in, if `?next=` names one: a path on this origin, and not this
 * page. Whoever made the link chose it, so anything that a browser could take for another site is refused.
 */
export function destination(search: string, here: { origin: string; pathname: string }): string | null {
  const next = new URLSearchParams(search).get("next");
  // Browsers read `\` as `/`, and leave out tabs and line breaks: "/<tab>/evil.example" is another site.
  if (next === null || !/^\/(?![/\\])/.test(next) || /[\u0000-\u001f\u007f]/.test(next)) return null;
  let url: URL;
  try {
    url = new URL(next, here.origin);
  } catch {
    return null;
  }
  // The whole address: by itself the path of "/.//evil.example" would be another site again.
  return url.origin === here.origin && url.pathname !== here.pathname ? url.href : null;
}
