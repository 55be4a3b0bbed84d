//! The small vocabularies of calls, with the words they are stored and shown as.

use serde::{Deserialize, Serialize};

macro_rules! words {
    ($($(#[$doc:meta])* $name:ident { $($(#[$item_doc:meta])* $item:ident = $word:literal),* $(,)? })*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum $name {
            $($(#[$item_doc])* #[serde(rename = $word)] $item,)*
        }

        impl $name {
            /// The word stored and shown.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$item => $word,)* }
            }

            /// The inverse of `as_str`.
            pub fn parse(text: &str) -> Option<Self> {
                match text { $($word => Some(Self::$item),)* _ => None }
            }
        }

        impl rusqlite::ToSql for $name {
            fn to_sql(&self) -> rusqlite::Result<rusqlite::types::ToSqlOutput<'_>> {
                Ok(self.as_str().into())
            }
        }

        impl rusqlite::types::FromSql for $name {
            fn column_result(value: rusqlite::types::ValueRef<'_>) -> rusqlite::types::FromSqlResult<Self> {
                Self::parse(value.as_str()?).ok_or(rusqlite::types::FromSqlError::InvalidType)
            }
        }
    )*};
}

words! {
    /// How a call came.
    CallChannel {
        /// From a browser or another program with a socket.
        Browser = "browser",
        /// By telephone.
        Phone = "phone",
    }

    /// How far what is understood can be relied on.
    Hearing {
        /// A transcriber of ordinary quality.
        Good = "good",
        /// A basic one that was there when no better was: its words are a hint, the recording counts.
        Basic = "basic",
    }

    /// Who said something.
    Speaker {
        Caller = "caller",
        Agent = "agent",
    }

    /// How a person said something.
    Via {
        Speech = "speech",
        /// Typed.
        Text = "text",
        /// Pressed on the telephone's keypad.
        Keypad = "keypad",
    }

    /// Why something was said.
    Origin {
        /// By the caller.
        Caller = "caller",
        /// The first words of the agent.
        Greeting = "greeting",
        /// An answer to a turn.
        Reply = "reply",
        /// Spoken because the agent asked for it outside of a turn.
        Announcement = "announcement",
        /// "Are you still there?"
        Prompt = "prompt",
        /// What went wrong.
        Explanation = "explanation",
        /// The last words of the agent.
        Farewell = "farewell",
    }

    /// How something that was said came to its end.
    Outcome {
        /// It was heard in full.
        Complete = "complete",
        /// The caller cut it off.
        Interrupted = "interrupted",
        /// An engine failed.
        Failed = "failed",
        /// The call ended.
        HungUp = "hung_up",
    }

    /// Why a call ended.
    EndReason {
        CallerHungUp = "caller_hung_up",
        /// The agent ended it.
        AgentEnded = "agent_ended",
        /// One of the people here ended it.
        StaffEnded = "staff_ended",
        /// The caller was connected to somebody else.
        Transferred = "transferred",
        /// Nobody said anything for too long.
        Idle = "idle",
        /// The longest permitted time was over.
        TooLong = "too_long",
        /// The connection broke and did not come back.
        Lost = "lost",
        /// An engine failed and the caller could not be helped otherwise.
        EngineFailed = "engine_failed",
        /// It was never answered.
        NotAnswered = "not_answered",
        /// The server was stopped in order.
        ServerStopped = "server_stopped",
        /// The server died during the call.
        ServerRestart = "server_restart",
    }
}

impl EndReason {
    /// For people: "the caller hung up".
    pub fn in_words(self) -> &'static str {
        match self {
            Self::CallerHungUp => "the caller hung up",
            Self::AgentEnded => "the agent ended the call",
            Self::StaffEnded => "a person here ended the call",
            Self::Transferred => "the caller was transferred",
            Self::Idle => "nobody said anything for too long",
            Self::TooLong => "the longest permitted time was over",
            Self::Lost => "the connection was lost",
            Self::EngineFailed => "speech failed",
            Self::NotAnswered => "the call was not answered",
            Self::ServerStopped => "the server was stopped",
            Self::ServerRestart => "the server stopped during the call",
        }
    }
}
