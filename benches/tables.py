"""Catchment beside Snowflake's own Python connector, over one table of 500,000 rows: `benches/run snowflake`.

One process serves the table twice. To the connector it is `fakesnow`'s server, an imitation of the
protocol that the connector speaks. To Catchment it is an imitation of the SQL API, version 2, with
partitions that are rendered beforehand. Neither is Snowflake, and they differ:

- The connector gets Arrow, in one answer that fakesnow makes when it is asked for; Catchment gets gzipped
  JSON. So two times of the connector are told: from `execute` to the last `fetchmany`, and that of
  `fetchmany` alone, which leaves out everything that the server and the network took.
- The connector throws its rows away. Catchment hashes each, writes each as an object of a bucket, and has
  them on the disk when it ends; a dry run lists and decides about them and writes nothing.

Each is measured in turn for a few rounds, and the medians are compared. Prints figures and ratios; fails for
none of them. ROWS sets the rows, ROUNDS the rounds (3), CATCHMENT names another executable, BENCH_DIR where
the data goes.
"""

import gzip
import json
import logging
import os
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
import urllib.request
import warnings
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

HERE = pathlib.Path(__file__).resolve().parent.parent
CATCHMENT = os.environ.get("CATCHMENT", str(HERE / "target/release/catchment"))
ROWS = int(os.environ.get("ROWS", "500000"))
ROUNDS = int(os.environ.get("ROUNDS", "3"))
FIRST_ROWS, PARTITION_ROWS = 1000, 50_000
PEAK_MIB = 64
TABLE = f"""
    CREATE TABLE T AS SELECT
        range AS ID, 'name of row ' || range AS NAME, (range * 1.01)::number(12, 2) AS AMOUNT,
        range / 7.0::float AS SCORE, '2024-01-01 00:00:00'::timestamp + to_seconds(range) AS UPDATED,
        'a note of some length about row number ' || range AS NOTE
    FROM range({ROWS})
"""
COLUMNS = [
    ("ID", "fixed", 0, "NUMBER(38,0)"),
    ("NAME", "text", None, "VARCHAR(16777216)"),
    ("AMOUNT", "fixed", 2, "NUMBER(12,2)"),
    ("SCORE", "real", None, "FLOAT"),
    ("UPDATED", "timestamp_ntz", 9, "TIMESTAMP_NTZ(9)"),
    ("NOTE", "text", None, "VARCHAR(16777216)"),
]


class Statements:
    """The SQL API over what was rendered; counts queries, and the rows that went out."""

    def __init__(self, rows):
        self.total, self.queries, self.sent = len(rows), 0, 0
        sizes = [min(FIRST_ROWS, self.total)]
        while sum(sizes) < self.total:
            sizes.append(min(PARTITION_ROWS, self.total - sum(sizes)))
        self.sizes, start, self.parts = sizes, 0, []
        for size in sizes:
            self.parts.append(json.dumps({"data": rows[start : start + size]}).encode())
            start += size
        first = json.loads(self.parts[0])["data"]
        columns = [(name, kind, scale) for name, kind, scale, _ in COLUMNS] + [("HASH(*)", "fixed", 0)]
        self.first = json.dumps(self.result("table", columns, first, sizes)).encode()
        self.parts = [gzip.compress(part, 1) for part in self.parts]

    def result(self, handle, columns, rows, sizes=None):
        sizes = sizes or [len(rows)]
        row_type = [{"name": name, "type": kind, "scale": scale} for name, kind, scale in columns]
        info = [{"rowCount": size} for size in sizes]
        meta = {"numRows": sum(sizes), "rowType": row_type, "partitionInfo": info}
        now = int(time.time() * 1000)
        return {"statementHandle": handle, "resultSetMetaData": meta, "data": rows, "createdOn": now}

    def submit(self, text):
        """The answer to a statement; None for the table, which is asked for by its handle."""
        texts = lambda *names: [(name, "text", None) for name in names]
        if text.startswith("SHOW WAREHOUSES"):
            return self.result("show", texts("name"), [["WH"]])
        if text.startswith("SHOW DATABASES"):
            return self.result("databases", texts("name"), [["DB"]])
        if text.startswith("SHOW SCHEMAS"):
            return self.result("schemas", texts("name"), [["PUBLIC"]])
        if text.startswith("DESCRIBE"):
            columns = [[name, kind, "COLUMN"] for name, _, _, kind in COLUMNS]
            return self.result("describe", texts("name", "type", "kind"), columns)
        if text.startswith("SHOW PRIMARY KEYS"):
            return self.result("keys", texts("column_name", "key_sequence"), [["ID", "1"]])
        if "LAST_CHANGE_COMMIT_TIME" in text:
            return self.result("change", texts("TOKEN"), [["1"]])
        self.queries += 1
        assert text == 'SELECT *, HASH(*) FROM "DB"."PUBLIC"."T" ORDER BY "ID" NULLS FIRST', text
        return None


def handler(statements):
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = 1 << 20

        def log_message(self, *_):
            pass

        def send(self, body, status=200, packed=False):
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            if packed:
                self.send_header("Content-Encoding", "gzip")
            self.end_headers()
            self.wfile.write(body)
            self.wfile.flush()

        def do_POST(self):
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            answer = statements.submit(asked["statement"])
            status = 202 if answer is None else 200
            self.send(json.dumps(answer or {"statementHandle": "table"}).encode(), status)

        def do_GET(self):
            url = urllib.parse.urlsplit(self.path)
            if url.path == "/counts":
                return self.send(json.dumps([statements.queries, statements.sent]).encode())
            part = int(dict(urllib.parse.parse_qsl(url.query)).get("partition", 0))
            statements.sent += statements.sizes[part]
            self.send(statements.parts[part] if part else statements.first, packed=part > 0)

    return Handler


def rendered(cursor):
    """The rows as the SQL API writes their cells, with a hash behind them."""
    cursor.execute("SELECT *, HASH(ID) FROM T ORDER BY ID", server=True)
    columns = [column.to_pylist() for column in cursor._arrow_table.columns]
    columns[4] = [f"{value.timestamp():.9f}" for value in columns[4]]
    return [list(map(str, row)) for row in zip(*columns)]


def serve():
    os.environ["TZ"] = "UTC"
    time.tzset()
    # What fakesnow says of itself is no result.
    logging.disable(logging.INFO)
    warnings.simplefilter("ignore")
    import uvicorn
    from fakesnow.server import app, shared_fs

    cursor = shared_fs.connect("DB", "PUBLIC").cursor()
    cursor.execute(TABLE)
    api = ThreadingHTTPServer(("127.0.0.1", 0), handler(Statements(rendered(cursor))))
    api.daemon_threads = True
    threading.Thread(target=api.serve_forever, daemon=True).start()
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error"))
    threading.Thread(target=server.run, daemon=True).start()
    while not server.started:
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    print(json.dumps({"connector": port, "api": api.server_address[1]}), flush=True)
    sys.stdin.read()


def connector(port):
    """Reads all rows into nothing, and prints how long that took."""
    import snowflake.connector

    session = {"CLIENT_OUT_OF_BAND_TELEMETRY_ENABLED": False}
    connection = snowflake.connector.connect(
        user="u", password="p", account="a", host="127.0.0.1", port=port, protocol="http",
        database="DB", schema="PUBLIC", session_parameters=session,
    )
    cursor, count = connection.cursor(), 0
    started = time.perf_counter()
    cursor.execute("SELECT * FROM T ORDER BY ID")
    executed = time.perf_counter()
    while rows := cursor.fetchmany(10_000):
        count += len(rows)
    ended = time.perf_counter()
    print(json.dumps({"rows": count, "all": ended - started, "fetch": ended - executed}), flush=True)
    os._exit(0)


def peak_mib(process):
    """Waits for a process; returns the most memory that it had resident."""
    most, status = 0, pathlib.Path(f"/proc/{process.pid}/status")
    while process.poll() is None:
        try:
            if found := re.search(r"VmHWM:\s+(\d+)", status.read_text()):
                most = max(most, int(found[1]))
        except OSError:
            pass
        time.sleep(0.02)
    return most / 1024


def catchment(env, *arguments):
    started = time.perf_counter()
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen([CATCHMENT, *arguments], env=env, stdout=output, stderr=output)
        most = peak_mib(process)
        took = time.perf_counter() - started
        if process.returncode:
            output.seek(0)
            raise SystemExit(f"{arguments}: {output.read().decode(errors='replace')[-2000:]}")
    return took, most


def compare(work, ports):
    api = f"http://127.0.0.1:{ports['api']}"
    keys = work / "keys.json"
    keys.write_text(json.dumps({"type": "username_password", "username": "u", "password": "token"}))
    settings = ["--set", "account=org-acc", "--set", "warehouse=wh", "--set", "database=db"]

    def counted(env, *arguments):
        """A run that reads the whole table, with one query: seconds, and peak MiB."""
        counts = lambda: json.loads(urllib.request.urlopen(f"{api}/counts").read())
        queries, sent = counts()
        took, most = catchment(env, "sync", "snowflake://public.t", *arguments)
        assert [count - before for count, before in zip(counts(), (queries, sent))] == [1, ROWS], counts()
        return took, most

    reads, dries, syncs = [], [], []
    for number in range(ROUNDS):
        data = work / f"data-{number}"
        data.mkdir()
        (data / "config.toml").write_text(f'[hosts]\nsnowflake = "{api}"\n')
        env = {**os.environ, "CATCHMENT_DATA_DIR": str(data), "HOME": str(work)}
        catchment(env, "connect", "snowflake", *settings, "--credentials", str(keys))
        read = subprocess.check_output([sys.executable, __file__, "connector", str(ports["connector"])])
        reads.append(json.loads(read))
        assert reads[-1]["rows"] == ROWS, reads
        dries.append(counted(env, "--dry-run"))
        os.sync()
        syncs.append(counted(env))

    whole = statistics.median(read["all"] for read in reads)
    fetch = statistics.median(read["fetch"] for read in reads)
    dry, sync = (statistics.median(took for took, _ in runs) for runs in (dries, syncs))
    peak = lambda runs: max(most for _, most in runs)
    line = lambda what, took: f"  {what:44} {took:7.2f} s {ROWS / took:10,.0f} rows/s"
    print(f"\nsnowflake: {ROWS:,} rows, one query each (asked for: one)")
    print(line("connector, execute to the last fetchmany", whole))
    print(line("connector, fetchmany alone", fetch))
    print(line("catchment, dry run", dry), f"{peak(dries):5.1f} MiB")
    print(line("catchment, every row an object on the disk", sync), f"{peak(syncs):5.1f} MiB")
    for what, ours in (("a dry run", dry), ("a sync", sync)):
        for whose, theirs in (("execute and fetchmany", whole), ("fetchmany alone", fetch)):
            verdict = "reached" if theirs >= ours else "MISSED"
            told = f"rate of {what} to that of {whose}"
            print(f"  {told:56} {theirs / ours:5.2f} x  (asked for: at least 1 x, {verdict})")
    verdict = "reached" if peak(syncs) <= PEAK_MIB else "MISSED"
    print(f"  {'peak of a sync':56} {peak(syncs):5.1f} MiB (asked for: {PEAK_MIB} MiB, {verdict})")


def main():
    match sys.argv[1:]:
        case ["serve"]:
            return serve()
        case ["connector", port]:
            return connector(int(port))
    command = [sys.executable, __file__, "serve"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        try:
            ports = json.loads(server.stdout.readline())
            with tempfile.TemporaryDirectory(prefix="catchment-bench-", dir=os.environ.get("BENCH_DIR")) as work:
                compare(pathlib.Path(work), ports)
        finally:
            server.stdin.close()


if __name__ == "__main__":
    main()
