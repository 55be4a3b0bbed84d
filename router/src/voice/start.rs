//! What it takes to begin a call.

use super::{Calls, Place, access::Caller, host::AgentHost};
use crate::{config::CallSettings, desk::Desk, directory::Known};
use frontdesk_agents::{
    CallId,
    live::{CallChannel, Hearing},
    store::{OpenCall, StoreError},
};
use frontdesk_voice::{
    audio::Rate,
    browser::{Features, StartCall},
    call::{Config, Input, Line, Phrases},
    engine::{EngineName, Error, SessionOptions},
    shell::{self, Cache, Event, Handle, Setup},
    text::Locale,
};
use std::{sync::Arc, time::Duration};
use tokio::sync::mpsc;

/// How long an agent may take over its greeting before the configured one is said.
const GREETING: Duration = Duration::from_millis(200);

/// What the calls of a transport are like.
pub(crate) struct Terms {
    config: Config,
    channel: CallChannel,
    /// The number or page that was called.
    called: String,
}

impl Terms {
    /// A browser with these additions.
    pub(crate) fn browser(agent: &str, features: Features) -> Self {
        let config = Config {
            playback_reports: features.playback,
            // A client of version 1 plays each piece as a buffer of its own and needs more of them at hand.
            playout_lead: if features.playback { 250 } else { 600 },
            ..Config::browser()
        };
        Self { config, channel: CallChannel::Browser, called: format!("/talk/{agent}") }
    }

    /// A telephone whose operator sends and takes mu-law at 8 kHz and echoes marks.
    pub(crate) fn telephone(number: &str) -> Self {
        Self { config: Config::twilio(), channel: CallChannel::Phone, called: number.into() }
    }
}

/// A call that was answered.
pub(crate) struct Started {
    pub call: CallId,
    pub handle: Handle,
    pub events: mpsc::Receiver<Event>,
    pub rate: Rate,
    pub place: Place,
    /// What the caller should know about how they are heard.
    pub notice: Option<String>,
    /// The model that staff may download to be heard better.
    pub offer: Option<String>,
}

/// Starts a call. An error is in words for the caller.
pub(crate) async fn start(
    desk: &Arc<Desk>,
    calls: &Arc<Calls>,
    known: &Known,
    caller: &Caller,
    network: &str,
    asked: &StartCall,
    terms: Terms,
) -> Result<Started, String> {
    let place = calls.place(desk, &caller.identity)?;
    let settings = choose(desk, known, asked)?;
    let listens_only = calls.live.listens_only(known.id);
    let (ear, mouth) = tokio::join!(calls.engines.ear(&settings), calls.engines.mouth(&settings));
    let ear = ear.map_err(|error| format!("You could not be understood: {error}"))?;
    let mouth =
        mouth.map_err(|error| format!("{} cannot speak: {error}", known.config.display_name))?;

    let open = OpenCall {
        name: caller.name.clone(),
        proof: caller.proof.clone(),
        channel: terms.channel,
        called: Some(terms.called),
        hearing: if ear.engine.is_basic() { Hearing::Basic } else { Hearing::Good },
        ..OpenCall::new(known.id, caller.who.clone(), network)
    };
    let opened = desk.store.open_call(open).await.map_err(|error| match error {
        StoreError::TooMany(why) => why,
        error => {
            tracing::error!(%error, "a call could not be opened");
            "The call could not be started. Please try again later.".into()
        }
    })?;
    let call = opened.call.clone();
    let host = AgentHost::new(calls.clone(), desk.store.clone(), call.clone(), known.id);

    let own = tokio::time::timeout(GREETING, calls.live.start(call.id)).await;
    let own = match own {
        Ok(Ok(reply)) => match tokio::time::timeout(GREETING, reply.collect_text()).await {
            Ok(Ok(text)) => text,
            _ => String::new(),
        },
        _ => String::new(),
    };
    let configured = known.config.greeting.clone().unwrap_or_default();
    let greeting = if own.trim().is_empty() { configured } else { own };

    let locale = settings.language.as_deref().map(Locale::from_tag).unwrap_or_default();
    let mut config = Config {
        longest: u64::try_from(desk.config.voice.max_call_length.as_millis()).unwrap_or(u64::MAX),
        phrases: Phrases { greeting: greeting.clone(), ..Phrases::default() },
        ..terms.config
    };
    let announcement = settings.record.then(|| desk.config.voice.announcement.clone());
    let mut known_lines = Vec::new();
    if let Some(announcement) = &announcement {
        // Heard in full, and first.
        config.phrases.greeting.clear();
        known_lines = vec![announcement.clone(), greeting.clone()];
    }
    if listens_only {
        // Nobody speaks in a dictation.
        config.phrases = Phrases::silent();
    }
    let rate = config.playout_rate;
    let setup = Setup {
        config,
        transcriber: Some(ear.engine),
        session: SessionOptions {
            language: settings.language.clone(),
            ..SessionOptions::default()
        },
        synthesiser: mouth,
        cache: Some(Cache::new(&calls.cache)),
        known_lines,
        locale,
        record: settings.record.then(|| recording_file(calls, call.id.0)).flatten(),
        host,
    };
    let (handle, events) = shell::start(setup);
    calls.opened(call.id, opened.instance, handle.clone());
    handle.input(Input::Answered);
    if let Some(announcement) = announcement {
        handle.input(Input::Say { line: Line { text: announcement, interruptible: false } });
        handle.input(Input::Say { line: Line { text: greeting, interruptible: true } });
    }
    tracing::info!(call = %call.id, agent = known.config.name, "a call began");
    let offer = ear
        .instead_of
        .as_ref()
        .filter(|(_, error)| caller.may_pull && matches!(error, Error::Missing { .. }))
        .filter(|(wanted, _)| desk.config.voice.models.get(wanted.model()).is_some())
        .map(|(wanted, _)| wanted.to_string());
    let notice = ear.instead_of.map(|(wanted, error)| {
        if caller.is_staff() {
            format!("You are heard by a basic recogniser, because {wanted} cannot work: {error}")
        } else {
            "Recognition of speech is basic at the moment. Speak clearly, or write.".into()
        }
    });
    Ok(Started { call: call.id, handle, events, rate, place, notice, offer })
}

/// The settings of this call: the agent's, with what the caller may choose.
fn choose(desk: &Desk, known: &Known, asked: &StartCall) -> Result<CallSettings, String> {
    let voice = &desk.config.voice;
    let mut settings = voice.calls_of(&known.config);
    let pick = |asked: &Option<String>, allowed: &[EngineName], own: &EngineName| {
        let Some(asked) = asked else { return Ok(None) };
        let found = allowed.iter().chain([own]).find(|name| name.to_string() == *asked);
        found.cloned().map(Some).ok_or_else(|| format!("{asked:?} cannot be chosen here."))
    };
    if let Some(stt) = pick(&asked.stt, &voice.allow_stt, &settings.stt)? {
        settings.stt = stt;
    }
    if let Some(tts) = pick(&asked.tts, &voice.allow_tts, &settings.tts)? {
        settings.tts = tts;
    }
    if let Some(language) = &asked.language {
        let own = settings.language.as_deref();
        if own.is_some_and(|own| !own.eq_ignore_ascii_case(language)) {
            return Err(format!("{language:?} cannot be chosen here."));
        }
        let tag = language.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
        if language.len() > 35 || !tag {
            return Err(format!("{language:?} is no language tag: write one such as \"en\"."));
        }
        settings.language = Some(language.clone());
    }
    Ok(settings)
}

fn recording_file(calls: &Calls, call: i64) -> Option<std::path::PathBuf> {
    use std::os::unix::fs::DirBuilderExt as _;
    let folder = &calls.recordings;
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
    if let Err(error) = made {
        tracing::error!(folder = %folder.display(), %error, "calls cannot be recorded");
        return None;
    }
    Some(folder.join(format!("call-{call}.wav")))
}
