//! The models of an installation, by name.

use super::{
    Capabilities, Model, Price, Retry, Secret, Timeouts, Wire,
    client::{Client, Inner},
    fallback::Fallback,
    gate::Gate,
    http::{BadEndpoint, Endpoint},
};
use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Where models are, and how they are asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderSettings {
    pub wire: Wire,
    /// As in `https://api.openai.com/v1`: what comes before `/chat/completions` or `/messages`.
    pub base_url: String,
    pub key: Option<Secret>,
    pub timeouts: Timeouts,
    pub retry: Retry,
    /// Most answers at the same time, of all agents.
    pub at_once: usize,
    /// What its models take where nothing else is set for one.
    pub capabilities: Capabilities,
}

/// The providers known by name, with the variable their key is in.
const KNOWN: [(&str, Option<&str>); 5] = [
    ("anthropic", Some("ANTHROPIC_API_KEY")),
    ("llamacpp", None),
    ("ollama", None),
    ("openai", Some("OPENAI_API_KEY")),
    ("vllm", None),
];

/// Hosts that answer nobody without a key.
const KEY_HOSTS: [&str; 2] = ["api.openai.com", "api.anthropic.com"];

impl ProviderSettings {
    /// The settings of a provider known by name, without a key: `openai`, `anthropic`, `ollama`, `llamacpp`,
    /// `vllm`. The last three are looked for on this machine, at the port they take by default.
    pub fn known(name: &str) -> Option<Self> {
        // What current models take; Ollama and llama.cpp cut off or refuse what is beyond the context they
        // were started with, which is 4096 unless set.
        let takes = |context, media| Capabilities { context, images: media, documents: media };
        let (wire, base_url, capabilities) = match name {
            "openai" => (OPENAI, "https://api.openai.com/v1", takes(128_000, true)),
            "anthropic" => (Wire::Anthropic, "https://api.anthropic.com/v1", takes(200_000, true)),
            "ollama" => (COMPATIBLE, "http://127.0.0.1:11434/v1", takes(4_096, false)),
            "llamacpp" => (COMPATIBLE, "http://127.0.0.1:8080/v1", takes(4_096, false)),
            "vllm" => (COMPATIBLE, "http://127.0.0.1:8000/v1", takes(8_192, false)),
            _ => return None,
        };
        let hosted = base_url.starts_with("https");
        Some(Self {
            timeouts: if hosted { Timeouts::default() } else { Timeouts::LOCAL },
            at_once: if hosted { 32 } else { 4 },
            capabilities,
            ..Self::custom(wire, base_url)
        })
    }

    /// Any other provider. What its models take is cautious: 8,192 tokens of text.
    pub fn custom(wire: Wire, base_url: impl Into<String>) -> Self {
        Self {
            wire,
            base_url: base_url.into(),
            key: None,
            timeouts: Timeouts::default(),
            retry: Retry::default(),
            at_once: 32,
            capabilities: Capabilities { context: 8_192, images: false, documents: false },
        }
    }

    /// The environment variable in which a provider known by name has its key, if it needs one.
    pub fn key_variable(name: &str) -> Option<&'static str> {
        KNOWN.iter().find(|(known, _)| *known == name)?.1
    }
}

const OPENAI: Wire = Wire::OpenAi { max_completion_tokens: true };
const COMPATIBLE: Wire = Wire::OpenAi { max_completion_tokens: false };

/// What is known of one model beyond its provider.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ModelSettings {
    pub capabilities: Option<Capabilities>,
    pub price: Option<Price>,
}

/// The providers and models of an installation. Agents open models by name, as in `openai:gpt-5-mini` or
/// `ollama:qwen3:8b`; what follows the first colon is the provider's own name for it.
#[derive(Default)]
pub struct Models {
    providers: Mutex<BTreeMap<String, Arc<Provider>>>,
    settings: HashMap<String, ModelSettings>,
}

struct Provider {
    settings: ProviderSettings,
    endpoint: Arc<Endpoint>,
    gate: Arc<Gate>,
}

/// What is wrong with a setting. The text says how to mend it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SetupError {
    #[error("{0:?} is not the name of a model: write PROVIDER:MODEL, as in ollama:qwen3:8b")]
    Name(String),
    #[error("no model is named: name at least one")]
    None,
    #[error("there is no provider {name:?}: it is one of {known}, or set its base_url")]
    Provider { name: String, known: String },
    #[error("provider {provider}: base_url {problem}; write it as in https://api.openai.com/v1")]
    Url { provider: String, problem: &'static str },
    #[error("provider {provider}: there is no key{}", variable(.provider))]
    NoKey { provider: String },
    #[error(
        "provider {provider}: its key has characters that no key has; check for line breaks and quotes"
    )]
    Key { provider: String },
    #[error(
        "provider {provider}: no TLS, because the system's root certificates cannot be read; install ca-certificates"
    )]
    Tls { provider: String },
}

fn variable(provider: &str) -> String {
    match ProviderSettings::key_variable(provider) {
        Some(variable) => format!(": set {variable} or the provider's key_file"),
        None => ": set the provider's key".to_owned(),
    }
}

impl Models {
    /// No providers: those known by name are there when asked for, without a key.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a provider, or replaces one.
    ///
    /// # Errors
    ///
    /// If its address or key cannot be used.
    pub fn set_provider(
        &mut self,
        name: &str,
        settings: ProviderSettings,
    ) -> Result<(), SetupError> {
        let provider = Arc::new(Provider::new(name, settings)?);
        self.providers().insert(name.to_owned(), provider);
        Ok(())
    }

    /// What is known of a model, named as it is opened.
    pub fn set_model(&mut self, name: &str, settings: ModelSettings) {
        self.settings.insert(name.to_owned(), settings);
    }

    /// Opens the first of `names`, with the others to fall back on, in order. Nothing is sent yet.
    ///
    /// # Errors
    ///
    /// If a name or its provider is not known, or a key is missing.
    pub fn open<S: AsRef<str>>(&self, names: &[S]) -> Result<Arc<dyn Model>, SetupError> {
        let mut models: Vec<Arc<dyn Model>> = Vec::new();
        for (index, name) in names.iter().enumerate() {
            let last = index + 1 == names.len();
            models.push(Arc::new(self.client(name.as_ref(), last)?));
        }
        match models.len() {
            0 => Err(SetupError::None),
            1 => Ok(models.remove(0)),
            _ => Ok(Arc::new(Fallback::new(models))),
        }
    }

    fn client(&self, name: &str, last: bool) -> Result<Client, SetupError> {
        let (provider_name, model) = name
            .split_once(':')
            .filter(|(provider, model)| !provider.is_empty() && !model.trim().is_empty())
            .ok_or_else(|| SetupError::Name(name.to_owned()))?;
        let provider = self.provider(provider_name)?;
        let settings = &provider.settings;
        if settings.key.is_none() && KEY_HOSTS.contains(&provider.endpoint.host()) {
            return Err(SetupError::NoKey { provider: provider_name.to_owned() });
        }
        let own = self.settings.get(name).cloned().unwrap_or_default();
        Ok(Client::new(Inner {
            name: name.to_owned(),
            model: model.to_owned(),
            wire: settings.wire,
            key: settings.key.clone(),
            post: Arc::clone(&provider.endpoint) as _,
            gate: Arc::clone(&provider.gate),
            timeouts: settings.timeouts,
            retry: if last { settings.retry } else { settings.retry.with_fallback() },
            capabilities: own.capabilities.unwrap_or(settings.capabilities),
            price: own.price,
        }))
    }

    fn provider(&self, name: &str) -> Result<Arc<Provider>, SetupError> {
        if let Some(provider) = self.providers().get(name) {
            return Ok(Arc::clone(provider));
        }
        let settings = ProviderSettings::known(name).ok_or_else(|| self.unknown_provider(name))?;
        let provider = Arc::new(Provider::new(name, settings)?);
        // Somebody else may have been quicker; then there is still one gate.
        Ok(Arc::clone(self.providers().entry(name.to_owned()).or_insert(provider)))
    }

    fn providers(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Provider>>> {
        self.providers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn unknown_provider(&self, name: &str) -> SetupError {
        let known = KNOWN.iter().map(|(known, _)| *known);
        let providers = self.providers();
        let mut known: Vec<&str> = known.chain(providers.keys().map(String::as_str)).collect();
        known.sort_unstable();
        known.dedup();
        SetupError::Provider { name: name.to_owned(), known: known.join(", ") }
    }
}

impl Provider {
    fn new(name: &str, settings: ProviderSettings) -> Result<Self, SetupError> {
        let provider = || name.to_owned();
        let key = settings.key.as_ref();
        let connect = settings.timeouts.connect;
        let endpoint =
            Endpoint::new(&settings.base_url, settings.wire, key, connect).map_err(|problem| {
                match problem {
                    BadEndpoint::Url(problem) => SetupError::Url { provider: provider(), problem },
                    BadEndpoint::Key => SetupError::Key { provider: provider() },
                    BadEndpoint::Tls => SetupError::Tls { provider: provider() },
                }
            })?;
        if endpoint.is_exposed() {
            let key = key.is_some();
            tracing::warn!(
                provider = name,
                key,
                "requests to this provider leave this machine unencrypted; use https in base_url"
            );
        }
        let gate = Arc::new(Gate::new(settings.at_once));
        Ok(Self { endpoint: Arc::new(endpoint), gate, settings })
    }
}

impl fmt::Debug for Models {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let providers = self.providers();
        let settings = providers.iter().map(|(name, provider)| (name, &provider.settings));
        f.debug_map().entries(settings).finish()
    }
}
