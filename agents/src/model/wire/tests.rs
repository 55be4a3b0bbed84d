//! Answers as servers stream them, and what they mean.

use super::{Decoder, Stage, Wire};
use crate::model::{
    Arguments, ErrorKind, Event, StopReason, ToolCall, Usage,
    sse::{SseEvent, SseParser},
};
use proptest::prelude::*;

const OPENAI: Wire = Wire::OpenAi { max_completion_tokens: false };

/// What `pieces` mean, as the client reads them.
fn decode(wire: Wire, pieces: &[&[u8]]) -> Result<Vec<Event>, ErrorKind> {
    let mut parser = SseParser::default();
    let mut decoder: Decoder = wire.decoder("salt".to_owned());
    let mut out = Vec::new();
    for piece in pieces {
        let mut events: Vec<SseEvent> = Vec::new();
        parser.push(piece, &mut events)?;
        for event in &events {
            if decoder.stage() != Stage::Done {
                decoder.read(event, &mut out)?;
            }
        }
    }
    if decoder.stage() != Stage::Done {
        decoder.end(&mut out)?;
    }
    Ok(out)
}

/// A stream of chunks of OpenAI, each given as its `choices[0]`, or whole if it begins with `{"`.
fn openai(chunks: &[&str]) -> Result<Vec<Event>, ErrorKind> {
    let stream: String = chunks.iter().map(|chunk| format!("data: {chunk}\n\n")).collect();
    decode(OPENAI, &[stream.as_bytes()])
}

fn anthropic(events: &[&str]) -> Result<Vec<Event>, ErrorKind> {
    let stream: String = events.iter().map(|data| format!("event: x\ndata: {data}\n\n")).collect();
    decode(Wire::Anthropic, &[stream.as_bytes()])
}

fn text(text: &str) -> Event {
    Event::TextDelta(text.to_owned())
}

fn start(index: usize, id: &str, name: &str) -> Event {
    Event::ToolCallStart { index, id: id.to_owned(), name: name.to_owned() }
}

fn delta(index: usize, json: &str) -> Event {
    Event::ToolCallDelta { index, json: json.to_owned() }
}

fn call(index: usize, id: &str, name: &str, arguments: &str) -> Event {
    let arguments = Arguments::parse(arguments);
    Event::ToolCall {
        index,
        call: ToolCall { id: id.to_owned(), name: name.to_owned(), arguments },
    }
}

fn usage(input: u64, cached: u64, output: u64) -> Event {
    Event::Usage(Usage { input, cached, output, ..Usage::default() })
}

/// `Debug` hides what is said, so a mismatch is shown by its place.
#[track_caller]
fn same(got: Result<Vec<Event>, ErrorKind>, expected: &[Event]) {
    let got = got.expect("the answer is proper");
    for (place, (got, expected)) in got.iter().zip(expected).enumerate() {
        assert!(got == expected, "event {place}: {got:?} is not {expected:?}");
    }
    assert_eq!(got.len(), expected.len(), "{got:?}");
}

#[test]
fn an_answer_of_openai_is_read() {
    same(
        openai(&[
            r#"{"id":"c","choices":[{"index":0,"delta":{"role":"assistant","content":"","refusal":null},"finish_reason":null}],"usage":null}"#,
            r#"{"id":"c","choices":[{"index":0,"delta":{"content":"Dear"},"finish_reason":null}],"usage":null}"#,
            r#"{"id":"c","choices":[{"index":0,"delta":{"content":" Ada"},"finish_reason":null}],"usage":null}"#,
            r#"{"id":"c","choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"usage":null}"#,
            r#"{"id":"c","choices":[],"usage":{"prompt_tokens":19,"completion_tokens":10,"total_tokens":29,"prompt_tokens_details":{"cached_tokens":4}}}"#,
            "[DONE]",
        ]),
        &[text("Dear"), text(" Ada"), usage(19, 4, 10), Event::Stop(StopReason::EndTurn)],
    );
}

#[test]
fn usage_is_found_wherever_it_is_put_and_the_last_one_counts() {
    let hello = r#"{"choices":[{"index":0,"delta":{"content":"x"}}],"usage":{"prompt_tokens":5,"completion_tokens":1}}"#;
    let plain = r#"{"choices":[{"index":0,"delta":{"content":"x"}}]}"#;
    let stop = r#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#;
    let after = [text("x"), usage(5, 0, 7), Event::Stop(StopReason::EndTurn)];
    for chunks in [
        // vLLM: in every chunk, cumulative.
        vec![
            hello,
            r#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"usage":{"prompt_tokens":5,"completion_tokens":7}}"#,
            "[DONE]",
        ],
        // With the end, and no mark after it.
        vec![
            plain,
            r#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"usage":{"prompt_tokens":5,"completion_tokens":7}}"#,
        ],
        // After the end, and choices null.
        vec![plain, stop, r#"{"choices":null,"usage":{"prompt_tokens":5,"completion_tokens":7}}"#],
        // Groq, Moonshot.
        vec![
            plain,
            r#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"x_groq":{"usage":{"prompt_tokens":5,"completion_tokens":7}}}"#,
            "[DONE]",
        ],
        vec![
            plain,
            r#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop","usage":{"prompt_tokens":5,"completion_tokens":7}}]}"#,
            "[DONE]",
        ],
    ] {
        same(openai(&chunks), &after);
    }
    same(openai(&[plain, stop, "[DONE]"]), &[text("x"), Event::Stop(StopReason::EndTurn)]);
}

#[test]
fn calls_of_openai_are_put_together_by_their_index() {
    same(
        openai(&[
            r#"{"choices":[{"index":0,"delta":{"role":"assistant","content":null,"tool_calls":[{"index":0,"id":"a","type":"function","function":{"name":"find","arguments":""}}]}}]}"#,
            r#"{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{\"n\""}}]}}]}"#,
            r#"{"choices":[{"index":0,"delta":{"tool_calls":[{"index":1,"id":"b","function":{"name":"send","arguments":"{}"}}]}}]}"#,
            r#"{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":":7}"}}]}}]}"#,
            r#"{"choices":[{"index":0,"delta":{},"finish_reason":"tool_calls"}]}"#,
            "[DONE]",
        ]),
        &[
            start(0, "a", "find"),
            delta(0, "{\"n\""),
            start(1, "b", "send"),
            delta(1, "{}"),
            delta(0, ":7}"),
            call(0, "a", "find", r#"{"n":7}"#),
            call(1, "b", "send", "{}"),
            Event::Stop(StopReason::ToolUse),
        ],
    );
}

#[test]
fn calls_of_imitators_are_told_apart() {
    let two = [
        start(0, "a", "find"),
        delta(0, r#"{"n":1}"#),
        start(1, "b", "find"),
        delta(1, r#"{"n":2}"#),
        call(0, "a", "find", r#"{"n":1}"#),
        call(1, "b", "find", r#"{"n":2}"#),
        Event::Stop(StopReason::ToolUse),
    ];
    // Ollama until 2026: all with index 0, and `stop` at the end; earlier yet, no index at all; arguments as
    // an object.
    for index in [r#""index":0,"#, ""] {
        for (one, other) in [(r#""{\"n\":1}""#, r#""{\"n\":2}""#), (r#"{"n":1}"#, r#"{"n":2}"#)] {
            let piece = |id: &str, arguments: &str| {
                format!(
                    r#"{{"choices":[{{"index":0,"delta":{{"content":"","tool_calls":[{{{index}"id":"{id}","function":{{"name":"find","arguments":{arguments}}}}}]}}}}]}}"#
                )
            };
            let end = r#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#;
            same(openai(&[&piece("a", one), &piece("b", other), end, "[DONE]"]), &two);
        }
    }
}

#[test]
fn a_call_without_an_id_gets_one_and_a_repeated_name_begins_nothing() {
    same(
        openai(&[
            r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"id":"","function":{"name":"find","arguments":"{"}}]}}]}"#,
            r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"id":"","function":{"name":"find","arguments":"}"}}]}}]}"#,
            r#"{"choices":[{"delta":{"tool_calls":[{"function":{"name":"list"}}]}}]}"#,
            r#"{"choices":[{"delta":{},"finish_reason":"tool_calls"}]}"#,
        ]),
        &[
            start(0, "call_salt_0", "find"),
            delta(0, "{"),
            delta(0, "}"),
            start(1, "call_salt_1", "list"),
            call(0, "call_salt_0", "find", "{}"),
            call(1, "call_salt_1", "list", ""),
            Event::Stop(StopReason::ToolUse),
        ],
    );
}

#[test]
fn malformed_arguments_are_kept_with_the_reason() {
    let events = openai(&[
        r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"id":"a","function":{"name":"find","arguments":"{\"n\":"}}]}}]}"#,
        r#"{"choices":[{"delta":{},"finish_reason":"length"}]}"#,
        "[DONE]",
    ])
    .unwrap();
    let [.., Event::ToolCall { call, .. }, Event::Stop(StopReason::MaxTokens)] = events.as_slice()
    else {
        panic!("{events:?}");
    };
    let Arguments::Malformed { raw, error } = &call.arguments else { panic!("{call:?}") };
    assert_eq!(raw, "{\"n\":");
    assert!(error.contains("not JSON"), "{error}");
}

#[test]
fn what_ends_an_answer_is_known_in_both_protocols() {
    for (word, reason) in [
        ("length", StopReason::MaxTokens),
        ("content_filter", StopReason::Refused),
        ("weird", StopReason::Other("weird".to_owned())),
        ("a sentence the model said", StopReason::Other("unknown".to_owned())),
    ] {
        let end = format!(r#"{{"choices":[{{"delta":{{}},"finish_reason":"{word}"}}]}}"#);
        same(openai(&[&end]), &[Event::Stop(reason)]);
    }
    let refusal = r#"{"choices":[{"delta":{"refusal":"I cannot"},"finish_reason":"stop"}]}"#;
    same(openai(&[refusal]), &[text("I cannot"), Event::Stop(StopReason::Refused)]);
    for (word, reason) in [
        ("end_turn", StopReason::EndTurn),
        ("max_tokens", StopReason::MaxTokens),
        ("stop_sequence", StopReason::StopSequence),
        ("refusal", StopReason::Refused),
        ("pause_turn", StopReason::Other("pause_turn".to_owned())),
    ] {
        let end = format!(r#"{{"type":"message_delta","delta":{{"stop_reason":"{word}"}}}}"#);
        same(anthropic(&[&end, r#"{"type":"message_stop"}"#]), &[Event::Stop(reason)]);
    }
}

#[test]
fn an_answer_of_anthropic_is_read() {
    same(
        anthropic(&[
            r#"{"type":"message_start","message":{"id":"m","role":"assistant","content":[],"usage":{"input_tokens":10,"cache_creation_input_tokens":3,"cache_read_input_tokens":7,"output_tokens":1}}}"#,
            r#"{"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":"","signature":""}}"#,
            r#"{"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"hm"}}"#,
            r#"{"type":"content_block_delta","index":0,"delta":{"type":"signature_delta","signature":"x"}}"#,
            r#"{"type":"content_block_stop","index":0}"#,
            r#"{"type":"content_block_start","index":1,"content_block":{"type":"text","text":""}}"#,
            r#"{"type": "ping"}"#,
            r#"{"type":"content_block_delta","index":1,"delta":{"type":"text_delta","text":"Let me see."}}"#,
            r#"{"type":"content_block_stop","index":1}"#,
            r#"{"type":"content_block_start","index":2,"content_block":{"type":"tool_use","id":"t1","name":"find","input":{}}}"#,
            r#"{"type":"content_block_delta","index":2,"delta":{"type":"input_json_delta","partial_json":""}}"#,
            r#"{"type":"content_block_delta","index":2,"delta":{"type":"input_json_delta","partial_json":"{\"n\":"}}"#,
            r#"{"type":"content_block_delta","index":2,"delta":{"type":"input_json_delta","partial_json":"7}"}}"#,
            r#"{"type":"content_block_stop","index":2}"#,
            r#"{"type":"content_block_start","index":3,"content_block":{"type":"tool_use","id":"t2","name":"list","input":{}}}"#,
            r#"{"type":"content_block_stop","index":3}"#,
            r#"{"type":"something_new","index":3}"#,
            r#"{"type":"message_delta","delta":{"stop_reason":"tool_use","stop_sequence":null},"usage":{"output_tokens":89}}"#,
            r#"{"type":"message_stop"}"#,
        ]),
        &[
            text("Let me see."),
            start(0, "t1", "find"),
            delta(0, "{\"n\":"),
            delta(0, "7}"),
            call(0, "t1", "find", r#"{"n":7}"#),
            start(1, "t2", "list"),
            call(1, "t2", "list", ""),
            Event::Usage(Usage { input: 20, cached: 7, cache_written: 3, output: 89, cost: None }),
            Event::Stop(StopReason::ToolUse),
        ],
    );
}

#[test]
fn an_answer_without_its_end_is_an_error() {
    let dear = r#"{"choices":[{"delta":{"content":"Dear"}}]}"#;
    assert_eq!(openai(&[dear]), Err(ErrorKind::HalfClosed));
    assert_eq!(openai(&[]), Err(ErrorKind::HalfClosed));
    assert_eq!(
        anthropic(&[
            r#"{"type":"message_start","message":{}}"#,
            r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"}}"#,
        ]),
        Err(ErrorKind::HalfClosed)
    );
}

#[test]
fn errors_inside_an_answer_end_it() {
    let dear = r#"{"choices":[{"delta":{"content":"Dear"}}]}"#;
    let error = r#"{"error":{"message":"no capacity","type":"overloaded_error"}}"#;
    assert_eq!(openai(&[dear, error]), Err(ErrorKind::Overloaded { retry_after: None }));
    let llama = b"data: {\"choices\":[]}\n\nerror: {\"code\":500,\"message\":\"x\",\"type\":\"server_error\"}\n\n";
    let detail = "server_error".to_owned();
    assert_eq!(decode(OPENAI, &[llama]), Err(ErrorKind::Server { status: 500, detail }));
    assert_eq!(
        anthropic(&[
            r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#
        ]),
        Err(ErrorKind::Overloaded { retry_after: None })
    );
    assert!(matches!(openai(&["<html>"]), Err(ErrorKind::Protocol { .. })));
    assert!(matches!(anthropic(&["{}"]), Err(ErrorKind::Protocol { .. })));
}

#[test]
fn thinking_is_a_sign_of_life_and_a_ping_is_none() {
    let alive = |wire: Wire, data: &str| {
        let event = SseEvent { name: String::new(), data: data.to_owned() };
        let mut out = Vec::new();
        let alive = wire.decoder(String::new()).read(&event, &mut out).unwrap();
        assert!(out.is_empty());
        alive
    };
    assert!(alive(OPENAI, r#"{"choices":[{"delta":{"reasoning_content":"hm"}}]}"#));
    assert!(alive(OPENAI, r#"{"choices":[{"delta":{"reasoning":"hm"}}]}"#));
    assert!(!alive(OPENAI, r#"{"choices":[{"delta":{"role":"assistant","content":""}}]}"#));
    assert!(!alive(OPENAI, r#"{"choices":[],"usage":null}"#));
    let thinking = r#"{"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"hm"}}"#;
    assert!(alive(Wire::Anthropic, thinking));
    assert!(!alive(Wire::Anthropic, r#"{"type":"ping"}"#));
    assert!(!alive(Wire::Anthropic, r#"{"type":"message_start","message":{}}"#));
}

#[test]
fn a_server_cannot_open_calls_without_end() {
    let piece = |n: usize| {
        format!(
            r#"{{"choices":[{{"delta":{{"tool_calls":[{{"index":{n},"id":"{n}","function":{{"name":"x"}}}}]}}}}]}}"#
        )
    };
    let chunks: Vec<String> = (0..200).map(piece).collect();
    let chunks: Vec<&str> = chunks.iter().map(String::as_str).collect();
    assert!(matches!(openai(&chunks), Err(ErrorKind::Protocol { .. })));
}

/// Whole answers of both protocols, proper and broken.
const ANSWERS: [(Wire, &str); 4] = [
    (
        OPENAI,
        "data: {\"choices\":[{\"delta\":{\"content\":\"Grüße, 世界 \"}}]}\r\n\r\n: comment\n\ndata: {\"choices\":[{\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":\"a\",\"function\":{\"name\":\"find\",\"arguments\":\"{\\\"q\\\":\\\"ü\\\"}\"}}]}}]}\n\ndata: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: {\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":4}}\n\ndata: [DONE]\n\n",
    ),
    (OPENAI, "data: {\"choices\":[{\"delta\":{\"content\":\"😀\"}}]}\n\nerror: {\"code\":503}\n\n"),
    (
        Wire::Anthropic,
        "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"usage\":{\"input_tokens\":5}}}\n\nevent: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"tool_use\",\"id\":\"t\",\"name\":\"find\",\"input\":{}}}\n\nevent: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"input_json_delta\",\"partial_json\":\"{\\\"q\\\":\\\"世\\\"}\"}}\n\nevent: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"tool_use\"},\"usage\":{\"output_tokens\":9}}\n\nevent: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
    ),
    (
        Wire::Anthropic,
        "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"Grüße\"}}\n\n",
    ),
];

proptest! {
    #[test]
    fn any_split_of_the_bytes_gives_the_same_answer(
        answer in 0..ANSWERS.len(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..30),
    ) {
        let (wire, stream) = ANSWERS[answer];
        let bytes = stream.as_bytes();
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        cuts.sort_unstable();
        let mut pieces = Vec::new();
        let mut from = 0;
        for cut in cuts {
            pieces.push(&bytes[from..cut]);
            from = cut;
        }
        pieces.push(&bytes[from..]);
        prop_assert_eq!(decode(wire, &pieces), decode(wire, &[bytes]));
    }

    #[test]
    fn no_bytes_make_a_decoder_panic_or_break_the_order(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        mix in prop::collection::vec((0..ANSWERS.len(), any::<prop::sample::Index>()), 0..6),
    ) {
        // Whole events of real answers in any order, with noise between them.
        let mut stream = Vec::new();
        for (answer, event) in mix {
            let events: Vec<&str> = ANSWERS[answer].1.split_inclusive("\n\n").collect();
            stream.extend_from_slice(event.get(&events).as_bytes());
        }
        stream.extend_from_slice(&bytes);
        for wire in [OPENAI, Wire::Anthropic] {
            if let Ok(events) = decode(wire, &[&stream]) {
                let stops = events.iter().filter(|event| matches!(event, Event::Stop(_))).count();
                prop_assert_eq!(stops, 1);
                prop_assert!(matches!(events.last(), Some(Event::Stop(_))));
            }
        }
    }
}
