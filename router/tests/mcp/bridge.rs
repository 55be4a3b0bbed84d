//! The bridge over standard input and output, here over a pipe.

use crate::support::{Program, desk, serve, until};
use frontdesk_router::{
    agents::store::Scope,
    mcp::bridge::{self, Upstream},
};
use rmcp::{ServiceExt, model::ClientConfig};
use serde_json::json;
use tokio::task::JoinHandle;

/// A bridge and a program at its other end.
async fn bridged(upstream: Upstream) -> (Program, JoinHandle<anyhow::Result<()>>) {
    let (ours, theirs) = tokio::io::duplex(1 << 16);
    let (input, output) = tokio::io::split(theirs);
    let bridge = tokio::spawn(bridge::run(upstream, input, output));
    let client = ClientConfig::default().serve(ours).await.unwrap();
    (Program { client }, bridge)
}

#[tokio::test]
async fn on_the_control_socket_it_is_the_operator_and_outlives_a_restart_of_the_server() {
    let desk = desk().await;
    let socket = desk.folder.path().join("data/control.sock");
    let (program, bridge) = bridged(Upstream::Socket(socket)).await;
    assert_eq!(program.tools().await.len(), 18);
    let said = program.client.peer().peer_info().unwrap();
    assert!(said.instructions.as_deref().unwrap().contains("`| `"), "a model is told what is data");
    let mail = json!({ "agent": "help", "to": ["a@x.example"], "subject": "Hi", "text": "x" });
    let sent = program.done("send_email", mail).await;
    assert_eq!(sent.data["state"], "queued");
    let refused = program.refused("get_conversation", json!({ "conversation": 999 })).await;
    assert!(refused.contains("there is no conversation 999"), "{refused}");

    let folder = desk.folder;
    desk.running.stop().await;
    let gone = program.refused("list_agents", json!({})).await;
    assert!(gone.contains("is it running?"), "{gone}");
    let running = serve(folder.path()).await;
    let outbox = until("the server is found again", || async {
        let said = program.call("list_outbox", json!({})).await;
        (said.result.is_error == Some(false)).then_some(said)
    })
    .await;
    assert_eq!(outbox.data["items"][0]["outbox"], sent.data["outbox"]);

    // It ends with its input.
    program.client.cancel().await.unwrap();
    bridge.await.unwrap().unwrap();
    running.stop().await;
}

#[tokio::test]
async fn at_a_url_it_is_the_token_and_a_bad_one_is_told_before_anything() {
    let desk = desk().await;
    let (_, token) = desk.token("test", &[Scope::Read], Some(&["help"])).await;
    let (program, bridge) = bridged(Upstream::Url { url: desk.url(), token }).await;
    let agents = program.done("list_agents", json!({})).await;
    assert_eq!(agents.data["items"].as_array().unwrap().len(), 1);
    assert!(!program.names().await.iter().any(|name| name == "send_email"));
    program.client.cancel().await.unwrap();
    bridge.await.unwrap().unwrap();

    let refused = |upstream| async {
        bridge::run(upstream, tokio::io::empty(), tokio::io::sink()).await.unwrap_err().to_string()
    };
    let token = "fd_wrong".to_owned();
    let why = refused(Upstream::Url { url: desk.url(), token: token.clone() }).await;
    assert!(why.contains("does not know this token") && !why.contains("fd_wrong"), "{why}");
    let why = refused(Upstream::Url { url: "desk".into(), token }).await;
    assert!(why.contains("is no URL such as"), "{why}");
    let why = refused(Upstream::Socket(desk.folder.path().join("none.sock"))).await;
    assert!(why.contains("frontdesk serve"), "{why}");
    desk.running.stop().await;
}
