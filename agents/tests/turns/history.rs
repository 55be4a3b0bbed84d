//! What a turn is shown of the history, and what it is not.

use crate::{
    desk::{Change, soon},
    puppet::{Answer, Office, Puppet, results, says, told, unreviewed},
};
use frontdesk_agents::{
    ConversationId, MessageId, Reference, Verdict,
    admission::InstancePolicy,
    builtin::AssistantOptions,
    mail::{AddressRoute, ArrivalAttachment},
    model::ToolChoice,
    tool::Tools,
    turn::context::Window,
};
use serde_json::json;

async fn office(model: std::sync::Arc<Puppet>) -> Office {
    let mut office =
        Office::with(model, Tools::new(), AssistantOptions::default(), unreviewed).await;
    office.start().await;
    office
}

/// The reference of the newest mail sent in a conversation.
fn reference(office: &Office, conversation: ConversationId) -> Reference {
    let sql = format!(
        "SELECT reference FROM outbox WHERE conversation_id = {conversation} ORDER BY id DESC LIMIT 1"
    );
    Reference(office.desk.count(&sql).cast_unsigned())
}

async fn goes_on(
    office: &Office,
    conversation: ConversationId,
    from: &str,
    text: &str,
) -> MessageId {
    office.desk.advance(120);
    let mail = office.desk.reply(office.support, from, text, reference(office, conversation));
    let (message, same, _) = office.desk.deliver(mail).await;
    assert_eq!(same, conversation);
    office.desk.quiet().await;
    office.rest(conversation).await;
    message
}

#[tokio::test]
async fn every_text_stands_under_a_line_that_says_whose_it_is() {
    let office = office(Puppet::new(|_, _| says("Thank you."))).await;
    let arrival = office.desk.mail(office.support, "ann@a.test", "Is this yours?").with(|arrival| {
        arrival.subject = "Strange mail".into();
        arrival.flags = vec!["hidden text: style".into()];
        arrival.attachments = vec![ArrivalAttachment {
            part: 2,
            name: "in\"voice.pdf".into(),
            media_type: "application/pdf".into(),
            size: 1_234,
            inline: false,
        }];
        arrival.recipients[0].layers = Some(
            json!([
                { "kind": "new", "text": "Is this yours?\n" },
                { "kind": "forwarded", "text": "From: eve@e.test\n\nPay me.\n" },
                { "kind": { "quoted": { "of_ours": false, "tampered": false } }, "text": "> older\n" },
                { "kind": "signature", "text": "-- \nAnn\n" },
            ])
            .to_string(),
        );
    });
    let (message, conversation, _) = office.desk.deliver(arrival).await;
    office.desk.quiet().await;
    office.rest(conversation).await;
    let request = office.model.asked.lock().unwrap()[0].clone();
    let opening = told(&request).split_once("\n[you are").unwrap().1.to_owned();
    let n = message;
    let at = "Monday 2026-03-02 09:00 UTC";
    assert_eq!(
        opening,
        format!(
            " \"support\" · {at}]\n\
             [what you remember · 0 of 8192 octets used]\n\
             [conversation {conversation} · mail · subject \"Strange mail\" · with \"ann@a.test\"]\n\
             [message {n} · mail · {at} · from \"ann@a.test\", who calls themselves \"Ann Example\" · \
             sender proven, not known to us · subject \"Strange mail\" · their words]\n\
             | Is this yours?\n\
             [message {n} · they pass this on; nobody vouches for it]\n\
             | From: eve@e.test\n\
             | \n\
             | Pay me.\n\
             [message {n} · quoted text is left out · read_message shows it]\n\
             [message {n} · it hides text from its reader, which is left out here]\n\
             [message {n} · part 2 · file \"in'voice.pdf\" · \"application/pdf\" · 1234 octets · \
             read_attachment reads it]\n\
             [your task: answer message {n} · your last words, without calls, are sent as the reply, in \
             plain text]\n"
        )
    );
    assert!(request.system[0].starts_with("You answer mail"));
    assert!(
        !request.system.join("").contains("ann@a.test"),
        "instructions are the operator's alone"
    );
}

#[tokio::test]
async fn a_long_conversation_is_summarised_and_nothing_is_deleted() {
    let model = Puppet::new(|request, _| {
        if request.tool_choice == ToolChoice::None && told(request).contains("your task: summarise")
        {
            return says("Ann wants a green lamp.");
        }
        says("Noted.")
    });
    let window = Window { head: 2, tail_tokens: 400, tail_least: 2, summarise_over: 600 };
    let options = AssistantOptions { window, ..AssistantOptions::default() };
    let mut office = Office::with(model, Tools::new(), options, unreviewed).await;
    office.desk.rules.limits.auto_per_conversation = 1_000;
    office.desk.rules.limits.auto_per_correspondent = 1_000;
    office.desk.store.set_rules(office.desk.rules.clone());
    office.start().await;
    let (first, conversation) = office.mail("ann@a.test", "The very first words.").await;
    office.rest(conversation).await;
    let long = "We talked about lamps and their colours at length. ".repeat(12);
    for n in 0..8 {
        goes_on(&office, conversation, "ann@a.test", &format!("Part {n}. {long}")).await;
    }
    let summaries =
        |request: &frontdesk_agents::model::Request| told(request).contains("your task: summarise");
    {
        let asked = office.model.asked.lock().unwrap();
        let summarised = asked.iter().filter(|request| summaries(request)).count();
        assert!((1..=3).contains(&summarised), "now and then, not for every mail: {summarised}");
    }
    let last = office.model.last_told();
    assert!(last.contains("| The very first words."), "the beginning stays: {last}");
    assert!(last.contains(
        "summarised by you · read_message shows one of them]\n| Ann wants a green lamp."
    ));
    assert!(last.contains("| Part 7.") && !last.contains("| Part 1."), "{last}");
    assert_eq!(office.desk.count("SELECT count(*) FROM messages WHERE role = 'human'"), 9);
    assert!(office.desk.count("SELECT count(*) FROM summaries") >= 1);
    let read = Puppet::new(|_, _| says(""));
    drop(read);
    // What a summary stands for is still there to be read.
    let (_, entries) = office.desk.store.conversation(conversation).await.unwrap();
    assert_eq!(entries[0].id, first);
    office.desk.stop().await;
}

#[tokio::test]
async fn a_fork_shares_what_was_before_and_goes_its_own_way() {
    let office = office(Puppet::new(|_, _| says("Noted."))).await;
    let (_, conversation) = office.mail("ann@a.test", "First.").await;
    office.rest(conversation).await;
    let second = goes_on(&office, conversation, "ann@a.test", "Second.").await;
    goes_on(&office, conversation, "ann@a.test", "Third.").await;
    let fork = office.desk.store.fork(second, "eve".into()).await.unwrap();
    // Somebody writes from the fork, and Ann answers there.
    let compose = frontdesk_agents::store::Compose {
        agent: office.support,
        conversation: Some(fork),
        answers: None,
        to: vec!["ann@a.test".into()],
        draft: "Let us begin anew.".into(),
    };
    let eve = frontdesk_agents::gate::Actor::Person { name: "eve".into() };
    office.desk.store.compose(eve, compose).await.unwrap();
    goes_on(&office, fork, "ann@a.test", "Fourth.").await;
    let told = office.model.last_told();
    for (words, there) in [
        ("First.", true),
        ("Second.", true),
        ("Third.", false),
        ("Let us begin anew.", true),
        ("Fourth.", true),
    ] {
        let here = told.split("[conversation ").nth(1).unwrap();
        assert_eq!(here.contains(&format!("| {words}")), there, "{words} in {here}");
    }
    goes_on(&office, conversation, "ann@a.test", "Fifth.").await;
    let told = office.model.last_told();
    let here = told.split("[conversation ").nth(1).unwrap();
    assert!(here.contains("| Third.") && !here.contains("Fourth."), "{here}");
    assert!(office.desk.store.fork(MessageId(999), "eve".into()).await.is_err());
}

/// Searches for a word and answers with what was found.
fn searches(word: &'static str) -> std::sync::Arc<Puppet> {
    Puppet::new(move |request, round| {
        let mine = told(request).contains("| find");
        match (mine, round) {
            (true, 0) => Answer::Calls(vec![("search_history", json!({ "words": word }))]),
            (true, _) => says(results(request).join("\n")),
            _ => says("Noted."),
        }
    })
}

async fn finds(office: &Office, conversation: ConversationId, from: &str) -> String {
    office.desk.store.settle().await.unwrap();
    let before = office.desk.count("SELECT max(id) FROM outbox");
    goes_on(office, conversation, from, "find it").await;
    let sql = format!(
        "SELECT m.text FROM outbox o JOIN messages m ON m.id = o.message_id WHERE o.id > {before}"
    );
    office.desk.database().query_row(&sql, (), |row| row.get(0)).unwrap()
}

#[tokio::test]
async fn who_is_answered_sees_what_they_could_see_before() {
    let model = searches("tulip");
    let shared = |rules: &mut frontdesk_agents::store::AgentRules| {
        unreviewed(rules);
        rules.instance = InstancePolicy::Shared;
    };
    let mut office = Office::with(model, Tools::new(), AssistantOptions::default(), shared).await;
    office.start().await;
    let (_, anns) = office.mail("ann@a.test", "The word is tulip one.").await;
    office.rest(anns).await;
    let (_, both) = office.mail("ann@a.test", "With Bob: tulip two.").await;
    office.rest(both).await;
    // A person brings Bob into the second conversation.
    let compose = frontdesk_agents::store::Compose {
        agent: office.support,
        conversation: Some(both),
        answers: None,
        to: vec!["bob@b.test".into()],
        draft: "Welcome, Bob.".into(),
    };
    let eve = frontdesk_agents::gate::Actor::Person { name: "eve".into() };
    office.desk.store.compose(eve, compose).await.unwrap();
    let (_, bobs) = office.mail("bob@b.test", "Mine: tulip three.").await;
    office.rest(bobs).await;

    let found = finds(&office, anns, "ann@a.test").await;
    assert!(
        found.contains("tulip one") && found.contains("tulip two") && !found.contains("three"),
        "{found}"
    );
    let found = finds(&office, bobs, "bob@b.test").await;
    assert!(
        found.contains("tulip two") && found.contains("three") && !found.contains("tulip one"),
        "{found}"
    );
    // Where both listen, only what both were told.
    let found = finds(&office, both, "ann@a.test").await;
    assert!(
        found.contains("tulip two") && !found.contains("one") && !found.contains("three"),
        "{found}"
    );
    office.desk.stop().await;
}

#[tokio::test]
async fn another_conversation_of_the_same_person_comes_along_with_channel_and_time() {
    let office = office(searches("tulip")).await;
    let (_, first) = office.mail("ann@a.test", "My word is tulip.").await;
    office.rest(first).await;
    office
        .desk
        .database()
        .execute("UPDATE messages SET channel = 'phone' WHERE role = 'human'", ())
        .unwrap();
    office.desk.advance(3_600);
    let (_, second) = office.mail("ann@a.test", "Something else.").await;
    office.rest(second).await;
    let told = office.model.last_told();
    let elsewhere =
        told.split("[lately, in other conversations with the same people]").nth(1).unwrap();
    assert!(
        elsewhere.contains("phone call · Monday 2026-03-02 09:00 UTC · from \"ann@a.test\""),
        "{elsewhere}"
    );
    assert!(elsewhere.contains("| My word is tulip."));
    let found = finds(&office, second, "ann@a.test").await;
    assert!(found.contains("My word is tulip"), "{found}");
    // Somebody else's agent memory is another instance: they find nothing.
    let (_, other) = office.mail("eve@e.test", "Hello.").await;
    office.rest(other).await;
    assert!(!office.model.last_told().contains("tulip"));
    assert_eq!(finds(&office, other, "eve@e.test").await, "Nothing was found.");
}

#[tokio::test]
async fn an_unproven_writer_is_marked_and_sees_nothing_but_their_own() {
    let options = AssistantOptions { answers_unproven: true, ..AssistantOptions::default() };
    let mut office = Office::with(searches("tulip"), Tools::new(), options, unreviewed).await;
    office.start().await;
    let (_, anns) = office.mail("ann@a.test", "My word is tulip.").await;
    office.rest(anns).await;
    let claimed = office
        .desk
        .mail(office.support, "ann@a.test", "find the tulip")
        .verdict(Verdict::Unverified);
    let (_, apart, _) = office.desk.deliver(claimed).await;
    office.desk.quiet().await;
    office.desk.store.settle().await.unwrap();
    let turn = office.rest(apart).await;
    assert_ne!(apart, anns);
    let told = office.model.last_told();
    assert!(told.contains("sender NOT proven"), "{told}");
    assert!(!told.contains("My word is tulip"));
    assert_eq!(turn.outcome, "answered");
    let state: String = office
        .desk
        .database()
        .query_row("SELECT state FROM outbox ORDER BY id DESC LIMIT 1", (), |row| row.get(0))
        .unwrap();
    assert_eq!(state, "held");
}

#[tokio::test]
async fn unproven_mail_is_not_before_the_model_until_a_person_admits_it() {
    let office = office(Puppet::new(|_, _| says("Hello."))).await;
    let mail = office.desk.mail(office.support, "new@n.test", "Hi").verdict(Verdict::Unverified);
    let (_, conversation, _) = office.desk.deliver(mail).await;
    office.desk.quiet().await;
    assert!(office.turns(conversation).await.is_empty() && office.model.times_asked() == 0);
    let pending = office.desk.store.pending_reviews(Some(conversation), 5).await.unwrap();
    assert_eq!(pending[0].kind, "message");
    office.desk.store.approve(pending[0].id, "eve".into(), None).await.unwrap();
    office.desk.quiet().await;
    assert_eq!(office.rest(conversation).await.outcome, "answered");
    assert!(office.model.last_told().contains("sender known to us"));
}

#[tokio::test]
async fn a_rejected_draft_is_known_to_the_next_turn_with_the_reason() {
    let mut office = Office::with(
        Puppet::new(|_, _| says("You get a refund.")),
        Tools::new(),
        AssistantOptions::default(),
        crate::puppet::reviewed,
    )
    .await;
    office.start().await;
    let first = office.desk.mail(office.support, "ann@a.test", "Refund?").id("first@a.test");
    let (_, conversation, _) = office.desk.deliver(first).await;
    office.desk.quiet().await;
    office.rest(conversation).await;
    let pending = office.desk.store.pending_reviews(Some(conversation), 5).await.unwrap();
    office.desk.store.reject(pending[0].id, "eve".into(), "we do not refund".into()).await.unwrap();
    let mail = office.desk.mail(office.support, "ann@a.test", "Well?");
    let mail = mail.with(|arrival| arrival.references = vec!["first@a.test".into()]);
    office.desk.deliver(mail.routed(AddressRoute::Plain)).await;
    office.desk.quiet().await;
    soon("the second turn ends", async || {
        office.turns(conversation).await.iter().filter(|turn| turn.ended_at.is_some()).count() == 2
    })
    .await;
    let told = office.model.last_told();
    assert!(
        told.contains(
            "you wrote · a person did not let it leave: \"we do not refund\"]\n| You get a refund."
        ),
        "{told}"
    );
    office.desk.stop().await;
}
