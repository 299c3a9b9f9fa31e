-- What opens the target of a link to who would not see it otherwise.

ALTER TABLE links ADD COLUMN target_key TEXT;  -- NULL: it needs nothing
