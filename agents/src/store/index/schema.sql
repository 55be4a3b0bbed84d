-- The search index, in a file of its own (search.db). Everything in it is made again from the messages
-- if the file is missing or of another version.

-- Contentless: the text is in messages, whose ids are the rowids here.
CREATE VIRTUAL TABLE message_search USING fts5(
    subject, author, text,
    content = '', contentless_delete = 1,
    tokenize = 'unicode61 remove_diacritics 2'
);
-- Each batch is written as one segment, and segments are merged after it, some pages at a time. Merging
-- eight at once instead of four rewrites each page half as often.
INSERT INTO message_search (message_search, rank) VALUES ('automerge', 0);
INSERT INTO message_search (message_search, rank) VALUES ('crisismerge', 256);
INSERT INTO message_search (message_search, rank) VALUES ('usermerge', 8);
-- A whole batch is sorted in memory before it is written.
INSERT INTO message_search (message_search, rank) VALUES ('hashsize', 16777216);

-- How far the index has come: the last message, and the last row of reindex.
CREATE TABLE position (
    id       INTEGER PRIMARY KEY CHECK (id = 1),
    messages INTEGER NOT NULL,
    again    INTEGER NOT NULL
) STRICT;
INSERT INTO position (id, messages, again) VALUES (1, 0, 0);

PRAGMA user_version = 1;
