-- Webhooks: whom events are delivered to.
CREATE TABLE webhooks (
    webhook_key    INTEGER PRIMARY KEY,
    id             TEXT NOT NULL UNIQUE,
    name           TEXT NOT NULL,
    event_types    TEXT NOT NULL,              -- JSON array
    resource_types TEXT,                       -- JSON array; NULL: all
    is_active      INTEGER NOT NULL DEFAULT 1, -- 0: a person switched it off
    created_at_ms  INTEGER NOT NULL,
    updated_at_ms  INTEGER NOT NULL
) STRICT;

-- The addresses that a webhook delivers to, each with its own place in the log of events; and those
-- that are told once that a batch has ended, which belong to no webhook.
CREATE TABLE webhook_channels (
    channel_key    INTEGER PRIMARY KEY,
    webhook_key    INTEGER REFERENCES webhooks,
    body           TEXT,                       -- JSON that is delivered once; NULL: events
    config         TEXT NOT NULL,              -- JSON, model::Channel
    key_id         TEXT,                       -- of the key that opens `sealed`
    sealed         BLOB,                       -- JSON, model::ChannelSecrets; NULL: there are none
    after_key      INTEGER NOT NULL,           -- of events: those up to it are delivered
    sent           INTEGER NOT NULL DEFAULT 0, -- messages that are, of the event behind it
    failures       INTEGER NOT NULL DEFAULT 0, -- in a row
    first_failure_at_ms INTEGER,               -- of those in a row
    last_failure_at_ms INTEGER,
    last_error     TEXT,
    last_success_at_ms INTEGER,
    next_try_at_ms INTEGER,                    -- NULL: as soon as there is something to deliver
    paused_at_ms   INTEGER,                    -- NULL: not paused by failures
    sender         TEXT,                       -- worker that delivers; NULL: none does
    sender_until_ms INTEGER
) STRICT;
CREATE INDEX webhook_channels_by_webhook ON webhook_channels (webhook_key);
