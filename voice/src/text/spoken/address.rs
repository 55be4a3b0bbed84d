//! Email addresses, web addresses, file names and code: read by their parts.

use super::context::{Cx, Hit, digit_run};
use super::number::digits;
use super::words::Words;

/// The top-level domains that make a bare name an address. The whole list has 1,400 entries; a name
/// under another one is read as an address only with a scheme or `www.`.
const TLDS: &[&str] = &[
    "com", "org", "net", "edu", "gov", "int", "info", "biz", "io", "dev", "app", "ai", "co", "me",
    "tv", "eu", "de", "at", "ch", "fr", "es", "it", "pt", "nl", "be", "uk", "ie", "us", "ca", "au",
    "nz", "jp", "cn", "in", "br", "mx", "ar", "cl", "se", "no", "dk", "fi", "pl", "cz", "ru",
    "example", "test", "shop", "blog", "online", "cloud", "email", "tech", "site", "local",
];
const FILE_ENDINGS: &[&str] = &[
    "txt", "md", "pdf", "doc", "docx", "xls", "xlsx", "ppt", "pptx", "csv", "json", "xml", "yaml",
    "yml", "toml", "html", "htm", "css", "js", "ts", "tsx", "jsx", "py", "rs", "go", "java", "c",
    "h", "cpp", "sh", "sql", "log", "zip", "gz", "tar", "png", "jpg", "jpeg", "gif", "svg", "webp",
    "mp3", "mp4", "wav", "eml", "ics", "exe", "cfg", "ini", "lock",
];

/// A path longer than this is not read: nobody can follow it by ear.
const LONGEST_PATH: usize = 40;
/// Code longer than this is named, not read.
const LONGEST_CODE: usize = 60;
/// The token that may be an address ends by then.
const LONGEST: usize = 512;

/// An email address, web address, bare domain or file name at the start of the token.
pub(super) fn address(cx: &Cx<'_>) -> Option<Hit> {
    let token = cx.token();
    // Nothing without one of these is an address, and most words have none.
    if token.len() > LONGEST || !token.bytes().any(|byte| matches!(byte, b'@' | b'.' | b':')) {
        return None;
    }
    let token = trimmed(token);
    email(cx, token).or_else(|| url(cx, token)).or_else(|| bare(cx, token))
}

/// Without the punctuation that closes the sentence rather than the address.
fn trimmed(token: &str) -> &str {
    let end =
        token.find(['<', '>', '"', '“', '”', '»', '«', '[', ']', '|', '`']).unwrap_or(token.len());
    let mut token = &token[..end];
    loop {
        let next = token.trim_end_matches(['.', ',', ';', ':', '!', '?', '\'', '*', '…', '’']);
        // A closing bracket is part of the address only if it was opened there.
        let next = match next.strip_suffix(')') {
            Some(inner) if !inner.contains('(') => inner,
            _ => next,
        };
        if next.len() == token.len() {
            return token;
        }
        token = next;
    }
}

fn email(cx: &Cx<'_>, token: &str) -> Option<Hit> {
    let plain = token.strip_prefix("mailto:").unwrap_or(token);
    let (local, domain) = plain.split_once('@')?;
    let local_ok = !local.is_empty()
        && local.chars().all(|c| c.is_alphanumeric() || ".!#$%&'*+/=?^_`{|}~-".contains(c));
    let domain_len = domain
        .find(|c: char| !(c.is_alphanumeric() || c == '.' || c == '-'))
        .unwrap_or(domain.len());
    let domain = domain[..domain_len].trim_end_matches(['.', '-']);
    let labelled = domain.split('.').all(|label| label.starts_with(char::is_alphanumeric));
    if !local_ok || !labelled || !(domain.contains('.') || domain == "localhost") {
        return None;
    }
    let len = token.len() - plain.len() + local.len() + 1 + domain.len();
    let say = format!("{} {} {}", spell(cx.words, local), cx.words.say.at, host(cx.words, domain));
    Hit::new(len, say)
}

fn url(cx: &Cx<'_>, token: &str) -> Option<Hit> {
    let lower =
        token.get(..token.len().min(12).min(token.floor_char_boundary(12)))?.to_ascii_lowercase();
    let scheme = ["https://", "http://", "ftp://", "wss://", "ws://"]
        .into_iter()
        .find(|scheme| lower.starts_with(scheme));
    if scheme.is_none() && !lower.starts_with("www.") {
        return None;
    }
    let rest = &token[scheme.map_or(0, str::len)..];
    if !rest.starts_with(char::is_alphanumeric) || rest.starts_with("www..") {
        return None;
    }
    Hit::new(token.len(), web(cx.words, rest))
}

/// `example.com/docs`, `README.md`.
fn bare(cx: &Cx<'_>, token: &str) -> Option<Hit> {
    let end = token.find(['/', '?', '#', ':']).unwrap_or(token.len());
    let name = &token[..end];
    let ending = name.rsplit_once('.')?.1;
    let clean = name.split('.').all(|label| {
        !label.is_empty() && label.chars().all(|c| c.is_alphanumeric() || c == '-' || c == '_')
    });
    let cased = ending.bytes().all(|byte| byte.is_ascii_lowercase());
    if !clean
        || !cased
        || !name.starts_with(char::is_alphanumeric)
        || !name.bytes().any(|b| b.is_ascii_alphabetic())
    {
        return None;
    }
    // "e.g", "p.m": every part a single letter.
    if name.split('.').all(|label| label.chars().count() == 1) {
        return None;
    }
    if FILE_ENDINGS.contains(&ending) && end == token.len() {
        return Hit::new(end, spell(cx.words, name));
    }
    if !TLDS.contains(&ending) {
        return None;
    }
    let rest = &token[end..];
    let len = if rest.starts_with('/') { token.len() } else { end };
    Hit::new(len, web(cx.words, &token[..len]))
}

/// A web address without its scheme: the host, and the path if an ear can follow it.
fn web(words: &Words, text: &str) -> String {
    let end = text.find(['/', '?', '#']).unwrap_or(text.len());
    let (name, path) = text.split_at(end);
    let name = name.rsplit_once('@').map_or(name, |(_, name)| name);
    let name = name.strip_prefix("www.").unwrap_or(name);
    let (name, port) = name.split_once(':').map_or((name, ""), |(name, port)| (name, port));
    let mut said = host(words, name);
    if !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) {
        said = format!("{said} {} {}", words.say.colon, digits(words, port));
    }
    let path = path.trim_end_matches('/');
    let simple = path.len() <= LONGEST_PATH
        && path.chars().all(|c| c.is_alphanumeric() || matches!(c, '/' | '-' | '_' | '.'))
        && digit_share(path) < 4;
    if !path.is_empty() && simple {
        said = format!("{said} {}", spell(words, path));
    }
    said
}

/// How many digits a path has; many mean an identifier.
fn digit_share(path: &str) -> usize {
    path.bytes().filter(u8::is_ascii_digit).count()
}

/// A host name; a country's two letters are spelled.
fn host(words: &Words, name: &str) -> String {
    match name.rsplit_once('.') {
        Some((head, country))
            if country.len() == 2 && country.bytes().all(|byte| byte.is_ascii_alphabetic()) =>
        {
            format!("{} {} {}", spell(words, head), words.say.dot, letters(country))
        }
        _ => spell(words, name),
    }
}

/// Letters one by one, in upper case so that engines name them.
pub(super) fn letters(text: &str) -> String {
    let mut said = String::new();
    for c in text.chars().flat_map(char::to_uppercase) {
        if !said.is_empty() {
            said.push(' ');
        }
        said.push(c);
    }
    said
}

/// The parts of an address or identifier, with its signs by name and its digits one by one.
pub(super) fn spell(words: &Words, text: &str) -> String {
    let mut said = Spelled::default();
    let mut at = 0;
    while let Some(c) = text[at..].chars().next() {
        let run = digit_run(&text[at..]);
        if run > 0 {
            said.word(&digits(words, &text[at..at + run]));
            at += run;
            continue;
        }
        if c.is_alphanumeric() || crate::text::unicode::is_extender(c) {
            said.letter(c);
        } else if let Some(name) = sign(words, c) {
            said.word(name);
        } else {
            said.gap();
        }
        at += c.len_utf8();
    }
    said.text
}

/// Code between backticks.
pub(super) fn code(words: &Words, code: &str) -> String {
    let code = code.trim();
    if code.len() > LONGEST_CODE || code.contains('\n') {
        return words.say.code.to_owned();
    }
    let mut said = Spelled::default();
    let mut at = 0;
    let mut before = ' ';
    while let Some(c) = code[at..].chars().next() {
        let run = digit_run(&code[at..]);
        if run > 0 {
            let number = &code[at..at + run];
            let short = run <= 4 && !(run > 1 && number.starts_with('0'));
            match number.parse() {
                Ok(value) if short => said.word(&(words.cardinal)(value)),
                _ => said.word(&digits(words, number)),
            }
            at += run;
            before = '0';
            continue;
        }
        let next = code[at + c.len_utf8()..].chars().next();
        match c {
            // snakeCase and snake_case are read as words.
            _ if c.is_uppercase() && before.is_lowercase() => {
                said.gap();
                said.letter(c);
            }
            _ if c.is_alphanumeric() || crate::text::unicode::is_extender(c) => said.letter(c),
            '_' => said.gap(),
            '-' if before.is_alphanumeric() && next.is_some_and(char::is_alphanumeric) => {
                said.gap()
            }
            '=' if before == '=' => {}
            '.' if next.is_none() => {}
            _ => match sign(words, c) {
                Some(name) => said.word(name),
                None => said.gap(),
            },
        }
        before = c;
        at += c.len_utf8();
    }
    said.text
}

fn sign(words: &Words, c: char) -> Option<&'static str> {
    let say = &words.say;
    Some(match c {
        '.' => say.dot,
        '-' => say.dash,
        '_' => say.underscore,
        '/' => say.slash,
        '\\' => say.backslash,
        '@' => say.at,
        '+' => say.plus,
        ':' => say.colon,
        '=' => say.equals,
        '&' => say.and,
        '%' => say.percent,
        '<' => say.less,
        '>' => say.greater,
        _ => return None,
    })
}

/// Words and letters with single spaces between.
#[derive(Default)]
struct Spelled {
    text: String,
    open: bool,
}

impl Spelled {
    fn word(&mut self, word: &str) {
        self.gap();
        if !self.text.is_empty() {
            self.text.push(' ');
        }
        self.text.push_str(word);
    }

    fn letter(&mut self, c: char) {
        if !self.open && !self.text.is_empty() {
            self.text.push(' ');
        }
        self.open = true;
        self.text.push(c);
    }

    fn gap(&mut self) {
        self.open = false;
    }
}
