//! What a command prints: the API's JSON as it came, or tables and sentences for a person.
//!
//! What always holds: text from mail is shown without characters that move the cursor, colour the
//! terminal or reorder letters, so a subject cannot forge a line of our output.

use std::io::{self, Write};

use serde_json::Value;

/// A cell is cut after this many characters; `get` and `--json` show the whole.
const CELL_MAX: usize = 48;

/// Where a command prints.
pub struct Output {
    json: bool,
    to: Box<dyn Write + Send>,
}

/// One column of a table: its heading, and the key of the API's object that fills it.
pub type Column = (&'static str, &'static str);

impl Output {
    pub fn stdout(json: bool) -> Self {
        Self { json, to: Box::new(io::stdout()) }
    }

    pub fn is_json(&self) -> bool {
        self.json
    }

    /// A page of a list, `{"items": […], "next": …}`. `more` is the command for the next page.
    pub fn list(
        &mut self,
        page: &Value,
        columns: &[Column],
        empty: &str,
        more: &str,
    ) -> io::Result<()> {
        if self.json {
            return self.value(page);
        }
        let items = page["items"].as_array().map_or(&[][..], Vec::as_slice);
        if items.is_empty() {
            return writeln!(self.to, "{empty}");
        }
        let rows: Vec<Vec<String>> = items
            .iter()
            .map(|item| columns.iter().map(|(_, key)| cell(&item[key])).collect())
            .collect();
        self.table(columns, &rows)?;
        match page["next"].as_str() {
            Some(next) => writeln!(self.to, "\nThere are more: {more} --cursor {}", line(next)),
            None => Ok(()),
        }
    }

    /// What a command did: the API's answer, or the sentence.
    pub fn done(&mut self, answer: &Value, sentence: &str) -> io::Result<()> {
        if self.json { self.value(answer) } else { writeln!(self.to, "{}", line(sentence)) }
    }

    /// JSON on one line, so that several answers can be read one by one.
    pub fn value(&mut self, value: &Value) -> io::Result<()> {
        writeln!(self.to, "{value}")
    }

    /// `key: value` lines, aligned; empty values are left out.
    pub fn fields(&mut self, fields: &[(&str, String)]) -> io::Result<()> {
        let width = fields.iter().map(|(key, _)| key.len()).max().unwrap_or(0) + 1;
        for (key, value) in fields.iter().filter(|(_, value)| !value.is_empty()) {
            writeln!(self.to, "{:<width$} {}", format!("{key}:"), line(value))?;
        }
        Ok(())
    }

    /// One line.
    pub fn say(&mut self, text: &str) -> io::Result<()> {
        writeln!(self.to, "{}", line(text))
    }

    /// Several lines of somebody's text, indented so that they cannot pass for ours.
    pub fn text(&mut self, text: &str) -> io::Result<()> {
        for part in text.lines() {
            writeln!(self.to, "{}", format!("    {}", line(part)).trim_end())?;
        }
        Ok(())
    }

    fn table(&mut self, columns: &[Column], rows: &[Vec<String>]) -> io::Result<()> {
        let widths: Vec<usize> = columns
            .iter()
            .enumerate()
            .map(|(index, (heading, _))| {
                let cells = rows.iter().map(|row| row[index].chars().count());
                cells.chain([heading.chars().count()]).max().unwrap_or(0)
            })
            .collect();
        let headings: Vec<String> = columns.iter().map(|(heading, _)| (*heading).into()).collect();
        for row in std::iter::once(&headings).chain(rows) {
            let padded: Vec<String> = row
                .iter()
                .zip(&widths)
                .map(|(cell, width)| {
                    format!("{cell}{}", " ".repeat(width.saturating_sub(cell.chars().count())))
                })
                .collect();
            writeln!(self.to, "{}", padded.join("  ").trim_end())?;
        }
        Ok(())
    }
}

/// A JSON value in a few words: texts bare, lists with commas, times to the minute.
pub fn show(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => short_time(text).unwrap_or_else(|| text.clone()),
        Value::Array(items) => items.iter().map(show).collect::<Vec<_>>().join(", "),
        Value::Bool(true) => "yes".into(),
        Value::Bool(false) => "no".into(),
        other => other.to_string(),
    }
}

/// One line of text that stays one line and leaves the terminal alone.
pub fn line(text: &str) -> String {
    text.chars().map(|c| if steers(c) { '\u{fffd}' } else { c }).collect()
}

fn cell(value: &Value) -> String {
    let text = line(&show(value));
    if text.chars().count() <= CELL_MAX {
        return text;
    }
    text.chars().take(CELL_MAX - 1).chain(['…']).collect()
}

/// Control characters (RFC 5198 section 2), the bidirectional controls of UAX #9, and the line and
/// paragraph separators.
fn steers(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// `2026-11-21T00:05:09.123Z` as `2026-11-21 00:05 UTC`.
fn short_time(text: &str) -> Option<String> {
    let (date, rest) = text.split_once('T')?;
    let digits = |text: &str, length: usize, mark: char| {
        text.len() == length && text.chars().all(|c| c.is_ascii_digit() || c == mark)
    };
    let minutes = rest.get(..5)?;
    (rest.ends_with('Z') && digits(date, 10, '-') && digits(minutes, 5, ':'))
        .then(|| format!("{date} {minutes} UTC"))
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use serde_json::json;

    use super::*;

    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl Write for Page {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn printed(print: impl FnOnce(&mut Output) -> io::Result<()>) -> String {
        let page = Page::default();
        print(&mut Output { json: false, to: Box::new(page.clone()) }).unwrap();
        let bytes = page.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_table_is_aligned_and_says_how_to_see_more() {
        let page = json!({
            "items": [
                { "id": 7, "subject": "Grüße", "at": "2026-11-21T00:05:09.5Z", "to": ["a", "b"] },
                { "id": 1234, "subject": null, "at": "2026-11-22T10:00:00Z", "to": [] },
            ],
            "next": "abc",
        });
        let columns = [("ID", "id"), ("SUBJECT", "subject"), ("AT", "at"), ("TO", "to")];
        assert_eq!(
            printed(|output| output.list(&page, &columns, "Nothing.", "frontdesk inbox list")),
            "ID    SUBJECT  AT                    TO\n\
             7     Grüße    2026-11-21 00:05 UTC  a, b\n\
             1234           2026-11-22 10:00 UTC\n\
             \n\
             There are more: frontdesk inbox list --cursor abc\n"
        );
    }

    #[test]
    fn an_empty_list_says_so() {
        let page = json!({ "items": [], "next": null });
        assert_eq!(printed(|output| output.list(&page, &[], "Nothing.", "")), "Nothing.\n");
    }

    #[test]
    fn text_from_mail_cannot_steer_the_terminal_or_forge_a_line() {
        let page = json!({ "items": [{ "s": "a\u{1b}[2Jb\nfake  row\u{202e}c\u{9b}d" }] });
        let shown = printed(|output| output.list(&page, &[("S", "s")], "", ""));
        assert_eq!(shown.lines().count(), 2, "{shown:?}");
        assert!(!shown.contains(['\u{1b}', '\u{202e}', '\u{9b}']), "{shown:?}");
        let shown = printed(|output| output.text("one\r\ntwo\u{7}\n\nthree"));
        assert_eq!(shown, "    one\n    two\u{fffd}\n\n    three\n");
    }

    #[test]
    fn long_cells_are_cut_and_marked() {
        let page = json!({ "items": [{ "s": "é".repeat(100) }] });
        let shown = printed(|output| output.list(&page, &[("S", "s")], "", ""));
        assert_eq!(shown.lines().nth(1).unwrap().chars().count(), CELL_MAX);
        assert!(shown.ends_with("…\n"));
    }

    #[test]
    fn what_is_no_time_is_shown_as_it_is() {
        for text in ["T", "Thursday", "2026-11-21T00:05:09+02:00", "2026-11-21Té:05Z"] {
            assert_eq!(show(&json!(text)), text);
        }
    }
}
