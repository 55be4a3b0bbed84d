//! A good config, read into settings, and the example that documents every key.

#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::time::Duration;

use frontdesk_agents::{Trust, admission::InstancePolicy, gate::Approval, tool::CallEffect};
use frontdesk_router::config::{
    AgentConfig, Config, ConfigErrors, LogFormat, Reach, Talk, known_keys, reachable,
};
use frontdesk_router::models::Mirror;

const EXAMPLE: &str = include_str!("../../frontdesk.example.toml");

fn parse(text: &str, kinds: &[&str]) -> Result<Config, ConfigErrors> {
    Config::parse(text, Path::new("frontdesk.toml"), Path::new(""), kinds, &|_| None)
}

#[test]
fn the_example_is_the_defaults() {
    assert_eq!(parse(EXAMPLE, &[]), Ok(Config::default()));
}

#[test]
fn the_example_shows_every_key_under_its_section() {
    let mut section = String::new();
    let mut shown = Vec::new();
    for line in EXAMPLE.lines() {
        // A key that has no default, or a second agent, is shown as `#key = value`.
        let line = line.strip_prefix('#').unwrap_or(line);
        if line.starts_with('[') {
            section = line.trim_matches(['[', ']']).to_owned();
        } else if let Some((key, _)) = line.split_once(" = ")
            && key.chars().all(|c| c.is_ascii_lowercase() || c == '_')
        {
            shown.push((section.clone(), key.to_owned()));
        }
    }
    let known = known_keys();
    assert!(known.len() > 35, "only {} keys are known", known.len());
    for (section, key) in known {
        assert!(
            shown.contains(&(section.to_owned(), key.to_owned())),
            "`{key}` of [{section}] is not in frontdesk.example.toml"
        );
    }
}

#[test]
fn the_keys_that_the_example_comments_out_exist_and_have_good_values() {
    let uncommented: String = EXAMPLE
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(key) if !key.starts_with([' ', '#']) => format!("{key}\n"),
            _ => format!("{line}\n"),
        })
        .collect();
    let problems = match parse(&uncommented, &[]) {
        Ok(_) => Vec::new(),
        Err(errors) => errors.problems,
    };
    // The files it names are not on this machine, and it shows both ways to reach a server of tools; nothing else
    // may be wrong.
    let expected = ["there is no file", "A server is reached one way"];
    let others: Vec<_> = problems
        .iter()
        .filter(|problem| !expected.iter().any(|part| problem.message.contains(part)))
        .collect();
    assert!(others.is_empty(), "{others:#?}");
    assert!(uncommented.matches("tls_key_file = ").count() == 1, "nothing was uncommented");
}

#[test]
fn a_full_config_reads_as_it_says() {
    let config = parse(
        r#"
        [server]
        hostname = "MX.Example.org"
        data = "/srv/desk"
        log_format = "json"
        log_level = "info,frontdesk_smtp=debug"
        shutdown_grace = "30s"

        [smtp]
        listen = ["[::]:25", "127.0.0.1:2525"]
        public = true
        max_message_size = "20 MiB"
        idle_timeout = "90s"

        [http]
        listen = ["0.0.0.0:8080"]
        public_origin = "https://desk.example.org"

        [dns]
        servers = ["127.0.0.1:5353", "9.9.9.9"]

        [mail]
        domains = ["example.org", "bücher.example"]
        trusted_forwarders = ["Google.com"]
        reply_token_days = 30
        catch_all = "Support"

        [[agent]]
        name = "Support"
        addresses = ["Help@Example.org", "support@example.org"]
        instance = "conversation"
        approval = "unknown"
        owner = "me@elsewhere.example"

        [[agent]]
        name = "sales"
        kind = "seller"
        display_name = "Sales team"
        "#,
        &["seller"],
    )
    .unwrap();

    assert_eq!(config.server.hostname, "mx.example.org");
    assert_eq!(config.server.log_format, LogFormat::Json);
    assert_eq!(config.server.shutdown_grace, Duration::from_secs(30));
    assert_eq!(config.smtp.listen.len(), 2);
    assert_eq!(config.smtp.max_message_size, 20 * 1024 * 1024);
    assert_eq!(config.smtp.idle_timeout, Duration::from_secs(90));
    assert_eq!(config.smtp.max_recipients, 100);
    assert_eq!(config.http.origin(), "https://desk.example.org");
    assert_eq!(config.dns.servers[1], "9.9.9.9:53".parse().unwrap());
    assert_eq!(config.mail.domains, ["example.org", "xn--bcher-kva.example"]);
    assert_eq!(config.mail.trusted_forwarders, ["google.com"]);
    assert_eq!(config.mail.catch_all.as_deref(), Some("support"));

    let [support, sales] = &config.agents[..] else { panic!("two agents") };
    assert_eq!((support.name.as_str(), support.display_name.as_str()), ("support", "Support"));
    assert_eq!(support.addresses, ["help@example.org", "support@example.org"]);
    assert_eq!(support.instance, InstancePolicy::Conversation);
    assert_eq!(support.approval, Some(Approval::Unknown));
    assert_eq!(support.owner.as_deref(), Some("me@elsewhere.example"));
    assert_eq!(sales.kind, "seller");
    assert_eq!(sales.addresses, ["sales@example.org", "sales@xn--bcher-kva.example"]);
    assert_eq!(sales.approval, None);
}

#[test]
fn a_config_without_agents_has_the_receptionist_at_its_domain() {
    let config = parse("[mail]\ndomains = [\"example.org\"]\n", &[]).unwrap();
    assert_eq!(config.agents, [AgentConfig::hello(&["example.org".into()])]);
    assert_eq!(config.agents[0].addresses, ["hello@example.org"]);
    assert_eq!(config.server.hostname, "example.org");
    assert_eq!(parse("agent = []\n", &[]).unwrap().agents, Config::default().agents);
}

#[test]
fn a_kind_is_known_only_where_the_program_registers_it() {
    let text = "[[agent]]\nname = \"a\"\nkind = \"seller\"\n";
    assert_eq!(parse(text, &["seller"]).unwrap().agents[0].kind, "seller");
    let error = parse(text, &["buyer"]).unwrap_err().to_string();
    assert!(
        error.contains(
            "This program has \"receptionist\", \"assistant\", \"dictation\" or \"buyer\"."
        ),
        "{error}"
    );
}

#[test]
fn listeners_on_different_addresses_or_any_free_port_do_not_clash() {
    let text = "[smtp]\nlisten = [\"127.0.0.1:2525\", \"127.0.0.2:2525\"]\n";
    assert_eq!(parse(text, &[]).unwrap().smtp.listen.len(), 2);
    let text = "[smtp]\nlisten = [\"127.0.0.1:0\"]\n[http]\nlisten = [\"127.0.0.1:0\"]\n";
    assert!(parse(text, &[]).is_ok());
}

#[test]
fn a_machine_reaches_its_own_listener_on_any_address_by_loopback() {
    for (listen, reached) in [
        ("0.0.0.0:8080", "127.0.0.1:8080"),
        ("[::]:8080", "[::1]:8080"),
        ("192.0.2.1:80", "192.0.2.1:80"),
    ] {
        assert_eq!(reachable(listen.parse().unwrap()), reached.parse().unwrap());
    }
}

#[test]
fn without_voice_settings_english_is_heard_and_spoken_on_this_machine() {
    let config = Config::default();
    let calls = config.voice.calls_of(&config.agents[0]);
    assert_eq!(calls.stt.to_string(), "whisper:base.en");
    assert_eq!(calls.stt_fallback.map(String::from).as_deref(), Some("pocketsphinx:en-us"));
    assert_eq!(calls.tts.to_string(), "flite:slt");
    assert_eq!(calls.language.as_deref(), Some("en"));
    assert!(!calls.record);
    assert_eq!(config.agents[0].talk, Talk::Staff);
    assert_eq!(config.models_dir(), Path::new("data/models"));
    assert_eq!(config.engine_settings().whisper.models_dir, Some("data/models".into()));
}

#[test]
fn voice_settings_read_as_they_say() {
    let config = parse(
        r#"
        [voice]
        stt = "whisper:mine"
        stt_fallback = "none"
        tts = "openai:gpt-4o-mini-tts/alloy"
        allow_stt = ["deepgram:nova-3"]
        allow_tts = ["flite:kal16", "espeak:de"]
        language = "auto"
        max_calls = 7
        max_calls_per_user = 1
        max_call_length = "5m"
        record = true
        announcement = "We record this."
        models_mirror = "mirror"
        library_dir = "lib"
        espeak = "espeak"

        [voice.whisper]
        models_dir = "models"
        files = { mine = "own/mine.bin", "small.de" = "/srv/small.bin" }
        threads = 3
        slots = 2

        [voice.pocketsphinx]
        sessions = 5

        [voice.openai]
        base_url = "http://127.0.0.1:8000/v1/"
        pcm_rate = 16000

        [[agent]]
        name = "support"
        talk = "public"
        about = "Orders and repairs."
        greeting = "Good day."
        stt = "deepgram:nova-3"
        record = false

        [[agent]]
        name = "quiet"
        talk = "off"
        greeting = ""
        "#,
        &[],
    )
    .unwrap();
    let voice = &config.voice;
    assert_eq!(voice.max_calls, 7);
    assert_eq!(voice.max_calls_per_user, 1);
    assert_eq!(voice.max_call_length, Duration::from_secs(300));
    assert_eq!(voice.announcement, "We record this.");
    assert_eq!(voice.models_mirror, Some(Mirror::Folder("mirror".into())));
    assert_eq!(voice.allow_tts.len(), 2);
    let engines = config.engine_settings();
    assert_eq!(engines.whisper.models_dir, Some("models".into()));
    assert_eq!(engines.whisper.files["mine"], Path::new("own/mine.bin"));
    assert_eq!(engines.whisper.files["small.de"], Path::new("/srv/small.bin"));
    assert_eq!((engines.whisper.threads, engines.whisper.slots), (Some(3), Some(2)));
    assert_eq!(engines.pocketsphinx.sessions, Some(5));
    assert_eq!(engines.openai.base.as_deref(), Some("http://127.0.0.1:8000/v1"));
    assert_eq!(engines.library_dir, Some("lib".into()));
    assert_eq!(engines.espeak, Some("espeak".into()));

    let [support, quiet] = &config.agents[..] else { panic!("two agents") };
    assert_eq!((support.talk, quiet.talk), (Talk::Public, Talk::Off));
    assert_eq!(support.about.as_deref(), Some("Orders and repairs."));
    assert_eq!(
        (support.greeting.as_deref(), quiet.greeting.as_deref()),
        (Some("Good day."), Some(""))
    );
    let calls = voice.calls_of(support);
    assert_eq!(calls.stt.to_string(), "deepgram:nova-3");
    assert_eq!((calls.stt_fallback, calls.language, calls.record), (None, None, false));
    let calls = voice.calls_of(quiet);
    assert_eq!((calls.stt.to_string().as_str(), calls.record), ("whisper:mine", true));
}

#[test]
fn another_language_brings_engines_that_know_it() {
    let config = parse(
        "[voice]\nlanguage = \"de-CH\"\n[[agent]]\nname = \"a\"\n[[agent]]\nname = \"b\"\nlanguage = \"en\"\n",
        &[],
    )
    .unwrap();
    let [german, english] = &config.agents[..] else { panic!("two agents") };
    let german = config.voice.calls_of(german);
    assert_eq!(german.stt.to_string(), "whisper:base");
    assert_eq!((german.stt_fallback, german.tts.to_string().as_str()), (None, "espeak:de"));
    // Whisper's model for every language hears English, too; espeak's German voice does not speak it.
    let english = config.voice.calls_of(english);
    assert_eq!(english.stt.to_string(), "whisper:base");
    assert_eq!(english.tts.to_string(), "flite:slt");

    let config = parse("[[agent]]\nname = \"b\"\nlanguage = \"fr\"\n", &[]).unwrap();
    let french = config.voice.calls_of(&config.agents[0]);
    assert_eq!(french.stt.to_string(), "whisper:base");
    assert_eq!((french.stt_fallback, french.tts.to_string().as_str()), (None, "espeak:fr"));
}

#[test]
fn keys_of_services_come_from_the_environment_or_a_file_and_are_never_shown() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("deepgram");
    std::fs::write(&file, "dg-7\n").unwrap();
    std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let read = |text: &str, variable: &'static str| {
        let env = move |name: &str| (name == variable).then(|| "sk-hush".to_owned());
        Config::parse(text, Path::new("f"), folder.path(), &[], &env)
    };
    let text = "[voice.deepgram]\nkey_file = \"deepgram\"\n";
    let engines = read(text, "FRONTDESK_OPENAI_KEY").unwrap().engine_settings();
    assert_eq!(engines.openai.key, Some("sk-hush".to_owned().into()));
    assert_eq!(engines.deepgram.key, Some("dg-7".to_owned().into()));
    assert!(!format!("{engines:?}").contains("hush"));

    let error = read(text, "FRONTDESK_DEEPGRAM_KEY").unwrap_err().to_string();
    assert!(error.contains("`key_file` and FRONTDESK_DEEPGRAM_KEY are both set"), "{error}");
}

#[test]
fn a_manifest_adds_models_that_can_be_named() {
    let folder = tempfile::tempdir().unwrap();
    let read = |json: &str| {
        std::fs::write(folder.path().join("models.json"), json).unwrap();
        let text = "[voice]\nstt = \"whisper:mine\"\nmodels_manifest = \"models.json\"\n";
        Config::parse(text, Path::new("f"), folder.path(), &[], &|_| None)
    };
    let model = format!(
        r#"{{"mine": {{"file": "mine.bin", "url": "https://h/m", "size": 7, "sha256": "{}"}}}}"#,
        "0".repeat(64)
    );
    let config = read(&model).unwrap();
    assert_eq!(config.voice.models.get("mine").unwrap().size, 7);
    assert!(config.voice.models.get("base.en").is_some());
    let error = read("[]").unwrap_err().to_string();
    assert!(
        error.contains("f:3:19: `models_manifest`: the model manifest is not usable"),
        "{error}"
    );
}

#[test]
fn a_key_in_the_environment_makes_hello_an_assistant_where_nothing_is_configured() {
    let env = |name: &str| (name == "OPENAI_API_KEY").then(|| "sk-of-a-test".to_owned());
    let config = Config::load_from(None, &[], &env).unwrap();
    let [hello] = &config.agents[..] else { panic!("{:?}", config.agents) };
    assert_eq!((hello.kind.as_str(), hello.effective_approval()), ("assistant", Approval::All));
    assert_eq!(config.models.default, ["openai:gpt-5-mini"]);
    assert!(!format!("{config:?}").contains("sk-of-a-test"));
    // A file says what there is, and its assistants may use the key.
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("frontdesk.toml");
    for (text, kind) in
        [("", "receptionist"), ("[[agent]]\nname = \"hello\"\nkind = \"assistant\"\n", "assistant")]
    {
        std::fs::write(&file, text).unwrap();
        let config = Config::load_from(Some(&file), &[], &env).unwrap();
        assert_eq!(config.agents[0].kind, kind);
        assert_eq!(config.models.default, ["openai:gpt-5-mini"]);
    }
}

#[test]
fn an_assistant_has_all_that_its_section_says() {
    let text = r#"
        [models]
        default = "ollama:qwen3:8b"
        [models.custom]
        base_url = "http://127.0.0.1:9/v1"
        wire = "anthropic"
        prices = { "m" = "3 in, 15 out" }
        [[agent]]
        name = "support"
        kind = "assistant"
        instructions = "Be brief."
        model = ["custom:m", "ollama:qwen3:8b"]
        tools = ["label"]
        tool_approval = { label = "all" }
        tokens_per_day = 5000
        cost_per_day = "$2.50"
        working_hours = "mon-fri 09:00-17:00 Europe/Berlin"
        [[agent]]
        name = "plain"
        kind = "assistant"
        approval = "none"
    "#;
    let config = parse(text, &[]).unwrap();
    let support = &config.agents[0].assistant;
    assert_eq!(support.models, ["custom:m", "ollama:qwen3:8b"]);
    assert_eq!(support.instructions.as_deref(), Some("Be brief."));
    assert_eq!((support.tokens_per_day, support.cost_per_day), (Some(5_000), Some(2_500_000)));
    assert_eq!(support.tool_approval["label"], Approval::All);
    assert_eq!(support.working_hours.as_ref().unwrap().days.len(), 5);
    assert_eq!(config.models.prices["custom:m"].output, 15_000_000);
    assert!(config.models.open(&support.models).is_ok());
    assert!(config.agents[1].assistant.models.is_empty());
    assert_eq!(config.agents[1].effective_approval(), Approval::None);
}

#[test]
fn an_assistant_writes_to_strangers_as_its_config_says() {
    use frontdesk_agents::gate::{ByReply, Rule};
    let text = "[mail]\napprove_by_reply = \"everything\"\n[models]\ndefault = \"ollama:m\"\n\
                [[agent]]\nname = \"a\"\nkind = \"assistant\"\nsend_domains = [\"Supplier.Example\"]\n\
                new_contacts = \"allow\"\noutside = \"deny\"\nanswers_unproven = true\n";
    let config = parse(text, &[]).unwrap();
    assert_eq!(config.mail.approve_by_reply, ByReply::Everything);
    let given = &config.agents[0].assistant;
    assert_eq!(given.send.allowed_domains, ["supplier.example"]);
    assert_eq!((given.send.new_contacts, given.send.outside), (Rule::Allow, Rule::Deny));
    assert!(given.answers_unproven);
    let errors = parse(
        "[mail]\napprove_by_reply = \"all\"\n[models]\ndefault = \"ollama:m\"\n\
         [[agent]]\nname = \"a\"\nkind = \"assistant\"\nnew_contacts = \"allow\"\noutside = \"ask\"\n",
        &[],
    );
    let errors = errors.unwrap_err().to_string();
    for part in
        ["`approve_by_reply` cannot be", "`send_domains`, which is missing", "`outside` cannot be"]
    {
        assert!(errors.contains(part), "{part}: {errors}");
    }
}

#[test]
fn servers_of_tools_are_reached_believed_and_used_as_the_file_says() {
    let text = "\
        [models]\ndefault = \"ollama:qwen3:8b\"\n\
        [mcp.shop]\ncommand = \"shop-tools\"\nargs = [\"--stdio\"]\nenv = { SHOP = \"north\" }\n\
        env_from = [\"SHOP_KEY\", \"SHOP_REGION\"]\neffects = { search = \"read\" }\n\
        least_trust = { refund = \"staff\" }\ntimeouts = { report = \"2m\" }\n\
        [mcp.wiki-2]\nurl = \"https://wiki.example.org/mcp\"\ntrust_annotations = true\ntimeout = \"5s\"\n\
        [[agent]]\nname = \"hello\"\nkind = \"assistant\"\n\
        tools = [\"mcp:shop/search\", \"mcp:wiki-2/*\"]\n\
        tool_approval = { \"mcp:wiki-2/edit\" = \"all\", \"mcp:wiki-2/*\" = \"none\" }\n";
    let env = |name: &str| match name {
        "SHOP_KEY" => Some("key-of-the-shop".to_owned()),
        "MCP_WIKI_2_TOKEN" => Some("token-of-the-wiki".to_owned()),
        _ => None,
    };
    let config =
        Config::parse(text, Path::new("frontdesk.toml"), Path::new("/etc"), &[], &env).unwrap();
    let shop = &config.mcp["shop"];
    let Reach::Program { command, args, env, secrets, unset } = &shop.reach else {
        panic!("the shop is a program");
    };
    assert_eq!((command.to_str(), args.len()), (Some("shop-tools"), 1));
    assert_eq!((env["SHOP"].as_str(), secrets["SHOP_KEY"].expose()), ("north", "key-of-the-shop"));
    assert_eq!(unset, &["SHOP_REGION"]);
    assert_eq!(shop.effects["search"], CallEffect::Read);
    assert_eq!(shop.least_trust["refund"], Trust::Staff);
    assert_eq!((shop.timeout.as_secs(), shop.timeouts["report"].as_secs()), (30, 120));
    assert!(!shop.trust_annotations && !shop.trust_results);

    let wiki = &config.mcp["wiki-2"];
    let Reach::Http { token, .. } = &wiki.reach else { panic!("the wiki is reached by HTTP") };
    assert_eq!(token.as_ref().unwrap().expose(), "token-of-the-wiki");
    assert!(!format!("{config:?}").contains("of-the-"), "a secret is shown");
    assert_eq!((wiki.timeout.as_secs(), wiki.trust_annotations), (5, true));

    let used = &config.agents[0].assistant.mcp;
    assert!(used["shop"].allows("search") && !used["shop"].allows("refund"));
    assert!(used["wiki-2"].allows("edit"));
    assert_eq!(used["wiki-2"].approval_of("edit"), Some(Approval::All));
    assert_eq!(used["wiki-2"].approval_of("read"), Some(Approval::None));
    // Without any built-in one named, the usual ones are there as well.
    assert!(config.agents[0].assistant.tools.contains("hand_to_person"));
}
