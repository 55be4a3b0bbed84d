//! What is wrong with a config, all of it at once, each with its place and its fix.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Everything that is wrong with a config file and the environment beside it.
///
/// `Display` is what an operator reads: one line each, `file:line:column: what and how to fix it`,
/// in the order of the file. Secrets never occur in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct ConfigErrors {
    /// The file as it was named.
    pub file: PathBuf,
    /// At least one, in the order of the file; those without a place come last.
    pub problems: Vec<Problem>,
}

/// One thing to fix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where it is, if it is in the file.
    pub place: Option<Place>,
    /// The cause and the fix, in one or two sentences.
    pub message: String,
}

/// A position in the file, counted from 1, columns in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The line.
    pub line: usize,
    /// The character in the line.
    pub column: usize,
}

impl ConfigErrors {
    /// A single problem with the file as a whole, such as not being readable.
    pub(super) fn whole_file(file: &Path, message: String) -> Self {
        Self { file: file.to_owned(), problems: vec![Problem { place: None, message }] }
    }
}

impl Place {
    /// The place of a byte offset in `text`.
    pub(super) fn of(text: &str, offset: usize) -> Self {
        let before = text.get(..offset).unwrap_or(text);
        let start_of_line = before.rfind('\n').map_or(0, |newline| newline + 1);
        Self {
            line: before.matches('\n').count() + 1,
            column: before[start_of_line..].chars().count() + 1,
        }
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            match problem.place {
                Some(Place { line, column }) => {
                    write!(f, "{}:{line}:{column}: {}", self.file.display(), problem.message)?;
                }
                None => write!(f, "{}: {}", self.file.display(), problem.message)?,
            }
        }
        Ok(())
    }
}

/// A value and the bytes of the file it came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct At<T> {
    pub value: T,
    pub span: Range<usize>,
}

impl<T> At<T> {
    pub fn new(value: T, span: Range<usize>) -> Self {
        Self { value, span }
    }
}
