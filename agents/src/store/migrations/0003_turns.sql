-- Turns of a model: a log of steps, approvals of single calls, what an instance remembers, and
-- summaries that stand for long histories.

-- The conversation a model's turn is about. Turns of one conversation run one after the other: those
-- behind the first wait in state 'queued'.
ALTER TABLE turns ADD COLUMN conversation_id INTEGER REFERENCES conversations(id);
-- What a parked turn waits for: approval, answer, retry; empty while it does not.
ALTER TABLE turns ADD COLUMN waits_for TEXT NOT NULL DEFAULT '';
-- How a turn ended, in a word.
ALTER TABLE turns ADD COLUMN outcome TEXT NOT NULL DEFAULT '';
ALTER TABLE turns ADD COLUMN tokens_in INTEGER NOT NULL DEFAULT 0;
ALTER TABLE turns ADD COLUMN tokens_out INTEGER NOT NULL DEFAULT 0;
-- Millionths of a dollar.
ALTER TABLE turns ADD COLUMN cost INTEGER NOT NULL DEFAULT 0;
ALTER TABLE turns ADD COLUMN model_millis INTEGER NOT NULL DEFAULT 0;
CREATE INDEX turns_open ON turns(conversation_id, id) WHERE kind = 'model' AND ended_at IS NULL;
CREATE INDEX turns_by_conversation ON turns(conversation_id, id) WHERE conversation_id IS NOT NULL;

-- The append-only log of a turn. Results are kept whole here, whatever the model was shown of them.
CREATE TABLE steps (
    turn_id INTEGER NOT NULL REFERENCES turns(id),
    n       INTEGER NOT NULL,
    body    TEXT NOT NULL,
    UNIQUE (turn_id, n)
) STRICT;

-- Kind 'tool': a call that waits for a person. What is here is exactly what will happen.
ALTER TABLE approvals ADD COLUMN turn_id INTEGER REFERENCES turns(id);
ALTER TABLE approvals ADD COLUMN call TEXT NOT NULL DEFAULT '';
ALTER TABLE approvals ADD COLUMN tool TEXT NOT NULL DEFAULT '';
ALTER TABLE approvals ADD COLUMN arguments TEXT NOT NULL DEFAULT '';
-- Of the tool: read, reversible, final.
ALTER TABLE approvals ADD COLUMN effect TEXT NOT NULL DEFAULT '';
-- The foreign text that was before the model when it asked: a JSON array.
ALTER TABLE approvals ADD COLUMN foreign_text TEXT NOT NULL DEFAULT '[]';
ALTER TABLE approvals ADD COLUMN expires_at INTEGER;
CREATE INDEX approvals_by_turn ON approvals(turn_id) WHERE turn_id IS NOT NULL;
CREATE INDEX approvals_expiring ON approvals(expires_at)
    WHERE state = 'pending' AND expires_at IS NOT NULL;

-- What an instance remembers, one named fact a row.
CREATE TABLE memory (
    instance_id INTEGER NOT NULL REFERENCES instances(id),
    name        TEXT NOT NULL,
    text        TEXT NOT NULL,
    -- The least trusted person whose words led to it.
    trust       TEXT NOT NULL,
    updated_at  INTEGER NOT NULL,
    PRIMARY KEY (instance_id, name)
) STRICT, WITHOUT ROWID;

-- A text that stands for the messages of a conversation from one to another. The messages stay.
CREATE TABLE summaries (
    id              INTEGER PRIMARY KEY AUTOINCREMENT,
    conversation_id INTEGER NOT NULL REFERENCES conversations(id),
    from_message    INTEGER NOT NULL REFERENCES messages(id),
    to_message      INTEGER NOT NULL REFERENCES messages(id),
    text            TEXT NOT NULL,
    trust           TEXT NOT NULL,
    foreign_text    TEXT NOT NULL DEFAULT '[]',
    created_at      INTEGER NOT NULL
) STRICT;
CREATE INDEX summaries_by_conversation ON summaries(conversation_id, to_message);

-- What we wrote with foreign text before the model, which may speak through it: a JSON array of that
-- text. Later turns read such a message as foreign, too.
CREATE TABLE tainted (
    message_id   INTEGER PRIMARY KEY REFERENCES messages(id),
    foreign_text TEXT NOT NULL
) STRICT;

-- The message another conversation went up to when this one was forked from it. Everything before
-- belongs to both.
ALTER TABLE conversations ADD COLUMN forked_from INTEGER REFERENCES messages(id);
