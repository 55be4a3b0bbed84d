//! Live handlers: what they say, what they want, and what becomes of both.

use crate::{
    calls::{caller_says, contact, hang_up, open, visitor},
    desk::{Desk, Memory, Script, at, soon},
};
use frontdesk_agents::{
    Agent, AgentId, Call, CallId, Context, ConversationId, Draft, HandlerError, Reply, ReplyPart,
    Trust, Turn,
    agent::Due,
    live::{CallerCard, Directive, Interrupted, Speaker, Transcript, Via, Wanted},
    runtime::{Live, LiveError},
    schedule::When,
    store::{OpenCall, OpenedCall},
};
use futures_util::FutureExt;
use jiff::SignedDuration;
use serde_json::json;
use std::sync::{
    Arc, Mutex,
    atomic::{AtomicU32, Ordering},
    mpsc,
};

type OnTurn = Box<
    dyn Fn(&mut Context<'_, Memory>, &Turn) -> Result<Reply, HandlerError> + Send + Sync + 'static,
>;

/// An agent that does in calls what a closure says.
struct Talker(OnTurn);

fn talker(
    on_turn: impl Fn(&mut Context<'_, Memory>, &Turn) -> Result<Reply, HandlerError>
    + Send
    + Sync
    + 'static,
) -> Talker {
    Talker(Box::new(on_turn))
}

impl Agent for Talker {
    type State = Memory;

    fn on_turn(&self, cx: &mut Context<'_, Memory>, turn: &Turn) -> Result<Reply, HandlerError> {
        (self.0)(cx, turn)
    }

    fn on_call_start(
        &self,
        cx: &mut Context<'_, Memory>,
        call: &Call,
    ) -> Result<Reply, HandlerError> {
        cx.state.seen.push(format!("call {}", call.id));
        Ok(Reply::text(format!("Hello, {}.", call.caller.label())))
    }

    fn on_interrupt(
        &self,
        cx: &mut Context<'_, Memory>,
        interrupted: &Interrupted,
    ) -> Result<(), HandlerError> {
        cx.state.seen.push(format!("heard {:?} of {:?}", interrupted.said, interrupted.unheard));
        Ok(())
    }

    fn on_transcript(
        &self,
        cx: &mut Context<'_, Memory>,
        transcript: &Transcript,
    ) -> Result<(), HandlerError> {
        cx.state.seen.push(format!("{:?} {}", transcript.text, transcript.is_final));
        Ok(())
    }

    fn on_schedule(&self, cx: &mut Context<'_, Memory>, due: &Due) -> Result<(), HandlerError> {
        cx.speak_all(format!("This is your {}.", due.name));
        Ok(())
    }

    fn after_transcription(&self, text: String) -> Option<String> {
        assert_ne!(text, "panic");
        (text != "um").then(|| text.replace("fronty", "Frontdesk"))
    }

    fn before_synthesis(&self, text: String) -> Option<String> {
        (!text.starts_with('(')).then_some(text)
    }

    fn after_synthesis(&self, sound: &mut Vec<i16>, rate: u32) {
        assert_eq!(rate, 16_000, "the tests speak at this rate");
        sound.iter_mut().for_each(|sample| *sample /= 2);
    }
}

/// A desk with one agent and a visitor's call to it.
struct Line {
    desk: Desk,
    agent: AgentId,
    live: Live,
    opened: OpenedCall,
}

async fn line(agent: Talker) -> Line {
    line_with(agent, |_| ()).await
}

async fn line_with(
    agent: Talker,
    change: impl FnOnce(&mut frontdesk_agents::store::AgentRules),
) -> Line {
    let mut desk = Desk::new();
    let agent = desk.agent_with("support", agent, change).await;
    desk.start().await;
    let live = desk.live();
    let opened = open(&desk, agent, visitor("s")).await;
    Line { desk, agent, live, opened }
}

impl Line {
    fn call(&self) -> CallId {
        self.opened.call.id
    }

    fn conversation(&self) -> ConversationId {
        self.opened.call.conversation
    }

    fn turn(&self, number: u32, text: &str) -> Turn {
        let now = frontdesk_agents::Clock::now(&self.desk.clock);
        Turn::in_call(&self.opened.call, number, text, Via::Speech, now)
    }

    async fn says(&self, number: u32, text: &str) -> Result<String, String> {
        match self.live.turn(self.turn(number, text)).await {
            Ok(reply) => Ok(reply.collect_text().await.unwrap()),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Waits until this many runs were committed with a new state.
    async fn remembers(&self, n: u64) -> Memory {
        soon("it remembers", async || self.desk.memory(self.opened.instance).await.n == n).await;
        self.desk.memory(self.opened.instance).await
    }

    async fn filed(&self, words: &str) {
        soon("it is put before a person", async || {
            let (summary, _) = self.desk.store.conversation(self.conversation()).await.unwrap();
            summary.queue == "needs_review" && summary.review_why.contains(words)
        })
        .await;
    }
}

#[tokio::test]
async fn a_turn_is_answered_and_remembered_in_order() {
    let line = line(talker(|cx, turn| {
        cx.state.n += 1;
        cx.state.seen.push(turn.text.clone());
        let (n, text) = (cx.state.n, turn.text.clone());
        Ok(Reply::stream(futures_util::stream::iter([
            Ok(ReplyPart::Text(format!("{n}: "))),
            Ok(ReplyPart::Text(text)),
        ])))
    }))
    .await;
    let greeting = line.live.start(line.call()).await.unwrap();
    assert_eq!(greeting.as_text(), Some("Hello, caller."));
    for n in 1..=5u32 {
        let reply = line.says(n, "words").await.unwrap();
        assert!(reply.ends_with(": words"), "{reply}");
    }
    let memory = line.remembers(5).await;
    assert_eq!(memory.seen.len(), 6, "{memory:?}");
    let said = Interrupted { said: "One.".into(), unheard: "Two.".into() };
    line.live.interrupt(line.call(), said).await.unwrap();
    let heard = Transcript { text: "by the way".into(), is_final: false };
    line.live.transcript(line.call(), heard).await.unwrap();
    // Both answer after their commit.
    let memory = line.desk.memory(line.opened.instance).await;
    assert_eq!(memory.seen[6..], [r#"heard "One." of "Two.""#, r#""by the way" false"#]);
    // Of an agent that answers, interim and final words are no messages: turns are.
    assert!(line.desk.timeline(line.conversation()).await.is_empty());
}

#[tokio::test]
async fn words_do_not_wait_for_the_commit_and_effects_happen_though_nobody_listens() {
    let line = line(talker(|cx, turn| {
        cx.state.n += 1;
        cx.note(format!("about {}", turn.text));
        Ok("At once.".into())
    }))
    .await;
    // While this transaction is open, nothing can be committed.
    let database = line.desk.database();
    database.execute_batch("BEGIN IMMEDIATE").unwrap();
    assert_eq!(line.says(1, "words").await.unwrap(), "At once.");
    assert_eq!(line.desk.memory(line.opened.instance).await.n, 0);
    database.execute_batch("COMMIT").unwrap();
    line.remembers(1).await;

    // Whoever asked hangs up before there is an answer.
    let turn = line.turn(2, "more");
    assert!(line.live.turn(turn).now_or_never().is_none());
    line.remembers(2).await;
    let texts: Vec<_> =
        line.desk.timeline(line.conversation()).await.into_iter().map(|e| e.text).collect();
    assert_eq!(texts, ["about words", "about more"]);
}

#[tokio::test]
async fn a_stale_run_is_repeated_for_its_effects_and_its_words_are_dropped() {
    let (enter, entered) = mpsc::channel();
    let (leave, left) = mpsc::channel::<()>();
    let left = Mutex::new(left);
    let runs = Arc::new(AtomicU32::new(0));
    let counted = runs.clone();
    let line = line(talker(move |cx, _| {
        let run = counted.fetch_add(1, Ordering::SeqCst);
        if run == 0 {
            enter.send(()).unwrap();
            left.lock().unwrap().recv()?;
        }
        cx.state.n += 1;
        cx.note("once");
        Ok(Reply::text(format!("run {run} with {}", cx.state.n)))
    }))
    .await;
    let (live, turn) = (line.live.clone(), line.turn(1, "words"));
    let reply = tokio::spawn(async move { live.turn(turn).await });
    tokio::task::spawn_blocking(move || entered.recv().unwrap()).await.unwrap();
    // Something else changes the instance meanwhile.
    line.desk
        .database()
        .execute(
            r#"UPDATE instances SET version = version + 1, state_version = 1,
               state = '{"n":40,"seen":[]}'"#,
            (),
        )
        .unwrap();
    leave.send(()).unwrap();
    let reply = reply.await.unwrap().unwrap();
    assert_eq!(reply.as_text(), Some("run 0 with 1"), "the words of the first run");
    line.remembers(41).await;
    assert_eq!(runs.load(Ordering::SeqCst), 2);
    assert_eq!(line.desk.timeline(line.conversation()).await.len(), 1, "one note");
}

#[tokio::test]
async fn a_conversation_that_moved_meanwhile_is_handled_where_it_is_now() {
    let moving: Arc<Mutex<Option<rusqlite::Connection>>> = Arc::default();
    let moves = moving.clone();
    let line = line(talker(move |cx, _| {
        if let Some(database) = moves.lock().unwrap().take() {
            database.execute("UPDATE conversations SET instance_id = 2 WHERE id = 1", ())?;
        }
        cx.state.n += 1;
        cx.note("here");
        Ok(Reply::silent())
    }))
    .await;
    let other = open(&line.desk, line.agent, visitor("other")).await;
    assert_eq!((line.conversation().0, other.instance.0), (1, 2));
    *moving.lock().unwrap() = Some(line.desk.database());
    line.says(1, "words").await.unwrap();
    soon("it is kept", async || line.desk.memory(other.instance).await.n == 1).await;
    assert_eq!(line.desk.memory(line.opened.instance).await.n, 0, "nothing of it is left there");
    assert_eq!(line.desk.timeline(line.conversation()).await.len(), 1);
}

#[tokio::test]
async fn a_run_that_is_stale_every_time_ends_before_a_person() {
    let bump: Arc<Mutex<Option<rusqlite::Connection>>> = Arc::default();
    let bumping = bump.clone();
    let runs = Arc::new(AtomicU32::new(0));
    let counted = runs.clone();
    let line = line(talker(move |cx, _| {
        counted.fetch_add(1, Ordering::SeqCst);
        let database = bumping.lock().unwrap();
        let database = database.as_ref().ok_or("the test gives a connection")?;
        database.execute("UPDATE instances SET version = version + 1", ())?;
        cx.note("never");
        Ok("Said.".into())
    }))
    .await;
    *bump.lock().unwrap() = Some(line.desk.database());
    assert_eq!(line.says(1, "words").await.unwrap(), "Said.");
    line.filed("changed 8 times while it ran").await;
    assert_eq!(runs.load(Ordering::SeqCst), 8);
    assert!(line.desk.timeline(line.conversation()).await.is_empty());
}

#[tokio::test]
async fn a_failure_or_a_panic_is_an_error_and_the_next_turn_is_answered() {
    let line = line(talker(|cx, turn| {
        cx.state.n += 1;
        match turn.text.as_str() {
            "fail" => Err("the catalogue is missing".into()),
            "panic" => panic!("a bug"),
            "wrong" => {
                cx.tell("nobody", "shared", json!(1));
                Ok("Told.".into())
            }
            _ => Ok("Fine.".into()),
        }
    }))
    .await;
    let error = line.says(1, "fail").await.unwrap_err();
    assert_eq!(error, "the agent failed: the catalogue is missing");
    line.filed("the catalogue is missing").await;
    let error = line.says(2, "panic").await.unwrap_err();
    assert_eq!(error, "the agent failed: the handler panicked: a bug");
    line.filed("a bug").await;
    // What is said is said, though what was wanted cannot be.
    assert_eq!(line.says(3, "wrong").await.unwrap(), "Told.");
    line.filed("no running agent named \"nobody\"").await;
    assert_eq!(line.says(4, "words").await.unwrap(), "Fine.");
    line.remembers(1).await;
    let unknown = line.live.start(CallId(99)).await.unwrap_err();
    assert!(matches!(unknown, LiveError::Store(_)), "{unknown}");
}

#[tokio::test]
async fn effects_go_into_the_conversation_of_the_call() {
    let script = talker(|cx, turn| {
        cx.state.n += 1;
        cx.note("a note");
        cx.file_for_review("look at this");
        cx.send(["ann@a.test"], Draft::text("As promised.").subject("Your order"));
        // There is no mail to answer: nothing happens.
        cx.reply("lost");
        let caller = cx.caller().ok_or("nobody called")?;
        assert_eq!((caller.trust, cx.conversation()), (Trust::Proven, Some(turn.conversation)));
        assert_eq!(cx.call().map(|call| call.id), turn.call);
        Ok(Reply::silent())
    });
    let mut desk = Desk::new();
    let support = desk.agent_with("support", script, |_| ()).await;
    let plain = desk.agent("plain", Script::answers("Hello.")).await;
    desk.start().await;
    desk.exchange(plain, "ann@a.test").await;
    let ann = frontdesk_agents::store::Who::Contact(contact(&desk, "ann@a.test").await);
    let opened = open(&desk, support, ann).await;
    let turn = Turn::in_call(&opened.call, 1, "send it", Via::Speech, at(crate::desk::START));
    assert!(desk.live().turn(turn).await.unwrap().is_silent());
    soon("it is committed", async || desk.memory(opened.instance).await.n == 1).await;
    let (summary, timeline) = desk.store.conversation(opened.call.conversation).await.unwrap();
    assert_eq!(summary.review_why, "look at this");
    let texts: Vec<_> = timeline.iter().map(|entry| entry.text.as_str()).collect();
    assert_eq!(texts, ["a note", "As promised."]);
    let sent = desk.send_all().await;
    assert_eq!(sent.len(), 1, "to a member, so it leaves");
    assert_eq!(sent[0].recipient, "ann@a.test");
}

#[tokio::test]
async fn the_words_of_the_turn_are_not_in_its_history_whichever_comes_first() {
    let saw: Arc<Mutex<Vec<Vec<String>>>> = Arc::default();
    let log = saw.clone();
    let line = line(talker(move |cx, _| {
        cx.state.n += 1;
        let texts = cx.history(10).into_iter().map(|said| said.text).collect();
        log.lock().unwrap().push(texts);
        Ok(Reply::silent())
    }))
    .await;
    caller_says(&line.desk, line.call(), 1, "one").await;
    line.says(1, "one").await.unwrap();
    line.says(2, "two").await.unwrap();
    caller_says(&line.desk, line.call(), 2, "two").await;
    caller_says(&line.desk, line.call(), 3, "three").await;
    line.says(3, "three").await.unwrap();
    assert_eq!(
        *saw.lock().unwrap(),
        [vec![], vec!["one".to_owned()], vec!["one".into(), "two".into()]]
    );

    saw.lock().unwrap().clear();
    let chatting = OpenCall::new(line.agent, visitor("chat"), "n");
    let chat = line.desk.store.open_chat(chatting).await.unwrap();
    assert!(chat.is_new);
    let now = frontdesk_agents::Clock::now(&line.desk.clock);
    for (number, text) in [(1, "hi"), (2, "there")] {
        let stored =
            line.desk.store.commit_text(&chat, Speaker::Caller, text.into()).await.unwrap();
        line.live.text(Turn::in_chat(&chat, number, text, stored, now)).await.unwrap();
        line.desk.store.commit_text(&chat, Speaker::Agent, format!("{text}!")).await.unwrap();
    }
    assert_eq!(*saw.lock().unwrap(), [vec![], vec!["hi".to_owned(), "hi!".into()]]);
    let timeline = line.desk.timeline(chat.conversation).await;
    let said: Vec<_> =
        timeline.iter().map(|e| (e.channel.as_str(), e.role.as_str(), e.author.as_str())).collect();
    assert_eq!(said[..2], [("chat", "human", "caller"), ("chat", "agent", "support")]);
    let again = OpenCall::new(line.agent, visitor("chat"), "n");
    let again = line.desk.store.open_chat(again).await.unwrap();
    assert_eq!((again.conversation, again.is_new), (chat.conversation, false));
}

#[tokio::test]
async fn what_an_agent_wants_of_a_call_is_told_after_the_commit() {
    let line = line(talker(|cx, turn| {
        cx.state.n += 1;
        let call = turn.call.ok_or("not in a call")?;
        match turn.text.as_str() {
            "remind" => {
                let soon = When::after_delay(SignedDuration::from_secs(600));
                cx.schedule("reminder", soon, json!(null));
            }
            "bye" => cx.hang_up(Some("Goodbye.".into())),
            "sales" => cx.transfer("+15550123"),
            "other" => cx.speak(CallId(turn.text.len() as i64 - 3), "Psst."),
            "fail" => {
                cx.speak(call, "never");
                cx.tell("nobody", "shared", json!(1));
            }
            _ => cx.speak(call, "And another thing."),
        }
        Ok(Reply::silent())
    }))
    .await;
    let other = open(&line.desk, line.agent, visitor("other")).await;
    assert_eq!(other.call.id, CallId(2));
    let mut directives = line.desk.store.directives();
    let mut next = async || (*directives.recv().await.unwrap()).clone();
    let wanted =
        |call: Option<CallId>, what| Directive { instance: line.opened.instance, call, what };
    let mine = Some(line.call());

    line.says(1, "fail").await.unwrap();
    line.filed("nobody").await;
    line.says(2, "words").await.unwrap();
    assert!(next().await == wanted(mine, Wanted::Speak("And another thing.".into())));
    line.says(3, "sales").await.unwrap();
    assert!(next().await == wanted(mine, Wanted::Transfer { to: "+15550123".into() }));
    // Another visitor's call is none of its business.
    line.says(4, "other").await.unwrap();
    line.filed("call 2 does not belong to instance").await;
    line.says(5, "remind").await.unwrap();
    line.remembers(3).await;
    line.desk.advance(601);
    assert!(next().await == wanted(None, Wanted::Speak("This is your reminder.".into())));
    line.says(6, "bye").await.unwrap();
    assert!(next().await == wanted(mine, Wanted::HangUp { farewell: Some("Goodbye.".into()) }));
    hang_up(&line.desk, line.call()).await;
    line.says(7, "too late").await.unwrap();
    line.remembers(5).await;
    assert!(directives.try_recv().is_err(), "a call that is over is told nothing");
    let shown = format!("{:?}", wanted(mine, Wanted::Speak("a secret".into())));
    assert!(!shown.contains("secret"), "{shown}");
}

#[tokio::test]
async fn the_owner_is_told_through_the_gate_and_answers_into_a_conversation_of_its_own() {
    let script = || {
        talker(|cx, turn| {
            cx.state.n += 1;
            let mut draft = Draft::text(turn.text.clone()).subject("Somebody called");
            if turn.text == "copy" {
                draft.cc.push("ann@a.test".into());
            }
            cx.notify_owner(draft);
            Ok(Reply::silent())
        })
    };
    let mut line = line_with(script(), |rules| {
        rules.owner = Some("Owner@c.test".into());
        rules.approval = frontdesk_agents::gate::Approval::All;
    })
    .await;
    line.says(1, "They want a quote.").await.unwrap();
    line.remembers(1).await;
    let sent = line.desk.send_all().await;
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0].recipient, "owner@c.test");
    assert_eq!(sent[0].mail.text, "They want a quote.");
    assert!(sent[0].mail.automatic);
    let notice = sent[0].mail.conversation;
    let (summary, _) = line.desk.store.conversation(notice).await.unwrap();
    assert_eq!(summary.linked_to, Some(line.conversation()));
    assert_eq!(summary.instance_key, "owner");
    let note = line.desk.timeline(line.conversation()).await.remove(0);
    assert_eq!(note.text, "The owner was told by mail: Somebody called");

    // The owner's answer does not turn the visitor's conversation into the owner's.
    line.desk.advance(300);
    let answer = line.desk.reply(line.agent, "owner@c.test", "Call back.", sent[0].mail.reference);
    let (_, conversation, _) = line.desk.deliver(answer).await;
    assert_eq!(conversation, notice);
    line.desk.quiet().await;
    assert_eq!(line.desk.instance_of(line.conversation()).await.0, line.opened.instance);
    // Nor does a call of the owner's go into the notices.
    let owner = contact(&line.desk, "owner@c.test").await;
    let call = open(&line.desk, line.agent, frontdesk_agents::store::Who::Contact(owner)).await;
    assert_ne!(call.call.conversation, notice);

    // Nobody else, whatever the draft says.
    line.says(2, "copy").await.unwrap();
    line.filed("ann@a.test is not the owner of this agent").await;
    assert!(line.desk.send_all().await.is_empty());
    // The stop switch holds it.
    line.desk.rules.stopped = true;
    line.desk.store.set_rules(line.desk.rules.clone());
    line.says(3, "Stopped.").await.unwrap();
    line.filed("all sending is stopped").await;
    assert!(line.desk.send_all().await.is_empty());
}

#[tokio::test]
async fn without_an_owner_a_notice_is_a_note_for_a_person() {
    let line = line(talker(|cx, turn| {
        cx.notify_owner(Draft::text(turn.text.clone()).subject("Somebody called"));
        Ok(Reply::silent())
    }))
    .await;
    line.says(1, "They want a quote.").await.unwrap();
    line.filed("the owner of this agent, who is not configured").await;
    let timeline = line.desk.timeline(line.conversation()).await;
    assert_eq!(timeline[0].text, "Somebody called\n\nThey want a quote.");
    assert_eq!(timeline[0].role, "note");
    assert!(line.desk.send_all().await.is_empty());
}

#[tokio::test]
async fn hooks_change_or_drop_what_passes_and_a_panic_changes_nothing() {
    let line = line(talker(|_, _| Ok(Reply::silent()))).await;
    let hooks = line.live.hooks(line.agent).expect("the agent is there");
    assert_eq!(hooks.after_transcription("ask fronty".into()).unwrap(), "ask Frontdesk");
    assert_eq!(hooks.after_transcription("um".into()), None);
    assert_eq!(hooks.after_transcription("panic".into()).unwrap(), "panic");
    assert_eq!(hooks.before_synthesis("Hello.".into()).unwrap(), "Hello.");
    assert_eq!(hooks.before_synthesis("(aside)".into()), None);
    let mut sound = vec![100, -200];
    hooks.after_synthesis(&mut sound, 16_000);
    assert_eq!(sound, [50, -100]);
    hooks.after_synthesis(&mut sound, 8_000);
    assert_eq!(sound, [50, -100], "the hook panicked");
    assert!(line.live.hooks(AgentId(99)).is_none());
    assert!(!line.live.listens_only(line.agent));
}

#[tokio::test]
async fn stopping_commits_what_is_under_way_and_turns_the_rest_away() {
    let mut line = line(talker(|cx, _| {
        cx.state.n += 1;
        Ok("Said.".into())
    }))
    .await;
    line.says(1, "words").await.unwrap();
    line.desk.stop().await;
    assert_eq!(line.desk.memory(line.opened.instance).await.n, 1);
    assert_eq!(line.says(2, "more").await.unwrap_err(), "the server is stopping");
}

#[tokio::test]
async fn nothing_said_reaches_debug() {
    let caller =
        CallerCard { name: None, handle: None, trust: Trust::Unproven, proof: String::new() };
    let turn = Turn {
        call: None,
        conversation: ConversationId(1),
        caller,
        number: 1,
        text: "hush".into(),
        via: Via::Text,
        interrupted: Some(Interrupted { said: "hush".into(), unheard: "hush".into() }),
        message: None,
        at: at(crate::desk::START),
    };
    let spoken = frontdesk_agents::store::Spoken::caller(1, Via::Speech, 0, "hush");
    let transcript = Transcript { text: "hush".into(), is_final: true };
    let part = ReplyPart::Text("hush".into());
    let shown = format!("{turn:?} {spoken:?} {transcript:?} {part:?} {:?}", Reply::text("hush"));
    assert!(!shown.contains("hush"), "{shown}");
}
