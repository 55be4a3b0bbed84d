//! Sounds of listening: "mhm" while the agent speaks is not a turn.

/// How many words a backchannel may have altogether: "yeah yeah okay".
const LONGEST: usize = 4;

/// What listeners say, lower case and without punctuation; the longer ones first where one begins another.
#[rustfmt::skip]
const PHRASES: &[&[&str]] = &[
    &["mm", "hmm"], &["mm", "hm"], &["uh", "huh"], &["uh", "hum"], &["i", "see"], &["got", "it"], &["all", "right"],
    &["of", "course"], &["ach", "so"], &["alles", "klar"], &["verstehe"], &["d", "accord"], &["daccord"],
    &["bien", "sûr"], &["je", "vois"], &["de", "acuerdo"], &["ya", "veo"], &["va", "bene"], &["ho", "capito"],
    &["tá", "bom"], &["ah", "ja"], &["oh", "ja"],
    // Every language
    &["mhm"], &["mmhm"], &["mm"], &["mmm"], &["hm"], &["hmm"], &["hmmm"], &["aha"], &["ah"], &["oh"], &["uhhuh"],
    &["ok"], &["okay"], &["uh"], &["um"],
    // English
    &["yeah"], &["yep"], &["yes"], &["yup"], &["right"], &["sure"], &["alright"], &["great"], &["cool"], &["good"],
    // German, Dutch
    &["ja"], &["genau"], &["gut"], &["klar"], &["stimmt"], &["jaja"], &["achso"], &["goed"], &["precies"],
    // French
    &["oui"], &["ouais"], &["bien"], &["exact"],
    // Spanish, Italian, Portuguese
    &["sí"], &["si"], &["vale"], &["claro"], &["bueno"], &["sì"], &["certo"], &["esatto"], &["sim"], &["certo"],
    // Japanese, Chinese, Russian, Turkish, Polish
    &["はい"], &["うん"], &["ええ"], &["嗯"], &["对"], &["好"], &["да"], &["ага"], &["угу"], &["evet"], &["tamam"], &["tak"],
];

/// Whether a transcript is only listening. No words at all are not.
pub(super) fn is_backchannel(text: &str) -> bool {
    let words = words(text);
    let mut rest: &[String] = &words;
    if rest.is_empty() || rest.len() > LONGEST {
        return false;
    }
    while !rest.is_empty() {
        let found = PHRASES.iter().find(|phrase| {
            rest.len() >= phrase.len() && phrase.iter().zip(rest).all(|(a, b)| a == b)
        });
        match found {
            Some(phrase) => rest = &rest[phrase.len()..],
            None => return false,
        }
    }
    true
}

/// How many words a transcript has.
pub(super) fn count_words(text: &str) -> usize {
    words(text).len()
}

/// Whether two transcripts have the same words, whatever their punctuation.
pub(super) fn same_words(a: &str, b: &str) -> bool {
    let plain = |text: &str| -> String {
        text.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
    };
    plain(a) == plain(b)
}

fn words(text: &str) -> Vec<String> {
    text.split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .take(LONGEST + 1)
        .map(str::to_lowercase)
        .collect()
}
