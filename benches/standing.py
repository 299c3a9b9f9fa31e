"""What Catchment costs while it stands there: benches/standing.py [CASE...]

idle   a thousand folders up to date and nothing changing: resident memory, and CPU over a minute
watch  how long a file that was just written takes to be an object, in a folder of 20,000
saved  how long a file that was just saved takes until its bytes can be read, in a folder of 1,000
busy   the same beside a writer that opens, adds to and closes another file a hundred times a second
batch  what the `batch_size` of a sync costs: a first run over 20,000 files of 4 KiB with 1, 50 (the
       default) and 100, in turn, five times

CATCHMENT names the executable (target/release/catchment), BENCH_DIR where the data goes. Prints
figures; fails for none of them.
"""

import contextlib
import datetime
import json
import os
import pathlib
import random
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent.parent
CATCHMENT = os.environ.get("CATCHMENT", str(HERE / "target/release/catchment"))
SYNCS, QUIET_SECONDS = 1000, 60
FILES, WRITES = 20_000, 50
BESIDE, SAVES, PER_SECOND = 1_000, 200, 100
BATCHES, ROUNDS = (1, 50, 100), 5


class Server:
    """A server on a data directory of its own."""

    def __init__(self, work):
        self.data = work / "data"
        self.process = subprocess.Popen(
            [CATCHMENT, "serve", "--listen", "127.0.0.1:0"],
            env={**os.environ, "CATCHMENT_DATA_DIR": str(self.data)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for line in self.process.stdout:
            if found := re.search(r"http://[\d.]+:\d+", line):
                self.url = found[0]
                break
        self.token = (self.data / "token").read_text().strip()

    def call(self, method, path, body=None):
        request = urllib.request.Request(self.url + path, method=method)
        request.add_header("Authorization", f"Bearer {self.token}")
        data = None
        if body is not None:
            data = json.dumps(body).encode()
            request.add_header("Content-Type", "application/json")
        with urllib.request.urlopen(request, data) as answer:
            return json.loads(answer.read() or "null")

    def read(self, path):
        request = urllib.request.Request(self.url + path)
        request.add_header("Authorization", f"Bearer {self.token}")
        with urllib.request.urlopen(request) as answer:
            return answer.read()

    def bucket(self, name):
        body = {"bucket_name": name, "bucket_schema": {"properties": {}}}
        return self.call("POST", "/v1/buckets", body)["bucket_id"]

    def sync(self, bucket, folder, **settings):
        body = {"connection_id": "conn_local", "source_path": str(folder), **settings}
        return self.call("POST", f"/v1/buckets/{bucket}/syncs", body)["sync_config_id"]

    def stop(self):
        self.process.terminate()
        self.process.wait(60)

    def cpu_seconds(self):
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(") ", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def resident_mib(self):
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024


def until(what, condition, patience=600):
    deadline = time.monotonic() + patience
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit(f"{what}: not within {patience} s")
        time.sleep(0.01)


def idle(work, server):
    bucket = server.bucket("many")
    for number in range(SYNCS):
        folder = work / "folders" / f"{number:04}"
        folder.mkdir(parents=True)
        (folder / "file").write_text(str(number))
        server.sync(bucket, folder)
    until("every folder up to date", lambda: server.call("GET", f"/v1/buckets/{bucket}")["object_count"] == SYNCS)
    time.sleep(10)
    before, started = server.cpu_seconds(), time.monotonic()
    time.sleep(QUIET_SECONDS)
    used = (server.cpu_seconds() - before) / (time.monotonic() - started)
    print(f"idle: {SYNCS} syncs, {server.resident_mib():.0f} MiB resident, {100 * used:.2f} % of a core")


def watch(work, server):
    folder = work / "large"
    for number in range(FILES):
        place = folder / f"{number // 1000:03}"
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{number:06}").write_bytes(number.to_bytes(8))
    bucket = server.bucket("large")
    server.sync(bucket, folder)
    count = lambda: server.call("GET", f"/v1/buckets/{bucket}")["object_count"]
    until("the folder up to date", lambda: count() == FILES)
    time.sleep(10)
    took = []
    for number in range(WRITES):
        (folder / "000" / f"new-{number}").write_text(f"new {number}")
        written = time.monotonic()
        until("a new file", lambda: count() == FILES + number + 1)
        took.append(time.monotonic() - written)
        time.sleep(1)
    took.sort()
    print(
        f"watch: a file written into a folder of {FILES} is an object after "
        f"{1000 * statistics.median(took):.0f} ms (median of {WRITES}), {1000 * took[-1]:.0f} ms at most"
    )


class Appending:
    """Opens a file, adds a line to it and closes it, a hundred times a second."""

    def __init__(self, path):
        self.path, self.ending = path, threading.Event()
        self.thread = threading.Thread(target=self.work)

    def work(self):
        number = 0
        while not self.ending.wait(1 / PER_SECOND):
            with self.path.open("a") as file:
                file.write(f"{number}\n")
            number += 1

    def __enter__(self):
        self.thread.start()

    def __exit__(self, *_):
        self.ending.set()
        self.thread.join()


def saved(work, server, beside=contextlib.nullcontext):
    folder = work / "saved"
    folder.mkdir()
    for number in range(BESIDE):
        (folder / f"{number:06}").write_bytes(number.to_bytes(8))
    bucket = server.bucket("saved")
    sync = server.sync(bucket, folder)
    objects = f"/v1/buckets/{bucket}/objects"
    until("the folder up to date", lambda: server.call("GET", f"/v1/buckets/{bucket}")["object_count"] == BESIDE)
    time.sleep(5)

    def is_readable(name, text):
        filters = {"key_prefix": {"eq": name}}
        found = server.call("POST", f"{objects}/list", {"filters": filters})["results"]
        if not found:
            return False
        return server.read(f"{objects}/{found[0]['object_id']}/blobs/content/content") == text.encode()

    took = []
    with beside(folder / "growing.log"):
        for number in range(SAVES):
            name, text = f"new-{number}", f"text {number}"
            (folder / name).write_text(text)
            written = time.monotonic()
            until("a saved file", lambda: is_readable(name, text))
            took.append(time.monotonic() - written)
            time.sleep(random.uniform(0.05, 0.3))
    log = folder / "growing.log"
    if log.exists():
        until("the file that grew", lambda: is_readable("growing.log", log.read_text()))
    runs = server.call("GET", f"/v1/buckets/{bucket}/syncs/{sync}")["sync_run_counter"]
    took.sort()
    at = lambda share: 1000 * took[int((len(took) - 1) * share)]
    print(
        f"{'busy' if log.exists() else 'saved'}: readable after p50 {at(0.5):.0f} ms, p99 {at(0.99):.0f} ms "
        f"({SAVES} files, {runs} runs)"
    )


def busy(work, server):
    saved(work, server, Appending)


def batch(work, server):
    folder = work / "many"
    for number in range(FILES):
        place = folder / f"{number // 1000:03}"
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{number:06}").write_bytes(number.to_bytes(8) * 512)
    took = {size: [] for size in BATCHES}
    for turn in range(ROUNDS):
        for size in BATCHES:
            took[size].append(first_run(server, folder, f"batch-{turn}-{size}", size))
    middle = {size: statistics.median(seconds) for size, seconds in took.items()}
    least = middle[max(BATCHES)]
    for size, seconds in middle.items():
        print(
            f"batch: batch_size {size}: {FILES / seconds:,.0f} files/s (median of {ROUNDS}), "
            f"{100 * (seconds / least - 1):+.1f} % of time against {max(BATCHES)}"
        )


def first_run(server, folder, name, size):
    """Seconds that the first run of a sync into a bucket of its own takes."""
    os.sync()
    bucket = server.bucket(name)
    sync = server.sync(bucket, folder, batch_size=size, sync_mode="initial_only")
    path = f"/v1/buckets/{bucket}/syncs/{sync}"
    until("the first run", lambda: server.call("GET", path)["status"] == "COMPLETED")
    job = server.call("POST", f"{path}/jobs", {})["results"][0]
    begun, ended = (datetime.datetime.fromisoformat(job[at]) for at in ("started_at", "completed_at"))
    server.call("DELETE", f"/v1/buckets/{bucket}")
    return (ended - begun).total_seconds()


CASES = {"idle": idle, "watch": watch, "saved": saved, "busy": busy, "batch": batch}


def main():
    for name in sys.argv[1:] or CASES:
        work = pathlib.Path(tempfile.mkdtemp(prefix="catchment-bench-", dir=os.environ.get("BENCH_DIR")))
        with contextlib.ExitStack() as stack:
            stack.callback(shutil.rmtree, work, ignore_errors=True)
            server = Server(work)
            stack.callback(server.stop)
            CASES[name](work, server)


if __name__ == "__main__":
    main()
