//! What the runtime promises about events.

use crate::desk::{Change, Desk, Memory, Script, at, soon};
use frontdesk_agents::{
    Admission, Agent, Context, EventId, HandlerError, InstanceId, Mail, Runtime, Verdict,
    agent::Envelope,
    runtime::{BoxedAgent, Registry},
    schedule::When,
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::{
    sync::{
        Arc, Barrier, Mutex,
        atomic::{AtomicBool, AtomicU32, Ordering},
        mpsc,
    },
    time::Duration,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_of_an_instance_are_handled_in_order_and_once() {
    let mut desk = Desk::new();
    let support = desk.agent("support", Script::remembers()).await;
    desk.start().await;
    let mut conversations = Vec::new();
    for n in 0..60 {
        let from = format!("p{}@a.test", n % 3);
        conversations.push(desk.deliver(desk.mail(support, &from, &n.to_string())).await.1);
    }
    desk.quiet().await;
    for (person, conversation) in conversations.iter().take(3).enumerate() {
        let memory = desk.memory_of(*conversation).await;
        let expected: Vec<_> = (0..20).map(|i| (i * 3 + person).to_string()).collect();
        assert_eq!(memory.seen, expected);
        assert_eq!(memory.n, 20);
    }
}

#[tokio::test]
async fn instances_are_handled_in_parallel() {
    // Two handlers meet; one after the other they never would.
    let meet = Arc::new(Barrier::new(2));
    let script = Script::on_email(move |cx, _| {
        meet.wait();
        cx.state.n += 1;
        Ok(())
    });
    let mut desk = Desk::new();
    let support = desk.agent("support", script).await;
    desk.start().await;
    let (_, one, _) = desk.deliver(desk.mail(support, "ann@a.test", "1")).await;
    desk.deliver(desk.mail(support, "bob@b.test", "2")).await;
    desk.quiet().await;
    assert_eq!(desk.memory_of(one).await.n, 1);
}

#[tokio::test]
async fn a_backlog_larger_than_memory_keeps_for_one_instance_is_handled_in_order() {
    let mut desk = Desk::new();
    let support = desk.agent("support", Script::remembers()).await;
    // More than one chunk of the table, with gaps between ids, most of them of one instance.
    let mut last = None;
    for n in 0..1_300 {
        let from = if n % 5 == 0 { format!("p{n}@b.test") } else { "ann@a.test".to_owned() };
        let delivered = desk.deliver(desk.mail(support, &from, &n.to_string())).await;
        if n % 5 != 0 {
            last = Some(delivered.1);
        }
    }
    desk.database().execute("DELETE FROM events WHERE id % 7 = 0", ()).unwrap();
    let mut desk = reopened(desk).await;
    desk.start().await;
    let (_, fresh, _) = desk.deliver(desk.mail(support, "late@c.test", "late")).await;
    desk.quiet().await;
    let expected: Vec<_> =
        (0..1_300).filter(|n| n % 5 != 0 && (n + 1) % 7 != 0).map(|n| n.to_string()).collect();
    assert_eq!(desk.memory_of(last.unwrap()).await.seen, expected);
    assert_eq!(desk.memory_of(fresh).await.n, 1);
    assert_eq!(desk.count("SELECT count(*) FROM events"), 0);
}

async fn reopened(desk: Desk) -> Desk {
    let mut desk = desk.crash().await;
    desk.agent("support", Script::remembers()).await;
    desk
}

/// More than a subscriber of wakes may lag behind.
const MANY: usize = 20_000;

#[tokio::test]
async fn wakes_that_were_lost_are_found_in_the_table() {
    let (enter, entered) = mpsc::channel();
    let (leave, left) = mpsc::channel::<()>();
    let left = Mutex::new(left);
    let script = Script {
        email: Some(Box::new(move |cx, mail| {
            cx.state.n += 1;
            if mail.text == "flood" {
                enter.send(())?;
                // Told first, and then drowned by what else this commit tells of.
                cx.tell("support", "shared", json!("hello"));
                (0..MANY).for_each(|_| cx.cancel_schedule("none"));
                left.lock().unwrap().recv()?;
            }
            Ok(())
        })),
        message: Some(Box::new(|cx, _| {
            cx.state.n += 1;
            Ok(())
        })),
        ..Script::default()
    };
    let mut desk = Desk::new();
    let support = desk.agent("support", script).await;
    desk.start().await;
    let wakes = desk.store.wakes();
    desk.deliver(desk.mail(support, "ann@a.test", "flood")).await;
    tokio::task::spawn_blocking(move || entered.recv().unwrap()).await.unwrap();
    // From here on this thread, and with it the dispatcher, stands still until the flood is over.
    leave.send(()).unwrap();
    while wakes.len() < MANY {
        std::thread::yield_now();
    }
    let (_, after, _) = desk.deliver(desk.mail(support, "bob@b.test", "after")).await;
    desk.quiet().await;
    assert_eq!(desk.memory_of(after).await.n, 1);
    let told = desk.count("SELECT id FROM instances WHERE key = 'shared'");
    assert_eq!(desk.memory(InstanceId(told)).await.n, 1);
}

#[tokio::test]
async fn a_stale_snapshot_runs_the_handler_again_and_commits_once() {
    let (enter, entered) = mpsc::channel();
    let (leave, left) = mpsc::channel::<()>();
    let left = Mutex::new(left);
    let runs = Arc::new(AtomicU32::new(0));
    let counted = runs.clone();
    let script = Script::on_email(move |cx, _| {
        if counted.fetch_add(1, Ordering::SeqCst) == 0 {
            enter.send(()).unwrap();
            left.lock().unwrap().recv()?;
        }
        cx.state.n += 1;
        cx.reply("Once.");
        Ok(())
    });
    let mut desk = Desk::new();
    let support = desk.agent("support", script).await;
    desk.start().await;
    let (_, conversation, _) = desk.deliver(desk.mail(support, "ann@a.test", "hi")).await;
    tokio::task::spawn_blocking(move || entered.recv().unwrap()).await.unwrap();
    // Something else changes the instance meanwhile.
    desk.database()
        .execute(
            r#"UPDATE instances SET version = version + 1, state_version = 1,
               state = '{"n":40,"seen":[]}'"#,
            (),
        )
        .unwrap();
    leave.send(()).unwrap();
    desk.quiet().await;
    assert_eq!(runs.load(Ordering::SeqCst), 2);
    assert_eq!(desk.memory_of(conversation).await.n, 41, "on top of the newer state");
    assert_eq!(desk.send_all().await.len(), 1, "one answer");
}

#[tokio::test]
async fn a_failing_event_is_retried_then_dead_and_holds_back_only_its_own_instance() {
    let broken = Arc::new(AtomicBool::new(true));
    let is_broken = broken.clone();
    let script = Script::on_email(move |cx, mail| {
        if mail.text == "bad" && is_broken.load(Ordering::SeqCst) {
            cx.reply("half of an intent");
            return Err("a bug".into());
        }
        cx.state.n += 1;
        cx.state.seen.push(mail.text.clone());
        Ok(())
    });
    let mut desk = Desk::new();
    let support = desk.agent("support", script).await;
    desk.start().await;
    let (_, bad, _) = desk.deliver(desk.mail(support, "ann@a.test", "bad")).await;
    let (_, behind, _) = desk.deliver(desk.mail(support, "ann@a.test", "behind")).await;
    let (_, other, _) = desk.deliver(desk.mail(support, "bob@b.test", "other")).await;
    soon("the others are handled", async || desk.memory_of(other).await.n == 1).await;
    // Jitter may be anything up to 10 and then 20 seconds.
    for _ in 0..2 {
        desk.advance(60);
        desk.quiet().await;
    }
    let letters = desk.store.dead_letters(10).await.unwrap();
    assert_eq!(letters.len(), 1, "{letters:?}");
    assert_eq!((letters[0].attempts, letters[0].error.as_str()), (3, "a bug"));
    assert_eq!(desk.memory_of(behind).await.seen, ["behind"], "what waited behind it goes on");
    assert!(desk.send_all().await.is_empty(), "no half of an intent took effect");
    let (summary, _) = desk.store.conversation(bad).await.unwrap();
    assert_eq!(summary.queue, "needs_review");
    assert!(summary.review_why.contains("a bug"), "{}", summary.review_why);

    broken.store(false, Ordering::SeqCst);
    desk.store.retry_dead_letter(letters[0].event, "eve".into()).await.unwrap();
    desk.quiet().await;
    assert_eq!(desk.memory_of(bad).await.seen, ["behind", "bad"]);
    assert!(desk.store.dead_letters(10).await.unwrap().is_empty());
    assert!(desk.store.retry_dead_letter(letters[0].event, "eve".into()).await.is_err());
    assert_eq!(desk.count("SELECT count(*) FROM audit WHERE action = 'event.retry'"), 1);
}

#[tokio::test]
async fn a_panic_in_a_handler_is_a_failed_attempt() {
    let runs = AtomicU32::new(0);
    let script = Script::on_email(move |cx, _| {
        assert!(runs.fetch_add(1, Ordering::SeqCst) > 0, "the first time it breaks");
        cx.state.n += 1;
        Ok(())
    });
    let mut desk = Desk::new();
    let support = desk.agent("support", script).await;
    desk.start().await;
    let (_, conversation, _) = desk.deliver(desk.mail(support, "ann@a.test", "hi")).await;
    desk.quiet().await;
    desk.advance(60);
    desk.quiet().await;
    assert_eq!(desk.memory_of(conversation).await.n, 1);
}

#[tokio::test]
async fn an_effect_outside_of_the_instance_undoes_the_whole_run() {
    let script = Script::on_email(|cx, mail| {
        cx.state.n += 1;
        cx.reply("thanks");
        cx.tell("nobody", "shared", json!(mail.text));
        Ok(())
    });
    let mut desk = Desk::new();
    let support = desk.agent("support", script).await;
    desk.start().await;
    let (_, conversation, _) = desk.deliver(desk.mail(support, "ann@a.test", "hi")).await;
    for _ in 0..3 {
        desk.quiet().await;
        desk.advance(60);
    }
    let letters = desk.store.dead_letters(10).await.unwrap();
    assert!(letters[0].error.contains("no running agent named \"nobody\""), "{letters:?}");
    assert_eq!(desk.memory_of(conversation).await, Memory::default());
    assert!(desk.send_all().await.is_empty());
}

#[tokio::test]
async fn a_restart_goes_on_where_it_stopped() {
    let mut desk = Desk::new();
    let support = desk.agent("support", Script::remembers()).await;
    let (_, conversation, _) = desk.deliver(desk.mail(support, "ann@a.test", "1")).await;
    // Never handled: no runtime ran. Then one that dies without being stopped, twice.
    for n in 2..4 {
        desk = reopened(desk).await;
        desk.start().await;
        desk.quiet().await;
        desk.deliver(desk.mail(support, "ann@a.test", &n.to_string())).await;
    }
    desk = reopened(desk).await;
    desk.start().await;
    desk.quiet().await;
    assert_eq!(desk.memory_of(conversation).await.seen, ["1", "2", "3"]);
    desk.stop().await;
    desk.deliver(desk.mail(support, "ann@a.test", "4")).await;
    desk.start().await;
    desk.quiet().await;
    assert_eq!(desk.memory_of(conversation).await.n, 4, "after a graceful stop as well");
}

#[tokio::test]
async fn stopping_after_the_store_is_closed_hangs_nobody() {
    let mut desk = Desk::new();
    let support = desk
        .agent(
            "support",
            Script::on_email(|cx, _| {
                cx.schedule("soon", When::every(jiff::SignedDuration::from_secs(5)), json!(null));
                Ok(())
            }),
        )
        .await;
    desk.start().await;
    desk.deliver(desk.mail(support, "ann@a.test", "hi")).await;
    desk.quiet().await;
    desk.store.close().await;
    desk.advance(10);
    let refused = desk.store.accept(desk.mail(support, "ann@a.test", "hi")).await;
    assert!(matches!(refused, Err(frontdesk_agents::StoreError::Closed)));
    tokio::time::timeout(Duration::from_secs(20), desk.stop()).await.expect("it stops");
}

#[tokio::test]
async fn agents_talk_to_each_other_and_a_loop_ends_by_itself() {
    let mut desk = Desk::new();
    let asker = Script {
        email: Some(Box::new(|cx, mail| {
            cx.tell("expert", "tag:law", json!({ "question": mail.text }));
            Ok(())
        })),
        message: Some(Box::new(|cx, message| {
            cx.state.n += 1;
            cx.answer(message, json!("and again"));
            Ok(())
        })),
        ..Script::default()
    };
    let expert = Script {
        message: Some(Box::new(|cx, message| {
            cx.state.seen.push(format!("{} via {}", message.body, message.from_agent));
            cx.answer(message, json!("an answer"));
            Ok(())
        })),
        ..Script::default()
    };
    let support = desk.agent("support", asker).await;
    desk.agent("expert", expert).await;
    desk.start().await;
    let (_, conversation, _) = desk.deliver(desk.mail(support, "ann@a.test", "why?")).await;
    desk.quiet().await;
    // Sixteen hops in all: eight questions and eight answers.
    assert_eq!(desk.memory_of(conversation).await.n, 8);
    let theirs = desk.count("SELECT id FROM instances WHERE key = 'tag:law'");
    let seen = desk.memory(InstanceId(theirs)).await.seen;
    assert_eq!(seen.len(), 8);
    assert_eq!(seen[0], r#"{"question":"why?"} via support"#);
}

#[tokio::test]
async fn a_correspondents_memory_cannot_be_named_by_another_agent() {
    let mut desk = Desk::new();
    let script = Script::on_email(|cx, mail| {
        cx.tell("support", mail.text.clone(), json!(null));
        Ok(())
    });
    let support = desk.agent("support", script).await;
    desk.start().await;
    desk.deliver(desk.mail(support, "ann@a.test", "contact:1")).await;
    for _ in 0..3 {
        desk.quiet().await;
        desk.advance(60);
    }
    let letters = desk.store.dead_letters(10).await.unwrap();
    assert!(letters[0].error.contains("cannot be told by key"), "{letters:?}");
}

#[tokio::test]
async fn schedules_fire_on_time_and_survive_a_restart() {
    fn planner() -> Script {
        Script {
            email: Some(Box::new(|cx, mail| {
                match mail.text.as_str() {
                    "plan" => {
                        let in_ten = When::after_delay(jiff::SignedDuration::from_secs(600));
                        cx.schedule("delay", in_ten, json!({ "why": "delay" }));
                        cx.schedule("date", When::At { at: at("2026-03-02T10:00:00Z") }, json!(1));
                        cx.schedule("cron", When::cron("0 12 * * *", "Europe/Berlin"), json!(2));
                        cx.schedule(
                            "often",
                            When::every(jiff::SignedDuration::from_hours(1)),
                            json!(3),
                        );
                        // The name is the idempotency key: the second moves the first.
                        cx.schedule("moved", When::At { at: at("2026-03-02T09:01:00Z") }, json!(4));
                        cx.schedule("moved", When::At { at: at("2026-03-02T09:30:00Z") }, json!(5));
                        cx.schedule("never", When::At { at: at("2026-03-02T09:02:00Z") }, json!(6));
                    }
                    _ => {
                        cx.cancel_schedule("never");
                        cx.cancel_schedule("unknown");
                    }
                }
                Ok(())
            })),
            schedule: Some(Box::new(|cx, due| {
                cx.state.seen.push(format!("{} {} at {}", due.name, due.payload, due.due_at));
                Ok(())
            })),
            ..Script::default()
        }
    }
    let mut desk = Desk::new();
    let support = desk.agent("support", planner()).await;
    desk.start().await;
    let (_, conversation, _) = desk.deliver(desk.mail(support, "ann@a.test", "plan")).await;
    desk.quiet().await;
    desk.deliver(desk.mail(support, "ann@a.test", "cancel")).await;
    desk.quiet().await;
    let names: Vec<_> =
        desk.store.schedules(10).await.unwrap().into_iter().map(|s| s.name).collect();
    assert_eq!(names, ["delay", "moved", "date", "often", "cron"]);

    let fired = |n: usize| {
        let desk = &desk;
        async move {
            soon("schedules fire", async || desk.memory_of(conversation).await.seen.len() >= n)
                .await;
        }
    };
    desk.advance(11 * 60);
    fired(1).await;
    desk.advance(20 * 60);
    fired(2).await;
    // Down over three firings of the hourly one; it fires once for them and keeps its phase.
    desk.stop().await;
    let mut desk = desk.crash().await;
    desk.agent("support", planner()).await;
    desk.advance(3 * 3600);
    desk.start().await;
    soon("the rest fires", async || desk.memory_of(conversation).await.seen.len() >= 5).await;
    desk.advance(1_800);
    soon("the hourly one goes on", async || desk.memory_of(conversation).await.seen.len() >= 6)
        .await;
    assert_eq!(
        desk.memory_of(conversation).await.seen,
        [
            r#"delay {"why":"delay"} at 2026-03-02T09:10:00Z"#,
            "moved 5 at 2026-03-02T09:30:00Z",
            "date 1 at 2026-03-02T10:00:00Z",
            "often 3 at 2026-03-02T10:00:00Z",
            "cron 2 at 2026-03-02T11:00:00Z",
            "often 3 at 2026-03-02T13:00:00Z",
        ]
    );
    let left = desk.store.schedules(10).await.unwrap();
    let next: Vec<_> = left.iter().map(|s| (s.name.as_str(), s.next_at)).collect();
    assert_eq!(next, [("often", at("2026-03-02T14:00:00Z")), ("cron", at("2026-03-03T11:00:00Z"))]);
}

#[tokio::test]
async fn a_mail_put_aside_leaves_every_history_but_stays_visible() {
    let saw = Arc::new(Mutex::new(Vec::new()));
    let log = saw.clone();
    let script = Script::on_email(move |cx, mail| {
        log.lock().unwrap().push(cx.history(10).len());
        if mail.text == "spam" {
            cx.set_aside("it sells something");
            cx.note("ignored");
        }
        Ok(())
    });
    let mut desk = Desk::new();
    let support = desk.agent("support", script).await;
    desk.start().await;
    let (_, conversation, _) = desk.deliver(desk.mail(support, "ann@a.test", "spam")).await;
    desk.quiet().await;
    desk.deliver(desk.mail(support, "ann@a.test", "sorry")).await;
    desk.quiet().await;
    assert_eq!(*saw.lock().unwrap(), [1, 2], "the note and the second mail, not the first");
    let timeline = desk.timeline(conversation).await;
    assert_eq!(timeline[0].status, "set_aside");
    assert_eq!(timeline[0].status_why, "it sells something");
    assert_eq!(timeline[1].role, "note");
}

/// The same agent in three shapes.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Second {
    total: u64,
}

struct Upgraded;

impl Agent for Upgraded {
    type State = Second;
    const STATE_VERSION: u32 = 2;

    fn migrate(from: u32, stored: serde_json::Value) -> Result<Second, HandlerError> {
        assert_eq!(from, 1);
        Ok(Second { total: stored["n"].as_u64().ok_or("no n")? })
    }

    fn on_email(&self, cx: &mut Context<'_, Second>, _: &Mail) -> Result<(), HandlerError> {
        cx.state.total += 1;
        Ok(())
    }
}

struct Careless;

impl Agent for Careless {
    type State = Second;
    const STATE_VERSION: u32 = 3;
}

#[tokio::test]
async fn state_is_typed_versioned_and_migrated_never_overwritten() {
    let mut desk = Desk::new();
    let support = desk.agent("support", Script::remembers()).await;
    desk.start().await;
    let (_, conversation, _) = desk.deliver(desk.mail(support, "ann@a.test", "1")).await;
    desk.quiet().await;
    let (instance, _) = desk.instance_of(conversation).await;

    let mut desk = desk.crash().await;
    desk.agent_with("support", Upgraded, |_| ()).await;
    desk.start().await;
    desk.deliver(desk.mail(support, "ann@a.test", "2")).await;
    desk.quiet().await;
    assert_eq!(desk.store.instance_state(instance).await.unwrap(), json!({ "total": 2 }));

    let mut desk = desk.crash().await;
    desk.agent_with("support", Careless, |_| ()).await;
    desk.start().await;
    desk.deliver(desk.mail(support, "ann@a.test", "3")).await;
    for _ in 0..3 {
        desk.quiet().await;
        desk.advance(60);
    }
    let letters = desk.store.dead_letters(10).await.unwrap();
    assert!(letters[0].error.contains("implement Agent::migrate"), "{letters:?}");
    assert_eq!(desk.store.instance_state(instance).await.unwrap(), json!({ "total": 2 }));
}

#[tokio::test]
async fn screening_refuses_with_the_agents_reason_and_only_where_asked_for() {
    let mut desk = Desk::new();
    let picky = Script { refuses: Some("we moved".into()), ..Script::default() };
    let a = desk.agent("picky", Script::default()).await;
    let b = desk.agent("plain", Script::default()).await;
    let mut registry = Registry::default();
    registry.add(a, "picky", BoxedAgent::new(picky));
    registry.add(b, "plain", BoxedAgent::new(Script::default()));
    registry.add(frontdesk_agents::AgentId(77), "broken", BoxedAgent::new(Breaks));
    let envelope = Envelope {
        reverse_path: "ann@a.test",
        recipient: "picky@example.com",
        verdict: Some(Verdict::Verified),
        from: None,
    };
    assert_eq!(registry.accept(a, &envelope).await, Admission::Refuse("we moved".into()));
    assert_eq!(registry.accept(b, &envelope).await, Admission::Accept);
    let broken = registry.accept(frontdesk_agents::AgentId(77), &envelope).await;
    assert_eq!(broken, Admission::Accept, "a broken screen refuses nobody's mail");
    let unknown = registry.accept(frontdesk_agents::AgentId(78), &envelope).await;
    assert_eq!(unknown, Admission::Accept);
}

struct Breaks;

impl Agent for Breaks {
    type State = ();
    fn screens(&self) -> bool {
        true
    }
    fn accept(&self, _: &Envelope<'_>) -> Admission {
        panic!("a bug in accept")
    }
}

#[tokio::test]
async fn an_agent_that_is_no_longer_configured_leaves_its_mail_among_the_dead_letters() {
    let mut desk = Desk::new();
    let support = desk.agent("support", Script::remembers()).await;
    desk.deliver(desk.mail(support, "ann@a.test", "hi")).await;
    let mut desk = desk.crash().await;
    let runtime = Runtime::start(desk.store.clone(), Registry::default(), crate::desk::config())
        .await
        .unwrap();
    for _ in 0..6 {
        desk.quiet().await;
        desk.advance(60);
    }
    let letters = desk.store.dead_letters(10).await.unwrap();
    assert!(letters[0].error.contains("no longer configured"), "{letters:?}");
    runtime.stop().await;
    // Configured again, a person can have it handled after all.
    desk.agent("support", Script::remembers()).await;
    desk.start().await;
    desk.store.retry_dead_letter(letters[0].event, "eve".into()).await.unwrap();
    desk.quiet().await;
    assert_eq!(desk.store.pending_events(EventId(0), 10).unwrap(), []);
}

#[tokio::test]
async fn the_receptionist_answers_the_verified_and_files_the_rest() {
    let mut desk = Desk::new();
    let receptionist = frontdesk_agents::builtin::Receptionist::default();
    let hello = desk.agent_with("hello", receptionist, |_| ()).await;
    desk.start().await;
    let (_, verified, _) = desk.deliver(desk.mail(hello, "ann@a.test", "hi")).await;
    let (_, local, _) =
        desk.deliver(desk.mail(hello, "me@localhost", "hi").verdict(Verdict::Local)).await;
    let unproven = desk.mail(hello, "bob@b.test", "hi").verdict(Verdict::Unverified);
    let (_, unproven, _) = desk.deliver(unproven).await;
    let robot = desk
        .mail(hello, "robot@c.test", "I am away")
        .with(|arrival| arrival.automatic = Some("Auto-Submitted: auto-replied".into()));
    desk.deliver(robot).await;
    desk.quiet().await;
    let mut to: Vec<_> = desk.send_all().await.into_iter().map(|c| c.recipient).collect();
    to.sort();
    assert_eq!(to, ["ann@a.test", "me@localhost"]);
    for (conversation, queue) in
        [(verified, "needs_review"), (local, "needs_review"), (unproven, "needs_review")]
    {
        assert_eq!(desk.store.conversation(conversation).await.unwrap().0.queue, queue);
    }
    desk.store.mark_reviewed(verified, "eve".into()).await.unwrap();
    assert_eq!(desk.store.conversation(verified).await.unwrap().0.queue, "open");
    assert!(desk.store.mark_reviewed(unproven, "eve".into()).await.is_err(), "it waits");
}
