//! The store: SQLite, and the only SQL of the program.
//!
//! Its API is domain operations (accept this mail, commit this handler's run, claim these
//! deliveries), so that another database can stand behind the same calls. One thread owns the
//! write connection (`writer`); readers are query-only connections. An operation has happened when
//! its call returns, not before: the answer is sent after the commit.
//!
//! - `accept`: mail comes in;
//! - `handle`, `effects` and `notice`: a handler's run is committed;
//! - `outbox`: what leaves, and what became of it;
//! - `calls`: calls and chats are opened, what is said in them is kept, and they end;
//! - `review` and `asking`: what people decide, and how they are asked by mail;
//! - `work`: schedules and tasks;
//! - `turns`, `view` and `memory`: turns of a model, what they may see, and what they remember;
//! - `history`, `lists` and `search`: reading;
//! - `triage`, `drafts`, `contacts`: what people do about it;
//! - `changes` and `webhooks`: telling others what happened;
//! - `idempotency`: what is asked for twice is done once;
//! - `rights`, `users` and `tokens`: who may see and do what;
//! - `thread`: the names of conversations in References;
//! - `blobs`, `migrate`, `index`, `housekeeping`, `backup`: the machinery.

mod accept;
mod asking;
mod backup;
mod blobs;
mod calls;
mod changes;
mod contacts;
mod drafts;
mod effects;
mod handle;
mod history;
mod housekeeping;
mod idempotency;
mod index;
mod lists;
mod memory;
mod migrate;
mod notice;
mod outbox;
mod review;
mod rights;
mod search;
mod thread;
mod tokens;
mod triage;
mod turns;
mod users;
mod view;
mod webhooks;
mod work;
mod writer;

pub use accept::{Accepted, MessageStatus};
pub use blobs::{BlobHash, INLINE_LIMIT, StagedBlob};
pub use calls::{
    CallOutcome, CallRecord, CallSummary, OpenCall, OpenedCall, Recording, Spoken, TurnTimes, Who,
};
pub use changes::{AuditEntry, CHANGES_KEPT, Change, WEBHOOK_EVENTS};
pub use contacts::{Contact, Handle};
pub use drafts::{DraftFile, DraftRow, DraftText, NewDraft};
pub use handle::{DeadLetter, Failure, HandleOutcome, PendingEvent, Queued};
pub use history::{
    AgentSummary, ConversationEntry, ConversationPage, ConversationSummary, DeliverySummary,
    EntryDelivery, EntryMail, EntrySpoken, OutboxItem, PendingCall, PendingReview, RawMail,
};
pub use idempotency::Repeated;
pub use lists::{
    ConversationFilter, Listed, MessageFile, Queue, conversation_cursor, schedule_cursor,
};
pub use memory::{Fact, MEMORY_MAX};
pub use outbox::{Claimed, DeliveryOutcome, OutgoingMail, RenderedPart};
pub use review::{Compose, Reviewed};
pub use rights::{Scope, Sight, Thing, UserRole};
pub use search::SearchHit;
pub use tokens::{NewToken, Token};
pub use triage::{Handling, TRIAGED_MAX, Triage};
pub use turns::{Appended, TurnRow, TurnRun, Used};
pub use users::{NewLink, SecretHash, Session, User, UserChange, actor};
pub(crate) use view::{FileAt, Viewpoint};
pub use webhooks::{DueWebhook, Webhook, WebhookDelivery, WebhookOutcome};
pub use work::{IntentState, ScheduleRow, TaskRow, TaskRun, TaskState};

use crate::{
    AgentId, Clock,
    admission::InstancePolicy,
    gate::{Approval, Budgets, ByReply},
    live::Directive,
};
pub(crate) use calls::{Place, Seen};
use rusqlite::{Connection, OpenFlags, config::DbConfig};
use std::{
    collections::{HashMap, HashSet},
    fs::File,
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, RwLock},
    time::Duration,
};
use tokio::sync::{broadcast, oneshot, watch};
pub(crate) use writer::{Lane, Tx};

/// What can go wrong in the store.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    #[error("the disk is full")]
    DiskFull,
    #[error("another frontdesk is running on {0}: stop it first, or use another --data directory")]
    Locked(PathBuf),
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: Arc<std::io::Error> },
    #[error("database: {0}")]
    Sqlite(Arc<rusqlite::Error>),
    #[error("{0}")]
    NotFound(String),
    /// The operation does not fit the state things are in; the text says which state that is.
    #[error("{0}")]
    Conflict(String),
    /// A cap was reached; the text is fit for the correspondent's eyes.
    #[error("{0}")]
    TooMany(String),
    #[error("the store is shutting down")]
    Closed,
    #[error("{0}")]
    Corrupt(String),
}

impl StoreError {
    /// Whether the same call may succeed later without anybody changing anything.
    pub fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::DiskFull | Self::TooMany(_) | Self::Closed | Self::Io { .. } | Self::Sqlite(_)
        )
    }

    pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| {
            if matches!(
                source.kind(),
                std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded
            ) {
                Self::DiskFull
            } else {
                Self::Io { path, source: Arc::new(source) }
            }
        }
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(rusqlite::ErrorCode::DiskFull) => Self::DiskFull,
            _ => Self::Sqlite(Arc::new(error)),
        }
    }
}

impl From<serde_json::Error> for StoreError {
    fn from(error: serde_json::Error) -> Self {
        Self::Corrupt(format!("stored JSON does not read: {error}"))
    }
}

pub type Result<T, E = StoreError> = std::result::Result<T, E>;

/// What the store must know about agents and limits to route and to gate. Replaced as a whole when the
/// configuration changes.
#[derive(Clone)]
pub struct Rules {
    pub agents: HashMap<AgentId, AgentRules>,
    /// Whether an address (lower case) is one of ours, aliases and tagged forms included.
    pub is_own: Arc<dyn Fn(&str) -> bool + Send + Sync>,
    pub limits: Limits,
    /// What people may approve by answering a mail.
    pub by_reply: ByReply,
    /// The global stop switch.
    pub stopped: bool,
}

/// What the store must know about one agent.
#[derive(Debug, Clone)]
pub struct AgentRules {
    pub name: String,
    pub instance: InstancePolicy,
    pub approval: Approval,
    /// Whether the agent's handlers run at all; role addresses are kept for people.
    pub runs: bool,
    /// The address the agent writes from when it answers nothing.
    pub address: String,
    /// The person of this installation whom the agent may always tell, by mail.
    pub owner: Option<String>,
}

/// The circuit breakers and caps of DESIGN sections 3 and 5.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Automatic replies in a conversation without new human text.
    pub auto_per_conversation: u32,
    /// Automatic replies to one correspondent a day.
    pub auto_per_correspondent: u32,
    /// Automatic mails of one agent a day.
    pub auto_per_agent: u32,
    /// New unproven instances from one network a day.
    pub unproven_per_network: u32,
    /// New unproven instances of one agent a day.
    pub unproven_per_agent: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            auto_per_conversation: 3,
            auto_per_correspondent: 10,
            auto_per_agent: 200,
            unproven_per_network: 200,
            unproven_per_agent: 5_000,
        }
    }
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            agents: HashMap::new(),
            is_own: Arc::new(|_| false),
            limits: Limits::default(),
            by_reply: ByReply::default(),
            stopped: false,
        }
    }
}

/// Told after the commit that made it true.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wake {
    /// An event waits for an instance.
    Event(PendingEvent),
    /// A delivery may be due.
    Outbox,
    /// A task may be due or was cancelled.
    Task,
    /// The earliest schedule may have changed.
    Schedule,
    /// An agent wants something of a call. Told through [`Store::directives`] only.
    Directive(Arc<Directive>),
}

/// Where commits are told of.
pub(crate) struct Wakes {
    all: broadcast::Sender<Wake>,
    /// Marked as changed by [`Wake::Task`] and [`Wake::Schedule`], for those who need no other.
    tasks: watch::Sender<()>,
    schedules: watch::Sender<()>,
    directives: broadcast::Sender<Arc<Directive>>,
    /// Marked as changed after every commit. True when the store is closed.
    commits: watch::Sender<bool>,
}

impl Wakes {
    fn new() -> Self {
        Self {
            all: broadcast::Sender::new(WAKE_BACKLOG),
            tasks: watch::Sender::new(()),
            schedules: watch::Sender::new(()),
            directives: broadcast::Sender::new(DIRECTIVE_BACKLOG),
            commits: watch::Sender::new(false),
        }
    }

    fn send(&self, wakes: &[Wake]) {
        self.commits.send_modify(|_| ());
        for wake in wakes {
            if let Wake::Directive(directive) = wake {
                // No subscriber means no calls.
                let _ = self.directives.send(directive.clone());
                continue;
            }
            // No subscriber is fine: they look at the tables when they start.
            let _ = self.all.send(wake.clone());
            match wake {
                Wake::Task => self.tasks.send_modify(|()| ()),
                Wake::Schedule => self.schedules.send_modify(|()| ()),
                Wake::Event(_) | Wake::Outbox | Wake::Directive(_) => {}
            }
        }
    }
}

/// The store. Cheap to clone; the last clone closes the database.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    dir: PathBuf,
    writer: writer::Writer,
    index: index::Index,
    readers: Readers,
    rules: RwLock<Arc<Rules>>,
    /// Addresses that mail is refused from: asked for every mail, so not of the database.
    blocked: RwLock<HashSet<String>>,
    wakes: Arc<Wakes>,
    clock: Arc<dyn Clock>,
    // Dropped last: the directory is ours until the database is closed.
    _lock: File,
}

/// Read connections. Each answers one query at a time; four are enough to keep two cores busy.
const READERS: usize = 4;

/// How far a subscriber of [`Store::wakes`] may fall behind before it must look at the tables again.
/// One entry is 32 bytes; this is a few seconds at full speed.
const WAKE_BACKLOG: usize = 16_384;

/// How many directives a subscriber of [`Store::directives`] may fall behind: several for every call of a
/// busy server. They are not stored, so one that falls further behind has missed some.
const DIRECTIVE_BACKLOG: usize = 4_096;

impl Store {
    /// Opens (or creates) the store in a directory, locks it, and brings its schema up to date.
    pub fn open(dir: &Path, clock: Arc<dyn Clock>) -> Result<Self> {
        std::fs::create_dir_all(dir).map_err(StoreError::io(dir))?;
        let lock = lock(dir)?;
        blobs::prepare(dir)?;
        let path = dir.join("frontdesk.db");
        let mut connection = open_connection(&path, Role::Writer)?;
        migrate::run(&mut connection)?;
        set(&connection, "foreign_keys", "1", "1")?;
        let blocked = contacts::load_blocked(&connection)?;
        let wakes = Arc::new(Wakes::new());
        let signal = Arc::new(index::Signal::default());
        let index = index::Index::start(&path, signal.clone())?;
        let writer =
            writer::Writer::start(connection, path.clone(), clock.clone(), wakes.clone(), signal)?;
        let readers = Readers::open(&path)?;
        Ok(Self(Arc::new(Inner {
            dir: dir.to_owned(),
            writer,
            index,
            readers,
            rules: RwLock::new(Arc::default()),
            blocked: RwLock::new(blocked),
            wakes,
            clock,
            _lock: lock,
        })))
    }

    /// The directory of the store.
    pub fn dir(&self) -> &Path {
        &self.0.dir
    }

    /// The clock everything here is stamped with.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.0.clock
    }

    /// What is told after commits from now on. A receiver that lags must look at the tables again.
    pub fn wakes(&self) -> broadcast::Receiver<Wake> {
        self.0.wakes.all.subscribe()
    }

    /// What agents want of calls from now on, each told after the commit that made it so.
    pub fn directives(&self) -> broadcast::Receiver<Arc<Directive>> {
        self.0.wakes.directives.subscribe()
    }

    /// Changed whenever a task may be due or was cancelled.
    pub(crate) fn task_wakes(&self) -> watch::Receiver<()> {
        self.0.wakes.tasks.subscribe()
    }

    /// Changed whenever the earliest schedule may have changed.
    pub(crate) fn schedule_wakes(&self) -> watch::Receiver<()> {
        self.0.wakes.schedules.subscribe()
    }

    /// Replaces the rules.
    pub fn set_rules(&self, rules: Rules) {
        *self.0.rules.write().unwrap_or_else(|poisoned| poisoned.into_inner()) = Arc::new(rules);
    }

    /// The rules in force.
    pub fn rules(&self) -> Arc<Rules> {
        self.0.rules.read().unwrap_or_else(|poisoned| poisoned.into_inner()).clone()
    }

    /// Finds or creates the agents with these names and kinds, in the same order.
    pub async fn register_agents(&self, agents: Vec<(String, String)>) -> Result<Vec<AgentId>> {
        self.write(Lane::Turn, move |tx| {
            agents
                .iter()
                .map(|(name, kind)| {
                    tx.row(
                        "INSERT INTO agents (name, kind, created_at) VALUES (?1, ?2, ?3)
                         ON CONFLICT (name) DO UPDATE SET kind = excluded.kind
                         RETURNING id",
                        (name, kind, tx.now),
                        |row| row.get(0),
                    )
                })
                .collect()
        })
        .await
    }

    /// Runs an operation in the writer and answers after its commit.
    pub(crate) async fn write<T: Send + 'static>(
        &self,
        lane: Lane,
        op: impl Fn(&mut Tx<'_>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (done, outcome) = oneshot::channel();
        self.submit(lane, op, move |result| {
            // A caller that went away does not undo what was committed.
            let _ = done.send(result);
        });
        outcome.await.unwrap_or(Err(StoreError::Closed))
    }

    /// The same with a callback, which runs on the writer's thread right after the commit.
    pub(crate) fn submit<T: Send + 'static>(
        &self,
        lane: Lane,
        op: impl Fn(&mut Tx<'_>) -> Result<T> + Send + 'static,
        done: impl FnOnce(Result<T>) + Send + 'static,
    ) {
        self.0.writer.submit(lane, op, done);
    }

    /// Runs a query on a reader, on the calling thread.
    pub(crate) fn read<T>(&self, query: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
        self.0.readers.with(query)
    }

    /// Runs a query on a reader, off the async threads.
    pub(crate) async fn read_async<T: Send + 'static>(
        &self,
        query: impl FnOnce(&Connection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let store = self.clone();
        tokio::task::spawn_blocking(move || store.read(query))
            .await
            .unwrap_or(Err(StoreError::Closed))
    }

    /// Commits what is queued, checkpoints and closes. Later operations answer [`StoreError::Closed`].
    pub async fn close(&self) {
        let store = self.clone();
        let _ = tokio::task::spawn_blocking(move || {
            store.0.writer.stop();
            store.0.index.stop();
        })
        .await;
        self.0.wakes.commits.send_replace(true);
    }
}

/// Takes the lock that keeps a second server off the same data.
fn lock(dir: &Path) -> Result<File> {
    let path = dir.join("lock");
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(StoreError::io(&path))?;
    match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(StoreError::Locked(dir.to_owned())),
        Err(errno) => Err(StoreError::io(path)(errno.into())),
    }
}

/// How long a connection waits for another's lock before it gives up.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Writer,
    Checkpointer,
    Reader,
}

impl Role {
    /// Page cache in KiB. The operating system caches the file as well, so this saves copies, not reads.
    fn cache(self) -> i64 {
        match self {
            Self::Writer => 16 * 1024,
            Self::Checkpointer => 512,
            Self::Reader => 4 * 1024,
        }
    }
}

/// Opens a connection and sets what every connection needs. SQLite ignores a misspelt pragma without a
/// word, so each is read back.
fn open_connection(path: &Path, role: Role) -> Result<Connection> {
    let flags = match role {
        Role::Reader => OpenFlags::SQLITE_OPEN_READ_ONLY,
        Role::Writer | Role::Checkpointer => {
            OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE
        }
    };
    let connection = Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(192);
    // Plans do not depend on bound values. Without this a statement over a table with partial indexes is
    // prepared anew for every value bound to it: a quarter of the writer's time.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    if role == Role::Reader {
        set(&connection, "query_only", "1", "1")?;
    } else {
        // Only a new database takes a page size: 8 KiB holds an ordinary mail row in one or two pages.
        connection.pragma_update(None, "page_size", 8192)?;
        set(&connection, "journal_mode", "WAL", "wal")?;
        // FULL: a commit is on the disk when it returns. Mail is acknowledged after it.
        set(&connection, "synchronous", "FULL", "2")?;
        // Checkpoints run on their own connection, so no accept waits for one.
        set(&connection, "wal_autocheckpoint", "0", "0")?;
        // Truncating a large log takes as long as writing it, so it is kept below this size and reused.
        set(&connection, "journal_size_limit", "268435456", "268435456")?;
    }
    set(&connection, "temp_store", "MEMORY", "2")?;
    let cache = (-role.cache()).to_string();
    set(&connection, "cache_size", &cache, &cache)?;
    Ok(connection)
}

fn set(connection: &Connection, pragma: &str, value: &str, expected: &str) -> Result<()> {
    connection.pragma_update(None, pragma, value)?;
    let actual: rusqlite::types::Value =
        connection.pragma_query_value(None, pragma, |row| row.get(0))?;
    let actual = match actual {
        rusqlite::types::Value::Integer(n) => n.to_string(),
        rusqlite::types::Value::Text(text) => text,
        other => format!("{other:?}"),
    };
    if actual != expected {
        return Err(StoreError::Corrupt(format!(
            "PRAGMA {pragma} is {actual} instead of {expected}"
        )));
    }
    Ok(())
}

struct Readers {
    idle: Mutex<Vec<Connection>>,
    returned: Condvar,
}

impl Readers {
    fn open(path: &Path) -> Result<Self> {
        let idle = (0..READERS)
            .map(|_| {
                let reader = open_connection(path, Role::Reader)?;
                index::attach(&reader, path)?;
                Ok(reader)
            })
            .collect::<Result<Vec<_>>>()?;
        Ok(Self { idle: Mutex::new(idle), returned: Condvar::new() })
    }

    fn with<T>(&self, query: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
        /// Gives the connection back even if the query panics.
        struct Lease<'a>(&'a Readers, Option<Connection>);
        impl Drop for Lease<'_> {
            fn drop(&mut self) {
                let Some(connection) = self.1.take() else { return };
                // A query that failed or panicked may have left its transaction open, which would freeze
                // what this connection sees and keep the write-ahead log from being restarted.
                if !connection.is_autocommit()
                    && let Err(error) = connection.execute_batch("ROLLBACK")
                {
                    tracing::error!(%error, "a reader could not end its transaction");
                }
                let mut idle = self.0.idle.lock().unwrap_or_else(|p| p.into_inner());
                idle.push(connection);
                drop(idle);
                self.0.returned.notify_one();
            }
        }
        let mut idle = self.idle.lock().unwrap_or_else(|p| p.into_inner());
        let connection = loop {
            // The most recently used connection first: its page cache is warm.
            if let Some(connection) = idle.pop() {
                break connection;
            }
            idle = self.returned.wait(idle).unwrap_or_else(|p| p.into_inner());
        };
        drop(idle);
        let lease = Lease(self, Some(connection));
        query(lease.1.as_ref().expect("the lease holds its connection until it is dropped"))
    }
}

/// Days since 1970 in UTC, the key of the daily counters.
pub(crate) fn day_of(millis: i64) -> i64 {
    millis.div_euclid(86_400_000)
}

pub(crate) fn timestamp(millis: i64) -> jiff::Timestamp {
    jiff::Timestamp::from_millisecond(millis).unwrap_or(jiff::Timestamp::UNIX_EPOCH)
}

/// The budgets as they stand, for the gate.
fn budgets(
    tx: &Tx<'_>,
    rules: &Rules,
    agent: AgentId,
    auto_since_human: u32,
    recipients: &[String],
) -> Result<Budgets> {
    use crate::gate::Allowance;
    let mut fullest = 0;
    for recipient in recipients {
        fullest = fullest.max(tx.tally("auto_to", recipient)?);
    }
    Ok(Budgets {
        conversation: Allowance { used: auto_since_human, cap: rules.limits.auto_per_conversation },
        correspondent: Allowance { used: fullest, cap: rules.limits.auto_per_correspondent },
        agent: Allowance {
            used: tx.tally("auto_agent", &agent.0.to_string())?,
            cap: rules.limits.auto_per_agent,
        },
        stopped: rules.stopped,
    })
}
