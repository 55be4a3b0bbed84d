//! Whether to believe what a model says it heard.
//!
//! Models of whole utterances were trained on subtitles, and over silence or noise they say what subtitles
//! say there. Nothing here looks at meaning: only at how much sound there was, what the model says about
//! its own certainty, and a list.

use super::super::{Dropped, LISTEN_RATE};

/// Less voiced sound than this holds no word, in milliseconds. "No" takes about 200.
pub const SHORTEST_MS: u32 = 160;

/// Whisper's own thresholds (`no_speech_thold` and `logprob_thold` of `whisper_full_default_params`):
/// nobody spoke where the probability of that is above the one, and the mean probability of the tokens
/// below e to the power of the other.
const NO_SPEECH: f32 = 0.6;
const UNSURE: f32 = 0.37;

/// A stock phrase is believed only where the model is surer than this.
const SURE: f32 = 0.6;

/// Speech quieter than this (root mean square of the voiced part, of 32768; about -45 dB) is more likely
/// a television next door.
const QUIET: f32 = 180.0;

/// Voiced frames are at least this loud whatever the noise (about -50 dB).
const FLOOR: f32 = 100.0;

/// Said over silence, and by people: believed only from a sure model over loud enough sound.
const STOCK: &[&str] = &[
    "thank you",
    "thank you very much",
    "thank you so much",
    "thanks",
    "bye",
    "bye bye",
    "goodbye",
    "you",
    "okay",
    "so",
    "the end",
    "danke",
    "vielen dank",
    "merci",
    "gracias",
];

/// Nobody says these on a call; subtitles do.
const NEVER: &[&str] = &[
    "thanks for watching",
    "thank you for watching",
    "thank you for listening",
    "please subscribe",
    "like and subscribe",
    "see you in the next video",
    "subtitles by",
    "subtitled by",
    "captions by",
    "transcribed by",
    "transcription by",
    "amara org",
    "untertitel der",
    "untertitel im auftrag",
    "untertitelung des",
    "sous titres",
    "sous titrage",
];

/// How much of the sound is voice, as far as loudness tells.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Loudness {
    /// How long it is loud, in milliseconds.
    pub voiced_ms: u32,
    /// How loud that part is: root mean square, of 32768.
    pub level: f32,
}

/// Measures sound at [`LISTEN_RATE`] in frames of 20 ms: voiced is what is well above its quietest tenth.
pub fn loudness(samples: &[i16]) -> Loudness {
    let mut levels: Vec<f32> = samples
        .chunks_exact(LISTEN_RATE as usize / 50)
        .map(|frame| {
            let power: f32 = frame.iter().map(|sample| f32::from(*sample).powi(2)).sum();
            (power / frame.len() as f32).sqrt()
        })
        .collect();
    if levels.is_empty() {
        return Loudness { voiced_ms: 0, level: 0.0 };
    }
    levels.sort_by(f32::total_cmp);
    // 9 dB above the noise; but an utterance without a pause has no quiet tenth, so never above a tenth of
    // its loudest.
    let noise = levels[levels.len() / 10];
    let loudest = levels[levels.len() - 1];
    let threshold = FLOOR.max((noise * 2.8).min(loudest / 10.0));
    let voiced = &levels[levels.partition_point(|level| *level < threshold)..];
    let power: f32 = voiced.iter().map(|level| level * level).sum();
    Loudness {
        voiced_ms: u32::try_from(voiced.len()).unwrap_or(u32::MAX / 20) * 20,
        level: (power / voiced.len().max(1) as f32).sqrt(),
    }
}

/// The words to believe, without notes such as "[music]"; or why there are none.
///
/// # Errors
///
/// Why the text is not believed. An empty text is not an error.
pub fn judge(
    text: &str,
    no_speech: Option<f32>,
    confidence: Option<f32>,
    sound: Loudness,
) -> Result<String, Dropped> {
    let text = without_notes(text);
    let words = words(&text);
    if words.is_empty() {
        return Ok(String::new());
    }
    if sound.voiced_ms < SHORTEST_MS {
        return Err(Dropped::TooShort);
    }
    let unsure = |least: f32| confidence.is_some_and(|confidence| confidence < least);
    if no_speech.is_some_and(|probability| probability > NO_SPEECH) && unsure(UNSURE) {
        return Err(Dropped::NoSpeech);
    }
    let plain = words.join(" ");
    if NEVER.iter().any(|phrase| plain.contains(phrase)) {
        return Err(Dropped::StockPhrase);
    }
    let doubtful = sound.level < QUIET
        || unsure(SURE)
        || no_speech.is_some_and(|probability| probability > NO_SPEECH / 2.0);
    if doubtful && STOCK.contains(&plain.as_str()) {
        return Err(Dropped::StockPhrase);
    }
    if repeats(&words) {
        return Err(Dropped::Repeats);
    }
    Ok(text)
}

/// Without what models put in brackets or between notes: it is not said by anyone.
fn without_notes(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut depth = 0_usize;
    for c in text.chars() {
        match c {
            '[' | '(' | '（' => depth += 1,
            ']' | ')' | '）' => depth = depth.saturating_sub(1),
            '♪' | '♫' | '*' => {}
            c if depth == 0 => out.push(c),
            _ => {}
        }
    }
    out.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn words(text: &str) -> Vec<String> {
    text.split(|c: char| !c.is_alphanumeric() && c != '\'')
        .map(|word| word.trim_matches('\'').to_lowercase())
        .filter(|word| !word.is_empty())
        .collect()
}

/// Whether most of it is one phrase over and over. Callers do say "no, no, no" and "zero zero zero zero":
/// a single word has to come eight times in a row, a longer phrase four times.
fn repeats(words: &[String]) -> bool {
    (1..=8).any(|len| {
        let needed = if len == 1 { 8 } else { 4 };
        let mut run = 0;
        // Words that equal the one a phrase before them, in a row.
        let mut longest = 0;
        for at in len..words.len() {
            run = if words[at] == words[at - len] { run + 1 } else { 0 };
            longest = longest.max(run);
        }
        let covered = longest + len;
        covered >= needed * len && covered * 2 > words.len()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOUD: Loudness = Loudness { voiced_ms: 1_500, level: 2_000.0 };

    fn judged(text: &str, no_speech: f32, confidence: f32) -> Result<String, Dropped> {
        judge(text, Some(no_speech), Some(confidence), LOUD)
    }

    #[test]
    fn what_people_say_is_believed() {
        for text in [
            "Thank you.",
            "No, no, no, that's wrong.",
            "zero zero zero zero five",
            "Call me back, and then call me back again, please.",
            "You",
        ] {
            assert_eq!(judged(text, 0.05, 0.9).as_deref(), Ok(text));
        }
    }

    #[test]
    fn what_models_say_over_silence_is_not() {
        assert_eq!(judged("Thank you.", 0.05, 0.5), Err(Dropped::StockPhrase));
        assert_eq!(judged("Thank you.", 0.4, 0.9), Err(Dropped::StockPhrase));
        let quiet = Loudness { voiced_ms: 400, level: 120.0 };
        assert_eq!(judge("Bye-bye!", None, None, quiet), Err(Dropped::StockPhrase));
        assert_eq!(judged("Thanks for watching!", 0.0, 0.99), Err(Dropped::StockPhrase));
        assert_eq!(
            judged("Subtitles by the Amara.org community", 0.0, 0.9),
            Err(Dropped::StockPhrase)
        );
        assert_eq!(judged("where is my order", 0.7, 0.3), Err(Dropped::NoSpeech));
        // Doubt about speech alone is not enough where the words are sure.
        assert!(judged("where is my order", 0.7, 0.8).is_ok());
        let click = Loudness { voiced_ms: 60, level: 5_000.0 };
        assert_eq!(judge("Okay then", None, None, click), Err(Dropped::TooShort));
    }

    #[test]
    fn notes_are_taken_out_and_leave_nothing_or_the_words() {
        assert_eq!(judged(" [BLANK_AUDIO]", 0.9, 0.1).as_deref(), Ok(""));
        assert_eq!(judged("♪ (music playing) ♪", 0.0, 0.9).as_deref(), Ok(""));
        assert_eq!(judged(" [coughs]  yes  please", 0.0, 0.9).as_deref(), Ok("yes please"));
    }

    #[test]
    fn a_loop_is_told_from_insisting() {
        let looped = "I'm going to go. ".repeat(5);
        assert_eq!(judged(&looped, 0.0, 0.9), Err(Dropped::Repeats));
        assert_eq!(judged(&"no ".repeat(9), 0.0, 0.9), Err(Dropped::Repeats));
        assert!(judged("no no no no", 0.0, 0.9).is_ok());
        // A loop at the end of much else is kept: most of it was said.
        let tail = format!("one two three four five six seven eight nine ten {}", "yes ".repeat(8));
        assert!(judged(&tail, 0.0, 0.9).is_ok());
    }

    #[test]
    fn loudness_tells_words_from_the_noise_around_them() {
        let silence = vec![0_i16; 16_000];
        assert_eq!(loudness(&silence).voiced_ms, 0);
        assert_eq!(loudness(&[]).voiced_ms, 0);
        let tone = |level: f32, ms: usize| -> Vec<i16> {
            (0..ms * 16).map(|n| ((n as f32 * 0.3).sin() * level) as i16).collect()
        };
        let mut call = tone(200.0, 600);
        call.extend(tone(6_000.0, 400));
        call.extend(tone(200.0, 600));
        let measured = loudness(&call);
        assert_eq!(measured.voiced_ms, 400);
        assert!((4_000.0..4_400.0).contains(&measured.level), "{measured:?}");
        // Speech from end to end has no quiet tenth.
        assert_eq!(loudness(&tone(6_000.0, 500)).voiced_ms, 500);
    }
}
