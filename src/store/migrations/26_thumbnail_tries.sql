-- Drawing that took too much time or memory is tried again, a few times.

ALTER TABLE thumbnails ADD COLUMN tries INTEGER NOT NULL DEFAULT 0;  -- in vain, by this version
ALTER TABLE thumbnails ADD COLUMN retry_at_ms INTEGER;               -- NULL: the reason holds
