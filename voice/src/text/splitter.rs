//! A reply as sentences to speak: the chunker and the normaliser behind the call's [`Splitter`].

use super::{Chunk, Chunker, ChunkerOptions, Locale, Normaliser, Settings};
use crate::call::{Sentence, Splitter};

/// Cuts a reply with [`Chunker`] and says it with [`Normaliser`].
#[derive(Debug)]
pub struct SpeechSplitter {
    options: ChunkerOptions,
    chunker: Chunker,
    normaliser: Normaliser,
}

impl SpeechSplitter {
    /// For speech in `locale`.
    #[must_use]
    pub fn new(locale: Locale) -> Self {
        let options = ChunkerOptions { lang: locale.lang, ..ChunkerOptions::default() };
        let settings = Settings { locale, ..Settings::default() };
        Self {
            chunker: Chunker::new(options.clone()),
            normaliser: Normaliser::new(settings),
            options,
        }
    }

    fn sentence(&self, chunk: Chunk) -> Sentence {
        let spoken = self.normaliser.speak(&chunk.text, chunk.kind);
        let start = chunk.range.start;
        let verbatim = matches!(spoken.map.spans(), [only] if only.verbatim);
        let anchors = if verbatim || spoken.text.is_empty() {
            Vec::new()
        } else {
            anchors(&spoken.text, |at| start + spoken.map.shown_at(at))
        };
        Sentence { span: chunk.range, spoken: spoken.text, anchors }
    }
}

/// A pair for every end of a spoken word and for the end: what has been said when speech has come so far.
fn anchors(spoken: &str, shown_at: impl Fn(usize) -> usize) -> Vec<(usize, usize)> {
    let mut anchors = Vec::new();
    let mut inside = false;
    for (at, c) in spoken.char_indices() {
        if inside && c.is_whitespace() {
            anchors.push((at, shown_at(at)));
        }
        inside = !c.is_whitespace();
    }
    anchors.push((spoken.len(), shown_at(spoken.len())));
    anchors
}

impl Splitter for SpeechSplitter {
    fn push(&mut self, delta: &str, out: &mut Vec<Sentence>) {
        let chunks = self.chunker.push(delta);
        out.extend(chunks.into_iter().map(|chunk| self.sentence(chunk)));
    }

    fn finish(&mut self, out: &mut Vec<Sentence>) {
        let chunks = self.chunker.finish();
        out.extend(chunks.into_iter().map(|chunk| self.sentence(chunk)));
        self.reset();
    }

    fn reset(&mut self) {
        self.chunker = Chunker::new(self.options.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn split(text: &str, cuts: &[usize]) -> Vec<Sentence> {
        let mut splitter = SpeechSplitter::new(Locale::default());
        let mut out = Vec::new();
        let mut from = 0;
        for cut in cuts {
            let to = text.floor_char_boundary(*cut).max(from);
            splitter.push(&text[from..to], &mut out);
            from = to;
        }
        splitter.push(&text[from..], &mut out);
        splitter.finish(&mut out);
        out
    }

    #[test]
    fn sentences_are_cut_and_said_as_words() {
        let text = "That is **$3**, please. We open at 9:30.";
        let sentences = split(text, &[]);
        let spoken: Vec<&str> = sentences.iter().map(|s| s.spoken.as_str()).collect();
        assert_eq!(spoken.len(), 2, "{spoken:?}");
        assert!(spoken[0].contains("three dollars") && !spoken[0].contains('*'), "{spoken:?}");
        assert_eq!(&text[sentences[1].span.clone()], "We open at 9:30.");
    }

    #[test]
    fn anchors_tell_how_far_the_shown_text_was_said() {
        let text = "It costs $3 today.";
        let [sentence] = split(text, &[]).try_into().unwrap();
        let shown: Vec<&str> =
            sentence.anchors.iter().map(|(_, shown)| text[..*shown].trim_end()).collect();
        assert_eq!(shown.first(), Some(&"It"));
        assert!(shown.contains(&"It costs $3"), "{shown:?}");
        assert_eq!(shown.last(), Some(&text));
        // "three" of "three dollars" is not yet "$3".
        let three = sentence.spoken.find("three").unwrap() + "three".len();
        let at_three = sentence.anchors.iter().find(|(spoken, _)| *spoken == three).unwrap().1;
        assert_eq!(text[..at_three].trim_end(), "It costs");
    }

    #[test]
    fn the_next_reply_counts_from_its_own_beginning() {
        let mut splitter = SpeechSplitter::new(Locale::default());
        let mut out = Vec::new();
        splitter.push("One. Two", &mut out);
        splitter.reset();
        out.clear();
        splitter.push("Three.", &mut out);
        splitter.finish(&mut out);
        assert_eq!(out[0].span, 0..6);
        splitter.push("Four.", &mut out);
        splitter.finish(&mut out);
        assert_eq!(out[1].span, 0..5);
    }

    proptest! {
        #[test]
        fn deltas_do_not_matter_and_every_byte_is_in_one_sentence(
            text in "([a-z$0-9.,:*`é中🙂 \n]{0,12}[.?! \n]){0,12}",
            mut cuts in proptest::collection::vec(0..200usize, 0..8),
        ) {
            cuts.sort_unstable();
            cuts.retain(|cut| *cut <= text.len());
            let whole = split(&text, &[]);
            prop_assert_eq!(&whole, &split(&text, &cuts));
            let mut end = 0;
            for sentence in &whole {
                prop_assert_eq!(sentence.span.start, end);
                end = sentence.span.end;
                prop_assert!(sentence.anchors.is_sorted());
                if let Some((spoken, shown)) = sentence.anchors.last() {
                    prop_assert_eq!(*spoken, sentence.spoken.len());
                    prop_assert_eq!(*shown, sentence.span.end);
                }
                for (_, shown) in &sentence.anchors {
                    prop_assert!(text.is_char_boundary(*shown));
                }
            }
            prop_assert_eq!(end, text.len());
        }
    }
}
