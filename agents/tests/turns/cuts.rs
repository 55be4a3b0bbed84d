//! A turn that is cut off after any entry of its log ends as if nothing had happened.

use crate::{
    desk::{Desk, Script},
    puppet::{Answer, Ledger, Puppet, ends, says, shop, words},
    slice::pays,
};
use frontdesk_agents::{
    Agent, ConversationId, Store, StoreError,
    builtin::{Assistant, AssistantOptions},
    model::{ErrorKind, Model},
    store::TurnRun,
    tool::Tools,
    turn::{
        CallEnd, Cause, Entry, Limits, Step, StepLog, StoredLog, Turn, TurnRequest,
        engine::{Driver, EngineError, Pause},
        fold::Action,
        log::{Appending, Batch, LogError},
    },
};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use std::sync::Arc;

/// A log whose process dies right after or right before the n-th time something is added.
struct Dying {
    log: StoredLog,
    left: usize,
    before: bool,
}

impl StepLog for Dying {
    fn entries(&self) -> &[Entry] {
        self.log.entries()
    }

    fn append<'a>(&'a mut self, batch: Batch, now: Timestamp) -> Appending<'a> {
        Box::pin(async move {
            if self.left == 0 && self.before {
                return Err(LogError::Store(StoreError::Closed));
            }
            self.log.append(batch, now).await?;
            if self.left == 0 {
                return Err(LogError::Store(StoreError::Closed));
            }
            self.left -= 1;
            Ok(())
        })
    }

    fn is_real(&self) -> bool {
        true
    }
}

/// What a run came to.
enum Ran {
    Died,
    Rests,
}

/// Takes turns until none is due, dying after so many additions.
async fn run(store: &Store, assistant: &Assistant, dies: &mut Option<(usize, bool)>) -> Ran {
    let mind = assistant.mind().unwrap();
    loop {
        let Some(TurnRun { agent, agent_name, turn, instance, request, log }) =
            store.claim_turns(1).await.unwrap().pop()
        else {
            return Ran::Rests;
        };
        let (_stop, mut stopped) = tokio::sync::watch::channel(false);
        let (left, before) = dies.unwrap_or((usize::MAX, false));
        let mut log = Dying { log: StoredLog::new(store.clone(), turn, log), left, before };
        let driver = Driver {
            store,
            mind: &mind,
            agent,
            agent_name: &agent_name,
            turn,
            instance,
            request: &request,
            sink: &(),
        };
        match driver.run(&mut log, &mut stopped).await {
            Ok(Pause::Finished(_)) => {}
            Ok(Pause::Parked { until, on }) => {
                store.park_turn(turn, log.entries().len(), until, on).await.unwrap();
            }
            Ok(Pause::NeedsToBeReal) => panic!("it is real"),
            Err(EngineError::Store(StoreError::Closed)) => {
                *dies = None;
                return Ran::Died;
            }
            Err(error) => panic!("{error}"),
        }
        if let Some((left, _)) = dies {
            *left = log.left;
        }
    }
}

/// One way through: the mail, the turn until it rests, the person, the turn until its end.
struct Way {
    model: fn() -> Arc<Puppet>,
    tools: fn(&Ledger) -> Tools,
    decide: bool,
}

struct Ended {
    log: Vec<Entry>,
    ledger: Vec<String>,
    keys: Vec<String>,
    outbox: Vec<String>,
    queue: String,
    died: bool,
}

/// Goes the way, dying once after so many additions to the log.
async fn go(way: &Way, mut dies: Option<(usize, bool)>) -> Ended {
    let ledger = Ledger::default();
    let assistant = Assistant::new(
        AssistantOptions::default(),
        (way.model)() as Arc<dyn Model>,
        (way.tools)(&ledger),
    )
    .unwrap();
    let mut desk = Desk::new();
    // The runtime brings the mail to its handler; the turn it starts is taken below, an hour later.
    let starts = Script::on_email(|cx, mail| {
        let not_before = Some(cx.now() + SignedDuration::from_hours(1));
        let cause = Cause::Mail { message: mail.id };
        cx.start_turn(TurnRequest { conversation: mail.conversation, cause, not_before });
        Ok(())
    });
    let support = desk.agent("support", starts).await;
    desk.start().await;
    let mail = desk.mail(support, "ann@a.test", "The lamp A7 broke. Money back?");
    let (_, conversation, _) = desk.deliver(mail).await;
    desk.quiet().await;
    desk.stop().await;
    desk.advance(3_600);
    let store = desk.store.clone();
    let mut died = false;
    // Attempts and waiting times pass as they would by themselves.
    for _ in 0..12 {
        if let Ran::Died = run(&store, &assistant, &mut dies).await {
            died = true;
            store.recover_tasks().await.unwrap();
            continue;
        }
        let pending = store.pending_reviews(Some(conversation), 10).await.unwrap();
        match pending.iter().find(|review| review.kind == "tool") {
            Some(review) if way.decide => {
                store.approve(review.id, "eve".into(), None).await.unwrap();
            }
            _ => desk.clock.advance(SignedDuration::from_hours(24)),
        }
    }
    let turn = store.turns(Some(conversation), 10).await.unwrap().remove(0);
    assert!(turn.ended_at.is_some(), "it ended: {turn:?}");
    let outbox = store.outbox(None, 10, None).await.unwrap();
    Ended {
        log: store.turn(turn.id).await.unwrap().1,
        ledger: ledger.entries(),
        keys: ledger.keys(),
        outbox: outbox.iter().map(|mail| format!("{} {}", mail.to.join(","), mail.state)).collect(),
        queue: queue_of(&desk, conversation).await,
        died,
    }
}

async fn queue_of(desk: &Desk, conversation: ConversationId) -> String {
    desk.store.conversation(conversation).await.unwrap().0.queue
}

/// Everything works.
const SMOOTH: Way = Way { model: pays, tools: shop, decide: true };

/// The model fails once, a tool fails, there is no such tool, arguments are wrong, nobody approves in time.
const ROUGH: Way = Way { model: stumbles, tools: broken, decide: false };

fn stumbles() -> Arc<Puppet> {
    let tries = std::sync::atomic::AtomicU32::new(0);
    Puppet::new(move |_, round| match round {
        0 if tries.fetch_add(1, std::sync::atomic::Ordering::SeqCst) == 0 => {
            Answer::Fails(ErrorKind::Overloaded { retry_after: None })
        }
        0 => Answer::Calls(vec![
            ("find_order", json!({ "order": "A7" })),
            ("fly", json!({})),
            ("refund", json!({ "amount": "much" })),
        ]),
        1 => Answer::Raw("find_order", "{\"order\":".into()),
        2 => Answer::Calls(vec![
            ("refund", json!({ "order": "A7", "amount": 1 })),
            ("remember", json!({ "name": "lamp", "text": "It broke." })),
        ]),
        _ => says("I am sorry."),
    })
}

fn broken(ledger: &Ledger) -> Tools {
    let good = shop(ledger);
    let mut tools = Tools::new().add(
        "find_order",
        "Finds an order.",
        frontdesk_agents::tool::CallEffect::Read,
        |_: Anything, _| async { Err::<String, _>("the order book is closed".into()) },
    );
    tools.insert(good.get("refund").unwrap().clone()).unwrap();
    tools
}

#[derive(serde::Deserialize, schemars::JsonSchema)]
struct Anything {
    #[expect(dead_code, reason = "only its presence counts")]
    order: String,
}

#[tokio::test]
async fn cut_off_anywhere_the_turn_pays_once_and_answers_once() {
    let whole = go(&SMOOTH, None).await;
    assert_eq!(whole.ledger, ["3000 cents for A7"]);
    assert_eq!(whole.outbox, ["ann@a.test queued"]);
    let mut cuts = 0;
    for before in [false, true] {
        for at in 0.. {
            let cut = go(&SMOOTH, Some((at, before))).await;
            if !cut.died {
                break;
            }
            cuts += 1;
            let place = format!(
                "cut {} addition {at}: {:?}",
                if before { "before" } else { "after" },
                cut.log
            );
            assert_eq!(cut.outbox, whole.outbox, "{place}");
            assert!(cut.keys.iter().all(|key| *key == cut.keys[0]), "{place}");
            let ends = ends(&cut.log);
            if ends.contains(&CallEnd::Uncertain) {
                // Nobody can know whether money left between the intent and its result; it is not sent twice, and a
                // person is told.
                assert!(cut.ledger.len() <= 1, "{place}");
                assert_eq!(cut.queue, "needs_review", "{place}");
                let begun =
                    cut.log.iter().any(|entry| matches!(entry.step, Step::CallBegun { .. }));
                assert!(begun, "{place}");
            } else {
                assert_eq!(ends, [CallEnd::Done, CallEnd::Done], "{place}");
                assert_eq!(cut.ledger, whole.ledger, "{place}");
            }
        }
    }
    assert!(cuts >= 20, "{cuts}");
}

#[tokio::test]
async fn cut_off_anywhere_among_failures_every_call_has_its_one_result() {
    use CallEnd::{BadArguments, BadJson, Done, Expired, Failed, UnknownTool};
    let whole = go(&ROUGH, None).await;
    let expected = [Failed, UnknownTool, BadArguments, BadJson, Expired, Done];
    assert_eq!(ends(&whole.log), expected, "{:?}", whole.log);
    for before in [false, true] {
        for at in 0.. {
            let cut = go(&ROUGH, Some((at, before))).await;
            if !cut.died {
                break;
            }
            assert_eq!(ends(&cut.log), expected, "cut {at} {before}: {:?}", cut.log);
            assert_eq!((cut.ledger.len(), &cut.outbox), (0, &whole.outbox));
        }
    }
}

#[tokio::test]
async fn every_beginning_of_a_log_says_what_comes_next() {
    for way in [&SMOOTH, &ROUGH] {
        let log = go(way, None).await.log;
        let limits = Limits::default();
        for cut in 0..log.len() {
            let turn = Turn::of(&log[..cut]).unwrap();
            let now = log[cut].at;
            let action = turn.next(&limits, now);
            let fits = match &log[cut].step {
                Step::Started { .. } => action == Action::Start,
                // The context is looked at before the model is asked, and a failure follows being asked.
                Step::ModelAsked { .. } | Step::Recomposed { .. } => {
                    matches!(action, Action::Ask { .. })
                }
                Step::ModelSaid { .. } | Step::ModelFailed { .. } => {
                    matches!(action, Action::Ask { .. })
                }
                Step::ApprovalAsked { .. } | Step::CallBegun { .. } => {
                    matches!(action, Action::Calls(_))
                }
                Step::CallEnded { .. } => matches!(action, Action::Calls(_)),
                Step::ApprovalDecided { .. } => {
                    matches!(action, Action::Wait { .. } | Action::Expire(_))
                }
                Step::Finished { outcome } => action == Action::Finish(outcome.clone()),
                other => panic!("{other:?} is not on this way"),
            };
            assert!(fits, "before entry {cut} ({:?}) it would {action:?}", log[cut].step);
        }
        assert_eq!(Turn::of(&log).unwrap().next(&limits, log[0].at), Action::Done);
        // No entry can be repeated or left out.
        for at in 0..log.len() {
            let mut twice = log.clone();
            twice.insert(at, log[at].clone());
            let may_repeat = matches!(
                log[at].step,
                Step::ModelAsked { .. }
                    | Step::ModelFailed { .. }
                    | Step::CallBegun { .. }
                    | Step::Recomposed { .. }
            );
            assert_eq!(Turn::of(&twice).is_ok(), may_repeat, "{:?} twice", log[at].step);
        }
        assert!(Turn::of(&log[1..]).is_err());
        assert_eq!(words(&log).last(), Some(&"finished"));
    }
}
