//! `[models]`: which language models assistants use, and where they are.
//!
//! A model is named PROVIDER:MODEL. Five providers are known by name and need no section; `[models.custom]` is
//! any other server that speaks one of the two protocols.

use super::error::At;
use super::files::SecretKind;
use super::read::{Surroundings, secret};
use super::walk::Section;
use frontdesk_agents::model::{
    Model, ModelSettings, Models, Price, ProviderSettings, SetupError, Wire,
};
use std::{collections::BTreeMap, sync::Arc};

/// `[models]` and the sections in it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ModelsConfig {
    /// What assistants use that name no model: the first, and the others to fall back on. Default: none.
    pub default: Vec<String>,
    /// Providers with settings of their own, and those with a key.
    pub providers: BTreeMap<String, ProviderSettings>,
    /// Prices by the whole name of a model.
    pub prices: BTreeMap<String, Price>,
}

impl ModelsConfig {
    /// Everything that is known of models, to open them by name.
    ///
    /// # Errors
    ///
    /// If a provider's address or key cannot be used.
    pub fn models(&self) -> Result<Models, SetupError> {
        let mut models = Models::new();
        for (name, settings) in &self.providers {
            models.set_provider(name, settings.clone())?;
        }
        for (name, price) in &self.prices {
            let settings = ModelSettings { price: Some(*price), ..ModelSettings::default() };
            models.set_model(name, settings);
        }
        Ok(models)
    }

    /// A model with those to fall back on.
    ///
    /// # Errors
    ///
    /// If one of them cannot be used, or none is named.
    pub fn open(&self, names: &[String]) -> Result<Arc<dyn Model>, SetupError> {
        self.models()?.open(names)
    }

    /// Has assistants that name no model ask this server, which speaks the protocol of chat completions.
    pub fn rehearse(&mut self, base_url: &str) {
        let wire = Wire::OpenAi { max_completion_tokens: false };
        let settings = ProviderSettings::custom(wire, base_url.to_owned());
        self.providers.insert(CUSTOM.to_owned(), settings);
        self.default = vec![REHEARSAL.to_owned()];
    }

    /// Whether that is so.
    pub fn is_rehearsal(&self) -> bool {
        self.default == [REHEARSAL]
    }

    /// The model that a key in the environment is for, where nobody names one.
    pub(super) fn of_keys(&self) -> Option<String> {
        let has_key = |name: &&str| self.providers.get(*name).is_some_and(|it| it.key.is_some());
        match ["anthropic", "openai"].iter().copied().find(has_key)? {
            "anthropic" => Some(USUAL_ANTHROPIC.into()),
            _ => Some(USUAL_OPENAI.into()),
        }
    }
}

/// What stands in for a model.
const REHEARSAL: &str = "custom:rehearsal";

/// What a key alone brings: each provider's model for everyday work.
const USUAL_ANTHROPIC: &str = "anthropic:claude-sonnet-5";
const USUAL_OPENAI: &str = "openai:gpt-5-mini";

/// The sections of providers, and the variables of their keys.
const PROVIDERS: [(&str, &str, &str); 6] = [
    ("openai", "models.openai", "OPENAI_API_KEY"),
    ("anthropic", "models.anthropic", "ANTHROPIC_API_KEY"),
    ("ollama", "models.ollama", "OLLAMA_API_KEY"),
    ("llamacpp", "models.llamacpp", "LLAMACPP_API_KEY"),
    ("vllm", "models.vllm", "VLLM_API_KEY"),
    (CUSTOM, "models.custom", "CUSTOM_API_KEY"),
];

/// The provider that is whatever its section says.
const CUSTOM: &str = "custom";

pub(super) fn models(section: Section<'_, '_, '_>, around: &Surroundings<'_>) -> ModelsConfig {
    let mut config = ModelsConfig::default();
    for (name, header, variable) in PROVIDERS {
        let inside = section.subsection(header);
        provider(&mut config, name, variable, inside, around);
    }
    config.default = named(&section, "default", &config).unwrap_or_default();
    section.finish(&[]);
    config
}

fn provider(
    config: &mut ModelsConfig,
    name: &'static str,
    variable: &'static str,
    section: Section<'_, '_, '_>,
    around: &Surroundings<'_>,
) {
    let report = section.report();
    let example = "\"http://192.168.1.20:11434/v1\"";
    let base_url = section.string("base_url", example);
    let wire = if name == CUSTOM {
        let compatible = Wire::OpenAi { max_completion_tokens: false };
        section.choice("wire", &[("openai", compatible), ("anthropic", Wire::Anthropic)])
    } else {
        None
    };
    let key = secret(
        &section,
        around,
        "key_file",
        "\"/run/secrets/model_key\"",
        variable,
        SecretKind::Key,
    );
    for inline in ["key", "api_key"] {
        section.refuse(
            inline,
            &format!(
                "secrets do not stand in this file. Put it in {variable}, or in a file of its own \
                 and write key_file = \"/path\"."
            ),
        );
    }
    let context = section.integer("context", 1_024..=100_000_000, 32_768);
    let images = section.boolean("images");
    let at_once = section.integer("at_once", 1..=10_000, 4);
    for (model, price) in section.texts("prices", "{ \"gpt-5-mini\" = \"0.25 in, 2 out\" }") {
        match parse_price(&price.value) {
            Some(price) => {
                config.prices.insert(format!("{name}:{model}"), price);
            }
            None => report.problem(
                &price.span,
                format!(
                    "`prices`: \"{}\" is no price. Write dollars for a million tokens: \
                     \"0.25 in, 2 out\", or \"0.25 in, 2 out, 0.03 cached\".",
                    price.value
                ),
            ),
        }
    }
    let usual = ProviderSettings::known(name);
    let settings = match (&base_url, usual) {
        (_, Some(usual)) => Some(usual),
        (Some(url), None) => {
            let wire = wire.map_or(Wire::OpenAi { max_completion_tokens: false }, |at| at.value);
            Some(ProviderSettings::custom(wire, url.value.clone()))
        }
        (None, None) => None,
    };
    let changed = base_url.is_some() || context.is_some() || images.is_some() || at_once.is_some();
    section.finish(&["key", "api_key"]);
    let Some(mut settings) = settings.filter(|_| changed || key.is_some()) else { return };
    if let Some(url) = &base_url {
        settings.base_url.clone_from(&url.value);
    }
    settings.key = key.map(|key| key.expose().to_owned().into());
    if let Some(context) = context {
        settings.capabilities.context = context.into();
    }
    if let Some(images) = images {
        (settings.capabilities.images, settings.capabilities.documents) =
            (images.value, images.value);
    }
    if let Some(at_once) = at_once {
        settings.at_once = usize::try_from(at_once).unwrap_or(usize::MAX);
    }
    if let Err(error) = Models::new().set_provider(name, settings.clone()) {
        match &base_url {
            Some(at) => report.problem(&at.span, format!("{error}.")),
            None => report.problem_outside(format!("{error}.")),
        }
        return;
    }
    config.providers.insert(name.to_owned(), settings);
}

/// Names of models, each of which could be opened. A key that is missing is no mistake of the file.
pub(super) fn named(
    section: &Section<'_, '_, '_>,
    key: &'static str,
    config: &ModelsConfig,
) -> Option<Vec<String>> {
    let listed = section.one_or_more(key, "\"ollama:qwen3:8b\"")?;
    let mut names = Vec::new();
    for At { value, span } in listed {
        match config.open(std::slice::from_ref(&value)) {
            Ok(_) | Err(SetupError::NoKey { .. }) => names.push(value),
            Err(error) => section.report().problem(&span, format!("`{key}`: {error}.")),
        }
    }
    Some(names)
}

/// `0.25 in, 2 out, 0.03 cached`: dollars for a million tokens.
fn parse_price(text: &str) -> Option<Price> {
    let (mut input, mut output, mut cached) = (None, None, None);
    for part in text.split(',') {
        let (dollars, what) = part.trim().split_once(' ')?;
        let place = match what.trim() {
            "in" => &mut input,
            "out" => &mut output,
            "cached" => &mut cached,
            _ => return None,
        };
        if place.replace(micros(dollars)?).is_some() {
            return None;
        }
    }
    Some(Price { input: input?, output: output?, cached, cache_written: None })
}

/// Dollars, with or without the sign, in millionths.
pub(super) fn micros(dollars: &str) -> Option<u64> {
    let text = dollars.trim().trim_start_matches('$');
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || part.len() > 6 || !digits(whole) || !digits(part) {
        return None;
    }
    let part: u64 = format!("{part:0<6}").parse().ok()?;
    whole.parse::<u64>().ok()?.checked_mul(1_000_000)?.checked_add(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dollars_are_read_to_the_millionth() {
        for (text, expected) in [
            ("2", Some(2_000_000)),
            ("$0.25", Some(250_000)),
            ("0.000001", Some(1)),
            ("0.0000001", None),
            (".5", None),
            ("-1", None),
            ("1e3", None),
            ("99999999999999999999", None),
        ] {
            assert_eq!(micros(text), expected, "{text}");
        }
    }

    #[test]
    fn prices_name_what_they_are_for() {
        let price = parse_price("0.25 in, 2 out, 0.03 cached").unwrap();
        assert_eq!((price.input, price.output, price.cached), (250_000, 2_000_000, Some(30_000)));
        assert_eq!(parse_price("3 in, 15 out").unwrap().cached, None);
        for wrong in ["", "3", "3 in", "3 in, 4 in", "3 in, 4 over", "a in, 4 out"] {
            assert_eq!(parse_price(wrong), None, "{wrong}");
        }
    }
}
