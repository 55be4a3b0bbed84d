//! The scripted server itself: what it sends is what the providers send.

use frontdesk_agents::testing::model_server::{Hold, ModelServer, Script, serve};
use serde_json::json;
use std::sync::Arc;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

/// What the server sends to a request of `body` to `path`, chunks put together.
async fn raw(address: &str, path: &str, body: &str) -> (String, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: {address}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut bytes = Vec::new();
    let (head, chunks) = loop {
        assert_ne!(stream.read_buf(&mut bytes).await.unwrap(), 0, "the answer is complete");
        let answer = String::from_utf8(bytes.clone()).unwrap();
        let Some((head, body)) = answer.split_once("\r\n\r\n") else { continue };
        let complete = match head.split_once("content-length: ") {
            Some((_, length)) => body.len().to_string() == length.lines().next().unwrap(),
            None => body.ends_with("\r\n0\r\n\r\n"),
        };
        if complete {
            break (head.to_owned(), body.to_owned());
        }
    };
    if !head.contains("chunked") {
        return (head, chunks);
    }
    let mut chunks = chunks.as_str();
    let mut whole = String::new();
    while let Some((size, rest)) = chunks.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).unwrap();
        whole.push_str(&rest[..size]);
        chunks = &rest[size + 2..];
    }
    (head, whole)
}

fn address(server: &ModelServer) -> String {
    server.base_url().trim_start_matches("http://").trim_end_matches("/v1").to_owned()
}

#[tokio::test]
async fn openais_bytes_are_openais() {
    let script = Script::new()
        .text("Hi")
        .call_in("find", &["{\"q\"", ":1}"])
        .with_id("call_1")
        .usage(9, 2, 3);
    let server = ModelServer::scripted([script]).await;
    let (head, body) = raw(&address(&server), "/v1/chat/completions", r#"{"model":"gpt-x"}"#).await;
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert!(head.contains("content-type: text/event-stream; charset=utf-8"), "{head}");
    let chunk = |rest: &str| {
        format!(
            "data: {{\"id\":\"chatcmpl-B9MBs8CjcvOU2jLn4n570S5qMJKcT\",\"object\":\"chat.completion.chunk\",\"created\":1741569952,\"model\":\"gpt-x\",\"service_tier\":\"default\",\"system_fingerprint\":null,\"choices\":{rest}}}\n\n"
        )
    };
    let delta = |delta: &str| {
        chunk(&format!(
            "[{{\"index\":0,\"delta\":{{{delta}}},\"logprobs\":null,\"finish_reason\":null}}],\"usage\":null"
        ))
    };
    let expected = [
        delta(r#""role":"assistant","content":"","refusal":null"#),
        delta(r#""content":"Hi""#),
        delta(
            r#""tool_calls":[{"index":0,"id":"call_1","type":"function","function":{"name":"find","arguments":""}}]"#,
        ),
        delta(r#""tool_calls":[{"index":0,"function":{"arguments":"{\"q\""}}]"#),
        delta(r#""tool_calls":[{"index":0,"function":{"arguments":":1}"}}]"#),
        chunk(
            r#"[{"index":0,"delta":{},"logprobs":null,"finish_reason":"tool_calls"}],"usage":null"#,
        ),
        chunk(
            r#"[],"usage":{"prompt_tokens":9,"completion_tokens":3,"total_tokens":12,"prompt_tokens_details":{"cached_tokens":2,"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":0,"audio_tokens":0,"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}}"#,
        ),
        "data: [DONE]\n\n".to_owned(),
    ];
    assert_eq!(body, expected.concat());
}

#[tokio::test]
async fn anthropics_bytes_are_anthropics() {
    let script =
        Script::new().text("Hi").call_in("find", &["{}"]).with_id("toolu_1").usage(9, 2, 3);
    let server = ModelServer::scripted([script]).await;
    let (_, body) = raw(&address(&server), "/v1/messages", r#"{"model":"claude-x"}"#).await;
    let expected = [
        "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"model\":\"claude-x\",\"id\":\"msg_01G7mcy1hMvQ8PCmQyFDQvYb\",\"type\":\"message\",\"role\":\"assistant\",\"content\":[],\"stop_reason\":null,\"stop_sequence\":null,\"usage\":{\"input_tokens\":7,\"cache_creation_input_tokens\":0,\"cache_read_input_tokens\":2,\"output_tokens\":1,\"service_tier\":\"standard\"}}    }\n\n",
        "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}             }\n\n",
        "event: ping\ndata: {\"type\": \"ping\"}\n\n",
        "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"Hi\"}   }\n\n",
        "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0      }\n\n",
        "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":1,\"content_block\":{\"type\":\"tool_use\",\"id\":\"toolu_1\",\"name\":\"find\",\"input\":{}} }\n\n",
        "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":1,\"delta\":{\"type\":\"input_json_delta\",\"partial_json\":\"\"}   }\n\n",
        "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":1,\"delta\":{\"type\":\"input_json_delta\",\"partial_json\":\"{}\"}   }\n\n",
        "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":1      }\n\n",
        "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"tool_use\",\"stop_sequence\":null},\"usage\":{\"output_tokens\":3}        }\n\n",
        "event: message_stop\ndata: {\"type\":\"message_stop\"       }\n\n",
    ];
    assert_eq!(body, expected.concat());
}

#[tokio::test]
async fn failures_are_worded_as_each_provider_does() {
    let server = ModelServer::scripted([Script::overloaded(), Script::overloaded()]).await;
    let (head, body) = raw(&address(&server), "/v1/messages", "{}").await;
    assert!(head.starts_with("HTTP/1.1 529"), "{head}");
    let body: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(body["error"], json!({ "type": "overloaded_error", "message": "Overloaded" }));
    let (_, body) = raw(&address(&server), "/v1/chat/completions", "{}").await;
    let body: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(body["error"]["type"], "server_error");
    let (head, _) = raw(&address(&server), "/v1/models", "").await;
    assert!(head.starts_with("HTTP/1.1 404"), "{head}");
    let (head, _) = raw(&address(&server), "/v1/messages", "{}").await;
    assert!(head.starts_with("HTTP/1.1 500"), "a request too many fails: {head}");
}

#[tokio::test]
async fn it_serves_any_listener_and_many_at_once() {
    let hold = Hold::new();
    let behaviour = {
        let hold = hold.clone();
        move |asked: &frontdesk_agents::testing::model_server::Asked| {
            Script::new().hold(&hold).text(&asked.last_user())
        }
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let server = tokio::spawn(serve(listener, Arc::new(behaviour)));
    let ask = |text: &'static str| {
        let body = json!({ "messages": [{ "role": "user", "content": text }] }).to_string();
        let address = address.clone();
        async move { raw(&address, "/v1/chat/completions", &body).await.1 }
    };
    let release = async {
        hold.reached().await;
        hold.release();
    };
    let (one, other, ()) = tokio::join!(ask("left"), ask("right"), release);
    assert!(one.contains("left") && other.contains("right"));
    server.abort();
}
