//! A browser in a call, as far as the server can tell: microphone frames in real time, playback that
//! takes as long as it takes, and reports of it.

use super::PATIENCE;
use frontdesk_voice::engine::{
    Chunk, EngineName, Expect, Grammar, Heard, LISTEN_RATE, Registry, Say, SessionOptions, Settings,
};
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, client_async, connect_async,
    tungstenite::{Message, client::IntoClientRequest as _, protocol::CloseFrame},
};

/// Samples in a frame of the microphone: 20 ms.
const FRAME: usize = LISTEN_RATE as usize / 50;

const ALL: [&str; 7] =
    ["frames-20ms", "playback", "resume", "ping", "pace", "notice", "resume-text"];

/// One client.
pub struct Caller {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    /// Everything the server said, in order, with when it came.
    pub messages: Vec<(Instant, Value)>,
    /// Everything that was played, at the server's rate.
    pub played: Vec<i16>,
    /// What waits to be said.
    microphone: Vec<i16>,
    /// Sound that arrived and was not played yet.
    buffer: Vec<i16>,
    rate: usize,
    features: bool,
    generation: u64,
    /// Samples of this generation played, and received.
    heard: u64,
    received: u64,
    paused: bool,
    discarding: bool,
    speaking: bool,
    next_frame: Instant,
    pub closed: Option<CloseFrame>,
}

impl Caller {
    /// Connects with all additions.
    pub async fn connect(server: SocketAddr, agent: &str, query: &str) -> Self {
        Self::connect_with(server, agent, query, &[], true).await
    }

    /// Connects with these headers, with or without additions.
    pub async fn connect_with(
        server: SocketAddr,
        agent: &str,
        query: &str,
        headers: &[(&'static str, String)],
        features: bool,
    ) -> Self {
        let url = format!("ws://{server}/agents/{agent}/default{query}");
        let mut request = url.into_client_request().unwrap();
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        let (socket, _) = connect_async(request).await.unwrap();
        Self::on(socket, features).await
    }

    /// Connects without additions, by a socket that takes few kilobytes before they are read.
    pub async fn connect_narrow(server: SocketAddr, agent: &str) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4_096).unwrap();
        let stream = socket.connect(server).await.unwrap();
        let url = format!("ws://{server}/agents/{agent}/default");
        let stream = MaybeTlsStream::Plain(stream);
        let (socket, _) = client_async(url, stream).await.unwrap();
        Self::on(socket, false).await
    }

    async fn on(socket: WebSocketStream<MaybeTlsStream<TcpStream>>, features: bool) -> Self {
        let mut caller = Self {
            socket,
            messages: Vec::new(),
            played: Vec::new(),
            microphone: Vec::new(),
            buffer: Vec::new(),
            rate: 16_000,
            features,
            generation: 0,
            heard: 0,
            received: 0,
            paused: false,
            discarding: false,
            speaking: false,
            next_frame: Instant::now(),
            closed: None,
        };
        let names: &[&str] = if features { &ALL } else { &[] };
        caller.send(json!({ "type": "hello", "protocol_version": 1, "features": names })).await;
        caller
    }

    pub async fn send(&mut self, message: Value) {
        self.socket.send(Message::text(message.to_string())).await.unwrap();
    }

    /// Starts a call and waits until it is answered.
    pub async fn call(&mut self) {
        self.send(json!({ "type": "start_call" })).await;
        self.until("the call is answered", |c| c.of("status").any(|m| m["status"] != "idle")).await;
        self.speaking = true;
        self.next_frame = Instant::now();
    }

    /// Says this after what is being said.
    pub fn say(&mut self, sound: &[i16]) {
        self.microphone.extend(sound);
    }

    /// Messages of a type, oldest first.
    pub fn of<'a>(&'a self, kind: &'a str) -> impl DoubleEndedIterator<Item = &'a Value> {
        self.messages.iter().map(|(_, message)| message).filter(move |m| m["type"] == kind)
    }

    /// The last status.
    pub fn status(&self) -> &str {
        self.of("status").next_back().map_or("", |m| m["status"].as_str().unwrap())
    }

    /// What was said by this side, as the page shows it.
    pub fn transcript(&self, role: &str) -> Vec<String> {
        let kind = if role == "user" { "transcript" } else { "transcript_end" };
        self.of(kind).map(|m| m["text"].as_str().unwrap().to_owned()).collect()
    }

    /// Lets time pass until something is so.
    ///
    /// # Panics
    ///
    /// Where that does not happen.
    pub async fn until(&mut self, what: &str, mut is_so: impl FnMut(&Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !is_so(self) {
            assert!(Instant::now() < deadline, "did not happen: {what}\n{}", self.story());
            assert!(self.closed.is_none(), "closed while waiting until {what}: {:?}", self.closed);
            self.step().await;
        }
    }

    /// How much of everything was heard.
    pub fn heard_seconds(&self) -> f64 {
        self.played.len() as f64 / self.rate as f64
    }

    /// Goes on as the client that [`Caller::drop_line`] left.
    pub fn take_up(&mut self, heard: &Value, received: &Value) {
        self.generation = received["generation"].as_u64().unwrap();
        self.heard = heard["samples"].as_u64().unwrap();
        self.received = received["samples"].as_u64().unwrap();
        self.speaking = true;
    }

    /// Waits until the server closes the connection.
    pub async fn pass_until_closed(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        while self.closed.is_none() {
            assert!(Instant::now() < deadline, "not closed: {}", self.story());
            self.step().await;
        }
    }

    /// What the server said, for whoever looks for what went wrong.
    pub fn story(&self) -> String {
        let start = self.messages.first().map(|(at, _)| *at);
        let lines = self.messages.iter().map(|(at, message)| {
            let since = start.map_or(0, |start| (*at - start).as_millis());
            format!("{since:>6} ms  {message}\n")
        });
        lines.collect()
    }

    /// Lets so much time pass.
    pub async fn pass(&mut self, time: Duration) {
        let end = Instant::now() + time;
        while Instant::now() < end && self.closed.is_none() {
            self.step().await;
        }
    }

    /// One frame, or one message.
    async fn step(&mut self) {
        let due = tokio::time::Instant::from_std(self.next_frame);
        tokio::select! {
            message = self.socket.next() => match message {
                Some(Ok(Message::Text(text))) => {
                    let message: Value = serde_json::from_str(&text).unwrap();
                    self.hear(&message);
                    self.messages.push((Instant::now(), message));
                }
                Some(Ok(Message::Binary(bytes))) => {
                    if !self.discarding {
                        let samples = bytes.as_chunks::<2>().0.iter().map(|p| i16::from_le_bytes(*p));
                        let before = self.buffer.len();
                        self.buffer.extend(samples);
                        self.received += (self.buffer.len() - before) as u64;
                    }
                }
                Some(Ok(Message::Close(frame))) => {
                    self.closed = Some(frame.unwrap_or(CloseFrame { code: 1005.into(), reason: "".into() }));
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => {
                    let reason = "dropped".into();
                    self.closed.get_or_insert(CloseFrame { code: 1006.into(), reason });
                }
            },
            () = tokio::time::sleep_until(due) => {
                self.next_frame += Duration::from_millis(20);
                self.frame().await;
            }
        }
    }

    fn hear(&mut self, message: &Value) {
        match message["type"].as_str().unwrap() {
            "audio_config" => self.rate = message["sampleRate"].as_u64().unwrap() as usize,
            "audio_start" => {
                self.generation = message["generation"].as_u64().unwrap();
                (self.heard, self.received, self.discarding) = (0, 0, false);
            }
            "playback_pause" => self.paused = true,
            "playback_resume" => self.paused = false,
            "playback_interrupt" => {
                self.buffer.clear();
                (self.paused, self.discarding) = (false, self.features);
            }
            _ => {}
        }
    }

    /// 20 ms of both directions.
    async fn frame(&mut self) {
        let play = (self.rate / 50).min(self.buffer.len());
        if !self.paused && play > 0 {
            self.played.extend(self.buffer.drain(..play));
            self.heard += play as u64;
            // Ten a second, as a page does, and at the end.
            let tenth = self.heard.is_multiple_of(5 * self.rate as u64 / 50);
            if self.features && (tenth || self.buffer.is_empty()) {
                self.report().await;
            }
        }
        if self.speaking && self.closed.is_none() {
            let say = FRAME.min(self.microphone.len());
            let mut frame: Vec<i16> = self.microphone.drain(..say).collect();
            frame.resize(FRAME, 0);
            let bytes: Vec<u8> = frame.iter().flat_map(|s| s.to_le_bytes()).collect();
            let _ = self.socket.send(Message::binary(bytes)).await;
        }
    }

    async fn report(&mut self) {
        let report = json!({
            "type": "playback", "state": "playing", "generation": self.generation,
            "samples": self.heard, "received": self.received,
        });
        let _ = self.socket.send(Message::text(report.to_string())).await;
    }

    /// Hangs up and waits for the server's word.
    pub async fn hang_up(&mut self) {
        self.speaking = false;
        self.send(json!({ "type": "end_call" })).await;
        self.until("the call is over", |c| c.status() == "idle").await;
    }

    /// Goes away without a word, as a phone in a tunnel does, and takes along what it had.
    pub async fn drop_line(self) -> (Value, Value) {
        let at = |samples: u64| json!({ "generation": self.generation, "samples": samples });
        (at(self.heard), at(self.received))
    }
}

/// The two engines every test here needs, or nothing where they are not installed and need not be.
pub fn engines() -> Option<Engines> {
    let registry = Registry::new(Settings::default());
    let (ear, mouth) = (name("pocketsphinx:en-us"), name("flite:kal16"));
    match (registry.transcriber(&ear), registry.synthesiser(&mouth)) {
        (Ok(_), Ok(_)) => Some(Engines(registry)),
        (Err(error), _) | (_, Err(error)) => {
            let required = std::env::var("FRONTDESK_PEERS").is_ok_and(|peers| peers == "required");
            assert!(!required, "{error}");
            eprintln!("skipped: {error}");
            None
        }
    }
}

/// Ears and a mouth of the test's own.
pub struct Engines(Registry);

fn name(text: &str) -> EngineName {
    text.parse().unwrap()
}

impl Engines {
    /// Speech at 16 kHz with half a second of quiet on both ends.
    pub async fn speech(&self, text: &str) -> Vec<i16> {
        let mouth = self.0.synthesiser(&name("flite:kal16")).unwrap();
        let Chunk { rate, samples } = mouth.say(Say::new(text)).unwrap().collect().await.unwrap();
        assert_eq!(rate, LISTEN_RATE);
        let quiet = vec![0; LISTEN_RATE as usize / 2];
        [quiet.clone(), samples, quiet].concat()
    }

    /// Which of these phrases is heard in 16 kHz sound; nothing where it is none of them.
    pub async fn understand(&self, sound: &[i16], phrases: &[&str]) -> String {
        let ear = self.0.transcriber(&name("pocketsphinx:en-us")).unwrap();
        let grammar = Grammar::phrases(phrases.iter().copied()).unwrap();
        let options = SessionOptions { expect: Expect::Grammar(grammar), ..Default::default() };
        let mut session = ear.open(options).unwrap();
        session.begin().unwrap();
        for piece in sound.chunks(LISTEN_RATE as usize / 4) {
            // The whole sound comes at once here, so the ear is waited for when it is behind.
            while session.audio(piece).is_err() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
        session.end().unwrap();
        loop {
            if let Heard::Final { transcript, .. } = session.next().await.unwrap() {
                return transcript.text.0;
            }
        }
    }

    /// How the words of these sentences sound, of all that the system's dictionary has. With all of those a
    /// small model takes seconds to load.
    pub fn dictionary(sentences: &[&str]) -> String {
        let whole = "/usr/share/pocketsphinx/model/en-us/cmudict-en-us.dict";
        let whole = std::fs::read_to_string(whole).unwrap();
        let wanted: Vec<&str> = sentences.iter().flat_map(|s| s.split_whitespace()).collect();
        let lines = whole.lines().filter(|line| {
            let word = line.split([' ', '(']).next().unwrap_or_default();
            wanted.contains(&word)
        });
        lines.map(|line| format!("{line}\n")).collect()
    }

    /// A language model of these sentences, for a server that is to hear no others.
    pub fn language_model(sentences: &[&str]) -> String {
        let split = |s: &&str| s.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let sentences: Vec<Vec<String>> = sentences.iter().map(split).collect();
        let mut words: Vec<String> = sentences.iter().flatten().cloned().collect();
        words.sort();
        words.dedup();
        let mut pairs: Vec<(String, String)> = Vec::new();
        for sentence in &sentences {
            let whole: Vec<String> =
                [vec!["<s>".to_owned()], sentence.clone(), vec!["</s>".to_owned()]].concat();
            pairs.extend(whole.windows(2).map(|w| (w[0].clone(), w[1].clone())));
        }
        pairs.sort();
        pairs.dedup();
        let mut text = format!(
            "\\data\\\nngram 1={}\nngram 2={}\n\n\\1-grams:\n",
            words.len() + 2,
            pairs.len()
        );
        for word in ["<s>", "</s>"].into_iter().chain(words.iter().map(String::as_str)) {
            text += &format!("-1.5\t{word}\t-2.0\n");
        }
        text += "\n\\2-grams:\n";
        for (first, second) in pairs {
            text += &format!("-0.2\t{first} {second}\n");
        }
        text + "\n\\end\\\n"
    }
}
