-- How much there is, kept where it can be read without counting.

-- How many jobs there are of each status: they are kept for ever, and not to be counted one by one.
CREATE TABLE job_tallies (
    status TEXT PRIMARY KEY,
    jobs   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TRIGGER jobs_come AFTER INSERT ON jobs BEGIN
    INSERT INTO job_tallies VALUES (new.status, 1)
        ON CONFLICT (status) DO UPDATE SET jobs = jobs + 1;
END;
CREATE TRIGGER jobs_turn AFTER UPDATE OF status ON jobs WHEN new.status <> old.status BEGIN
    UPDATE job_tallies SET jobs = jobs - 1 WHERE status = old.status;
    INSERT INTO job_tallies VALUES (new.status, 1)
        ON CONFLICT (status) DO UPDATE SET jobs = jobs + 1;
END;
CREATE TRIGGER jobs_go AFTER DELETE ON jobs BEGIN
    UPDATE job_tallies SET jobs = jobs - 1 WHERE status = old.status;
END;
INSERT INTO job_tallies SELECT status, count(*) FROM jobs GROUP BY status;

-- How much all blobs are, so that nobody has to go through them: those up to `counted_to` are counted
-- here, and the few behind it are counted when somebody asks.
CREATE TABLE blob_tally (
    counted_to INTEGER NOT NULL,               -- of blobs, the last blob_key
    blobs      INTEGER NOT NULL,
    bytes      INTEGER NOT NULL,
    file_bytes INTEGER NOT NULL                -- of those that are files
) STRICT;
INSERT INTO blob_tally
    SELECT coalesce(max(blob_key), 0), count(*), coalesce(sum(size), 0),
           coalesce(sum(size) FILTER (WHERE inline = 0), 0)
    FROM blobs;
