"""Catchment beside its peers, in one run, as ratios. Started by benches/run.

Each case prepares its data once, runs every contestant in turn for a few rounds, and compares the
medians: wall-clock seconds, CPU seconds of the contestant's own processes, peak resident memory.
Every first run begins with an empty target. Nothing here fails for being slow: the ratios, and the
reach that is asked for, are printed side by side.

ROUNDS sets the rounds (3), BENCH_DIR where the data goes, CATCHMENT another executable. BASELINE names
a second executable of Catchment, such as an earlier build, that enters each case beside it. Catchment
has its bytes on the disk before it ends and its peers do not. So every run begins with nothing left
to write from those before it, and where large objects make the difference matter, the peers run a
second time each with a sync of what they wrote: the same promise as ours.
"""

import contextlib
import os
import pathlib
import random
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor

ROUNDS = int(os.environ.get("ROUNDS", "3"))
HERE = pathlib.Path(__file__).resolve().parent.parent
BIN = pathlib.Path(sys.executable).parent
CATCHMENT = os.environ.get("CATCHMENT", str(HERE / "target/release/catchment"))
BASELINE = os.environ.get("BASELINE")
BARE = str(HERE / "target/bare/release/bare")
RCLONE, S5CMD, WEED = (str(BIN / name) for name in ("rclone", "s5cmd", "weed"))
KEYS = {"AWS_ACCESS_KEY_ID": "bench", "AWS_SECRET_ACCESS_KEY": "bench-secret", "AWS_REGION": "us-east-1"}
SMALL, SMALL_BYTES = 20_000, 4096
LARGE, LARGE_BYTES = 2, 512 * 1024 * 1024


class Cost:
    """What one run took: seconds, CPU seconds, peak MiB."""

    def __init__(self, wall, cpu, rss):
        self.wall, self.cpu, self.rss = wall, cpu, rss


def run(command, env):
    """Runs a command to its end and answers what it cost."""
    started = time.perf_counter()
    with tempfile.TemporaryFile() as output:
        child = subprocess.Popen(command, env=env, stdout=output, stderr=subprocess.STDOUT)
        _, status, used = os.wait4(child.pid, 0)
        wall = time.perf_counter() - started
        if os.waitstatus_to_exitcode(status) != 0:
            output.seek(0)
            raise SystemExit(f"{command} failed:\n{output.read().decode(errors='replace')[-2000:]}")
    return Cost(wall, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)


class Case:
    """Contestants of one job; `fresh` empties a contestant's target before each of its runs."""

    def __init__(self, name, env, work):
        self.name, self.env, self.work, self.contestants = name, env, work, {}

    def enter(self, name, command, fresh=None):
        self.contestants[name] = (command, fresh)

    def enter_ours(self, data, source, fresh=None):
        """Enters Catchment and, with a data directory of its own, the baseline."""
        self.enter("catchment", catchment(data, source), fresh and fresh(data))
        if BASELINE:
            data = data.with_name(f"{data.name}-baseline")
            self.enter("catchment, baseline", [BASELINE, *catchment(data, source)[1:]], fresh and fresh(data))

    def measure(self):
        costs = {name: [] for name in self.contestants}
        for _ in range(ROUNDS):
            # In turn, not in blocks: a mood of the machine hits all of them.
            for name, (command, fresh) in self.contestants.items():
                if fresh:
                    fresh()
                # What one leaves to be written must not be paid for by the next.
                os.sync()
                costs[name].append(run(command, self.env))
        middle = {
            name: Cost(*(statistics.median(getattr(c, field) for c in found) for field in ("wall", "cpu", "rss")))
            for name, found in costs.items()
        }
        print(f"\n{self.name}")
        for name, cost in middle.items():
            print(f"  {name:34} {cost.wall:8.2f} s {cost.cpu:8.2f} s CPU {cost.rss:7.0f} MiB")
        if "catchment, baseline" in middle:
            ours, baseline = middle["catchment"], middle["catchment, baseline"]
            reach("time, of the baseline's", ours.wall, baseline.wall, 1.05)
            reach("CPU, of the baseline's", ours.cpu, baseline.cpu, 1.05)
        return middle


def reach(what, ours, theirs, most):
    ratio = ours / theirs
    verdict = "reached" if ratio <= most else "MISSED"
    print(f"  {what:56} {ratio:5.2f} x  (asked for: {most} x, {verdict})")


def peak(what, mib, most=64):
    print(f"  {what:56} {mib:5.0f} MiB (asked for: {most} MiB, {'reached' if mib <= most else 'MISSED'})")


def emptied(*folders):
    def fresh():
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)

    return fresh


def renamed(folder):
    """Gives everything in a folder another name, each time."""
    def fresh():
        for entry in list(folder.iterdir()):
            entry.rename(entry.with_name(f"{entry.name}-renamed"))

    return fresh


@contextlib.contextmanager
def seaweed(work):
    """A SeaweedFS S3 server on a free port, with its data in `work`."""
    def free_port():
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            return probe.getsockname()[1]

    ports = {name: free_port() for name in ("master.port", "volume.port", "filer.port", "s3.port")}
    for name in ("master", "volume", "filer", "s3"):
        ports[f"{name}.port.grpc"] = free_port()
    config = work / "s3.json"
    config.write_text(
        '{"identities":[{"name":"bench","credentials":[{"accessKey":"bench","secretKey":"bench-secret"}],'
        '"actions":["Admin","Read","Write","List","Tagging"]}]}'
    )
    (work / "data").mkdir()
    log = open(work / "weed.log", "wb")
    server = subprocess.Popen(
        [WEED, "server", f"-dir={work / 'data'}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-filer", "-s3",
         f"-s3.config={config}", "-volume.max=50", "-master.volumeSizeLimitMB=1024"]
        + [f"-{name}={port}" for name, port in ports.items()],
        stdout=log, stderr=log,
    )
    endpoint = f"http://127.0.0.1:{ports['s3.port']}"
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                urllib.request.urlopen(endpoint, timeout=1)
                break
            except urllib.error.HTTPError:
                break
            except OSError:
                if time.monotonic() > deadline or server.poll() is not None:
                    raise SystemExit(f"SeaweedFS did not start; see {work / 'weed.log'}") from None
                time.sleep(0.2)
        yield endpoint
    finally:
        server.terminate()
        server.wait()


def prepare(kind, *arguments):
    """Runs `fill` or `grow` in a process of its own. This one has to stay small: a child's peak
    memory begins with what its parent had when it was started."""
    subprocess.run([sys.executable, __file__, kind, *map(str, arguments)], check=True)


def fill(endpoint, bucket, count, size):
    import boto3

    client = boto3.client(
        "s3", endpoint_url=endpoint, region_name="us-east-1",
        aws_access_key_id="bench", aws_secret_access_key="bench-secret",
    )
    client.create_bucket(Bucket=bucket)
    seeded = random.Random(7)
    if size > 1 << 20:
        for index in range(count):
            with tempfile.TemporaryFile() as body:
                for _ in range(size >> 20):
                    body.write(seeded.randbytes(1 << 20))
                body.seek(0)
                client.upload_fileobj(body, bucket, f"large-{index}.bin")
        return
    bodies = [(f"d{index // 1000:03}/f{index:06}.bin", seeded.randbytes(size)) for index in range(count)]
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda item: client.put_object(Bucket=bucket, Key=item[0], Body=item[1]), bodies))


def grow(folder, count, size):
    seeded = random.Random(7)
    for index in range(count):
        path = folder / f"d{index // 1000:03}"
        path.mkdir(parents=True, exist_ok=True)
        (path / f"f{index:06}.bin").write_bytes(seeded.randbytes(size))


def s3_environment(endpoint):
    env = {**os.environ, **KEYS, "AWS_ENDPOINT_URL": endpoint, "AWS_ENDPOINT": endpoint, "AWS_ALLOW_HTTP": "true"}
    env.update({
        "S3_ENDPOINT_URL": endpoint,
        "RCLONE_CONFIG_WEED_TYPE": "s3", "RCLONE_CONFIG_WEED_PROVIDER": "SeaweedFS",
        "RCLONE_CONFIG_WEED_ENDPOINT": endpoint, "RCLONE_CONFIG_WEED_ACCESS_KEY_ID": "bench",
        "RCLONE_CONFIG_WEED_SECRET_ACCESS_KEY": "bench-secret", "RCLONE_CONFIG": os.devnull,
    })
    return env


def catchment(data, source, *more):
    return [CATCHMENT, "--data-dir", str(data), "sync", source, "--quiet", *more]


def synced(command, folder):
    """The command, and then its files and their names on the disk: what Catchment's end means."""
    return ["sh", "-c", '"$@" && exec sync "$0"/* "$0"', str(folder), *command]


def s3_small(work):
    with seaweed(work) as endpoint:
        prepare("fill", endpoint, "small", SMALL, SMALL_BYTES)
        env = s3_environment(endpoint)
        ours, s5, rc = work / "ours", work / "s5", work / "rclone"
        case = Case(f"S3, first sync, {SMALL:,} x {SMALL_BYTES} bytes", env, work)
        case.enter("bare client: get, hash, drop", [BARE, "get", "small"])
        case.enter_ours(ours, "s3://small", emptied)
        case.enter("s5cmd cp", [S5CMD, "cp", "s3://small/*", f"{s5}/"], emptied(s5))
        case.enter("rclone copy --transfers 32",
                   [RCLONE, "copy", "weed:small", str(rc), "--transfers", "32"], emptied(rc))
        cost = case.measure()
        reach("time, of the bare client's", cost["catchment"].wall, cost["bare client: get, hash, drop"].wall, 1.25)
        reach("time, of s5cmd's", cost["catchment"].wall, cost["s5cmd cp"].wall, 0.8)
        reach("CPU, of s5cmd's", cost["catchment"].cpu, cost["s5cmd cp"].cpu, 0.5)
        peak("peak memory", cost["catchment"].rss)

        case = Case(f"S3, nothing changed, {SMALL:,} objects", env, work)
        case.enter("bare client: list", [BARE, "list", "small"])
        case.enter_ours(ours, "s3://small")
        case.enter("rclone sync, at its best",
                   [RCLONE, "sync", "weed:small", str(rc), "--use-server-modtime", "--fast-list"])
        case.enter("s5cmd sync", [S5CMD, "sync", "s3://small/*", f"{s5}/"])
        run(case.contestants["rclone sync, at its best"][0], env)
        run(case.contestants["s5cmd sync"][0], env)
        cost = case.measure()
        reach("time, of rclone's best", cost["catchment"].wall, cost["rclone sync, at its best"].wall, 0.6)
        peak("peak memory", cost["catchment"].rss)


def s3_large(work):
    with seaweed(work) as endpoint:
        prepare("fill", endpoint, "large", LARGE, LARGE_BYTES)
        env = s3_environment(endpoint)
        ours, s5, rc = work / "ours", work / "s5", work / "rclone"
        case = Case(f"S3, first sync, {LARGE} x {LARGE_BYTES >> 20} MiB", env, work)
        case.enter_ours(ours, "s3://large", emptied)
        case.enter("s5cmd cp", [S5CMD, "cp", "s3://large/*", f"{s5}/"], emptied(s5))
        case.enter("rclone copy", [RCLONE, "copy", "weed:large", str(rc)], emptied(rc))
        case.enter("s5cmd cp, then sync", synced([S5CMD, "cp", "s3://large/*", f"{s5}/"], s5), emptied(s5))
        case.enter("rclone copy, then sync", synced([RCLONE, "copy", "weed:large", str(rc)], rc), emptied(rc))
        cost = case.measure()
        better = min(cost["s5cmd cp"].wall, cost["rclone copy"].wall)
        reach("time, of the better peer's, hashing included", cost["catchment"].wall, better, 1.2)
        better = min(cost["s5cmd cp, then sync"].wall, cost["rclone copy, then sync"].wall)
        reach("the same, when the peer's bytes are on the disk, too", cost["catchment"].wall, better, 1.2)
        peak("peak memory", cost["catchment"].rss)


def folder(work):
    source, ours, repo, copy = work / "source", work / "ours", work / "repo", work / "copy"
    prepare("grow", source, SMALL, SMALL_BYTES)
    env = {**os.environ, "RESTIC_PASSWORD": "bench", "RESTIC_REPOSITORY": str(repo),
           "RESTIC_CACHE_DIR": str(work / "cache")}

    def fresh_repo():
        emptied(repo, work / "cache")()
        run(["restic", "init", "-q"], env)

    case = Case(f"Folder, first sync, {SMALL:,} x {SMALL_BYTES} bytes", env, work)
    case.enter_ours(ours, str(source), emptied)
    case.enter("restic backup", ["restic", "backup", "-q", str(source)], fresh_repo)
    case.enter("rsync -a", ["rsync", "-a", f"{source}/", str(copy)], emptied(copy))
    cost = case.measure()
    reach("time, of restic's", cost["catchment"].wall, cost["restic backup"].wall, 0.4)
    peak("peak memory", cost["catchment"].rss)

    case = Case(f"Folder, nothing changed, {SMALL:,} files", env, work)
    case.enter_ours(ours, str(source))
    case.enter("restic backup", ["restic", "backup", "-q", str(source)])
    case.enter("rsync -a", ["rsync", "-a", f"{source}/", str(copy)])
    cost = case.measure()
    reach("time, of restic's", cost["catchment"].wall, cost["restic backup"].wall, 0.25)
    peak("peak memory", cost["catchment"].rss)


def growth(work):
    """Ten times the objects must not take more memory, fifty times no more time for each of them."""
    peaks, each = {}, {}
    for count in (SMALL, 10 * SMALL, 50 * SMALL):
        source, ours = work / f"source{count}", work / f"ours{count}"
        prepare("grow", source, count, 256)
        case = Case(f"Folder, {count:,} x 256 bytes", dict(os.environ), work)
        case.enter("catchment, first", catchment(ours, str(source)), emptied(ours))
        first = case.measure()
        case = Case(f"Folder, {count:,} files, nothing changed", dict(os.environ), work)
        case.enter("catchment, again", catchment(ours, str(source)))
        again = case.measure()
        peaks[count] = max(first["catchment, first"].rss, again["catchment, again"].rss)
        each[count] = first["catchment, first"].wall / count
        peak(f"peak memory at {count:,}", peaks[count])
        if count <= 10 * SMALL:
            case = Case(f"Folder, {count:,} files under other names", dict(os.environ), work)
            case.enter("catchment, renamed", catchment(ours, str(source)), renamed(source))
            peak(f"peak memory at {count:,}, renamed", case.measure()["catchment, renamed"].rss)
    reach("memory at ten times the objects", peaks[10 * SMALL], peaks[SMALL], 1.25)
    reach("memory at fifty times the objects", peaks[50 * SMALL], peaks[SMALL], 1.25)
    reach("time for each, at fifty times the objects", each[50 * SMALL], each[SMALL], 1.5)


CASES = {"s3-small": s3_small, "s3-large": s3_large, "folder": folder, "growth": growth}


def main():
    match sys.argv[1:]:
        case ["fill", endpoint, bucket, count, size]:
            return fill(endpoint, bucket, int(count), int(size))
        case ["grow", folder, count, size]:
            return grow(pathlib.Path(folder), int(count), int(size))
    wanted = sys.argv[1:] or list(CASES)
    for name in wanted:
        if name not in CASES:
            raise SystemExit(f"no case {name!r}; there are: {', '.join(CASES)}")
    for name in wanted:
        with tempfile.TemporaryDirectory(prefix="catchment-bench-", dir=os.environ.get("BENCH_DIR")) as work:
            CASES[name](pathlib.Path(work))


if __name__ == "__main__":
    main()
