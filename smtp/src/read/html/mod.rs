//! HTML mail as readable text.
//!
//! A tokenizer and a small stack of open elements, in place of a document tree. html2text 0.17 was
//! measured first: 1.3 ms for an ordinary 10 KB mail, and 9.8 s for 200 KB of nested `div`, because
//! the tree behind it is walked again for each level.
//!
//! What always holds: time is linear in the input, the call stack constant, and the output at most
//! a small multiple of the input. Text that markup hides is kept apart; comments, scripts and
//! style sheets are dropped. Quoted blocks get `> ` before their lines, so that the rules for plain
//! text quotes serve both, and what only markup tells (an attribution line, the header over a
//! quoted mail) is handed on as [`Mark`]s.
//!
//! Left out: tables are read row by row with tabs between cells; styles decide only visibility.

pub(crate) mod style;
mod tag;

use std::ops::Range;

use memchr::{memchr, memchr2, memmem};

use self::{
    style::{Sheet, Style, WHITE},
    tag::{Class, Tag, classify},
};
use super::hidden::{HIDDEN_KEPT, Hidden, Hiding, Scrubber};

/// Open elements followed. Beyond, elements are read but their nesting is not.
const OPEN: usize = 1024;
/// Elements looked back over for the one that an end tag closes.
const LOOK_BACK: usize = 256;
/// `>` before a line, at most: more levels look the same, and deep nesting must not multiply.
const QUOTE_PREFIX: usize = 8;
/// Octets of a link's target that are shown.
const URL_SHOWN: usize = 2_000;

/// What markup says about a range of the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    pub kind: MarkKind,
    pub range: Range<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MarkKind {
    /// A line such as "On … wrote:", by the class its client gives it.
    Attribution,
    /// The header over a quoted mail; the mail follows to the end of the text.
    History,
}

/// Text made from HTML.
#[derive(Default)]
pub(crate) struct Converted {
    pub text: String,
    pub marks: Vec<Mark>,
    pub hidden: Vec<Hidden>,
}

/// Converts HTML; the caller limits its length.
pub(crate) fn to_text(html: &str) -> Converted {
    let mut reader = Reader::new(html.len());
    reader.read(html);
    reader.finish()
}

/// An open element.
struct Open {
    name: u64,
    class: Class,
    hidden: bool,
    quote: bool,
    pre: bool,
    background: bool,
    tiny: bool,
    invisible: bool,
    white: bool,
    /// Number of the next item, for ordered lists.
    item: Option<u32>,
    mark: Option<(MarkKind, usize)>,
    link: Option<String>,
}

struct Reader {
    open: Vec<Open>,
    /// Elements opened beyond [`OPEN`].
    untracked: usize,
    hidden: usize,
    quotes: usize,
    pre: usize,
    backgrounds: usize,
    sheet: Sheet,
    scrubber: Scrubber,
    out: Out,
    hidden_text: String,
    marks: Vec<Mark>,
}

impl Reader {
    fn new(len: usize) -> Reader {
        Reader {
            open: Vec::new(),
            untracked: 0,
            hidden: 0,
            quotes: 0,
            pre: 0,
            backgrounds: 0,
            sheet: Sheet::default(),
            scrubber: Scrubber::default(),
            out: Out { text: String::with_capacity(len / 3), ..Out::default() },
            hidden_text: String::new(),
            marks: Vec::new(),
        }
    }

    fn read(&mut self, html: &str) {
        let bytes = html.as_bytes();
        let mut pos = 0;
        while pos < bytes.len() {
            let text = memchr(b'<', &bytes[pos..]).map_or(bytes.len(), |at| pos + at);
            self.text(&html[pos..text]);
            pos = text;
            match (bytes.get(pos), bytes.get(pos + 1)) {
                (Some(b'<'), Some(b'!')) => pos = after_comment(bytes, pos),
                (Some(b'<'), Some(b'?')) => {
                    pos = memchr(b'>', &bytes[pos..]).map_or(bytes.len(), |at| pos + at + 1);
                }
                (Some(b'<'), Some(b'/' | b'a'..=b'z' | b'A'..=b'Z')) => {
                    let Some((tag, next)) = Tag::parse(html, pos) else { return };
                    pos = next;
                    if tag.closing {
                        self.close(tag.name);
                    } else {
                        pos = self.start(&tag, html, pos);
                    }
                }
                (Some(b'<'), _) => {
                    self.text("<");
                    pos += 1;
                }
                _ => (),
            }
        }
    }

    /// Handles a start tag and gives the offset where reading goes on.
    fn start(&mut self, tag: &Tag<'_>, html: &str, pos: usize) -> usize {
        let class = classify(tag.name);
        match class {
            Class::Raw => {
                let (content, next) = raw_text(html, pos, tag.name);
                if tag.is("style") {
                    self.sheet.read(content);
                }
                return next;
            }
            Class::Break => self.out.line_break(),
            Class::Rule => self.out.paragraph(),
            Class::Image => self.image(tag),
            Class::Void => (),
            Class::Block | Class::Paragraph | Class::Item | Class::Cell | Class::Inline => {
                self.open(tag, class);
            }
        }
        pos
    }

    fn open(&mut self, tag: &Tag<'_>, class: Class) {
        self.close_implied(tag, class);
        match class {
            Class::Block | Class::Item => self.out.block(),
            Class::Paragraph if tag.is("p") || !tag.is("blockquote") => self.out.paragraph(),
            Class::Paragraph => self.out.block(),
            Class::Cell => self.out.cell(),
            _ => (),
        }
        let inherited = self.open.last();
        let mut style = tag.attribute("style").map(Style::parse).unwrap_or_default();
        if let Some(color) = tag.attribute("color").filter(|_| tag.is("font")) {
            style.color = style.color.or(Some(style::color(color)));
        }
        let white = style.color.map_or(inherited.is_some_and(|o| o.white), |c| c == WHITE);
        let background = style.background.is_some()
            || tag.attribute("bgcolor").is_some()
            || tag.attribute("background").is_some();
        let names = tag.attribute("class").unwrap_or_default();
        let id = tag.attribute("id").unwrap_or_default();
        let hidden = style.hidden
            || tag.attribute("hidden").is_some()
            || self.sheet.hides('.', names)
            || self.sheet.hides('#', id);
        // Gmail and Outlook indent with a blockquote that has no border and no class.
        let quote = tag.is("blockquote")
            && (tag.attribute("type").is_some() || !names.is_empty() || !style.borderless);
        let open = Open {
            name: tag.hash(),
            class,
            hidden,
            quote,
            pre: tag.is("pre"),
            background,
            tiny: style.tiny.unwrap_or(inherited.is_some_and(|o| o.tiny)),
            invisible: style.invisible.unwrap_or(inherited.is_some_and(|o| o.invisible)),
            white,
            item: tag.is("ol").then_some(1),
            mark: None,
            link: tag.is("a").then(|| tag.attribute("href")).flatten().and_then(shown_link),
        };
        if self.open.len() >= OPEN {
            self.untracked += 1;
            return;
        }
        self.hidden += usize::from(open.hidden);
        self.quotes += usize::from(open.quote);
        self.pre += usize::from(open.pre);
        self.backgrounds += usize::from(open.background);
        let mark = mark(names, id).map(|kind| (kind, self.out.next_offset()));
        if class == Class::Item && !self.is_hidden() {
            let number = self.open.iter_mut().rev().take(LOOK_BACK).find_map(|o| o.item.as_mut());
            let bullet = match number {
                Some(number) => {
                    *number = number.saturating_add(1);
                    format!("{}. ", *number - 1)
                }
                None => "- ".to_string(),
            };
            self.out.bullet(bullet, self.quotes);
        }
        self.open.push(Open { mark, ..open });
    }

    /// Ends elements whose end tag may be left out (HTML 13.1.2.4), where the next one tells.
    fn close_implied(&mut self, tag: &Tag<'_>, class: Class) {
        let Some(last) = self.open.last() else { return };
        let implied = match class {
            Class::Item | Class::Cell => last.name == tag.hash() || last.name == tag::hash("p"),
            Class::Block | Class::Paragraph => {
                last.name == tag::hash("p") || tag.is("tr") && last.name == tag.hash()
            }
            _ => false,
        };
        if implied {
            self.pop();
        }
    }

    fn close(&mut self, name: &str) {
        let class = classify(name);
        if matches!(class, Class::Break | Class::Rule | Class::Image | Class::Void | Class::Raw) {
            return;
        }
        if self.untracked > 0 {
            self.untracked -= 1;
            return;
        }
        let wanted = tag::hash(&name.to_ascii_lowercase());
        let found = self.open.iter().rev().take(LOOK_BACK).position(|open| open.name == wanted);
        let Some(above) = found else { return };
        let start = self.open.len() - 1 - above;
        // An end tag does not reach out of a cell, nor an inline one out of a block.
        let crosses = self.open[start + 1..].iter().any(|open| {
            open.class == Class::Cell && class != Class::Block
                || class == Class::Inline && open.class != Class::Inline
        });
        if crosses {
            return;
        }
        while self.open.len() > start {
            self.pop();
        }
    }

    fn pop(&mut self) {
        let Some(open) = self.open.pop() else { return };
        if let Some(link) = open.link
            && !self.is_hidden_with(&open.hidden)
        {
            self.out.link(&link);
        }
        match open.class {
            Class::Block | Class::Item => self.out.block(),
            Class::Paragraph => self.out.paragraph(),
            _ => (),
        }
        if let Some((kind, from)) = open.mark {
            let from = self.out.settle(from);
            if from < self.out.text.len() {
                self.marks.push(Mark { kind, range: from..self.out.text.len() });
            }
        }
        self.hidden -= usize::from(open.hidden);
        self.quotes -= usize::from(open.quote);
        self.pre -= usize::from(open.pre);
        self.backgrounds -= usize::from(open.background);
    }

    fn is_hidden(&self) -> bool {
        self.is_hidden_with(&false)
    }

    fn is_hidden_with(&self, popped: &bool) -> bool {
        self.hidden > 0
            || *popped
            || self.open.last().is_some_and(|open| {
                open.tiny
                    || open.invisible
                    || open.white && self.backgrounds == 0 && !self.sheet.any
            })
    }

    fn image(&mut self, tag: &Tag<'_>) {
        let Some(alt) = tag.attribute("alt").map(str::trim).filter(|alt| !alt.is_empty()) else {
            return;
        };
        let alt: String = decode(alt).chars().take(200).collect();
        if !self.is_hidden() {
            self.text(&format!("[{alt}]"));
        }
    }

    fn text(&mut self, raw: &str) {
        if raw.is_empty() {
            return;
        }
        let decoded = decode(raw);
        if self.is_hidden() {
            let room = HIDDEN_KEPT.saturating_sub(self.hidden_text.len());
            let words = decoded.split_whitespace().collect::<Vec<_>>().join(" ");
            if !words.is_empty() && room > 0 {
                if !self.hidden_text.is_empty() {
                    self.hidden_text.push('\n');
                }
                self.hidden_text.extend(words.chars().take(room / 4));
            }
            return;
        }
        let pre = self.pre > 0;
        let mut rest = &*decoded;
        while let Some(c) = rest.chars().next() {
            // Most of most mail is words of printable ASCII.
            let word = rest.bytes().position(|b| !b.is_ascii_graphic()).unwrap_or(rest.len());
            if let Some(last) = rest[..word].chars().next_back() {
                self.scrubber.keep(last);
                self.out.push_str(&rest[..word], self.quotes);
                rest = &rest[word..];
                continue;
            }
            rest = &rest[c.len_utf8()..];
            match c {
                '\n' if pre => self.out.line_break(),
                '\r' if pre => (),
                ' ' | '\t' | '\n' | '\r' | '\x0c' if !pre => self.out.space = true,
                '\u{a0}' => self.out.push_str(" ", self.quotes),
                c if self.scrubber.keep(c) => {
                    self.out.push_str(c.encode_utf8(&mut [0; 4]), self.quotes);
                }
                _ => (),
            }
        }
    }

    fn finish(mut self) -> Converted {
        while !self.open.is_empty() {
            self.pop();
        }
        let mut hidden = Vec::new();
        if !self.hidden_text.is_empty() {
            // Padding after a preview line is not text.
            let mut scrubber = Scrubber::default();
            self.hidden_text.retain(|c| scrubber.keep(c) && c != '\u{34f}');
            if self.hidden_text.chars().any(char::is_alphanumeric) {
                hidden.push(Hidden { how: Hiding::Style, text: self.hidden_text });
            }
        }
        self.scrubber.finish(&mut hidden);
        let mut text = self.out.text;
        if !text.is_empty() {
            text.push('\n');
        }
        self.marks.sort_by_key(|mark| mark.range.start);
        Converted { text, marks: self.marks, hidden }
    }
}

/// The text being written: collapses blanks and turns boundaries into line ends.
#[derive(Default)]
struct Out {
    text: String,
    /// A blank seen and not yet written.
    space: bool,
    /// Line ends owed before the next character.
    breaks: usize,
    /// Whether the current line has anything on it.
    filled: bool,
    cell: bool,
    /// Depth of quoting of the last line written.
    quotes: usize,
    bullet: Option<(String, usize)>,
}

impl Out {
    fn push_str(&mut self, text: &str, quotes: usize) {
        if let Some((bullet, depth)) = self.bullet.take() {
            self.space = false;
            self.begin(depth);
            self.text.push_str(&bullet);
        }
        let fresh = self.begin(quotes);
        if std::mem::take(&mut self.cell) && !fresh {
            self.text.push('\t');
        } else if self.space && !fresh && !self.text.ends_with(' ') {
            self.text.push(' ');
        }
        self.space = false;
        self.text.push_str(text);
    }

    /// Starts the line that the next character goes to. Whether it is a new one.
    fn begin(&mut self, quotes: usize) -> bool {
        if self.filled && self.quotes == quotes {
            return false;
        }
        let breaks = if self.filled { self.breaks.max(1) } else { self.breaks };
        if !self.text.is_empty() {
            let between = quotes.min(self.quotes);
            let trimmed = self.text.trim_end_matches([' ', '\t']).len();
            self.text.truncate(trimmed);
            for at in 0..breaks.clamp(1, 3) {
                if at > 0 {
                    self.prefix(between);
                    let trimmed = self.text.trim_end_matches(' ').len();
                    self.text.truncate(trimmed);
                }
                self.text.push('\n');
            }
        }
        self.prefix(quotes);
        self.breaks = 0;
        self.filled = true;
        self.quotes = quotes;
        true
    }

    fn prefix(&mut self, quotes: usize) {
        for _ in 0..quotes.min(QUOTE_PREFIX) {
            self.text.push_str("> ");
        }
    }

    fn end_line(&mut self) {
        if self.filled {
            self.breaks = 1;
            self.filled = false;
        }
        self.space = false;
        self.cell = false;
    }

    fn block(&mut self) {
        self.end_line();
    }

    fn paragraph(&mut self) {
        self.end_line();
        self.breaks = self.breaks.max(2);
    }

    fn line_break(&mut self) {
        if self.filled {
            self.end_line();
        } else {
            self.breaks += 1;
        }
        self.space = false;
    }

    fn cell(&mut self) {
        self.cell = self.filled;
    }

    fn bullet(&mut self, bullet: String, quotes: usize) {
        self.bullet = Some((bullet, quotes));
    }

    fn link(&mut self, link: &str) {
        // The text of the link may be its target, with or without the scheme.
        let bare = link.trim_start_matches("https://").trim_start_matches("http://");
        let bare = bare.trim_start_matches("mailto:").trim_end_matches('/');
        if self.filled && !self.text.trim_end_matches('/').ends_with(bare) {
            self.text.push_str(" <");
            self.text.push_str(link);
            self.text.push('>');
            self.space = false;
        }
    }

    /// Where text written from now on will be, at the earliest.
    fn next_offset(&self) -> usize {
        self.text.len()
    }

    /// The start of the first line at or after `from`.
    fn settle(&self, from: usize) -> usize {
        if from == 0 {
            return 0;
        }
        let rest = &self.text[from..];
        from + (rest.len() - rest.trim_start_matches(['\n', ' ']).len())
    }
}

/// The mark that a client's class or id sets.
fn mark(names: &str, id: &str) -> Option<MarkKind> {
    // Outlook on the web prefixes what it quotes again.
    let id = id.trim_start_matches("x_");
    if matches!(id, "divRplyFwdMsg" | "mail-editor-reference-message-container")
        || id.starts_with("yahoo_quoted_")
    {
        return Some(MarkKind::History);
    }
    names.split_ascii_whitespace().take(32).find_map(|name| match name.trim_start_matches("x_") {
        "moz-cite-prefix" | "gmail_attr" => Some(MarkKind::Attribution),
        "yahoo_quoted" | "OutlookMessageHeader" | "zmail_extra" => Some(MarkKind::History),
        _ => None,
    })
}

/// A link worth showing beside its text.
fn shown_link(href: &str) -> Option<String> {
    let href = href.trim();
    let scheme = href.get(..8)?.to_ascii_lowercase();
    if href.len() > URL_SHOWN
        || href.chars().any(|c| c.is_whitespace() || c.is_control() || c == '<' || c == '>')
        || !(scheme.starts_with("http://") || scheme == "https://" || scheme.starts_with("mailto:"))
    {
        return None;
    }
    let mut scrubber = Scrubber::default();
    Some(decode(href).chars().filter(|c| scrubber.keep(*c) && *c != '\n').collect())
}

/// The offset after a comment, a document type, or a CDATA section.
fn after_comment(bytes: &[u8], pos: usize) -> usize {
    let rest = &bytes[pos..];
    if rest.starts_with(b"<!--") {
        // "<!-->" and "<!--->" are whole comments (HTML 13.2.5.43).
        if rest[4..].starts_with(b">") {
            return pos + 5;
        }
        if rest[4..].starts_with(b"->") {
            return pos + 6;
        }
        return memmem::find(&rest[4..], b"-->").map_or(bytes.len(), |at| pos + 4 + at + 3);
    }
    memchr(b'>', rest).map_or(bytes.len(), |at| pos + at + 1)
}

/// Content of an element whose content is no markup, and the offset after its end tag.
fn raw_text<'h>(html: &'h str, pos: usize, name: &str) -> (&'h str, usize) {
    let bytes = html.as_bytes();
    let mut at = pos;
    while let Some(found) = memmem::find(&bytes[at..], b"</") {
        let end = at + found;
        let tail = &bytes[end + 2..];
        if tail.get(..name.len()).is_some_and(|tail| tail.eq_ignore_ascii_case(name.as_bytes())) {
            let next = memchr(b'>', tail).map_or(bytes.len(), |close| end + 2 + close + 1);
            return (&html[pos..end], next);
        }
        at = end + 2;
    }
    (&html[pos..], bytes.len())
}

/// Text with its character references decoded.
fn decode(raw: &str) -> std::borrow::Cow<'_, str> {
    if memchr(b'&', raw.as_bytes()).is_none() {
        return raw.into();
    }
    let mut out = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(at) = memchr(b'&', rest.as_bytes()) {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let window = &rest.as_bytes()[..rest.len().min(34)];
        match memchr2(b';', b' ', &window[1..]) {
            Some(end) if window[end + 1] == b';' && window[1..=end].is_ascii() => {
                mail_parser::decoders::html::add_html_token(&mut out, &window[..end + 2], false);
                rest = &rest[end + 2..];
            }
            _ => {
                let bare =
                    [("&nbsp", " "), ("&amp", "&"), ("&lt", "<"), ("&gt", ">"), ("&quot", "\"")];
                let (name, text) =
                    bare.into_iter().find(|(name, _)| rest.starts_with(name)).unwrap_or(("&", "&"));
                out.push_str(text);
                rest = &rest[name.len()..];
            }
        }
    }
    out.push_str(rest);
    out.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(html: &str, expected: &str) {
        assert_eq!(to_text(html).text.trim_end_matches('\n'), expected, "{html}");
    }

    #[test]
    fn blocks_become_lines_and_blanks_collapse() {
        check("<p>One\n  two</p><p>three</p>", "One two\n\nthree");
        check("<div>a</div><div><br></div><div>b</div>", "a\n\nb");
        check("a<br>b<br/>\n<br>c", "a\nb\n\nc");
        check("<b>x</b> <i>y</i>z", "x yz");
        check("a&nbsp;&amp;&#x20AC;&eacute;&unknown;&lt&", "a &€é&unknown;<&");
        check("<ul><li>a<li>b</ul><ol><li><p>c</p></li><li>d</ol>", "- a\n- b\n\n1. c\n\n2. d");
        check("<table><tr><td>a</td><td>b</td></tr><tr><td>c<td>d</table>", "a\tb\nc\td");
        check("<pre>a\n  b</pre>", "a\n  b");
        check("1 < 2 <3 a<", "1 < 2 <3 a<");
    }

    #[test]
    fn scripts_styles_and_comments_are_dropped() {
        check("a<!-- x <b> --><script>if (a<b) '</p>'</script>b<STYLE>p{}</sTyle>c<!-->d", "abcd");
        check("<title>t</title>a<!--[if mso]>x<![endif]-->b<![if !mso]>c<![endif]>", "abc");
    }

    #[test]
    fn links_show_their_target_unless_the_text_does() {
        check("<a href='https://x.example/a'>here</a>.", "here <https://x.example/a>.");
        check("<a href='https://x.example/'>x.example</a>", "x.example");
        check("<a href='mailto:a@x.example'>a@x.example</a>", "a@x.example");
        check("<a href='javascript:alert(1)'>here</a>", "here");
    }

    #[test]
    fn quotes_get_a_prefix_and_indentation_does_not() {
        check(
            "a<blockquote type=cite>b<br><br>c<blockquote>d</blockquote></blockquote>e",
            "a\n> b\n>\n> c\n> > d\n\ne",
        );
        check("a<blockquote style='border:none; margin:0'>b</blockquote>", "a\nb");
    }

    #[test]
    fn hidden_text_is_apart() {
        let converted = to_text(
            "<div style='display:none'>pay <b>Eve</b></div>Hello<span style='font-size:0'>x<i \
             style='font-size:12px'>y</i></span> <font color=white>w</font>",
        );
        assert_eq!(converted.text, "Hello y\n".replace("Hello y", "Helloy"));
        assert_eq!(converted.hidden.len(), 1);
        assert_eq!(converted.hidden[0].text, "pay\nEve\nx\nw");
    }

    #[test]
    fn marks_cover_the_lines_of_their_element() {
        let converted = to_text(
            "<div>new</div><div class=\"moz-cite-prefix\">Wer weiß:<br></div><blockquote \
             type=\"cite\">old</blockquote>",
        );
        assert_eq!(converted.marks.len(), 1);
        assert_eq!(&converted.text[converted.marks[0].range.clone()], "Wer weiß:");
    }

    #[test]
    fn hostile_html_takes_linear_time_and_space() {
        let pieces = [
            "<div>",
            "<blockquote>x",
            "<b>",
            "</i>",
            "<table><tr><td>",
            "<p><b>x",
            "<!--",
            "&",
            "<a href=\"",
            "<style>",
            "</",
            "<x y=z ",
            "<li>x",
            "<ol><li>",
            "<span style='display:none'>x",
        ];
        for piece in pieces {
            let start = std::time::Instant::now();
            let html = piece.repeat(300_000 / piece.len());
            let text = to_text(&html).text;
            assert!(text.len() <= 8 * html.len(), "{piece}: {}", text.len());
            let took = start.elapsed();
            println!("{piece}: {took:?}");
            // Unoptimised and on a busy machine; quadratic time would take minutes.
            assert!(took.as_secs() < 20, "{piece}: {took:?}");
        }
    }
}
