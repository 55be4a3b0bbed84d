-- People and programs who use the API, what they do to conversations, and what they are told of.

CREATE TABLE users (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    -- What they sign in with, lower case.
    name       TEXT NOT NULL UNIQUE,
    email      TEXT UNIQUE,
    -- owner, reviewer, viewer
    role       TEXT NOT NULL,
    -- 0: only the agents in user_agents
    all_agents INTEGER NOT NULL,
    -- argon2id in PHC form; empty until the first sign-in by link.
    password   TEXT NOT NULL DEFAULT '',
    -- Whether they are told by mail of what waits for them.
    review_mail INTEGER NOT NULL DEFAULT 0,
    created_at INTEGER NOT NULL
) STRICT;

CREATE TABLE user_agents (
    user_id  INTEGER NOT NULL REFERENCES users(id) ON DELETE CASCADE,
    agent_id INTEGER NOT NULL REFERENCES agents(id),
    PRIMARY KEY (user_id, agent_id)
) STRICT, WITHOUT ROWID;

-- Secrets are kept as SHA-256 of 256 random bits, so that a copy of the database signs nobody in.
CREATE TABLE signin_links (
    hash       BLOB NOT NULL PRIMARY KEY,
    user_id    INTEGER NOT NULL REFERENCES users(id) ON DELETE CASCADE,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE web_sessions (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    hash       BLOB NOT NULL UNIQUE,
    user_id    INTEGER NOT NULL REFERENCES users(id) ON DELETE CASCADE,
    created_at INTEGER NOT NULL,
    seen_at    INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT;
CREATE INDEX web_sessions_by_user ON web_sessions(user_id);

CREATE TABLE tokens (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    name         TEXT NOT NULL,
    hash         BLOB NOT NULL UNIQUE,
    -- A JSON list of read, draft, send, approve, admin, instances.
    scopes       TEXT NOT NULL,
    all_agents   INTEGER NOT NULL,
    created_by   TEXT NOT NULL,
    created_at   INTEGER NOT NULL,
    expires_at   INTEGER,
    last_used_at INTEGER,
    revoked_at   INTEGER
) STRICT;

CREATE TABLE token_agents (
    token_id INTEGER NOT NULL REFERENCES tokens(id) ON DELETE CASCADE,
    agent_id INTEGER NOT NULL REFERENCES agents(id),
    PRIMARY KEY (token_id, agent_id)
) STRICT, WITHOUT ROWID;

-- Mails that ask somebody to decide, one row for each mail: an answer to it decides.
CREATE TABLE asked (
    -- That of the mail in the outbox.
    reference   INTEGER NOT NULL PRIMARY KEY,
    approval_id INTEGER NOT NULL REFERENCES approvals(id),
    user_id     INTEGER NOT NULL REFERENCES users(id) ON DELETE CASCADE,
    -- Where it was sent.
    address     TEXT NOT NULL,
    -- SHA-256 of what was shown.
    shown       BLOB NOT NULL,
    -- Why an answer cannot approve it; empty where it can.
    only_here   TEXT NOT NULL DEFAULT '',
    expires_at  INTEGER NOT NULL,
    used_at     INTEGER,
    -- Answers that did not count and were told so.
    refused     INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX asked_by_user ON asked(user_id);

-- What people do to a conversation. New human words bring it back from everywhere.
ALTER TABLE conversations ADD COLUMN archived_at INTEGER;
ALTER TABLE conversations ADD COLUMN trashed_at INTEGER;
ALTER TABLE conversations ADD COLUMN snoozed_until INTEGER;
ALTER TABLE conversations ADD COLUMN assignee_id INTEGER REFERENCES users(id) ON DELETE SET NULL;
ALTER TABLE conversations ADD COLUMN starred INTEGER NOT NULL DEFAULT 0;
ALTER TABLE conversations ADD COLUMN unread INTEGER NOT NULL DEFAULT 0;
-- All that the list and its counts ask of what is at hand.
CREATE INDEX conversations_at_hand
    ON conversations(queue, last_message_at DESC, id DESC, agent_id, snoozed_until, unread)
    WHERE archived_at IS NULL AND trashed_at IS NULL;
CREATE INDEX conversations_archived ON conversations(last_message_at DESC, id DESC)
    WHERE archived_at IS NOT NULL;
CREATE INDEX conversations_trashed ON conversations(last_message_at DESC, id DESC)
    WHERE trashed_at IS NOT NULL;
CREATE INDEX conversations_snoozed ON conversations(snoozed_until) WHERE snoozed_until IS NOT NULL;
CREATE INDEX conversations_starred ON conversations(last_message_at DESC, id DESC) WHERE starred = 1;
CREATE INDEX conversations_of_calls ON conversations(last_message_at DESC, id DESC)
    WHERE channel = 'call';
CREATE INDEX conversations_by_assignee ON conversations(assignee_id, last_message_at DESC, id DESC)
    WHERE assignee_id IS NOT NULL;
CREATE INDEX participants_by_handle ON participants(handle_id) WHERE handle_id IS NOT NULL;
CREATE INDEX instances_by_contact ON instances(contact_id) WHERE contact_id IS NOT NULL;
CREATE INDEX outbox_by_conversation ON outbox(conversation_id);

CREATE TABLE conversation_labels (
    conversation_id INTEGER NOT NULL REFERENCES conversations(id),
    label           TEXT NOT NULL,
    PRIMARY KEY (conversation_id, label)
) STRICT, WITHOUT ROWID;
CREATE INDEX conversation_labels_by_label ON conversation_labels(label, conversation_id);

-- What conversations were before somebody changed them: JSON, applied once.
CREATE TABLE undos (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    actor      TEXT NOT NULL,
    before     TEXT NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;

CREATE TABLE drafts (
    id              INTEGER PRIMARY KEY AUTOINCREMENT,
    agent_id        INTEGER NOT NULL REFERENCES agents(id),
    conversation_id INTEGER REFERENCES conversations(id),
    answers         INTEGER REFERENCES messages(id),
    author          TEXT NOT NULL,
    to_list         TEXT NOT NULL,
    cc_list         TEXT NOT NULL,
    subject         TEXT NOT NULL,
    text            TEXT NOT NULL,
    html            TEXT,
    -- Grows with every change, so that two editors do not overwrite each other unseen.
    version         INTEGER NOT NULL DEFAULT 1,
    created_at      INTEGER NOT NULL,
    updated_at      INTEGER NOT NULL
) STRICT;
CREATE INDEX drafts_by_conversation ON drafts(conversation_id);

CREATE TABLE draft_attachments (
    draft_id   INTEGER NOT NULL REFERENCES drafts(id) ON DELETE CASCADE,
    part       INTEGER NOT NULL,
    name       TEXT NOT NULL,
    media_type TEXT NOT NULL,
    size       INTEGER NOT NULL,
    blob       INTEGER NOT NULL REFERENCES blobs(id),
    PRIMARY KEY (draft_id, part)
) STRICT, WITHOUT ROWID;

-- Addresses nobody here wants mail from, lower case.
CREATE TABLE blocked (
    address    TEXT NOT NULL PRIMARY KEY,
    created_by TEXT NOT NULL,
    created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- A merge of contacts with all that a split needs to take it back.
CREATE TABLE merges (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    survivor   INTEGER NOT NULL REFERENCES contacts(id),
    other      INTEGER NOT NULL REFERENCES contacts(id),
    moved      TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    split_at   INTEGER
) STRICT;
CREATE INDEX merges_by_survivor ON merges(survivor) WHERE split_at IS NULL;
CREATE INDEX merges_by_other ON merges(other) WHERE split_at IS NULL;

-- Answers to writes with an Idempotency-Key. Without a status the request was begun and nobody knows
-- how it ended.
CREATE TABLE idempotency (
    actor      TEXT NOT NULL,
    key        TEXT NOT NULL,
    request    BLOB NOT NULL,
    status     INTEGER,
    body       BLOB,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (actor, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX idempotency_by_age ON idempotency(created_at);

-- What happened, in commit order. Written by triggers, so that no operation can forget to. The newest
-- ones stay for those who come back; ids grow because the last row is never deleted.
CREATE TABLE changes (
    id              INTEGER PRIMARY KEY,
    kind            TEXT NOT NULL,
    conversation_id INTEGER,
    subject_id      INTEGER NOT NULL
) STRICT;

CREATE TRIGGER change_message_added AFTER INSERT ON messages BEGIN
    INSERT INTO changes (kind, conversation_id, subject_id)
    VALUES (CASE WHEN NEW.role = 'human' AND NEW.channel = 'mail' THEN 'mail.received'
                 ELSE 'message.added' END, NEW.conversation_id, NEW.id);
END;
CREATE TRIGGER message_wakes_conversation AFTER INSERT ON messages WHEN NEW.role = 'human' BEGIN
    UPDATE conversations
    SET archived_at = NULL, trashed_at = NULL, snoozed_until = NULL, unread = 1
    WHERE id = NEW.conversation_id
      AND (unread = 0 OR archived_at IS NOT NULL OR trashed_at IS NOT NULL
           OR snoozed_until IS NOT NULL);
END;
CREATE TRIGGER change_message_changed AFTER UPDATE OF text, status ON messages
WHEN NEW.text IS NOT OLD.text OR NEW.status IS NOT OLD.status BEGIN
    INSERT INTO changes (kind, conversation_id, subject_id)
    VALUES ('message.changed', NEW.conversation_id, NEW.id);
END;
CREATE TRIGGER change_conversation_changed
AFTER UPDATE OF queue, review_why, subject, instance_id, archived_at, trashed_at, snoozed_until,
                assignee_id, starred, unread ON conversations
WHEN NEW.queue <> OLD.queue OR NEW.review_why <> OLD.review_why OR NEW.subject <> OLD.subject
  OR NEW.instance_id <> OLD.instance_id OR NEW.archived_at IS NOT OLD.archived_at
  OR NEW.trashed_at IS NOT OLD.trashed_at OR NEW.snoozed_until IS NOT OLD.snoozed_until
  OR NEW.assignee_id IS NOT OLD.assignee_id OR NEW.starred <> OLD.starred
  OR NEW.unread <> OLD.unread BEGIN
    INSERT INTO changes (kind, conversation_id, subject_id)
    VALUES ('conversation.changed', NEW.id, NEW.id);
END;
-- What waits for a person does not wait in the archive.
CREATE TRIGGER review_wakes_conversation AFTER UPDATE OF queue ON conversations
WHEN NEW.queue = 'needs_review'
 AND (NEW.archived_at IS NOT NULL OR NEW.trashed_at IS NOT NULL OR NEW.snoozed_until IS NOT NULL) BEGIN
    UPDATE conversations SET archived_at = NULL, trashed_at = NULL, snoozed_until = NULL
    WHERE id = NEW.id;
END;
CREATE TRIGGER change_label_added AFTER INSERT ON conversation_labels BEGIN
    INSERT INTO changes (kind, conversation_id, subject_id)
    VALUES ('conversation.changed', NEW.conversation_id, NEW.conversation_id);
END;
CREATE TRIGGER change_label_removed AFTER DELETE ON conversation_labels BEGIN
    INSERT INTO changes (kind, conversation_id, subject_id)
    VALUES ('conversation.changed', OLD.conversation_id, OLD.conversation_id);
END;
CREATE TRIGGER change_review_needed AFTER INSERT ON approvals BEGIN
    INSERT INTO changes (kind, conversation_id, subject_id)
    VALUES ('review.needed', NEW.conversation_id, NEW.id);
END;
CREATE TRIGGER change_review_decided AFTER UPDATE OF state ON approvals
WHEN NEW.state <> OLD.state BEGIN
    INSERT INTO changes (kind, conversation_id, subject_id)
    VALUES (CASE NEW.state WHEN 'pending' THEN 'review.needed' ELSE 'review.decided' END,
            NEW.conversation_id, NEW.id);
END;
-- A turn of a model that is over, whichever way.
CREATE TRIGGER change_turn_finished AFTER UPDATE OF ended_at ON turns
WHEN NEW.kind = 'model' AND OLD.ended_at IS NULL AND NEW.ended_at IS NOT NULL BEGIN
    INSERT INTO changes (kind, conversation_id, subject_id)
    VALUES ('turn.finished', NEW.conversation_id, NEW.id);
END;
CREATE TRIGGER change_outbox AFTER UPDATE OF state ON outbox WHEN NEW.state <> OLD.state BEGIN
    INSERT INTO changes (kind, conversation_id, subject_id)
    VALUES ('outbox.changed', NEW.conversation_id, NEW.id);
END;
CREATE TRIGGER change_delivery AFTER UPDATE OF state ON deliveries
WHEN NEW.state <> OLD.state BEGIN
    INSERT INTO changes (kind, conversation_id, subject_id)
    VALUES (CASE WHEN NEW.state = 'sent' THEN 'delivery.sent'
                 WHEN NEW.state IN ('bounced', 'failed', 'uncertain') THEN 'delivery.failed'
                 ELSE 'delivery.changed' END,
            (SELECT conversation_id FROM outbox WHERE id = NEW.outbox_id), NEW.id);
END;

CREATE TABLE webhooks (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    url        TEXT NOT NULL,
    -- A JSON list of kinds of changes.
    events     TEXT NOT NULL,
    -- Signs what is sent. It must be read to sign, so it is kept as it is.
    secret     BLOB NOT NULL,
    active     INTEGER NOT NULL DEFAULT 1,
    -- The last change that was looked at for it.
    seen       INTEGER NOT NULL,
    created_by TEXT NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;

-- One event for one webhook. State: queued, sent, dead.
CREATE TABLE webhook_deliveries (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    webhook_id INTEGER NOT NULL REFERENCES webhooks(id) ON DELETE CASCADE,
    event      TEXT NOT NULL,
    body       TEXT NOT NULL,
    state      TEXT NOT NULL DEFAULT 'queued',
    attempts   INTEGER NOT NULL DEFAULT 0,
    next_at    INTEGER NOT NULL,
    answer     TEXT NOT NULL DEFAULT '',
    created_at INTEGER NOT NULL,
    settled_at INTEGER
) STRICT;
CREATE INDEX webhook_deliveries_due ON webhook_deliveries(next_at, id) WHERE state = 'queued';
CREATE INDEX webhook_deliveries_by_webhook ON webhook_deliveries(webhook_id, id);

CREATE TRIGGER change_call_ended AFTER UPDATE OF ended_at ON calls
WHEN NEW.ended_at IS NOT NULL AND OLD.ended_at IS NULL
BEGIN
    INSERT INTO changes (kind, conversation_id, subject_id)
    VALUES ('call.ended', NEW.conversation_id, NEW.id);
END;
