//! Working hours: what comes outside of them is said to wait, and until when.

use crate::puppet::{Office, Puppet, says, unreviewed};
use frontdesk_agents::{
    builtin::{AssistantOptions, WorkingHours},
    live::{Turn, Via},
    store::{OpenCall, Spoken, Who},
    tool::Tools,
};

/// Open from ten o'clock on weekdays. Tests begin on a Monday at nine.
async fn office() -> Office {
    let hours = WorkingHours {
        time_zone: "UTC".into(),
        days: (1..=5).collect(),
        from: "10:00".parse().unwrap(),
        to: "17:00".parse().unwrap(),
    };
    let options = AssistantOptions { working_hours: Some(hours), ..AssistantOptions::default() };
    let model = Puppet::new(|_, _| says("Good morning."));
    let mut office = Office::with(model, Tools::new(), options, unreviewed).await;
    office.start().await;
    office
}

#[tokio::test]
async fn mail_that_waits_for_the_morning_says_so() {
    let mut office = office().await;
    let (_, conversation) = office.mail("ann@a.test", "Hello").await;
    let (_, entries) = office.desk.store.conversation(conversation).await.unwrap();
    let note = entries.iter().find(|entry| entry.role == "note").unwrap();
    assert_eq!(
        note.text,
        "This waits for the working hours, which begin on Monday at 10:00 (UTC)."
    );
    office.desk.stop().await;
}

#[tokio::test]
async fn callers_hear_when_somebody_answers_and_a_person_sees_what_they_said() {
    let mut office = office().await;
    let store = office.desk.store.clone();
    let visitor = Who::Visitor { session: "visitor:x".into() };
    let open = OpenCall::new(office.support, visitor, "192.0.2.0/24");
    let call = store.open_call(open).await.unwrap().call;
    let live = office.desk.live();
    let greeting = live.start(call.id).await.unwrap().collect_text().await.unwrap();
    assert!(greeting.contains("back on Monday at 10:00 (UTC)"), "{greeting}");
    let say = async |number: u32, text: &str| {
        let turn = Turn::in_call(&call, number, text, Via::Speech, store.clock().now());
        let reply = live.turn(turn).await.unwrap();
        let spoken = Spoken::caller(number, Via::Speech, i64::from(number) * 1_000, text);
        store.commit_spoken(call.id, spoken).await.unwrap();
        reply.collect_text().await.unwrap()
    };
    let answer = say(1, "Where is my bike?").await;
    assert!(answer.contains("back on Monday at 10:00"), "{answer}");
    assert_eq!(office.model.times_asked(), 0);
    crate::desk::soon("a person is shown it", async || {
        let (summary, _) = store.conversation(call.conversation).await.unwrap();
        summary.queue == "needs_review"
    })
    .await;
    // In the hours it is an ordinary call.
    office.desk.advance(3_600);
    assert_eq!(live.start(call.id).await.unwrap().collect_text().await.unwrap(), "");
    assert_eq!(say(2, "Where is my bike?").await, "Good morning.");
    office.desk.stop().await;
}
