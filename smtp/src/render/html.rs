//! The HTML alternative of a plain text.

/// Makes HTML that says the same as `text`: paragraphs, line breaks, quoted lines as block quotes,
/// and `http` and `https` addresses as links whose text is their target. Everything else is escaped,
/// so nothing in `text` can become markup.
#[must_use]
pub fn html_from_text(text: &str) -> String {
    let text = super::body::canonical(text);
    let mut out = String::with_capacity(text.len() * 5 / 4 + 128);
    out.push_str("<!DOCTYPE html>\n<html>\n<head><meta charset=\"utf-8\"></head>\n<body>\n");
    let mut depth = 0;
    let mut open = false;
    for line in text.split("\r\n") {
        let (level, rest) = quote_level(line);
        let blank = rest.trim().is_empty();
        if open && (blank || level != depth) {
            out.push_str("</p>\n");
            open = false;
        }
        while depth < level {
            out.push_str(BLOCKQUOTE);
            depth += 1;
        }
        while depth > level {
            out.push_str("</blockquote>\n");
            depth -= 1;
        }
        if blank {
            continue;
        }
        out.push_str(if open { "<br>\n" } else { "<p>" });
        open = true;
        push_line(&mut out, rest);
    }
    if open {
        out.push_str("</p>\n");
    }
    for _ in 0..depth {
        out.push_str("</blockquote>\n");
    }
    out.push_str("</body>\n</html>");
    out
}

const BLOCKQUOTE: &str =
    "<blockquote style=\"margin:0 0 0 .8ex;border-left:1px solid #ccc;padding-left:1ex\">\n";

/// Deeper quotes are shown at this level: nesting costs output, and the input decides the depth.
const MAX_QUOTE_LEVEL: usize = 8;

fn quote_level(line: &str) -> (usize, &str) {
    let mut rest = line;
    let mut level = 0;
    while let Some(inner) = rest.strip_prefix('>') {
        level += 1;
        rest = inner.strip_prefix(' ').unwrap_or(inner);
    }
    (level.min(MAX_QUOTE_LEVEL), rest)
}

fn push_line(out: &mut String, line: &str) {
    let mut rest = line;
    // Indentation carries meaning in lists and code.
    while let Some(inner) = rest.strip_prefix([' ', '\t']) {
        out.push_str(if rest.starts_with('\t') { "&nbsp;&nbsp;&nbsp;&nbsp;" } else { "&nbsp;" });
        rest = inner;
    }
    while let Some(start) = find_link(rest) {
        let (before, from) = rest.split_at(start);
        push_escaped(out, before);
        let length = link_len(from);
        let (url, after) = from.split_at(length);
        if is_linkable(url) {
            out.push_str("<a href=\"");
            push_escaped(out, url);
            out.push_str("\">");
            push_escaped(out, url);
            out.push_str("</a>");
        } else {
            push_escaped(out, url);
        }
        rest = after;
    }
    push_escaped(out, rest);
}

/// Where the next `http://` or `https://` begins that is not the tail of another word.
fn find_link(text: &str) -> Option<usize> {
    let mut from = 0;
    while let Some(at) = text[from..].find("http") {
        let at = from + at;
        let tail = &text[at..];
        let scheme = tail.starts_with("http://") || tail.starts_with("https://");
        let free = text[..at].chars().next_back().is_none_or(|c| !c.is_alphanumeric());
        if scheme && free {
            return Some(at);
        }
        from = at + 4;
    }
    None
}

/// Longer addresses stay text: browsers and mail clients cut them, and looking for their end would
/// cost time that the input decides.
const MAX_LINK: usize = 2000;

/// The octets of the link at the start of `text`, without punctuation that belongs to the sentence.
fn link_len(text: &str) -> usize {
    let end = text
        .find(|c: char| c.is_whitespace() || c.is_control() || "<>\"`{}|\\^".contains(c))
        .unwrap_or(text.len());
    if end > MAX_LINK {
        return end;
    }
    let mut url = &text[..end];
    while let Some(last) = url.chars().next_back() {
        let unbalanced = |close: char, open: char| {
            last == close && url.matches(close).count() > url.matches(open).count()
        };
        let trailing =
            ".,;:!?'*_…。、，".contains(last) || unbalanced(')', '(') || unbalanced(']', '[');
        if !trailing {
            break;
        }
        url = &url[..url.len() - last.len_utf8()];
    }
    url.len()
}

/// A link needs a host, and no user information, which only serves to disguise the host.
fn is_linkable(url: &str) -> bool {
    let Some((_, rest)) = url.split_once("://") else { return false };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    url.len() <= MAX_LINK && !authority.is_empty() && !authority.contains('@')
}

fn push_escaped(out: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
}
