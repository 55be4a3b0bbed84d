//! How fast turns go when the model takes no time: what is left is our part.
//!
//! ```sh
//! cargo run --release -p frontdesk-agents --example turn_rate -- [TURNS] [DIR]
//! ```
//!
//! Each turn is a mail, an answer with one call that reads, one that changes the database, and last words: three
//! answers of the model, and ten entries in the log. Everything is durable (`synchronous=FULL`) in DIR, a
//! temporary directory unless given; the numbers hold for that disk.

use frontdesk_agents::{
    ConversationId, Store, SystemClock, TaskId, Verdict,
    admission::InstancePolicy,
    agent::Agent,
    builtin::{Assistant, AssistantOptions},
    gate::Approval,
    mail::{AddressRoute, Arrival, ArrivalRecipient},
    model::{
        Arguments, Capabilities, Event, EventStream, Model, Request, Role, StopReason, ToolCall,
        Usage,
    },
    runtime::{BoxedAgent, Registry, Runtime, RuntimeConfig},
    store::{AgentRules, Rules},
    tool::{CallEffect, ToolContext, Tools},
    turn::{Cause, MemoryLog, StepLog, Turn, TurnRequest, engine::Driver},
};
use futures_util::{StreamExt, stream};
use std::{
    collections::HashMap,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

/// A model that answers at once.
struct Instant0;

impl Model for Instant0 {
    fn name(&self) -> &str {
        "instant"
    }

    fn capabilities(&self) -> &Capabilities {
        &Capabilities { context: 100_000, images: false, documents: false }
    }

    fn stream(&self, request: Request) -> EventStream {
        let round =
            request.messages.iter().filter(|message| message.role == Role::Assistant).count();
        let call = |name: &str, raw: &str| Event::ToolCall {
            index: 0,
            call: ToolCall { id: "0".into(), name: name.into(), arguments: Arguments::parse(raw) },
        };
        let said = match round {
            0 => call("look", r#"{"what":"lamp"}"#),
            1 => call("remember", r#"{"name":"lamp","text":"It is green."}"#),
            _ => Event::TextDelta("It is green.".into()),
        };
        let stop = if round < 2 { StopReason::ToolUse } else { StopReason::EndTurn };
        let usage = Usage { input: 500, output: 20, ..Usage::default() };
        let started = Event::Started { model: "instant".into(), failed: Vec::new() };
        stream::iter([started, said, Event::Usage(usage), Event::Stop(stop)].map(Ok)).boxed()
    }
}

#[derive(serde::Deserialize, schemars::JsonSchema)]
struct Look {
    what: String,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let turns: usize = arguments.next().map_or(Ok(2_000), |n| n.parse())?;
    let temporary =
        std::env::temp_dir().join(format!("frontdesk-turn-rate-{}", std::process::id()));
    let given = arguments.next().map(PathBuf::from);
    let dir = given.clone().unwrap_or_else(|| temporary.clone());
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let measured = runtime.block_on(measure(&dir, turns));
    if given.is_none() {
        std::fs::remove_dir_all(&temporary)?;
    }
    measured
}

async fn measure(dir: &std::path::Path, turns: usize) -> Result<(), Box<dyn std::error::Error>> {
    let store = Store::open(dir, Arc::new(SystemClock))?;
    let agent = store.register_agents(vec![("support".into(), "assistant".into())]).await?[0];
    let rules = AgentRules {
        name: "support".into(),
        instance: InstancePolicy::Contact,
        approval: Approval::None,
        runs: true,
        address: "support@example.com".into(),
        owner: None,
    };
    let mut all = Rules { agents: HashMap::from([(agent, rules)]), ..Rules::default() };
    all.limits.auto_per_agent = u32::MAX;
    store.set_rules(all);
    let tools = Tools::new().add(
        "look",
        "Looks.",
        CallEffect::Read,
        |args: Look, _: ToolContext| async move { Ok(format!("A green {}.", args.what)) },
    );
    let assistant = Assistant::new(AssistantOptions::default(), Arc::new(Instant0), tools)?;
    let mind = assistant.mind().ok_or("an assistant has a mind")?;
    let mut registry = Registry::default();
    registry.add(agent, "support", BoxedAgent::new(assistant));

    // Mail first, so that only turns are measured.
    for n in 0..turns {
        store.accept(mail(&store, agent, n)?).await?;
    }
    let started = Instant::now();
    let running = Runtime::start(store.clone(), registry, RuntimeConfig::default()).await?;
    let newest = TaskId(turns as i64);
    loop {
        tokio::time::sleep(Duration::from_millis(20)).await;
        match store.turn(newest).await {
            Ok((row, _)) if row.ended_at.is_some() => break,
            _ => {}
        }
    }
    while store.turns(None, 200).await?.iter().any(|turn| turn.ended_at.is_none()) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let took = started.elapsed();
    running.stop().await;
    let (_, log) = store.turn(newest).await?;
    let steps = (turns * log.len()) as f64;
    println!(
        "{turns} turns of {} entries, 3 answers and 2 calls each, durable, in {took:.2?}",
        log.len()
    );
    println!("  {:>9.0} turns/s", turns as f64 / took.as_secs_f64());
    println!("  {:>9.0} steps/s", steps / took.as_secs_f64());
    println!("  {:>9.1} us per step", took.as_secs_f64() * 1e6 / steps);

    // One turn at a time, in memory: what our part of a spoken answer costs before it is wanted.
    let conversation = ConversationId(1);
    let (summary, entries) = store.conversation(conversation).await?;
    let message = entries[0].id;
    let request = TurnRequest { conversation, cause: Cause::Said { message }, not_before: None };
    let mut times = Vec::with_capacity(500);
    for _ in 0..500 {
        let (_stop, mut stopped) = tokio::sync::watch::channel(false);
        let mut log = MemoryLog::default();
        let driver = Driver {
            store: &store,
            mind: &mind,
            agent,
            agent_name: "support",
            turn: TaskId(0),
            instance: summary.instance,
            request: &request,
            sink: &(),
        };
        let begun = Instant::now();
        driver.run(&mut log, &mut stopped).await?;
        times.push(begun.elapsed() / log.entries().len() as u32);
    }
    times.sort_unstable();
    let at = |share: usize| times[times.len() * share / 100].as_secs_f64() * 1e6;
    println!("speculative, one at a time: p50 {:.1} us, p99 {:.1} us per step", at(50), at(99));

    let begun = Instant::now();
    for _ in 0..10_000 {
        std::hint::black_box(Turn::of(&log)?);
    }
    println!("folding that log: {:.2} us", begun.elapsed().as_secs_f64() * 1e6 / 10_000.0);
    store.close().await;
    Ok(())
}

fn mail(
    store: &Store,
    agent: frontdesk_agents::AgentId,
    n: usize,
) -> Result<Arrival, frontdesk_agents::StoreError> {
    let from = format!("p{n}@example.org");
    let text = "What colour is the lamp?";
    Ok(Arrival {
        received_at: store.clock().now(),
        network: "192.0.2.0/24".into(),
        reverse_path: from.clone(),
        from,
        from_name: None,
        reply_to: None,
        to: vec!["support@example.com".into()],
        cc: Vec::new(),
        subject: "The lamp".into(),
        message_id: None,
        references: Vec::new(),
        verdict: Verdict::Verified,
        evidence: "{}".into(),
        envelope_proven: false,
        automatic: None,
        body_hash: [0; 32],
        prelude: String::new(),
        raw: store.stage(text.as_bytes())?,
        attachments: Vec::new(),
        flags: Vec::new(),
        quarantine: None,
        recipients: vec![ArrivalRecipient {
            address: "support@example.com".into(),
            answer_from: "support@example.com".into(),
            agent,
            route: AddressRoute::Plain,
            own_references: Vec::new(),
            new_text: text.into(),
            own_words: text.into(),
            layers: None,
        }],
    })
}
