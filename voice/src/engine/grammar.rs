//! What a caller may say, for engines that can be told: JSGF (JSpeech Grammar Format, W3C Note 2000).

use super::Error;
use std::fmt::Write as _;

/// Largest grammar taken, in bytes: far more than a menu, little enough to compile in milliseconds.
const MAX_LEN: usize = 64 * 1024;

/// The words for digits, as callers say them.
const DIGITS: &str = "zero | oh | one | two | three | four | five | six | seven | eight | nine";

/// The sentences a caller is expected to say.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Grammar {
    jsgf: String,
}

impl Grammar {
    /// A grammar in JSGF with one public rule. Comments and semantic tags are allowed; imports are not.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] where it is no JSGF, too long, or imports.
    pub fn jsgf(text: impl Into<String>) -> Result<Self, Error> {
        let jsgf = text.into();
        let problem = if jsgf.len() > MAX_LEN {
            Some("it is too long")
        } else if !jsgf.trim_start().starts_with("#JSGF") {
            Some("it does not start with #JSGF")
        } else if jsgf.contains('\0') {
            Some("it has a null character")
        } else if !jsgf.contains("public") {
            Some("it has no public rule")
        } else if jsgf.split([';', '\n']).any(|part| part.trim_start().starts_with("import")) {
            // An import makes the library read files.
            Some("it imports")
        } else {
            None
        };
        match problem {
            Some(problem) => Err(Error::Invalid(format!("the grammar is not usable: {problem}"))),
            None => Ok(Self { jsgf }),
        }
    }

    /// Exactly one of these phrases of plain words.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] where there is none, or one has other characters than letters, apostrophes and
    /// spaces: numbers are written as words.
    pub fn phrases<'a>(phrases: impl IntoIterator<Item = &'a str>) -> Result<Self, Error> {
        let mut rule = String::new();
        for phrase in phrases {
            let words: Vec<String> = phrase.split_whitespace().map(str::to_lowercase).collect();
            let plain = |c: char| c.is_alphabetic() || c == '\'';
            if words.is_empty() || !words.iter().all(|word| word.chars().all(plain)) {
                return Err(Error::Invalid(format!("{phrase:?} is not a phrase of plain words")));
            }
            let separator = if rule.is_empty() { "" } else { " | " };
            // Writing to a string does not fail.
            let _ = write!(rule, "{separator}{}", words.join(" "));
        }
        if rule.is_empty() {
            return Err(Error::Invalid("a grammar without phrases hears nothing".into()));
        }
        Self::jsgf(format!("#JSGF V1.0;\ngrammar phrases;\npublic <said> = {rule} ;\n"))
    }

    /// One digit or more, said one by one.
    #[must_use]
    pub fn digits() -> Self {
        Self {
            jsgf: format!(
                "#JSGF V1.0;\ngrammar digits;\npublic <said> = <digit>+ ;\n<digit> = {DIGITS} ;\n"
            ),
        }
    }

    /// Yes or no, as people say it.
    #[must_use]
    pub fn yes_no() -> Self {
        let rule = "yes | yeah | yes please | no | no thanks | no thank you";
        Self { jsgf: format!("#JSGF V1.0;\ngrammar yesno;\npublic <said> = {rule} ;\n") }
    }

    /// As JSGF.
    #[must_use]
    pub fn as_jsgf(&self) -> &str {
        &self.jsgf
    }

    /// The words it is made of, each once, so that an engine can say which it does not know.
    pub(crate) fn words(&self) -> Vec<String> {
        let mut words = Vec::new();
        // The header and the grammar's name are statements without `=`.
        for statement in without_comments(&self.jsgf).split(';') {
            let Some((_, expansion)) = statement.split_once('=') else { continue };
            let mut word = String::new();
            let mut closing = None;
            for c in expansion.chars().chain([' ']) {
                match (closing, c) {
                    (Some(end), c) if c == end => closing = None,
                    (Some(_), _) => {}
                    // References, tags and weights hold no words.
                    (None, '<') => closing = Some('>'),
                    (None, '{') => closing = Some('}'),
                    (None, '/') => closing = Some('/'),
                    (None, c) if c.is_whitespace() || "|*+()[]\"".contains(c) => {
                        if !word.is_empty() && !words.contains(&word) {
                            words.push(word.clone());
                        }
                        word.clear();
                    }
                    (None, c) => word.push(c),
                }
            }
        }
        words
    }
}

fn without_comments(jsgf: &str) -> String {
    let mut out = String::with_capacity(jsgf.len());
    let mut rest = jsgf;
    while let Some(at) = rest.find("//").into_iter().chain(rest.find("/*")).min() {
        out.push_str(&rest[..at]);
        let (end, skip) = if rest[at..].starts_with("//") { ("\n", 0) } else { ("*/", 2) };
        rest = rest[at + 2..].find(end).map_or("", |found| &rest[at + 2 + found + skip..]);
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_a_grammar_are_told_from_its_notation() {
        let grammar = Grammar::jsgf(
            "#JSGF V1.0;\n// a comment with words\ngrammar menu;\n/* more = words; */\n\
             public <menu> = /2.0/ call {tag} (sales | <who>)+ [now please];\n<who> = \"support\" | sales;",
        )
        .unwrap();
        assert_eq!(grammar.words(), ["call", "sales", "now", "please", "support"]);
        assert_eq!(Grammar::digits().words().len(), 11);
    }

    #[test]
    fn phrases_become_alternatives_and_odd_ones_are_refused() {
        let grammar = Grammar::phrases(["Call me  back", "no"]).unwrap();
        assert!(grammar.as_jsgf().contains("= call me back | no ;"));
        for odd in ["", "  ", "room 7", "a; import <x>", "<said>"] {
            assert!(Grammar::phrases([odd]).is_err(), "{odd}");
        }
        assert!(Grammar::phrases([]).is_err());
    }

    #[test]
    fn grammars_that_read_files_or_are_none_are_refused() {
        for bad in [
            "public <a> = b;",
            "#JSGF V1.0;\ngrammar g;\n<a> = b;",
            "#JSGF V1.0;\ngrammar g;\nimport <other.rule>;\npublic <a> = b;",
            "#JSGF V1.0;grammar g;import <x.y>;public <a> = b;",
        ] {
            assert!(Grammar::jsgf(bad).is_err(), "{bad}");
        }
        assert!(Grammar::jsgf(format!("#JSGF public{}", " ".repeat(MAX_LEN))).is_err());
    }
}
