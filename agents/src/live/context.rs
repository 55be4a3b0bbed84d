//! What a handler can do about calls.

use super::{Call, CallerCard};
use crate::{CallId, Context, ConversationId, Draft, agent::Effect};
use serde_json::Value;

impl<S> Context<'_, S> {
    /// The conversation that is being handled: that of the mail, the call or the chat.
    pub fn conversation(&self) -> Option<ConversationId> {
        self.meta.conversation
    }

    /// The call being handled, if it is one.
    pub fn call(&self) -> Option<&Call> {
        self.meta.call
    }

    /// Who is at the other end of the call or chat being handled.
    pub fn caller(&self) -> Option<&CallerCard> {
        self.meta.caller
    }

    /// Says something in an open call of this instance when the floor is free. If the call is over by the time
    /// this is committed, nothing happens.
    pub fn speak(&mut self, call: CallId, text: impl Into<String>) {
        self.effects.push(Effect::Speak { call: Some(call), text: text.into() });
    }

    /// Says something in every open call of this instance: from [`crate::Agent::on_schedule`] it is a spoken
    /// reminder.
    pub fn speak_all(&mut self, text: impl Into<String>) {
        self.effects.push(Effect::Speak { call: None, text: text.into() });
    }

    /// Sends the client of an open call of this instance a message of the application's own: a JSON object
    /// whose `type` is none of the protocol's. A telephone has no client to take it.
    pub fn send_json(&mut self, call: CallId, body: Value) {
        self.effects.push(Effect::SendJson { call: Some(call), body });
    }

    /// Sends it to the clients of every open call of this instance.
    pub fn send_json_all(&mut self, body: Value) {
        self.effects.push(Effect::SendJson { call: None, body });
    }

    /// Ends the call being handled, after what is being said and the farewell have been heard.
    pub fn hang_up(&mut self, farewell: Option<String>) {
        match self.meta.call {
            Some(call) => self.effects.push(Effect::HangUp { call: call.id, farewell }),
            None => self.note_failure("hang_up() was called where no call is being handled"),
        }
    }

    /// Connects the caller to somebody else, as far as the operator allows it.
    pub fn transfer(&mut self, to: impl Into<String>) {
        match self.meta.call {
            Some(call) => self.effects.push(Effect::Transfer { call: call.id, to: to.into() }),
            None => self.note_failure("transfer() was called where no call is being handled"),
        }
    }

    /// Mails the agent's owner, one of the installation's own people. It goes into a conversation of its own,
    /// linked to the one being handled. Where no owner is configured it becomes a note, and the conversation
    /// is put before a person.
    pub fn notify_owner(&mut self, draft: impl Into<Draft>) {
        let conversation = self.meta.conversation;
        self.effects.push(Effect::NotifyOwner { conversation, draft: draft.into() });
    }
}
