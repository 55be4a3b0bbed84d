//! Walking a parsed TOML document so that one pass finds every mistake.
//!
//! serde stops at the first wrong value. Here each getter notes what is wrong, returns nothing, and
//! the walk goes on. A getter also makes its key known: whatever is left in a section when
//! [`Section::finish`] is called is a key that nobody reads, and is reported with the nearest known
//! one.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::ops::{Range, RangeInclusive};
use std::path::PathBuf;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::{At, Place, Problem};
use super::quantity::{parse_duration, parse_size, show_duration, show_size};
use super::suggest::nearest;

/// What one pass over a file found.
pub(super) struct Report<'t> {
    text: &'t str,
    /// Lines that are not TOML. What else seems wrong there only follows from that.
    broken_lines: BTreeSet<usize>,
    problems: RefCell<Vec<Problem>>,
    known: RefCell<BTreeMap<&'static str, BTreeSet<&'static str>>>,
    unknown: RefCell<Vec<UnknownKey>>,
}

struct UnknownKey {
    section: &'static str,
    key: String,
    span: Range<usize>,
}

impl<'t> Report<'t> {
    pub fn new(text: &'t str, syntax_errors: Vec<toml::de::Error>) -> Self {
        let mut broken_lines = BTreeSet::new();
        let mut problems = Vec::new();
        for error in syntax_errors {
            let place = error.span().map(|span| Place::of(text, span.start));
            // One mistake, such as a quote that is never closed, often breaks the parser twice.
            if place.is_none_or(|place| broken_lines.insert(place.line)) {
                problems
                    .push(Problem { place, message: format!("not TOML: {}.", error.message()) });
            }
        }
        Self {
            text,
            broken_lines,
            problems: RefCell::new(problems),
            known: RefCell::default(),
            unknown: RefCell::default(),
        }
    }

    /// Whether the file is TOML. If not, what is missing may only be unreadable.
    pub fn is_toml(&self) -> bool {
        self.broken_lines.is_empty()
    }

    pub fn problem(&self, span: &Range<usize>, message: impl Into<String>) {
        let place = Place::of(self.text, span.start);
        if !self.broken_lines.contains(&place.line) {
            self.problems
                .borrow_mut()
                .push(Problem { place: Some(place), message: message.into() });
        }
    }

    /// A problem that is not at one place of the file.
    pub fn problem_outside(&self, message: impl Into<String>) {
        self.problems.borrow_mut().push(Problem { place: None, message: message.into() });
    }

    /// The sections of the file. A section that is not there reads as an empty one, so that its
    /// keys are known all the same.
    pub fn section<'a, 'i>(
        &'a self,
        root: &'a DeTable<'i>,
        name: &'static str,
    ) -> Section<'a, 'i, 't> {
        self.section_at(name, root.get(name))
    }

    fn section_at<'a, 'i>(
        &'a self,
        name: &'static str,
        value: Option<&'a Spanned<DeValue<'i>>>,
    ) -> Section<'a, 'i, 't> {
        self.known.borrow_mut().entry(name).or_default();
        let (table, span) = match value {
            None => (None, 0..0),
            Some(value) => match value.get_ref() {
                DeValue::Table(table) => (Some(table), value.span()),
                other => {
                    self.problem(
                        &value.span(),
                        format!("`{name}` is {}. Write a section: [{name}].", a_type(other)),
                    );
                    (None, value.span())
                }
            },
        };
        Section { name, table, span, report: self }
    }

    /// The tables of an array of tables, in order.
    pub fn sections<'a, 'i>(
        &'a self,
        root: &'a DeTable<'i>,
        name: &'static str,
    ) -> Vec<Section<'a, 'i, 't>> {
        self.known.borrow_mut().entry(name).or_default();
        let Some(value) = root.get(name) else { return Vec::new() };
        let wrong = |found: &Spanned<DeValue<'i>>| {
            let message = match found.get_ref() {
                DeValue::Table(_) => format!(
                    "[{name}] is one table, and there can be several. Write [[{name}]], with two \
                     brackets."
                ),
                other => format!("`{name}` is {}. Write a section: [[{name}]].", a_type(other)),
            };
            self.problem(&found.span(), message);
        };
        let Some(items) = value.get_ref().as_array() else {
            wrong(value);
            return Vec::new();
        };
        let mut sections = Vec::new();
        for item in items.iter() {
            match item.get_ref() {
                DeValue::Table(table) => sections.push(Section {
                    name,
                    table: Some(table),
                    span: item.span(),
                    report: self,
                }),
                _ => wrong(item),
            }
        }
        sections
    }

    /// The sections inside `[outer]` that have names of the operator's choice, with where the names stand.
    /// Their keys are known under `known_as`, also where there is no such section.
    pub fn named_sections<'a, 'i>(
        &'a self,
        root: &'a DeTable<'i>,
        outer: &'static str,
        known_as: &'static str,
    ) -> Vec<(At<String>, Section<'a, 'i, 't>)> {
        self.known.borrow_mut().entry(outer).or_default();
        self.known.borrow_mut().entry(known_as).or_default();
        let Some(value) = root.get(outer) else { return Vec::new() };
        let Some(table) = value.get_ref().as_table() else {
            let found = a_type(value.get_ref());
            self.problem(
                &value.span(),
                format!("`{outer}` is {found}. Write a section for each: [{known_as}]."),
            );
            return Vec::new();
        };
        let mut sections = Vec::new();
        for (key, value) in table.iter() {
            let name = At::new(key.get_ref().to_string(), key.span());
            match value.get_ref() {
                DeValue::Table(table) => sections.push((
                    name,
                    Section {
                        name: known_as,
                        table: Some(table),
                        span: value.span(),
                        report: self,
                    },
                )),
                other => self.problem(
                    &value.span(),
                    format!(
                        "`{}` under [{outer}] is {}. Write a section for each: [{known_as}].",
                        name.value,
                        a_type(other)
                    ),
                ),
            }
        }
        sections
    }

    /// An empty section, to make its keys known.
    pub fn nothing<'a, 'i>(&'a self, name: &'static str) -> Section<'a, 'i, 't> {
        self.section_at(name, None)
    }

    /// Reports every section that nobody asked for.
    pub fn finish_root(&self, root: &DeTable<'_>) {
        for (key, _) in root.iter() {
            if !self.known.borrow().contains_key(key.get_ref().as_ref()) {
                self.unknown.borrow_mut().push(UnknownKey {
                    section: "",
                    key: key.get_ref().to_string(),
                    span: key.span(),
                });
            }
        }
    }

    /// Every key that was asked for, by section.
    pub fn known(&self) -> Vec<(&'static str, &'static str)> {
        let known = self.known.borrow();
        known.iter().flat_map(|(section, keys)| keys.iter().map(|key| (*section, *key))).collect()
    }

    /// All problems in the order of the file, those without a place last.
    pub fn into_problems(self) -> Vec<Problem> {
        for unknown in self.unknown.borrow().iter() {
            self.problem(&unknown.span, self.explain(unknown));
        }
        let mut problems = self.problems.into_inner();
        problems.sort_by_key(|problem| (problem.place.is_none(), problem.place));
        problems
    }

    fn explain(&self, unknown: &UnknownKey) -> String {
        let UnknownKey { section, key, .. } = unknown;
        let known = self.known.borrow();
        let elsewhere: Vec<_> = known
            .iter()
            .filter(|(_, keys)| keys.contains(key.as_str()))
            .map(|(name, _)| header(name))
            .collect();
        if section.is_empty() {
            let inner = known.keys().find(|name| inside(name).is_some_and(|(_, last)| last == key));
            if let Some(inner) = inner {
                return format!("there is no section `{key}`. Did you mean {}?", header(inner));
            }
            return match nearest(key, known.keys().copied()) {
                Some(near) => {
                    format!("there is no section `{key}`. Did you mean {}?", header(near))
                }
                None if !elsewhere.is_empty() => {
                    format!("`{key}` stands outside a section. Move it under {}.", or(&elsewhere))
                }
                None => format!(
                    "there is no section `{key}`. The sections are {}.",
                    and(&known.keys().map(|name| header(name)).collect::<Vec<_>>())
                ),
            };
        }
        let here = header(section);
        let keys = known.get(section).into_iter().flatten().copied();
        let inner = || {
            let sections = known.keys().filter_map(|name| inside(name));
            sections.filter(|(outer, _)| outer == section).map(|(_, last)| last)
        };
        match nearest(key, keys.clone().chain(inner())) {
            Some(near) if inner().any(|last| last == near) => {
                format!("{here} has no key `{key}`. Did you mean [{section}.{near}]?")
            }
            Some(near) => format!("{here} has no key `{key}`. Did you mean `{near}`?"),
            None if !elsewhere.is_empty() => {
                format!("{here} has no key `{key}`. It belongs under {}.", or(&elsewhere))
            }
            None => format!(
                "{here} has no key `{key}`. Its keys are {}.",
                and(&keys.map(|key| format!("`{key}`")).collect::<Vec<_>>())
            ),
        }
    }
}

/// One section of the file, being read.
pub(super) struct Section<'a, 'i, 't> {
    name: &'static str,
    table: Option<&'a DeTable<'i>>,
    span: Range<usize>,
    report: &'a Report<'t>,
}

impl<'a, 'i, 't> Section<'a, 'i, 't> {
    /// Whether it is in the file.
    pub fn is_there(&self) -> bool {
        self.table.is_some()
    }

    /// Where the section begins.
    pub fn span(&self) -> Range<usize> {
        self.span.clone()
    }

    pub fn report(&self) -> &'a Report<'t> {
        self.report
    }

    /// A section inside this one, by its whole name: `voice.whisper`.
    pub fn subsection(&self, name: &'static str) -> Section<'a, 'i, 't> {
        let key = inside(name).map_or(name, |(_, last)| last);
        self.report.section_at(name, self.table.and_then(|table| table.get(key)))
    }

    /// Text. `example` is a value that would do, as it is written in the file.
    pub fn string(&self, key: &'static str, example: &str) -> Option<At<String>> {
        let value = self.take(key)?;
        match value.get_ref() {
            DeValue::String(text) => Some(At::new(text.to_string(), value.span())),
            _ => self.wrong(key, value, "text in quotes", example),
        }
    }

    pub fn boolean(&self, key: &'static str) -> Option<At<bool>> {
        let value = self.take(key)?;
        match value.get_ref() {
            DeValue::Boolean(flag) => Some(At::new(*flag, value.span())),
            _ => self.wrong(key, value, "true or false", "true"),
        }
    }

    pub fn integer(
        &self,
        key: &'static str,
        allowed: RangeInclusive<u32>,
        default: u32,
    ) -> Option<u32> {
        let value = self.take(key)?;
        let must = format!("a whole number from {} to {}", allowed.start(), allowed.end());
        let Some(integer) = value.get_ref().as_integer() else {
            return self.wrong(key, value, &must, &default.to_string());
        };
        let number = u32::from_str_radix(integer.as_str(), integer.radix()).ok();
        match number.filter(|number| allowed.contains(number)) {
            Some(number) => Some(number),
            None => self.bad(value, format!("`{key}` must be {must}, but is {integer}.")),
        }
    }

    /// A size in octets: `"35 MiB"`, or a bare number.
    pub fn size(
        &self,
        key: &'static str,
        allowed: RangeInclusive<u64>,
        default: u64,
    ) -> Option<At<u64>> {
        let value = self.take(key)?;
        let example = format!("\"{}\"", show_size(default));
        let octets = match value.get_ref() {
            DeValue::String(text) => parse_size(text),
            DeValue::Integer(number) => u64::from_str_radix(number.as_str(), number.radix()).ok(),
            _ => return self.wrong(key, value, "a size", &example),
        };
        match octets {
            Some(octets) if allowed.contains(&octets) => Some(At::new(octets, value.span())),
            Some(octets) => self.bad(
                value,
                format!(
                    "`{key}` must be a size from {} to {}, but is {}.",
                    show_size(*allowed.start()),
                    show_size(*allowed.end()),
                    show_size(octets)
                ),
            ),
            None => self.bad(
                value,
                format!(
                    "`{key}` is not a size. Write a number and B, KiB, MiB or GiB: \
                     {key} = {example}."
                ),
            ),
        }
    }

    /// A duration such as `"5m"`.
    pub fn duration(
        &self,
        key: &'static str,
        allowed: RangeInclusive<Duration>,
        default: Duration,
    ) -> Option<Duration> {
        let value = self.take(key)?;
        let example = format!("\"{}\"", show_duration(default));
        let DeValue::String(text) = value.get_ref() else {
            return self.wrong(key, value, "a duration with its unit", &example);
        };
        match parse_duration(text) {
            Some(duration) if allowed.contains(&duration) => Some(duration),
            Some(_) => self.bad(
                value,
                format!(
                    "`{key}` must be from {} to {}, but is {text}.",
                    show_duration(*allowed.start()),
                    show_duration(*allowed.end())
                ),
            ),
            None => self.bad(
                value,
                format!(
                    "`{key}` is not a duration. Write a number and ms, s, m, h or d: \
                     {key} = {example}."
                ),
            ),
        }
    }

    /// One of a few words.
    pub fn choice<T: Copy>(&self, key: &'static str, choices: &[(&str, T)]) -> Option<At<T>> {
        let names: Vec<_> = choices.iter().map(|(name, _)| format!("\"{name}\"")).collect();
        let found = self.string(key, names.first().map_or("", String::as_str))?;
        if let Some((_, choice)) = choices.iter().find(|(name, _)| *name == found.value) {
            return Some(At::new(*choice, found.span));
        }
        let fix = match nearest(&found.value, choices.iter().map(|(name, _)| *name)) {
            Some(near) => format!("Did you mean \"{near}\"?"),
            None => format!("Write {}.", or(&names)),
        };
        self.report.problem(&found.span, format!("`{key}` cannot be \"{}\". {fix}", found.value));
        None
    }

    /// One text, or a list of them.
    pub fn one_or_more(&self, key: &'static str, example: &str) -> Option<Vec<At<String>>> {
        let value = self.table.and_then(|table| table.get(key));
        if value.is_some_and(|value| matches!(value.get_ref(), DeValue::String(_))) {
            return self.string(key, example).map(|at| vec![at]);
        }
        self.strings(key, example)
    }

    /// A list of texts.
    pub fn strings(&self, key: &'static str, example: &str) -> Option<Vec<At<String>>> {
        let value = self.take(key)?;
        let items = match value.get_ref() {
            DeValue::Array(items) => items,
            DeValue::String(text) => {
                return self
                    .bad(value, format!("`{key}` must be a list. Write {key} = [\"{text}\"]."));
            }
            _ => return self.wrong(key, value, "a list of texts", example),
        };
        let mut texts = Vec::new();
        for item in items.iter() {
            match item.get_ref() {
                DeValue::String(text) => texts.push(At::new(text.to_string(), item.span())),
                _ => {
                    self.wrong::<()>(key, item, "a list of texts in quotes", example);
                }
            }
        }
        Some(texts)
    }

    /// A list of IP addresses with ports; a bare address gets `default_port`, if there is one.
    pub fn sockets(
        &self,
        key: &'static str,
        default_port: Option<u16>,
        example: &str,
    ) -> Option<Vec<At<SocketAddr>>> {
        let mut sockets = Vec::new();
        for At { value: text, span } in self.strings(key, example)? {
            let bare = || Some(SocketAddr::new(text.parse().ok()?, default_port?));
            match text.parse().ok().or_else(bare) {
                Some(socket) => sockets.push(At::new(socket, span)),
                None => self.report.problem(
                    &span,
                    format!(
                        "`{key}` cannot be \"{text}\". Write an IP address and a port, such as \
                         {example}."
                    ),
                ),
            }
        }
        Some(sockets)
    }

    /// A path, not yet resolved against the folder of the config file.
    pub fn path(&self, key: &'static str, example: &str) -> Option<At<PathBuf>> {
        let found = self.string(key, example)?;
        if found.value.is_empty() {
            self.report.problem(&found.span, format!("`{key}` is empty. Write a path."));
            return None;
        }
        Some(At::new(PathBuf::from(found.value), found.span))
    }

    /// Paths by names of the operator's choice: `{ name = "path" }`.
    pub fn paths(&self, key: &'static str, example: &str) -> Vec<(String, At<PathBuf>)> {
        let texts = self.table_of(key, "names with their paths", example).into_iter();
        texts.map(|(name, at)| (name, At::new(PathBuf::from(at.value), at.span))).collect()
    }

    /// Texts by names of the operator's choice: `{ name = "text" }`.
    pub fn texts(&self, key: &'static str, example: &str) -> Vec<(String, At<String>)> {
        self.table_of(key, "names with their texts", example)
    }

    /// Durations by names of the operator's choice: `{ name = "2m" }`.
    pub fn durations(
        &self,
        key: &'static str,
        allowed: RangeInclusive<Duration>,
        example: &str,
    ) -> BTreeMap<String, Duration> {
        let mut durations = BTreeMap::new();
        for (name, at) in self.texts(key, example) {
            match parse_duration(&at.value) {
                Some(duration) if allowed.contains(&duration) => {
                    durations.insert(name, duration);
                }
                Some(_) => self.report.problem(
                    &at.span,
                    format!(
                        "`{key}` of {name} must be from {} to {}, but is {}.",
                        show_duration(*allowed.start()),
                        show_duration(*allowed.end()),
                        at.value
                    ),
                ),
                None => self.report.problem(
                    &at.span,
                    format!(
                        "`{key}` of {name} is not a duration. Write a number and ms, s, m, h or d: \
                         {key} = {example}."
                    ),
                ),
            }
        }
        durations
    }

    fn table_of(&self, key: &'static str, must: &str, example: &str) -> Vec<(String, At<String>)> {
        let Some(value) = self.take(key) else { return Vec::new() };
        let Some(table) = value.get_ref().as_table() else {
            self.wrong::<()>(key, value, must, example);
            return Vec::new();
        };
        let mut texts = Vec::new();
        for (name, text) in table.iter() {
            match text.get_ref() {
                DeValue::String(text_of) if !text_of.is_empty() => {
                    let at = At::new(text_of.to_string(), text.span());
                    texts.push((name.get_ref().to_string(), at));
                }
                _ => {
                    self.wrong::<()>(key, text, &format!("{must} in quotes"), example);
                }
            }
        }
        texts
    }

    /// Whether the key is there, readable or not.
    pub fn has(&self, key: &str) -> bool {
        self.table.is_some_and(|table| table.contains_key(key))
    }

    /// Whether the key is there and is a list without anything in it.
    pub fn is_empty_list(&self, key: &str) -> bool {
        let value = self.table.and_then(|table| table.get(key));
        value.and_then(|value| value.get_ref().as_array()).is_some_and(|items| items.is_empty())
    }

    /// Where the key's value stands, or the section if it is not there.
    pub fn value_span(&self, key: &str) -> Range<usize> {
        let value = self.table.and_then(|table| table.get(key));
        value.map_or(self.span(), |value| value.span())
    }

    /// A key that people try and that must not be there, with what to do instead.
    pub fn refuse(&self, key: &str, message: &str) -> bool {
        let Some(value) = self.table.and_then(|table| table.get(key)) else { return false };
        self.report.problem(&value.span(), message);
        true
    }

    /// Reports every key that nobody asked for. `refused` were reported already.
    pub fn finish(self, refused: &[&str]) {
        let known = self.report.known.borrow();
        let Some(table) = self.table else { return };
        for (key, _) in table.iter() {
            let key_name = key.get_ref().as_ref();
            let is_section =
                || known.keys().any(|name| inside(name) == Some((self.name, key_name)));
            if known.get(self.name).is_some_and(|keys| keys.contains(key_name))
                || refused.contains(&key_name)
                || is_section()
            {
                continue;
            }
            self.report.unknown.borrow_mut().push(UnknownKey {
                section: self.name,
                key: key_name.to_owned(),
                span: key.span(),
            });
        }
    }

    fn take(&self, key: &'static str) -> Option<&'a Spanned<DeValue<'i>>> {
        self.report.known.borrow_mut().entry(self.name).or_default().insert(key);
        self.table?.get(key)
    }

    fn wrong<T>(
        &self,
        key: &str,
        value: &Spanned<DeValue<'_>>,
        must: &str,
        example: &str,
    ) -> Option<T> {
        self.bad(
            value,
            format!(
                "`{key}` must be {must}, but is {}. Write it like {key} = {example}.",
                a_type(value.get_ref())
            ),
        )
    }

    fn bad<T>(&self, value: &Spanned<DeValue<'_>>, message: String) -> Option<T> {
        self.report.problem(&value.span(), message);
        None
    }
}

/// `voice.whisper` as the section it is in and its name there.
fn inside(section: &'static str) -> Option<(&'static str, &'static str)> {
    section.rsplit_once('.')
}

/// `[smtp]`, or `[[agent]]` for what can occur several times.
fn header(section: &str) -> String {
    if section == "agent" { "[[agent]]".into() } else { format!("[{section}]") }
}

fn a_type(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number with a point",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// `a, b or c`
pub(super) fn or(words: &[String]) -> String {
    join(words, "or")
}

/// `a, b and c`
pub(super) fn and(words: &[String]) -> String {
    join(words, "and")
}

fn join(words: &[String], last: &str) -> String {
    match words {
        [] => String::new(),
        [only] => only.clone(),
        [rest @ .., end] => format!("{} {last} {end}", rest.join(", ")),
    }
}
