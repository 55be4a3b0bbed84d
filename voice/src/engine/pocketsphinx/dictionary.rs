//! How words sound: the lines of a dictionary that a search needs, and no others.
//!
//! The general English dictionary has 135,000 lines. A decoder that takes them all needs seconds before it
//! hears anything; one that takes the words of a grammar or of a small language model needs none.

use std::{
    collections::HashSet,
    ffi::CString,
    fs::File,
    io::{self, BufRead as _, BufReader},
    path::Path,
};

/// A language model of more words than this wants the whole dictionary: adding words one by one is no
/// faster then.
const FEW: usize = 5_000;

/// A word and its phones; of a word with several pronunciations there are several, as `word`, `word(2)`.
pub(super) type Pronunciation = (CString, CString);

/// The pronunciations of these words in a dictionary, in its order.
///
/// # Errors
///
/// Where it cannot be read.
pub(super) fn pronunciations(
    dictionary: &Path,
    words: &HashSet<String>,
) -> io::Result<Vec<Pronunciation>> {
    let mut found = Vec::new();
    let mut file = BufReader::with_capacity(64 * 1024, File::open(dictionary)?);
    let mut line = Vec::new();
    while file.read_until(b'\n', &mut line)? > 0 {
        if let Ok(text) = std::str::from_utf8(&line)
            && let Some((word, phones)) = text.trim_end().split_once(char::is_whitespace)
            && words.contains(word.split_once('(').map_or(word, |(base, _)| base))
            && let (Ok(word), Ok(phones)) = (CString::new(word), CString::new(phones.trim()))
        {
            found.push((word, phones));
        }
        line.clear();
    }
    Ok(found)
}

/// The words of a small language model. None where it is large, or not in the ARPA format.
pub(super) fn words_of_model(model: &Path) -> Option<HashSet<String>> {
    let mut lines = BufReader::new(File::open(model).ok()?).lines();
    // Binary models are no text, and a line of text before the data says little.
    let begins =
        lines.by_ref().take(1_000).map_while(Result::ok).any(|line| line.trim() == "\\1-grams:");
    if !begins {
        return None;
    }
    let mut words = HashSet::new();
    for line in lines {
        let line = line.ok()?;
        let line = line.trim();
        if line.starts_with('\\') {
            return Some(words);
        }
        // A probability, the word, and perhaps a weight.
        if let Some(word) = line.split_whitespace().nth(1)
            && !word.starts_with('<')
        {
            words.insert(word.to_owned());
        }
        if words.len() > FEW {
            return None;
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(content: &[u8]) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&file, content).unwrap();
        file
    }

    #[test]
    fn a_word_comes_with_all_its_pronunciations_and_others_do_not() {
        let dictionary = file(b"a AH\na(2) EY\nabout AH B AW T\nyes Y EH S\n\nodd\n");
        let words = ["a", "yes", "missing"].map(str::to_owned).into();
        let found = pronunciations(dictionary.path(), &words).unwrap();
        let found: Vec<_> = found
            .iter()
            .map(|(word, phones)| (word.to_str().unwrap(), phones.to_str().unwrap()))
            .collect();
        assert_eq!(found, [("a", "AH"), ("a(2)", "EY"), ("yes", "Y EH S")]);
    }

    #[test]
    fn the_words_of_a_small_model_are_known_and_those_of_others_are_not_looked_for() {
        let model = file(
            b"made by hand\n\\data\\\nngram 1=4\nngram 2=1\n\n\\1-grams:\n-1.5 <s> -2.0\n-1.5 </s> -2.0\n\
              -1.5\tyes\t-2.0\n-1.5 no\n\n\\2-grams:\n-0.2 <s> maybe\n\n\\end\\\n",
        );
        assert_eq!(words_of_model(model.path()), Some(["yes", "no"].map(str::to_owned).into()));
        let many: String = (0..FEW + 1).map(|n| format!("-1.5 word{n}\n")).collect();
        let many = file(format!("\\1-grams:\n{many}\\end\\\n").as_bytes());
        assert_eq!(words_of_model(many.path()), None);
        assert_eq!(words_of_model(file(b"Trie Language Model\0\xff\xfe").path()), None);
        assert_eq!(words_of_model(file(b"\\1-grams:\n-1.5 cut").path()), None);
    }
}
