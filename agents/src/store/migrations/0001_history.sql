-- The shared history and both durable queues. Times are milliseconds since 1970 in UTC.
-- AUTOINCREMENT everywhere an id is shown to anybody: an id never comes back.

CREATE TABLE meta (
    key   TEXT NOT NULL PRIMARY KEY,
    value ANY NOT NULL
) STRICT, WITHOUT ROWID;
-- What the names of conversations in References are made with.
INSERT INTO meta (key, value) VALUES ('thread_key', randomblob(32));

CREATE TABLE agents (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    name       TEXT NOT NULL UNIQUE,
    kind       TEXT NOT NULL,
    -- How many it has: kept by triggers, for counting a million rows takes a tenth of a second.
    instances     INTEGER NOT NULL DEFAULT 0,
    conversations INTEGER NOT NULL DEFAULT 0,
    created_at INTEGER NOT NULL
) STRICT;

CREATE TABLE contacts (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    name        TEXT NOT NULL DEFAULT '',
    trust       TEXT NOT NULL DEFAULT 'proven',
    merged_into INTEGER REFERENCES contacts(id),
    created_at  INTEGER NOT NULL
) STRICT;

-- Only what was proven to belong to a contact. An address that merely stands in a From line is
-- not here.
CREATE TABLE handles (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    contact_id INTEGER NOT NULL REFERENCES contacts(id),
    channel    TEXT NOT NULL,
    value      TEXT NOT NULL,
    proof      TEXT NOT NULL,
    proven_at  INTEGER NOT NULL,
    UNIQUE (channel, value)
) STRICT;
CREATE INDEX handles_by_contact ON handles(contact_id);

-- One (agent, key). The state is the agent's own JSON; state_version 0 means it never ran.
CREATE TABLE instances (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    agent_id      INTEGER NOT NULL REFERENCES agents(id),
    key           TEXT NOT NULL,
    contact_id    INTEGER REFERENCES contacts(id),
    proven        INTEGER NOT NULL,
    state         TEXT NOT NULL DEFAULT '',
    state_version INTEGER NOT NULL DEFAULT 0,
    version       INTEGER NOT NULL DEFAULT 0,
    archived_at   INTEGER,
    created_at    INTEGER NOT NULL,
    UNIQUE (agent_id, key)
) STRICT;
CREATE TRIGGER instances_counted AFTER INSERT ON instances BEGIN
    UPDATE agents SET instances = instances + 1 WHERE id = NEW.agent_id;
END;
CREATE TRIGGER instances_uncounted AFTER DELETE ON instances BEGIN
    UPDATE agents SET instances = instances - 1 WHERE id = OLD.agent_id;
END;

CREATE TABLE conversations (
    id               INTEGER PRIMARY KEY AUTOINCREMENT,
    agent_id         INTEGER NOT NULL REFERENCES agents(id),
    instance_id      INTEGER NOT NULL REFERENCES instances(id),
    channel          TEXT NOT NULL,
    subject          TEXT NOT NULL DEFAULT '',
    -- open, needs_review, waiting
    queue            TEXT NOT NULL DEFAULT 'open',
    review_why       TEXT NOT NULL DEFAULT '',
    linked_to        INTEGER REFERENCES conversations(id),
    -- Automatic replies since a person last wrote something new: the first circuit breaker.
    auto_since_human INTEGER NOT NULL DEFAULT 0,
    last_sent_at     INTEGER,
    last_message_at  INTEGER NOT NULL,
    created_at       INTEGER NOT NULL
) STRICT;
CREATE INDEX conversations_by_time ON conversations(last_message_at DESC, id DESC);
CREATE INDEX conversations_by_queue ON conversations(queue, last_message_at DESC, id DESC)
    WHERE queue <> 'open';
CREATE INDEX conversations_by_agent ON conversations(agent_id, last_message_at DESC, id DESC);
CREATE INDEX conversations_by_instance ON conversations(instance_id, last_message_at DESC);
CREATE TRIGGER conversations_counted AFTER INSERT ON conversations BEGIN
    UPDATE agents SET conversations = conversations + 1 WHERE id = NEW.agent_id;
END;
CREATE TRIGGER conversations_uncounted AFTER DELETE ON conversations BEGIN
    UPDATE agents SET conversations = conversations - 1 WHERE id = OLD.agent_id;
END;

-- A member was admitted by us: we wrote to them, or they opened the conversation verified. An
-- inbound Cc makes nobody a member.
CREATE TABLE participants (
    conversation_id INTEGER NOT NULL REFERENCES conversations(id),
    address         TEXT NOT NULL,
    member          INTEGER NOT NULL,
    handle_id       INTEGER REFERENCES handles(id),
    PRIMARY KEY (conversation_id, address)
) STRICT, WITHOUT ROWID;

CREATE TABLE messages (
    id              INTEGER PRIMARY KEY AUTOINCREMENT,
    conversation_id INTEGER NOT NULL REFERENCES conversations(id),
    -- The instance and the handle it came in under. A merge of contacts never rewrites them.
    instance_id     INTEGER NOT NULL REFERENCES instances(id),
    handle_id       INTEGER REFERENCES handles(id),
    parent_id       INTEGER REFERENCES messages(id),
    channel         TEXT NOT NULL,
    -- human, agent, note
    role            TEXT NOT NULL,
    author          TEXT NOT NULL,
    text            TEXT NOT NULL,
    -- admitted, held, set_aside, rejected
    status          TEXT NOT NULL,
    status_why      TEXT NOT NULL DEFAULT '',
    created_at      INTEGER NOT NULL
) STRICT;
CREATE INDEX messages_by_conversation ON messages(conversation_id, id);
CREATE INDEX messages_by_instance ON messages(instance_id, id);

-- Content. Small content is in the row, large content in a file named by its SHA-256.
CREATE TABLE blobs (
    id         INTEGER PRIMARY KEY,
    hash       BLOB NOT NULL,
    size       INTEGER NOT NULL,
    data       BLOB,
    -- Kept once, however often it comes: files, and what people attach. A mail is like no other, and an
    -- index of random hashes would cost a page for each.
    shared     INTEGER NOT NULL DEFAULT 0,
    created_at INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX blobs_by_hash ON blobs(hash) WHERE shared = 1;

-- The mail behind a message. Received bytes are never altered: what we add is the prelude.
CREATE TABLE mails (
    message_id      INTEGER PRIMARY KEY REFERENCES messages(id),
    direction       TEXT NOT NULL,
    rfc_message_id  TEXT,
    recipient       TEXT NOT NULL,
    answer_from     TEXT NOT NULL,
    reverse_path    TEXT NOT NULL,
    from_address    TEXT NOT NULL,
    from_name       TEXT,
    reply_to        TEXT,
    to_list         TEXT NOT NULL,
    cc_list         TEXT NOT NULL,
    subject         TEXT NOT NULL,
    refs            TEXT NOT NULL,
    verdict         TEXT NOT NULL,
    envelope_proven INTEGER NOT NULL,
    evidence        TEXT NOT NULL,
    automatic       TEXT,
    flags           TEXT NOT NULL,
    prelude         TEXT NOT NULL,
    layers          TEXT,
    body_hash       BLOB,
    raw             INTEGER REFERENCES blobs(id),
    size            INTEGER NOT NULL,
    -- The sub-address it came to, which picks the instance where an agent allows it.
    tag             TEXT
) STRICT;
CREATE INDEX mails_by_rfc_id ON mails(rfc_message_id) WHERE rfc_message_id IS NOT NULL;

CREATE TABLE attachments (
    message_id INTEGER NOT NULL REFERENCES messages(id),
    part       INTEGER NOT NULL,
    name       TEXT NOT NULL,
    media_type TEXT NOT NULL,
    size       INTEGER NOT NULL,
    inline     INTEGER NOT NULL,
    -- Set for what we send; bytes of a received attachment stay inside the raw message.
    blob       INTEGER REFERENCES blobs(id),
    PRIMARY KEY (message_id, part)
) STRICT, WITHOUT ROWID;

-- The durable queue in. A row goes when its handler's effects are committed, so what is here is
-- waiting (ready) or has used up its attempts (dead).
CREATE TABLE events (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    instance_id INTEGER NOT NULL REFERENCES instances(id),
    body        TEXT NOT NULL,
    state       TEXT NOT NULL DEFAULT 'ready',
    attempts    INTEGER NOT NULL DEFAULT 0,
    due_at      INTEGER NOT NULL,
    error       TEXT NOT NULL DEFAULT '',
    created_at  INTEGER NOT NULL
) STRICT;
CREATE INDEX events_by_instance ON events(instance_id, id);
CREATE INDEX events_dead ON events(id) WHERE state = 'dead';

-- The durable queue out. State: held, released, cancelled.
CREATE TABLE outbox (
    id              INTEGER PRIMARY KEY AUTOINCREMENT,
    agent_id        INTEGER NOT NULL REFERENCES agents(id),
    conversation_id INTEGER NOT NULL REFERENCES conversations(id),
    message_id      INTEGER NOT NULL UNIQUE REFERENCES messages(id),
    answers         INTEGER REFERENCES messages(id),
    -- What the reply token, the bounce token and the Message-ID carry.
    reference       INTEGER NOT NULL UNIQUE,
    state           TEXT NOT NULL,
    why             TEXT NOT NULL DEFAULT '',
    from_address    TEXT NOT NULL,
    to_list         TEXT NOT NULL,
    cc_list         TEXT NOT NULL,
    subject         TEXT NOT NULL,
    html            TEXT,
    -- The In-Reply-To and References of the rendered mail.
    in_reply_to     TEXT,
    refs            TEXT NOT NULL,
    -- An answer to it decides about something: what the address to answer to carries.
    decides         INTEGER,
    -- Written without a person: it carries Auto-Submitted and counts against the budgets.
    automatic       INTEGER NOT NULL,
    created_at      INTEGER NOT NULL,
    released_at     INTEGER,
    -- While it is held: when its writer wants it to leave, if not at once.
    send_at         INTEGER,
    rendered        INTEGER REFERENCES blobs(id)
) STRICT;
CREATE INDEX outbox_by_state ON outbox(state, id);

CREATE TABLE deliveries (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    outbox_id  INTEGER NOT NULL REFERENCES outbox(id),
    recipient  TEXT NOT NULL,
    -- queued, sending, sent, deferred, bounced, failed, uncertain, cancelled
    state      TEXT NOT NULL,
    attempts   INTEGER NOT NULL DEFAULT 0,
    next_at    INTEGER NOT NULL,
    -- Set right before the final dot: from here on a crash leaves it uncertain.
    started_at INTEGER,
    settled_at INTEGER,
    response   TEXT NOT NULL DEFAULT ''
) STRICT;
CREATE INDEX deliveries_due ON deliveries(next_at, id) WHERE state IN ('queued', 'deferred');
CREATE INDEX deliveries_by_outbox ON deliveries(outbox_id);
CREATE INDEX deliveries_by_state ON deliveries(state, id);

-- What a person must decide: a draft that wants to leave, or a message that wants in.
CREATE TABLE approvals (
    id              INTEGER PRIMARY KEY AUTOINCREMENT,
    kind            TEXT NOT NULL,
    conversation_id INTEGER NOT NULL REFERENCES conversations(id),
    message_id      INTEGER NOT NULL REFERENCES messages(id),
    why             TEXT NOT NULL,
    state           TEXT NOT NULL DEFAULT 'pending',
    decided_by      TEXT NOT NULL DEFAULT '',
    reason          TEXT NOT NULL DEFAULT '',
    created_at      INTEGER NOT NULL,
    decided_at      INTEGER
) STRICT;
CREATE INDEX approvals_pending ON approvals(id) WHERE state = 'pending';
CREATE INDEX approvals_by_conversation ON approvals(conversation_id);
CREATE INDEX approvals_by_message ON approvals(message_id);

CREATE TABLE schedules (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    instance_id INTEGER NOT NULL REFERENCES instances(id),
    name        TEXT NOT NULL,
    spec        TEXT NOT NULL,
    payload     TEXT NOT NULL,
    next_at     INTEGER NOT NULL,
    created_at  INTEGER NOT NULL,
    UNIQUE (instance_id, name)
) STRICT;
CREATE INDEX schedules_due ON schedules(next_at, id);

-- Work that outlives a handler. state: ready, running, done, failed, cancelled, uncertain.
CREATE TABLE turns (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    instance_id INTEGER NOT NULL REFERENCES instances(id),
    kind        TEXT NOT NULL,
    name        TEXT NOT NULL,
    key         TEXT NOT NULL,
    payload     TEXT NOT NULL,
    checkpoint  TEXT NOT NULL DEFAULT 'null',
    state       TEXT NOT NULL DEFAULT 'ready',
    cancelled   INTEGER NOT NULL DEFAULT 0,
    attempts    INTEGER NOT NULL DEFAULT 0,
    due_at      INTEGER NOT NULL,
    deadline    INTEGER,
    result      TEXT NOT NULL DEFAULT 'null',
    error       TEXT NOT NULL DEFAULT '',
    created_at  INTEGER NOT NULL,
    ended_at    INTEGER,
    UNIQUE (instance_id, key)
) STRICT;
CREATE INDEX turns_due ON turns(due_at, id) WHERE state IN ('ready', 'running');

-- An outside call: the intent commits before it, the result after it.
CREATE TABLE intents (
    turn_id    INTEGER NOT NULL REFERENCES turns(id),
    call       TEXT NOT NULL,
    effect     TEXT NOT NULL,
    state      TEXT NOT NULL,
    result     TEXT NOT NULL DEFAULT 'null',
    created_at INTEGER NOT NULL,
    settled_at INTEGER,
    PRIMARY KEY (turn_id, call)
) STRICT, WITHOUT ROWID;

-- Counters per day (days since 1970 in UTC) behind the budgets and caps.
CREATE TABLE tallies (
    day   INTEGER NOT NULL,
    scope TEXT NOT NULL,
    key   TEXT NOT NULL,
    n     INTEGER NOT NULL,
    PRIMARY KEY (day, scope, key)
) STRICT, WITHOUT ROWID;

CREATE TABLE audit (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    at      INTEGER NOT NULL,
    actor   TEXT NOT NULL,
    action  TEXT NOT NULL,
    subject TEXT NOT NULL,
    detail  TEXT NOT NULL DEFAULT ''
) STRICT;

-- Messages whose text changed after they came, for the search index, which is a file of its own and
-- remembers how far it has come in here.
CREATE TABLE reindex (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    message_id INTEGER NOT NULL REFERENCES messages(id)
) STRICT;
