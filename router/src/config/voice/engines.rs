//! Names of engines and languages in a config: which go together, and what was meant.

use super::super::error::At;
use super::super::suggest::nearest;
use super::super::walk::{Report, or};
use super::ANY_LANGUAGE;
use frontdesk_voice::engine::{EngineName, Flite, Job, WhisperSettings, models::Manifest};

/// What a name is checked against.
pub struct Named<'a> {
    pub models: &'a Manifest,
    pub whisper: &'a WhisperSettings,
}

/// What hears callers in this language unless told otherwise.
pub fn usual_stt(language: &str) -> EngineName {
    built_in(if is_english(language) { "whisper:base.en" } else { "whisper:base" })
}

/// What hears callers while the usual engine cannot. There is only an English one.
pub fn usual_fallback(language: &str) -> Option<EngineName> {
    is_english(language).then(|| built_in("pocketsphinx:en-us"))
}

/// What speaks this language unless told otherwise.
pub fn usual_tts(language: &str) -> EngineName {
    // espeak-ng has few regional voices.
    let espeak = || format!("espeak:{}", primary(language)).parse().ok();
    let english = is_english(language) || language == ANY_LANGUAGE;
    (!english).then(espeak).flatten().unwrap_or_else(|| built_in("flite:slt"))
}

/// The language of a tag without its region: `de` of `de-CH`.
fn primary(language: &str) -> &str {
    language.split('-').next().unwrap_or(language)
}

/// Whether an engine is known to hear English only.
fn hears_only_english(name: &EngineName) -> bool {
    match name.family() {
        // whisper.cpp's own marking of its English models: `base.en`, `base.en-q5_1`.
        "whisper" => name.model().split(['-', '.']).any(|part| part == "en"),
        "pocketsphinx" => name.model() == "en-us",
        _ => false,
    }
}

/// Whether an engine is known to speak English only.
pub fn speaks_only_english(name: &EngineName) -> bool {
    name.family() == "flite"
}

/// Whether an engine that was set for another language will do for this one.
pub fn hears(name: &EngineName, language: &str) -> bool {
    !hears_only_english(name) || is_english(language)
}

/// Whether an engine that was set for another language will do for this one.
pub fn speaks(name: &EngineName, language: &str) -> bool {
    match name.family() {
        _ if language == ANY_LANGUAGE => true,
        "flite" => is_english(language),
        "espeak" => primary(name.model()) == primary(language),
        _ => true,
    }
}

fn is_english(language: &str) -> bool {
    primary(language) == "en"
}

fn built_in(name: &str) -> EngineName {
    name.parse().expect("the names of built-in engines are well formed")
}

/// A name for this job, or nothing and a problem.
pub fn name(
    report: &Report<'_>,
    key: &str,
    at: &At<String>,
    job: Job,
    known: &Named<'_>,
) -> Option<EngineName> {
    let bad = |fix: String| {
        report.problem(&at.span, format!("`{key}` cannot be \"{}\". {fix}", at.value));
        None
    };
    let families = job.families();
    let (family, model) = at.value.split_once(':').unwrap_or((&at.value, ""));
    if !families.contains(&family) {
        return bad(no_such_family(family, model, job));
    }
    let Ok(name) = at.value.parse::<EngineName>() else {
        return bad(format!("Write it like \"{}\".", example(family, job)));
    };
    match family {
        "whisper" => whisper_model(model, known).map_or(Some(name), bad),
        "flite" => one_of(model, Flite::voices(), family).map_or(Some(name), bad),
        _ => Some(name),
    }
}

fn no_such_family(family: &str, model: &str, job: Job) -> String {
    let other = match job {
        Job::Listen => Job::Speak,
        Job::Speak => Job::Listen,
    };
    let (does, wanted) = match job {
        Job::Listen => ("speaks", "hear"),
        Job::Speak => ("hears", "speak"),
    };
    let families = job.families();
    if other.families().contains(&family) {
        let examples: Vec<_> = families.iter().map(|family| example(family, job)).collect();
        return format!(
            "It {does}; what is wanted here is to {wanted}, which these do: {}.",
            or(&examples)
        );
    }
    if let Some(near) = nearest(family, families.iter().copied()) {
        let near = if model.is_empty() { example(near, job) } else { format!("{near}:{model}") };
        return format!("Did you mean \"{near}\"?");
    }
    let examples: Vec<_> =
        families.iter().map(|family| format!("\"{}\"", example(family, job))).collect();
    format!("Engines have names like {}.", or(&examples))
}

/// A name of this family that would do.
fn example(family: &str, job: Job) -> String {
    let model = match (family, job) {
        ("whisper", _) => "base.en",
        ("pocketsphinx", _) => "en-us",
        ("flite", _) => "slt",
        ("espeak", _) => "de",
        ("openai", Job::Listen) => "gpt-4o-mini-transcribe",
        ("openai", Job::Speak) => "gpt-4o-mini-tts/alloy",
        ("deepgram", _) => "nova-3",
        _ => "NAME",
    };
    format!("{family}:{model}")
}

/// What is wrong with the name of a model that is neither known nor the operator's own file.
fn whisper_model(model: &str, known: &Named<'_>) -> Option<String> {
    if known.models.get(model).is_some() || known.whisper.files.contains_key(model) {
        return None;
    }
    let own = known.whisper.files.keys().map(String::as_str);
    let names: Vec<&str> = known.models.iter().map(|(name, _)| name).chain(own).collect();
    if let Some(near) = nearest_model(model, &names) {
        return Some(format!("Did you mean \"whisper:{near}\"?"));
    }
    let names: Vec<_> = names.into_iter().map(str::to_owned).collect();
    Some(format!(
        "Its models are {}. For a file of your own write under [voice.whisper]: files = {{ \
         \"{model}\" = \"/path/to/the/model.bin\" }}.",
        or(&names)
    ))
}

fn one_of(model: &str, voices: &[&str], family: &str) -> Option<String> {
    if voices.contains(&model) {
        return None;
    }
    if let Some(near) = nearest(model, voices.iter().copied()) {
        return Some(format!("Did you mean \"{family}:{near}\"?"));
    }
    let voices: Vec<_> = voices.iter().map(|voice| (*voice).to_owned()).collect();
    Some(format!("Its voices are {}.", or(&voices)))
}

/// Names of models differ in marks more often than in letters: `base-en`, `base_en`.
fn nearest_model<'k>(model: &str, known: &[&'k str]) -> Option<&'k str> {
    let plain = |name: &str| -> String {
        name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
    };
    let same = known.iter().copied().find(|name| plain(name) == plain(model));
    same.or_else(|| nearest(model, known.iter().copied()))
}

/// A language as `en`, `de-CH` or [`ANY_LANGUAGE`], or nothing and a problem.
pub fn language(report: &Report<'_>, at: At<String>) -> Option<At<String>> {
    let mut parts = at.value.split('-');
    let first = parts.next().unwrap_or_default();
    let letters = |part: &str| part.bytes().all(|byte| byte.is_ascii_alphabetic());
    let good = (2..=3).contains(&first.len())
        && letters(first)
        && parts.all(|part| {
            (2..=8).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_alphanumeric())
        });
    if at.value == ANY_LANGUAGE || good && first.bytes().all(|byte| byte.is_ascii_lowercase()) {
        return Some(at);
    }
    let fix = if good {
        format!("Write \"{}{}\".", first.to_ascii_lowercase(), &at.value[first.len()..])
    } else {
        format!("Write a language tag such as \"en\" or \"de-CH\", or \"{ANY_LANGUAGE}\".")
    };
    report.problem(&at.span, format!("`language` cannot be \"{}\". {fix}", at.value));
    None
}
