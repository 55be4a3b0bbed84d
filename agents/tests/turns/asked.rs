//! What waits for a person is mailed to those who decide, and their answers decide: tools, files, and what
//! changed meanwhile.

use crate::{
    desk::{Change, Desk},
    puppet::{Ledger, Office, Puppet, reviewed, says, shop, unreviewed},
    slice,
};
use frontdesk_agents::{
    ApprovalId, ConversationId, Reference, UserId,
    builtin::AssistantOptions,
    gate::{Actor, Approval, ByReply},
    mail::{AddressRoute, Draft},
    store::{Accepted, Compose, NewLink, OutgoingMail, Sight, UserChange, UserRole},
    tool::Tools,
};
use jiff::Timestamp;
use serde_json::json;

const BOB: &str = "bob@desk.test";

/// Adds a reviewer who wants to be told.
async fn reviewer(desk: &Desk) -> UserId {
    let link = NewLink { hash: [7; 32], expires_at: Timestamp::MAX };
    let (name, email) = ("bob".to_owned(), Some(BOB.to_owned()));
    let (role, sight, by) = (UserRole::Reviewer, Sight::All, "eve".to_owned());
    let user = desk.store.create_user(name, email, role, sight, link, by).await.unwrap();
    let change = UserChange { review_mail: Some(true), ..UserChange::default() };
    desk.store.change_user(user.id, change, "eve".into()).await.unwrap();
    user.id
}

/// The newest mail to bob, sent.
async fn asked(desk: &Desk) -> OutgoingMail {
    let sent = desk.send_all().await;
    sent.into_iter().rfind(|sent| sent.recipient == BOB).expect("bob was asked").mail
}

/// Bob answers, verified. Answers what his answer was kept with.
async fn answer(office: &Office, question: Reference, words: &str) -> String {
    let arrival =
        office.desk.mail(office.support, BOB, words).routed(AddressRoute::Decide(question));
    let accepted = office.desk.accept(arrival).await;
    let Accepted::Stored { message, conversation, .. } = accepted else { panic!("{accepted:?}") };
    let (_, entries) = office.desk.store.conversation(conversation).await.unwrap();
    entries.into_iter().find(|entry| entry.id == message).unwrap().status_why
}

/// An office in which a refund, which is final, waits for bob.
async fn refund(by_reply: ByReply) -> (Office, Ledger, ConversationId, ApprovalId, OutgoingMail) {
    let ledger = Ledger::default();
    let options = AssistantOptions::default();
    let mut office = Office::with(slice::pays(), shop(&ledger), options, unreviewed).await;
    office.start().await;
    office.desk.rules.by_reply = by_reply;
    office.desk.store.set_rules(office.desk.rules.clone());
    reviewer(&office.desk).await;
    let (_, conversation) = office.mail("ann@a.test", "The lamp A7 broke.").await;
    office.rest(conversation).await;
    let pending = office.desk.store.pending_reviews(Some(conversation), 5).await.unwrap();
    let mail = asked(&office.desk).await;
    (office, ledger, conversation, pending[0].id, mail)
}

#[tokio::test]
async fn what_cannot_be_taken_back_is_shown_and_not_approved_by_mail() {
    let (mut office, ledger, conversation, approval, mail) = refund(ByReply::Usual).await;
    assert_eq!(mail.decides, Some(mail.reference));
    // Exactly what it would be called with.
    for line in ["| {", "|   \"amount\": 3000,", "|   \"order\": \"A7\"", "| }"] {
        assert!(mail.text.lines().any(|found| found == line), "{line}: {}", mail.text);
    }
    assert!(mail.text.contains("cannot be taken back"), "{}", mail.text);
    assert!(!mail.text.contains("with the single word"), "{}", mail.text);
    let why = answer(&office, mail.reference, "approve").await;
    assert!(why.contains("can only be approved in the inbox"), "{why}");
    assert!(ledger.entries().is_empty());

    // The mail that says so leads to the same question, and to reject nothing has to be taken back.
    let told = asked(&office.desk).await;
    assert_eq!(told.decides, Some(mail.reference));
    assert!(told.is_reply && told.text.contains("changed nothing"), "{}", told.text);
    let why = answer(&office, told.decides.unwrap(), "reject warranty is over").await;
    assert_eq!(why, "rejected by mail");
    office.rest(conversation).await;
    assert!(office.model.last_told().contains("A person rejected this call: warranty is over"));
    let late = office.desk.store.approve(approval, "eve".into(), None).await.unwrap_err();
    assert!(late.to_string().contains("already rejected by user:bob"), "{late}");
    office.desk.stop().await;
}

#[tokio::test]
async fn where_the_operator_says_so_a_final_call_is_made_on_the_word() {
    let (mut office, ledger, conversation, _, mail) = refund(ByReply::Everything).await;
    assert_eq!(answer(&office, mail.reference, "Approve\n").await, "approved by mail");
    office.rest(conversation).await;
    assert_eq!(ledger.entries(), ["3000 cents for A7"]);
    office.desk.stop().await;
}

#[tokio::test]
async fn what_is_decided_on_is_what_was_shown() {
    let (mut office, ledger, conversation, approval, mail) = refund(ByReply::Everything).await;
    let changed = json!({ "order": "A7", "amount": 999_999 }).to_string();
    let sql = "UPDATE approvals SET arguments = ?2 WHERE id = ?1";
    let database =
        rusqlite::Connection::open(office.desk.store.dir().join("frontdesk.db")).unwrap();
    database.busy_timeout(std::time::Duration::from_secs(10)).unwrap();
    assert_eq!(database.execute(sql, (approval.0, changed)).unwrap(), 1);
    let why = answer(&office, mail.reference, "approve").await;
    assert!(why.contains("no longer what you were shown"), "{why}");
    assert!(ledger.entries().is_empty());
    assert_eq!(office.turns(conversation).await[0].waits_for, "approval");
    office.desk.stop().await;
}

#[tokio::test]
async fn nobody_becomes_a_member_by_being_asked_and_no_budget_is_used() {
    let model = Puppet::new(|_, _| says("We open at nine."));
    let options = AssistantOptions::default();
    let mut office = Office::with(model, Tools::new(), options, reviewed).await;
    office.start().await;
    reviewer(&office.desk).await;
    let (_, conversation) = office.mail("ann@a.test", "When do you open?").await;
    office.rest(conversation).await;
    let mail = asked(&office.desk).await;
    assert!(mail.automatic && mail.conversation != conversation);
    let member = "SELECT count(*) FROM participants WHERE address = 'bob@desk.test'";
    assert_eq!(office.desk.count(member), 0);
    assert_eq!(office.desk.count("SELECT count(*) FROM tallies WHERE scope LIKE 'auto%'"), 0);
    // A model that answers bob sees nothing of it either.
    let (_, own) = office.mail(BOB, "Hello, what is new?").await;
    office.rest(own).await;
    assert!(!office.model.last_told().contains("To approve"), "{}", office.model.last_told());
    office.desk.stop().await;
}

#[tokio::test]
async fn files_go_along_with_the_question_and_a_layout_is_not_approved_unseen() {
    let model = Puppet::new(|_, _| says("Hello."));
    let options = AssistantOptions::default();
    let mut office = Office::with(model, Tools::new(), options, reviewed).await;
    office.start().await;
    reviewer(&office.desk).await;
    let compose = async |draft: Draft| {
        let actor = Actor::Agent { approval: Approval::All };
        let (agent, to) = (office.support, vec!["new@b.test".to_owned()]);
        let compose = Compose { agent, conversation: None, answers: None, to, draft };
        let (_, held) = office.desk.store.compose(actor, compose).await.unwrap();
        assert!(held.is_some());
    };
    let plan = Draft::text("Here it is.").attach("plan.txt", "text/plain", b"The plan".to_vec());
    compose(plan.clone()).await;
    let mail = asked(&office.desk).await;
    assert!(mail.text.contains("| File: plan.txt (text/plain, 8 octets)"), "{}", mail.text);
    let names: Vec<_> = mail.attachments.iter().map(|file| file.name.as_str()).collect();
    assert_eq!(names, ["plan.txt"]);
    assert_eq!(answer(&office, mail.reference, "approve").await, "approved by mail");
    let sent = office.desk.send_all().await;
    assert_eq!((sent.len(), sent[0].recipient.as_str()), (1, "new@b.test"));

    compose(Draft { html: Some("<b>Something else</b>".into()), ..plan }).await;
    let mail = asked(&office.desk).await;
    assert!(!mail.text.contains("with the single word"), "{}", mail.text);
    let why = answer(&office, mail.reference, "approve").await;
    assert!(why.contains("a layout of its own"), "{why}");
    office.desk.stop().await;
}

#[tokio::test]
async fn one_person_is_not_asked_without_end() {
    let model = Puppet::new(|_, _| says("Hello."));
    let options = AssistantOptions::default();
    let mut office = Office::with(model, Tools::new(), options, unreviewed).await;
    office.start().await;
    reviewer(&office.desk).await;
    for number in 0..105 {
        let mail = office.desk.mail(office.support, &format!("x{number}@b.test"), "Buy this!");
        let held = mail.with(|mail| mail.quarantine = Some("looks like junk".into()));
        office.desk.accept(held).await;
    }
    let sent = office.desk.send_all().await;
    let mails: Vec<_> = sent.iter().filter(|sent| sent.recipient == BOB).collect();
    assert_eq!(mails.len(), 100);
    assert!(mails[99].mail.text.contains("and the last"), "{}", mails[99].mail.text);
    assert!(!mails[98].mail.text.contains("and the last"));
    office.desk.stop().await;
}
