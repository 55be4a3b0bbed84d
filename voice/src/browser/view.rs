//! A call as its client sees it: which sound of which reply it has, and what of the transcript is open.
//!
//! The call counts samples of a stretch, the client those of a reply; here one becomes the other. A
//! client that follows playback keeps what it was sent when it must be quiet, so what the call gives
//! again after a hold or a dropped line is left out as far as the client has it. Any other client forgets
//! it, and gets it again.
//!
//! What always holds: a client gets each reply's samples once and in order, unless it was told to forget
//! them; and it is never left paused while a reply that it should play goes on.

use super::{Features, Position, Wire, reply};
use crate::{
    audio::{Frame, Rate},
    call::{Input, Message, Outcome, Output, Speaker},
    shell::Event,
};

/// Sound for clients without numbered replies goes in pieces of so many frames: 100 ms. They play each
/// piece as a buffer of its own, and short ones would leave gaps.
const PIECE: usize = 5;

/// Replies of one stretch that reports are still expected for.
const ANCHORS: usize = 64;

/// A call as its client sees it.
#[derive(Debug)]
pub struct View {
    rate: Rate,
    features: Features,
    /// Only what the caller says is of interest.
    dictation: bool,
    stretch: u32,
    /// Samples given in this stretch.
    given: u64,
    anchors: Vec<Anchor>,
    /// The reply that is being sent.
    current: Option<Sent>,
    paused: bool,
    /// The next clear is the answer to a client's return, which has its own idea of what it holds.
    returning: bool,
    /// Sound that waits until it is a piece.
    piece: Vec<u8>,
    frames: usize,
    /// The reply whose text is open, and its text so far.
    writing: Option<(u32, String)>,
}

/// Where a reply's samples begin in the stretch.
#[derive(Debug, Clone, Copy)]
struct Anchor {
    generation: u32,
    /// Samples of the stretch before it.
    given: u64,
    /// The position in the reply that is there.
    position: u64,
    /// The position at which the client began to count.
    base: u64,
}

/// What a client has of a reply.
#[derive(Debug, Clone, Copy)]
struct Sent {
    generation: u32,
    base: u64,
    /// Samples the client has, from `base`.
    has: u64,
    /// The position of the next frame, if none is taken back.
    next: u64,
}

impl View {
    /// A new call, in sound of `rate`, for a client with these additions.
    #[must_use]
    pub fn new(rate: Rate, features: Features, dictation: bool) -> Self {
        Self {
            rate,
            features,
            dictation,
            stretch: 0,
            given: 0,
            anchors: Vec::new(),
            current: None,
            paused: false,
            returning: false,
            piece: Vec::new(),
            frames: 0,
            writing: None,
        }
    }

    /// The rate of the sound to the client.
    #[must_use]
    pub fn rate(&self) -> Rate {
        self.rate
    }

    /// What to send for something the call put out.
    #[must_use]
    pub fn show(&mut self, event: Event) -> Vec<Wire> {
        let mut out = Vec::new();
        match event {
            Event::Problem(problem) => out.push(reply::error(&problem)),
            Event::Message(message) => out.extend(reply::custom(&message.0)),
            Event::Call(output) => self.output(output, &mut out),
        }
        out
    }

    fn output(&mut self, output: Output, out: &mut Vec<Wire>) {
        match output {
            Output::Audio { generation, position, frame, .. } => {
                self.sound(generation, position, &frame, out);
            }
            Output::AudioEnd { generation } => {
                self.flush(out);
                self.close_text(generation, out);
                if self.features.playback {
                    out.push(reply::audio_end(generation));
                }
            }
            Output::Clear { stretch } => self.clear(stretch, out),
            Output::Status { status } => {
                self.flush(out);
                out.push(reply::status(status));
            }
            Output::Interim { text } => out.push(reply::transcript_interim(&text)),
            Output::Reply { generation, text } if !self.dictation => {
                self.write(generation, &text, out);
            }
            Output::Notice { notice } => {
                out.extend(reply::explain(notice).map(reply::error));
            }
            Output::Commit { message } => self.commit(&message, out),
            Output::Metrics { metrics } if !self.dictation => {
                out.extend(reply::metrics(&metrics));
            }
            _ => {}
        }
    }

    fn sound(&mut self, generation: u32, position: u64, frame: &Frame, out: &mut Vec<Wire>) {
        let length = frame.samples().len() as u64;
        let begins = self.current.is_none_or(|sent| sent.generation != generation);
        let mut sent = match self.current {
            Some(sent) if !begins => sent,
            _ => Sent { generation, base: position, has: 0, next: position },
        };
        let at = position.saturating_sub(sent.base);
        if at > sent.has {
            // The call passed over something that the client never had, so it counts on from there.
            sent.base = position - sent.has;
        }
        let jumped = begins || position != sent.next || self.anchors.is_empty();
        if jumped {
            if self.anchors.len() == ANCHORS {
                self.anchors.remove(0);
            }
            let base = sent.base;
            self.anchors.push(Anchor { generation, given: self.given, position, base });
        }
        self.given += length;
        sent.next = position + length;

        if !self.features.playback {
            self.current = Some(sent);
            self.piece.extend(frame.to_le_bytes());
            self.frames += 1;
            if self.frames == PIECE {
                self.flush(out);
            }
            return;
        }
        if begins {
            out.push(reply::audio_start(generation));
        }
        if std::mem::take(&mut self.paused) {
            out.push(reply::playback_resume());
        }
        let at = position - sent.base.min(position);
        let known = sent.has.saturating_sub(at).min(length) as usize;
        if known < length as usize {
            let bytes = frame.samples()[known..].iter().flat_map(|sample| sample.to_le_bytes());
            out.push(Wire::Binary(bytes.collect()));
            sent.has = at + length;
        }
        self.current = Some(sent);
    }

    /// Sends what there is of a piece.
    fn flush(&mut self, out: &mut Vec<Wire>) {
        self.frames = 0;
        if !self.piece.is_empty() {
            out.push(Wire::Binary(std::mem::take(&mut self.piece)));
        }
    }

    fn clear(&mut self, stretch: u32, out: &mut Vec<Wire>) {
        (self.stretch, self.given) = (stretch, 0);
        self.anchors.clear();
        self.piece.clear();
        self.frames = 0;
        if std::mem::take(&mut self.returning) {
            return;
        }
        if !self.features.playback {
            out.push(reply::playback_interrupt());
        } else if self.current.is_some() && !std::mem::replace(&mut self.paused, true) {
            out.push(reply::playback_pause());
        }
    }

    fn write(&mut self, generation: u32, text: &str, out: &mut Vec<Wire>) {
        match &mut self.writing {
            Some((of, whole)) if *of == generation => whole.push_str(text),
            _ => {
                if let Some((of, _)) = self.writing {
                    self.close_text(of, out);
                }
                self.writing = Some((generation, text.to_owned()));
                let number = self.features.playback.then_some(generation);
                out.push(reply::transcript_start(number));
            }
        }
        out.push(reply::transcript_delta(text));
    }

    fn close_text(&mut self, generation: u32, out: &mut Vec<Wire>) {
        if let Some((_, whole)) = self.writing.take_if(|(of, _)| *of == generation) {
            out.push(reply::transcript_end(&whole));
        }
    }

    fn commit(&mut self, message: &Message, out: &mut Vec<Wire>) {
        if message.speaker == Speaker::Caller {
            out.push(reply::transcript("user", &message.text));
            return;
        }
        let Some(generation) = message.generation else { return };
        self.close_text(generation, out);
        if self.features.playback && message.outcome != Outcome::Complete {
            if std::mem::take(&mut self.paused) {
                out.push(reply::playback_interrupt());
            }
            let (heard, unheard) = message.text.split_at(message.heard);
            out.push(reply::transcript_heard(generation, heard, unheard));
        }
    }

    /// What a client's report means to the call, if anything any more.
    #[must_use]
    pub fn played(&self, report: Position) -> Option<Input> {
        let anchors = self.anchors.iter().rev().filter(|a| a.generation == report.generation);
        let mut earliest = None;
        for anchor in anchors {
            let position = anchor.base + report.samples;
            if position >= anchor.position {
                let samples = anchor.given + (position - anchor.position);
                return Some(Input::Played { stretch: self.stretch, samples });
            }
            earliest = Some(anchor);
        }
        // Not yet at what was given again: nothing of this stretch was played.
        earliest.map(|anchor| Input::Played { stretch: self.stretch, samples: anchor.given })
    }

    /// The client is back with what it has received; `features` are those of its new connection. To be told
    /// before the call is ([`Input::Back`]), and after everything the call put out meanwhile was shown.
    pub fn back(&mut self, features: Features, received: Position) {
        self.features = features;
        self.returning = true;
        self.paused = false;
        match &mut self.current {
            Some(sent) if sent.generation == received.generation => sent.has = received.samples,
            current => *current = None,
        }
    }

    /// The line dropped: what the call puts out from here on is shown when the client is back. Gives what of
    /// it makes no sense then.
    #[must_use]
    pub fn while_away(&mut self, event: Event) -> Vec<Wire> {
        let shown = self.show(event);
        self.paused = false;
        let pause = reply::playback_pause();
        let sound = |wire: &Wire| matches!(wire, Wire::Binary(_));
        shown.into_iter().filter(|wire| !sound(wire) && *wire != pause).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::{Origin, Status};

    const RATE: Rate = Rate::Hz16000;
    const OURS: Features = Features {
        playback: true,
        resume: true,
        ping: true,
        pace: true,
        notice: true,
        short_frames: true,
        resume_text: true,
    };

    fn frame(generation: u32, number: u64) -> Event {
        let frame = Frame::new(RATE, vec![number as i16; 320]).unwrap();
        let position = number * 320;
        Event::Call(Output::Audio { generation, position, play_at: 0, frame })
    }

    fn kinds(wires: &[Wire]) -> Vec<String> {
        wires
            .iter()
            .map(|wire| match wire {
                Wire::Binary(bytes) => format!("{} bytes", bytes.len()),
                Wire::Text(text) => {
                    let value: serde_json::Value = serde_json::from_str(text).unwrap();
                    value["type"].as_str().unwrap().to_owned()
                }
            })
            .collect()
    }

    fn show(view: &mut View, events: impl IntoIterator<Item = Event>) -> Vec<String> {
        let wires: Vec<Wire> = events.into_iter().flat_map(|event| view.show(event)).collect();
        kinds(&wires)
    }

    fn agent(generation: u32, text: &str, heard: usize, outcome: Outcome) -> Event {
        Event::Call(Output::Commit {
            message: Message {
                speaker: Speaker::Agent,
                origin: Origin::Reply,
                via: None,
                turn: Some(1),
                generation: Some(generation),
                at: 0,
                text: text.into(),
                generated: text.len(),
                sent: text.len(),
                heard,
                outcome,
            },
        })
    }

    #[test]
    fn a_hold_that_resumes_sends_only_what_the_client_does_not_have() {
        let mut view = View::new(RATE, OURS, false);
        assert_eq!(
            show(&mut view, (0..3).map(|n| frame(1, n))),
            ["audio_start", "640 bytes", "640 bytes", "640 bytes"]
        );
        assert_eq!(
            show(&mut view, [Event::Call(Output::Clear { stretch: 1 })]),
            ["playback_pause"]
        );
        // The call goes back to the second frame; the client has three.
        assert_eq!(show(&mut view, (1..4).map(|n| frame(1, n))), ["playback_resume", "640 bytes"]);
        // Its reports are those of the new stretch.
        let report = |samples| view.played(Position { generation: 1, samples });
        assert_eq!(report(320 * 3), Some(Input::Played { stretch: 1, samples: 640 }));
        assert_eq!(report(100), Some(Input::Played { stretch: 1, samples: 0 }));
        assert_eq!(view.played(Position { generation: 9, samples: 1 }), None);
    }

    #[test]
    fn a_hold_that_interrupts_tells_what_was_heard() {
        let mut view = View::new(RATE, OURS, false);
        let text = "We open at nine and close at five.";
        show(&mut view, [Event::Call(Output::Reply { generation: 1, text: text.into() })]);
        show(&mut view, (0..3).map(|n| frame(1, n)));
        show(&mut view, [Event::Call(Output::Clear { stretch: 1 })]);
        let wires = view.show(agent(1, text, 15, Outcome::Interrupted));
        assert_eq!(kinds(&wires), ["transcript_end", "playback_interrupt", "transcript_heard"]);
        let Wire::Text(heard) = &wires[2] else { panic!() };
        assert!(heard.contains(r#""heard":"We open at nine""#), "{heard}");
        // The next reply is not held back by the pause.
        assert_eq!(show(&mut view, [frame(2, 0)]), ["audio_start", "640 bytes"]);
    }

    #[test]
    fn a_client_of_version_1_forgets_and_gets_it_again_in_pieces() {
        let mut view = View::new(RATE, Features::default(), false);
        assert_eq!(show(&mut view, (0..6).map(|n| frame(1, n))), ["3200 bytes"]);
        assert_eq!(
            show(&mut view, [Event::Call(Output::Clear { stretch: 1 })]),
            ["playback_interrupt"]
        );
        assert_eq!(show(&mut view, (2..7).map(|n| frame(1, n))), ["3200 bytes"]);
        assert_eq!(
            show(&mut view, [frame(1, 7), Event::Call(Output::AudioEnd { generation: 1 })]),
            ["640 bytes"]
        );
        let text = Event::Call(Output::Reply { generation: 1, text: "Hi.".into() });
        let wires = view.show(text);
        assert_eq!(wires[0], reply::transcript_start(None));
    }

    #[test]
    fn a_client_that_comes_back_gets_what_follows_what_it_received() {
        let mut view = View::new(RATE, OURS, false);
        show(&mut view, (0..5).map(|n| frame(3, n)));
        let status = Event::Call(Output::Status { status: Status::Speaking });
        let away = [Event::Call(Output::Clear { stretch: 1 }), status];
        let away: Vec<Wire> = away.into_iter().flat_map(|e| view.while_away(e)).collect();
        assert_eq!(kinds(&away), ["status"]);
        // Four and a half frames had arrived.
        view.back(OURS, Position { generation: 3, samples: 1_440 });
        assert!(show(&mut view, [Event::Call(Output::Clear { stretch: 2 })]).is_empty());
        assert_eq!(
            show(&mut view, (2..6).map(|n| frame(3, n))),
            ["320 bytes", "640 bytes"],
            "the rest of the fifth frame, and the sixth"
        );
        assert_eq!(
            view.played(Position { generation: 3, samples: 1_600 }),
            Some(Input::Played { stretch: 2, samples: 1_600 - 640 })
        );
        // One that has nothing of this reply is told that it begins.
        view.back(OURS, Position { generation: 2, samples: 10 });
        show(&mut view, [Event::Call(Output::Clear { stretch: 3 })]);
        assert_eq!(show(&mut view, [frame(3, 4)]), ["audio_start", "640 bytes"]);
        assert_eq!(
            view.played(Position { generation: 3, samples: 320 }),
            Some(Input::Played { stretch: 3, samples: 320 })
        );
    }

    #[test]
    fn sound_the_call_passed_over_does_not_shift_the_reports() {
        let mut view = View::new(RATE, OURS, false);
        show(&mut view, (0..2).map(|n| frame(1, n)));
        view.back(OURS, Position { generation: 1, samples: 320 });
        show(&mut view, [Event::Call(Output::Clear { stretch: 1 })]);
        // The call believes that three frames were heard; the client has one.
        assert_eq!(show(&mut view, [frame(1, 3), frame(1, 4)]), ["640 bytes", "640 bytes"]);
        assert_eq!(
            view.played(Position { generation: 1, samples: 3 * 320 }),
            Some(Input::Played { stretch: 1, samples: 640 })
        );
    }

    #[test]
    fn an_agent_may_stay_silent_and_that_is_no_error() {
        use crate::call::Notice;
        let mut view = View::new(RATE, OURS, false);
        let notices = [Notice::NoReply, Notice::AgentSlow, Notice::NoReply];
        let notices = notices.map(|notice| Event::Call(Output::Notice { notice }));
        assert_eq!(show(&mut view, notices), ["error"]);
    }

    #[test]
    fn dictation_shows_the_caller_only() {
        let mut view = View::new(RATE, Features::default(), true);
        let shown = show(
            &mut view,
            [
                Event::Call(Output::Interim { text: "call".into() }),
                Event::Call(Output::Reply { generation: 1, text: "Hi.".into() }),
                Event::Call(Output::Notice { notice: crate::call::Notice::NoReply }),
                Event::Problem("the disk is full".into()),
            ],
        );
        assert_eq!(shown, ["transcript_interim", "error"]);
    }
}
