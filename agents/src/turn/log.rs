//! Where a turn's log is kept.
//!
//! A turn that counts is kept in the store: what a call does to the database is committed together with
//! its result, so it happens once however often the process dies. A speculative one is kept in memory
//! and can do nothing but read; if it turns out to be wanted, its entries are stored as one.

use super::step::{CallId, Entry, Foreign, Step};
use crate::{
    TaskId,
    agent::Effect,
    gate::SendRules,
    mail::Trust,
    store::{Appended, Store, StoreError},
    tool::CallEffect,
};
use jiff::Timestamp;
use std::{future::Future, pin::Pin};

/// What a log answers with.
pub type Appending<'a> = Pin<Box<dyn Future<Output = Result<(), LogError>> + Send + 'a>>;

/// Why entries were not added.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// Somebody else added entries: a person decided, or cancelled. They are in the log now.
    #[error("the turn was changed by somebody else meanwhile")]
    Moved,
    /// A speculative turn has no effects.
    #[error("a speculative turn cannot do that")]
    Speculative,
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Entries that are added together, with what they do.
#[derive(Clone, Default)]
pub struct Batch {
    pub steps: Vec<Step>,
    /// What calls that end here do. The text of their result gets a line on what became of it.
    pub effects: Vec<(CallId, Effect)>,
    /// Calls a person must decide about: [`Step::ApprovalAsked`] is added for each.
    pub holds: Vec<Hold>,
    /// What the end of the turn does.
    pub closing: Vec<Effect>,
    /// On what terms all this is done.
    pub terms: TurnTerms,
}

/// On what terms the effects of a turn are applied.
#[derive(Debug, Clone, Default)]
pub struct TurnTerms {
    pub send: SendRules,
    /// The least trusted person before the model.
    pub trust: Option<Trust>,
    /// The foreign text before the model, for which mail to anybody but the conversation's members is held.
    pub foreign: Vec<Foreign>,
}

/// Texts do not reach logs.
impl std::fmt::Debug for Batch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Batch")
            .field("steps", &self.steps)
            .field("holds", &self.holds)
            .finish_non_exhaustive()
    }
}

/// Arguments do not reach logs.
impl std::fmt::Debug for Hold {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Hold({} {})", self.call, self.tool)
    }
}

impl Batch {
    /// One step and nothing else.
    pub fn of(step: Step) -> Self {
        Self { steps: vec![step], ..Self::default() }
    }

    pub(crate) fn has_effects(&self) -> bool {
        !self.effects.is_empty() || !self.holds.is_empty() || !self.closing.is_empty()
    }
}

/// A call that waits for a person, as they will see it.
#[derive(Clone)]
pub struct Hold {
    pub call: CallId,
    pub tool: String,
    /// Exactly what will happen: the arguments in canonical JSON.
    pub arguments: String,
    pub effect: CallEffect,
    pub why: String,
    /// The foreign text that was before the model.
    pub foreign: Vec<Foreign>,
    pub expires_at: Timestamp,
}

/// A log that entries are added to.
pub trait StepLog: Send {
    fn entries(&self) -> &[Entry];
    /// Adds entries, all or none, and answers when they will survive what this log survives.
    fn append<'a>(&'a mut self, batch: Batch, now: Timestamp) -> Appending<'a>;
    /// Whether calls may have effects.
    fn is_real(&self) -> bool;
}

/// A speculative log.
#[derive(Debug, Default, Clone)]
pub struct MemoryLog(Vec<Entry>);

impl MemoryLog {
    /// A log that begins with these entries.
    pub fn new(entries: Vec<Entry>) -> Self {
        Self(entries)
    }

    /// The entries, for the store.
    pub fn into_entries(self) -> Vec<Entry> {
        self.0
    }
}

impl StepLog for MemoryLog {
    fn entries(&self) -> &[Entry] {
        &self.0
    }

    fn append<'a>(&'a mut self, batch: Batch, now: Timestamp) -> Appending<'a> {
        Box::pin(async move {
            if batch.has_effects() {
                return Err(LogError::Speculative);
            }
            self.0.extend(batch.steps.into_iter().map(|step| Entry { at: now, step }));
            Ok(())
        })
    }

    fn is_real(&self) -> bool {
        false
    }
}

/// The log of a turn in the store, with what was read of it.
pub struct StoredLog {
    store: Store,
    turn: TaskId,
    entries: Vec<Entry>,
}

impl StoredLog {
    /// The log of a turn that was claimed.
    pub fn new(store: Store, turn: TaskId, entries: Vec<Entry>) -> Self {
        Self { store, turn, entries }
    }

    /// Somebody else added to it.
    pub(crate) fn moved(&mut self, entries: Vec<Entry>) {
        self.entries = entries;
    }
}

impl StepLog for StoredLog {
    fn entries(&self) -> &[Entry] {
        &self.entries
    }

    fn append<'a>(&'a mut self, batch: Batch, _: Timestamp) -> Appending<'a> {
        Box::pin(async move {
            match self.store.append_steps(self.turn, self.entries.len(), batch).await? {
                Appended::Done(entries) => {
                    self.entries.extend(entries);
                    Ok(())
                }
                Appended::Moved(entries) => {
                    self.entries = entries;
                    Err(LogError::Moved)
                }
            }
        })
    }

    fn is_real(&self) -> bool {
        true
    }
}
