//! The talk page and the sign-in page: files that are part of the program, and who the talk page is about.
//!
//! What always holds: what is filled in cannot leave its place in the page; a page runs and loads
//! nothing from anywhere else; and a program that was built without them says how to build them.
//!
//! Left out: who may see a page, and what it asks of the server.

use axum::{
    body::Bytes,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use data_encoding::HEXLOWER;
use sha2::{Digest as _, Sha256};
use std::{borrow::Cow, collections::HashMap, sync::LazyLock};

/// Whom a talk page is about.
#[derive(Debug, Clone, Copy, Default)]
pub struct TalkPage<'a> {
    /// The agent's name in addresses.
    pub agent: &'a str,
    /// What people call it; the page makes something of `agent` if empty.
    pub agent_name: &'a str,
    /// A line below its name; may be empty.
    pub about: &'a str,
    /// The label in the WebSocket's address; `default` if empty.
    pub instance: &'a str,
    /// The link's token, which the page passes on to the WebSocket. Where it is empty the page takes the
    /// one in its own address.
    pub token: &'a str,
}

/// The page at `/talk/{agent}`.
#[must_use]
pub fn talk_page(page: &TalkPage<'_>) -> Response {
    PAGES.talk_page(page)
}

/// The page at `/signin`. It is the same for everybody: what it shows it asks the API for.
#[must_use]
pub fn signin_page() -> Response {
    PAGES.signin_page()
}

/// A file that a page loads, by what follows `/talk/`: `favicon.svg`, `assets/…`.
#[must_use]
pub fn asset(path: &str, request: &HeaderMap) -> Response {
    PAGES.asset(path, request)
}

/// What a page may do, as `inbox-ui/README.md` says: nothing inline, nothing from elsewhere, in no frame.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
     connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The page with places to fill.
const PAGE: &str = "index.html";

/// The page that is sent as it is.
const SIGNIN: &str = "signin.html";

/// Files whose names change with their content.
const HASHED: &str = "assets/";

const A_YEAR: &str = "public, max-age=31536000, immutable";
const AN_HOUR: &str = "public, max-age=3600";

/// Shown where the program was built without its pages.
const NOT_BUILT: &str = "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\">\
     <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
     <title>No such page yet</title>\n\
     <h1>This page is not part of the program yet</h1>\n\
     <p>Frontdesk was built without its web pages. In its source folder, run <code>make run</code>: it \
     builds the pages (with Node 20.19 or later) and then the program, and starts it.</p></html>\n";

static PAGES: LazyLock<Pages> =
    LazyLock::new(|| Pages::of(include!(concat!(env!("OUT_DIR"), "/talk_page.rs"))));

struct Pages {
    /// Text and places to fill, in turns.
    page: Option<Vec<Part>>,
    signin: Option<&'static str>,
    files: HashMap<&'static str, File>,
}

enum Part {
    Text(&'static str),
    Place(Value),
}

/// What goes into a place.
type Value = for<'a> fn(&TalkPage<'a>) -> &'a str;

struct File {
    bytes: &'static [u8],
    kind: &'static str,
    caching: &'static str,
    tag: HeaderValue,
}

impl Pages {
    fn of(files: &[(&'static str, &'static [u8])]) -> Self {
        let text = |wanted| {
            let (_, bytes) = files.iter().find(|(name, _)| *name == wanted)?;
            std::str::from_utf8(bytes).ok()
        };
        let others = files.iter().filter(|(name, _)| ![PAGE, SIGNIN].contains(name));
        Self {
            page: text(PAGE).map(parts),
            signin: text(SIGNIN),
            files: others.map(|(name, bytes)| (*name, File::of(name, bytes))).collect(),
        }
    }

    fn talk_page(&self, about: &TalkPage<'_>) -> Response {
        let html = self.page.as_ref().map(|parts| {
            let text = parts.iter().map(|part| match part {
                Part::Text(text) => Cow::Borrowed(*text),
                Part::Place(value) => escaped(value(about)).into(),
            });
            text.collect::<String>().into()
        });
        page(html, "microphone=(self)")
    }

    fn signin_page(&self) -> Response {
        page(self.signin.map(Cow::Borrowed), "microphone=()")
    }

    fn asset(&self, path: &str, request: &HeaderMap) -> Response {
        let Some(file) = self.files.get(path) else {
            return (StatusCode::NOT_FOUND, "there is no such file\n").into_response();
        };
        let headers = [
            (header::ETAG, file.tag.clone()),
            (header::CACHE_CONTROL, HeaderValue::from_static(file.caching)),
            (header::CONTENT_TYPE, HeaderValue::from_static(file.kind)),
            (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
            // Not to be opened as a page of its own: an image may hold a script.
            (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
        ];
        if has_it(request, &file.tag) {
            return (StatusCode::NOT_MODIFIED, headers).into_response();
        }
        (headers, Bytes::from_static(file.bytes)).into_response()
    }
}

/// A page, or how to build it.
fn page(html: Option<Cow<'static, str>>, permissions: &'static str) -> Response {
    let status = match html {
        Some(_) => StatusCode::OK,
        None => StatusCode::SERVICE_UNAVAILABLE,
    };
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::HeaderName::from_static("permissions-policy"), permissions),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        // It may hold a token, or be the answer to one.
        (header::CACHE_CONTROL, "no-store"),
    ];
    (status, headers, html.unwrap_or(Cow::Borrowed(NOT_BUILT)).into_owned()).into_response()
}

impl File {
    fn of(name: &str, bytes: &'static [u8]) -> Self {
        let sum = HEXLOWER.encode(&Sha256::digest(bytes)[..16]);
        Self {
            bytes,
            kind: kind(name),
            caching: if name.starts_with(HASHED) { A_YEAR } else { AN_HOUR },
            tag: HeaderValue::from_str(&format!("\"{sum}\""))
                .expect("hexadecimal digits in quotes make a header"),
        }
    }
}

/// Whether the browser already holds the file (RFC 9110 section 13.1.2).
fn has_it(request: &HeaderMap, tag: &HeaderValue) -> bool {
    let lists = request.get_all(header::IF_NONE_MATCH).into_iter();
    lists.filter_map(|list| list.to_str().ok()).flat_map(|list| list.split(',')).any(|held| {
        let held = held.trim();
        held == "*" || held.strip_prefix("W/").unwrap_or(held).as_bytes() == tag.as_bytes()
    })
}

fn kind(name: &str) -> &'static str {
    match name.rsplit_once('.').map(|(_, extension)| extension) {
        Some("js" | "mjs") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        Some("ico") => "image/x-icon",
        Some("woff2") => "font/woff2",
        Some("json" | "map") => "application/json",
        _ => "application/octet-stream",
    }
}

/// The page's text, cut at its places. What is filled in is not looked at for places again.
fn parts(page: &'static str) -> Vec<Part> {
    let places: [(&str, Value); 5] = [
        ("__FRONTDESK_AGENT__", |page| page.agent),
        ("__FRONTDESK_AGENT_NAME__", |page| page.agent_name),
        ("__FRONTDESK_ABOUT__", |page| page.about),
        ("__FRONTDESK_INSTANCE__", |page| page.instance),
        ("__FRONTDESK_TOKEN__", |page| page.token),
    ];
    let mut parts = Vec::new();
    let mut rest = page;
    loop {
        let next = places.iter().filter_map(|(word, value)| Some((rest.find(word)?, word, value)));
        let Some((start, word, value)) = next.min_by_key(|(start, ..)| *start) else { break };
        parts.push(Part::Text(&rest[..start]));
        parts.push(Part::Place(*value));
        rest = &rest[start + word.len()..];
    }
    parts.push(Part::Text(rest));
    parts
}

/// As text of HTML or the value of an attribute in quotes. Control characters have no place in either
/// (HTML, section 13.2.3.5).
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c if c.is_control() => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests;
