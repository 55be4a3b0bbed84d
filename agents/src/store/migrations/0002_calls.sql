-- Calls, and what was said in them. What was said is in messages, like everything else; here is what
-- only speech has: when, how, and how much of it was heard. Times named _ms are milliseconds since the
-- call was answered, all others milliseconds since 1970 in UTC.

CREATE TABLE calls (
    id              INTEGER PRIMARY KEY AUTOINCREMENT,
    agent_id        INTEGER NOT NULL REFERENCES agents(id),
    conversation_id INTEGER NOT NULL REFERENCES conversations(id),
    -- browser, phone
    channel         TEXT NOT NULL,
    -- Who called, if that was proven.
    contact_id      INTEGER REFERENCES contacts(id),
    -- Who they are, or below the trust "proven" who they say they are, as of the call.
    caller_name     TEXT,
    caller_handle   TEXT,
    trust           TEXT NOT NULL,
    -- How that was proven, in words.
    proof           TEXT NOT NULL DEFAULT '',
    called          TEXT,
    -- What the transport passed along, as a JSON object.
    parameters      TEXT NOT NULL DEFAULT '{}',
    -- good, basic
    hearing         TEXT NOT NULL DEFAULT 'good',
    started_at      INTEGER NOT NULL,
    -- Null while the call is open.
    ended_at        INTEGER,
    duration_ms     INTEGER,
    end_reason      TEXT,
    -- The entry that stands for the end of the call in its conversation.
    end_message_id  INTEGER REFERENCES messages(id),
    -- Null where nothing was recorded.
    recording       INTEGER REFERENCES blobs(id),
    recording_type  TEXT
) STRICT;
CREATE INDEX calls_open ON calls(id) WHERE ended_at IS NULL;
CREATE INDEX calls_by_conversation ON calls(conversation_id, id);
CREATE INDEX calls_by_agent ON calls(agent_id, id);
CREATE INDEX calls_by_end_message ON calls(end_message_id) WHERE end_message_id IS NOT NULL;

-- What was said in a call. The text is that of the message, and whole; sent and heard say how many of its
-- bytes were on their way to the caller, and were heard.
CREATE TABLE spoken (
    message_id INTEGER PRIMARY KEY REFERENCES messages(id),
    call_id    INTEGER NOT NULL REFERENCES calls(id),
    -- caller, agent
    speaker    TEXT NOT NULL,
    -- caller, greeting, reply, announcement, prompt, explanation, farewell
    origin     TEXT NOT NULL,
    -- speech, text, keypad; null for the agent
    via        TEXT,
    -- The caller's turn it belongs to, and the reply's generation.
    turn       INTEGER,
    generation INTEGER,
    started_ms INTEGER NOT NULL,
    sent       INTEGER NOT NULL,
    heard      INTEGER NOT NULL,
    -- complete, interrupted, failed, hung_up
    outcome    TEXT NOT NULL
) STRICT;
CREATE INDEX spoken_by_call ON spoken(call_id, message_id);

-- When the steps of a turn happened. Null: it never came to that.
CREATE TABLE call_turns (
    call_id        INTEGER NOT NULL REFERENCES calls(id),
    turn           INTEGER NOT NULL,
    generation     INTEGER NOT NULL,
    speech_end_ms  INTEGER,
    final_text_ms  INTEGER,
    turn_end_ms    INTEGER NOT NULL,
    first_text_ms  INTEGER,
    first_audio_ms INTEGER,
    end_ms         INTEGER NOT NULL,
    outcome        TEXT NOT NULL,
    PRIMARY KEY (call_id, turn, generation)
) STRICT, WITHOUT ROWID;

-- Which conversations somebody is a member of: a call by a proven contact looks for theirs.
CREATE INDEX participants_by_address ON participants(address) WHERE member = 1;
