//! The HTTP API of a running server, asked over its control socket as the command line does.

use serde_json::Value;
use std::path::{Path, PathBuf};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
};

/// Asks one server.
#[derive(Clone, Debug)]
pub struct Api {
    socket: PathBuf,
}

impl Api {
    pub fn of(data: &Path) -> Self {
        Self { socket: data.join("control.sock") }
    }

    /// A successful answer.
    pub async fn get(&self, path: &str) -> Value {
        let (status, body) = self.ask("GET", path, None).await;
        assert_eq!(status, 200, "GET {path}: {body}");
        body
    }

    /// A successful answer.
    pub async fn post(&self, path: &str, body: Value) -> Value {
        let (status, answer) = self.ask("POST", path, Some(body)).await;
        assert!((200..300).contains(&status), "POST {path}: {status} {answer}");
        answer
    }

    /// Status and body, whatever they are.
    pub async fn ask(&self, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
        let (status, bytes) = self.bytes(method, path, body).await;
        (status, serde_json::from_slice(&bytes).unwrap_or_default())
    }

    /// Status and body as octets.
    pub async fn bytes(&self, method: &str, path: &str, body: Option<Value>) -> (u16, Vec<u8>) {
        let mut stream = UnixStream::connect(&self.socket).await.unwrap();
        let body = body.map(|body| body.to_string()).unwrap_or_default();
        // HTTP/1.0: the answer ends where the connection does.
        let request = format!(
            "{method} {} HTTP/1.0\r\nHost: localhost\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            if path.starts_with("/api") || path.starts_with("/metrics") {
                path.to_owned()
            } else {
                format!("/api/v1{path}")
            },
            body.len()
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        let end = answer.windows(4).position(|w| w == b"\r\n\r\n").expect("an HTTP answer");
        let status = String::from_utf8_lossy(&answer[9..12]).parse().unwrap();
        (status, answer.split_off(end + 4))
    }

    /// The items of a list.
    pub async fn list(&self, path: &str) -> Vec<Value> {
        self.get(path).await["items"].as_array().unwrap().clone()
    }

    /// All conversations, oldest first.
    pub async fn conversations(&self) -> Vec<Value> {
        let mut items = self.list("/conversations?limit=200").await;
        items.sort_by_key(|item| item["id"].as_i64());
        items
    }

    /// A conversation with its timeline.
    pub async fn conversation(&self, id: &Value) -> Value {
        self.get(&format!("/conversations/{id}")).await
    }

    /// Waits until every event has been handled (or is a dead letter) and every released mail has
    /// left. An event is stored before the 250 that a client has seen, so nothing is missed.
    pub async fn settle(&self) {
        super::until("all events are handled and all mail has left", || async {
            let agents = self.list("/agents").await;
            let waiting: u64 = agents.iter().filter_map(|a| a["waiting_events"].as_u64()).sum();
            if waiting > 0 {
                return None;
            }
            // In the order in which a delivery goes through them.
            for state in ["queued", "sending", "deferred"] {
                if !self.list(&format!("/outbox?limit=1&state={state}")).await.is_empty() {
                    return None;
                }
            }
            Some(())
        })
        .await;
        let dead = self.list("/dead-letters").await;
        assert!(dead.is_empty(), "dead letters: {dead:?}");
    }
}
