//! Work that outlives a handler.

use crate::desk::{Desk, Script, config, soon};
use frontdesk_agents::{
    HandlerError, RuntimeConfig, TaskContext,
    agent::{TaskEnd, TaskReport},
    retry::RetryPolicy,
    runtime::tasks::CallEffect,
    store::{TaskRow, TaskState},
};
use jiff::SignedDuration;
use serde_json::{Value, json};
use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};
use tokio::sync::Notify;

/// An agent that starts one task per mail, named like its text, and remembers how each ended.
fn starter(
    deadline: Option<SignedDuration>,
    run: impl for<'a> Fn(
        &'a frontdesk_agents::Task,
        &'a TaskContext,
    ) -> frontdesk_agents::agent::TaskFuture<'a>
    + Send
    + Sync
    + 'static,
) -> Script {
    Script {
        email: Some(Box::new(move |cx, mail| {
            match mail.text.strip_prefix("cancel ") {
                Some(key) => cx.cancel_task(key),
                None => cx.start_task("work", &mail.text, json!({ "n": 1 }), deadline),
            }
            Ok(())
        })),
        task: Some(Box::new(|cx, report: &TaskReport| {
            cx.state.seen.push(match &report.end {
                TaskEnd::Done { result } => format!("done {result}"),
                TaskEnd::Failed { error } => format!("failed {error}"),
                TaskEnd::Cancelled => "cancelled".into(),
                TaskEnd::Uncertain { call } => format!("uncertain {call}"),
            });
            Ok(())
        })),
        run: Some(Box::new(run)),
        ..Script::default()
    }
}

async fn told(desk: &Desk, from: &str, text: &str) -> frontdesk_agents::ConversationId {
    let agent = *desk.rules.agents.keys().next().unwrap();
    let (_, conversation, _) = desk.deliver(desk.mail(agent, from, text)).await;
    desk.quiet().await;
    conversation
}

async fn ended(desk: &Desk, conversation: frontdesk_agents::ConversationId, how: &[&str]) {
    soon("the task ends", async || desk.memory_of(conversation).await.seen.len() >= how.len())
        .await;
    assert_eq!(desk.memory_of(conversation).await.seen, how);
}

async fn only_task(desk: &Desk) -> TaskRow {
    let mut tasks = desk.store.tasks(None, 10).await.unwrap();
    assert_eq!(tasks.len(), 1, "{tasks:?}");
    tasks.remove(0)
}

#[tokio::test]
async fn a_task_runs_once_per_key_and_reports_back() {
    let runs = Arc::new(AtomicU32::new(0));
    let counted = runs.clone();
    let mut desk = Desk::new();
    let script = starter(None, move |task, _| {
        counted.fetch_add(1, Ordering::SeqCst);
        Box::pin(async move { Ok(json!({ "of": task.payload })) })
    });
    desk.agent("support", script).await;
    desk.start().await;
    let conversation = told(&desk, "ann@a.test", "once").await;
    ended(&desk, conversation, &[r#"done {"of":{"n":1}}"#]).await;
    told(&desk, "ann@a.test", "once").await;
    let row = only_task(&desk).await;
    assert_eq!((row.state, row.attempts, row.key.as_str()), (TaskState::Done, 1, "once"));
    assert_eq!(desk.store.task(row.id).await.unwrap(), row);
    assert_eq!(runs.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_crashed_task_goes_on_from_its_checkpoint() {
    let reached = Arc::new(Notify::new());
    let mut desk = Desk::new();
    let tell = reached.clone();
    let hangs = starter(None, move |_, cx| {
        let tell = tell.clone();
        Box::pin(async move {
            cx.checkpoint(json!({ "page": 7 })).await?;
            tell.notify_one();
            std::future::pending().await
        })
    });
    desk.agent("support", hangs).await;
    desk.start().await;
    let conversation = told(&desk, "ann@a.test", "read").await;
    reached.notified().await;
    let mut desk = desk.crash().await;
    let goes_on = starter(None, |task, _| {
        Box::pin(async move { Ok(json!([task.checkpoint, task.attempt])) })
    });
    desk.agent("support", goes_on).await;
    desk.start().await;
    ended(&desk, conversation, &[r#"done [{"page":7},2]"#]).await;
}

#[tokio::test]
async fn a_running_task_is_cancelled_and_stays_so_across_a_restart() {
    let started = Arc::new(Notify::new());
    let tell = started.clone();
    let mut desk = Desk::new();
    let script = starter(None, move |_, _| {
        tell.notify_one();
        Box::pin(std::future::pending())
    });
    desk.agent("support", script).await;
    desk.start().await;
    let conversation = told(&desk, "ann@a.test", "long").await;
    started.notified().await;
    told(&desk, "ann@a.test", "cancel long").await;
    ended(&desk, conversation, &["cancelled"]).await;

    // Cancelled while nothing runs, after a crash in the middle: it never starts again.
    told(&desk, "ann@a.test", "second").await;
    started.notified().await;
    desk.database().execute("UPDATE turns SET cancelled = 1 WHERE state = 'running'", ()).unwrap();
    let mut desk = desk.crash().await;
    desk.agent("support", starter(None, |_, _| panic!("it must not start"))).await;
    desk.start().await;
    ended(&desk, conversation, &["cancelled", "cancelled"]).await;
}

#[tokio::test]
async fn a_task_fails_at_its_deadline() {
    let mut desk = Desk::new();
    let hour = SignedDuration::from_hours(1);
    desk.agent("support", starter(Some(hour), |_, _| Box::pin(std::future::pending()))).await;
    desk.start().await;
    let conversation = told(&desk, "ann@a.test", "slow").await;
    soon("it runs", async || only_task(&desk).await.state == TaskState::Running).await;
    desk.advance(3_601);
    ended(&desk, conversation, &["failed its deadline passed"]).await;
}

#[tokio::test]
async fn a_failing_task_is_retried_and_then_fails() {
    let mut desk = Desk::new();
    let script = starter(None, |task, _| {
        let attempt = task.attempt;
        Box::pin(async move {
            match attempt {
                1 => Err("the service is down".into()),
                2 => panic!("a bug"),
                _ => Err(HandlerError::from("still down")),
            }
        })
    });
    desk.agent("support", script).await;
    let retries = RetryPolicy { attempts: 3, ..RetryPolicy::TASK };
    desk.start_with(RuntimeConfig { task_retries: retries, ..config() }).await;
    let conversation = told(&desk, "ann@a.test", "fetch").await;
    for attempt in 1..3 {
        soon("an attempt ends", async || {
            let task = only_task(&desk).await;
            task.attempts == attempt && task.state == TaskState::Ready
        })
        .await;
        desk.advance(20);
    }
    ended(&desk, conversation, &["failed still down"]).await;
    assert_eq!(only_task(&desk).await.attempts, 3);
}

/// A service that counts what reaches it, and the server dying while a call is under way.
async fn crash_in_a_call(effect: CallEffect) -> (Vec<String>, Desk, Vec<String>) {
    let calls = Arc::new(Mutex::new(Vec::new()));
    let reached = Arc::new(Notify::new());
    let make = |hang: bool| {
        let (calls, reached) = (calls.clone(), reached.clone());
        starter(None, move |_, cx| {
            let (calls, reached) = (calls.clone(), reached.clone());
            Box::pin(async move {
                let first = cx
                    .call("look up", CallEffect::Read, async |key| {
                        calls.lock().unwrap().push(key);
                        Ok(json!("found"))
                    })
                    .await?;
                let second = cx
                    .call("act", effect, async |key| {
                        calls.lock().unwrap().push(key);
                        if hang {
                            reached.notify_one();
                            std::future::pending::<()>().await;
                        }
                        Ok(json!("acted"))
                    })
                    .await?;
                Ok(json!([first, second]))
            })
        })
    };
    let mut desk = Desk::new();
    desk.agent("support", make(true)).await;
    desk.start().await;
    let conversation = told(&desk, "ann@a.test", "buy").await;
    reached.notified().await;
    let mut desk = desk.crash().await;
    desk.agent("support", make(false)).await;
    desk.start().await;
    soon("the task ends", async || !desk.memory_of(conversation).await.seen.is_empty()).await;
    let seen = desk.memory_of(conversation).await.seen;
    let calls = calls.lock().unwrap().clone();
    (calls, desk, seen)
}

#[tokio::test]
async fn a_call_without_a_result_is_made_again_if_it_reads_or_can_be_repeated() {
    for effect in [CallEffect::Read, CallEffect::Reversible] {
        let (calls, desk, seen) = crash_in_a_call(effect).await;
        let id = only_task(&desk).await.id;
        // The settled call is not repeated; the other is, under the same key.
        let [first, act] = [format!("{id}.look up"), format!("{id}.act")];
        assert_eq!(calls, [first, act.clone(), act]);
        assert_eq!(seen, [r#"done ["found","acted"]"#]);
    }
}

#[tokio::test]
async fn a_final_call_without_a_result_is_uncertain_and_shown_to_a_person() {
    let (calls, desk, seen) = crash_in_a_call(CallEffect::Final).await;
    assert_eq!(calls.len(), 2, "never made twice: {calls:?}");
    assert_eq!(seen, ["uncertain act"]);
    assert_eq!(only_task(&desk).await.state, TaskState::Uncertain);
    let page = desk.store.conversations(Some("needs_review".into()), None, 10, None).await.unwrap();
    assert!(page.items[0].review_why.contains("nobody knows"), "{}", page.items[0].review_why);
}

#[tokio::test]
async fn a_final_call_that_failed_or_was_cut_off_is_uncertain_too() {
    let reached = Arc::new(Notify::new());
    let tell = reached.clone();
    let mut desk = Desk::new();
    let script = starter(Some(SignedDuration::from_hours(1)), move |_, cx| {
        let tell = tell.clone();
        Box::pin(async move {
            cx.call("pay", CallEffect::Final, async |_| {
                tell.notify_one();
                std::future::pending::<Result<Value, HandlerError>>().await
            })
            .await
        })
    });
    desk.agent("support", script).await;
    desk.start().await;
    let conversation = told(&desk, "ann@a.test", "one").await;
    reached.notified().await;
    told(&desk, "ann@a.test", "cancel one").await;
    ended(&desk, conversation, &["uncertain pay"]).await;
    told(&desk, "ann@a.test", "two").await;
    reached.notified().await;
    desk.advance(3_601);
    ended(&desk, conversation, &["uncertain pay", "uncertain pay"]).await;
    desk.stop().await;

    let mut desk = Desk::new();
    let fails = starter(None, |_, cx| {
        Box::pin(cx.call("pay", CallEffect::Final, async |_| Err("the line went dead".into())))
    });
    desk.agent("support", fails).await;
    let once = RetryPolicy { attempts: 1, ..RetryPolicy::TASK };
    desk.start_with(RuntimeConfig { task_retries: once, ..config() }).await;
    let conversation = told(&desk, "ann@a.test", "three").await;
    ended(&desk, conversation, &["uncertain pay"]).await;
}

#[tokio::test]
async fn no_more_tasks_run_at_once_than_configured() {
    let (now, most) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    let (running, peak) = (now.clone(), most.clone());
    let script = starter(None, move |_, _| {
        let (running, peak) = (running.clone(), peak.clone());
        Box::pin(async move {
            peak.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            for _ in 0..20 {
                tokio::task::yield_now().await;
            }
            running.fetch_sub(1, Ordering::SeqCst);
            Ok(Value::Null)
        })
    });
    let mut desk = Desk::new();
    desk.agent("support", script).await;
    desk.start_with(RuntimeConfig { tasks: 2.try_into().unwrap(), ..config() }).await;
    let mut conversation = None;
    for n in 0..9 {
        conversation = Some(told(&desk, "ann@a.test", &format!("t{n}")).await);
    }
    let conversation = conversation.unwrap();
    soon("all end", async || desk.memory_of(conversation).await.seen.len() == 9).await;
    assert!(most.load(Ordering::SeqCst) <= 2);
    tokio::time::timeout(Duration::from_secs(20), desk.stop()).await.expect("it stops");
}
