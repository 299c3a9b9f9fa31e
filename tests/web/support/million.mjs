// A million objects, written as rows: bringing as many files here would take longer than all other
// tests.
import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";

const ROWS = `
import sqlite3, sys
db = sqlite3.connect(sys.argv[1])
bucket, blob, size = db.execute("SELECT o.bucket_key, b.blob_key, o.size FROM objects o JOIN object_blobs b USING (object_key)").fetchone()
first = db.execute("SELECT max(object_key) FROM objects").fetchone()[0]
db.execute("""WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000000)
    INSERT INTO objects (object_key, id, bucket_key, entry_key, path, size, mime, created_at_ms, updated_at_ms)
    SELECT ?1 + i, 'obj_' || upper(hex(randomblob(13))), ?2, 0, CAST(printf('made-%07d.txt', i) AS BLOB), ?3, 'text/plain', 1700000000000, 1700000000000 FROM n""",
    (first, bucket, size))
db.execute("INSERT INTO object_blobs (object_key, property, blob_key) SELECT object_key, 'content', ? FROM objects WHERE object_key > ?", (blob, first))
db.execute("UPDATE buckets SET object_count = object_count + 1000000, object_bytes = object_bytes + 1000000 * ? WHERE bucket_key = ?", (size, bucket))
db.commit()
`;

/**
 * Adds a million objects to the only bucket of a data directory; all have the bytes of its only
 * object.
 */
export const million = (dataDir) => promisify(execFile)("python3", ["-c", ROWS, join(dataDir, "catchment.db")]);
