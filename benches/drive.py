"""Catchment beside a drive of 10,000 and of 200,000 files: `benches/run drive`.

The drive is a small imitation of Google's API in this file, in a process of its own: it gives tokens, lists
pages of 1000, reports changes and serves bytes, knows nothing of faults or quotas, and answers faster than
Google does. Google lets a user download about 27 files a second; here `[limits]` allow as many as there can be.
So requests and memory are what they would be there, and seconds are those that Catchment takes itself.

first    a first run: requests of each kind (asked for: 12 to list 10,000 files, 10,000 downloads, no other)
same     nothing has changed: requests (asked for: 1)
rename   the folder of all files is renamed: downloads (asked for: 0), objects with other ids (0), and seconds
         until every object has its new path (asked for: 2)
large    a first run over 200,000 files: the most memory that the server had resident (asked for: 64 MiB)

Prints figures and what was asked for; fails for none of them. FILES sets the files (10,000), LARGE those of
the last case (200,000; 0 leaves it out), CATCHMENT names another executable, BENCH_DIR where the data goes.
"""

import asyncio
import collections
import hashlib
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request

from standing import Server, until

FILES = int(os.environ.get("FILES", "10000"))
LARGE = int(os.environ.get("LARGE", "200000"))
PEAK_MIB, RENAME_SECONDS, PAGE = 64, 2, 1000
SLICE = 100_000
ROOT, FOLDER = "0AMyDriveRoot", "1TheFolder"
FOLDER_TYPE = "application/vnd.google-apps.folder"


def content(number):
    return b"content of file %d" % number


class Drive:
    """My Drive with a folder of files, and what was asked of it."""

    def __init__(self, files):
        self.files, self.log, self.counts = files, [], collections.Counter()
        self.folder = {"id": FOLDER, "name": "Folder", "mimeType": FOLDER_TYPE, "parents": [ROOT], "trashed": False}

    def file(self, number):
        data, owner = content(number), [{"emailAddress": "someone@example.org"}]
        return {
            "id": f"1File{number:07}", "name": f"file number {number:07}.txt", "mimeType": "text/plain",
            "parents": [FOLDER], "trashed": False, "md5Checksum": hashlib.md5(data).hexdigest(),
            "size": str(len(data)), "modifiedTime": "2026-01-02T03:04:05.678Z",
            "createdTime": "2026-01-02T03:04:05.678Z", "starred": False, "owners": owner,
            "webViewLink": f"https://drive.google.com/file/d/1File{number:07}/view?usp=drivesdk",
            "capabilities": {"canDownload": True},
        }  # fmt: skip

    def page(self, token):
        """The files from a position on; the folder is the last item, as if it were the oldest."""
        start = int(token or 0)
        end = min(start + PAGE, self.files + 1)
        items = [self.file(number) if number < self.files else self.folder for number in range(start, end)]
        more = {"nextPageToken": str(end)} if end <= self.files else {}
        return {"files": items, **more}

    def changes(self, token):
        told = [{"changeType": "file", "removed": False, "fileId": FOLDER, "file": self.folder}]
        return {"changes": told if int(token) < len(self.log) else [], "newStartPageToken": str(len(self.log))}

    def answer(self, method, target):
        """The answer to a request: status and body."""
        url = urllib.parse.urlsplit(target)
        path, query = url.path, dict(urllib.parse.parse_qsl(url.query))
        if path == "/bench/rename":
            self.folder["name"] = "Folder, renamed"
            self.log.append(FOLDER)
            return 200, {}
        if path == "/bench/counts":
            counts, self.counts = self.counts, collections.Counter()
            return 200, counts
        if path == "/token":
            return 200, {"access_token": "token", "expires_in": 3600}
        if path == "/drive/v3/files":
            self.counts["list"] += 1
            return 200, self.page(query.get("pageToken"))
        if path == "/drive/v3/changes/startPageToken":
            self.counts["start page token"] += 1
            return 200, {"startPageToken": str(len(self.log))}
        if path == "/drive/v3/changes":
            self.counts["changes"] += 1
            return 200, self.changes(query["pageToken"])
        if query.get("alt") == "media":
            self.counts["download"] += 1
            return 200, content(int(path.removeprefix("/drive/v3/files/1File")))
        if path == "/drive/v3/about":
            return 200, {"user": {"emailAddress": "someone@example.org", "permissionId": "0123"}}
        self.counts[f"other: {method} {path}"] += 1
        if path == "/drive/v3/files/root":
            return 200, {"id": ROOT, "name": "My Drive", "mimeType": FOLDER_TYPE, "trashed": False}
        return 404, {"error": {"code": 404, "message": "not in this drive", "errors": [{"reason": "notFound"}]}}


class Connection(asyncio.Protocol):
    """One connection, without what HTTP libraries do beyond what is asked here."""

    def __init__(self, drive):
        self.drive, self.waiting = drive, b""

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.waiting += data
        while (end := self.waiting.find(b"\r\n\r\n")) >= 0:
            head = self.waiting[:end]
            found = re.search(rb"(?i)content-length: *(\d+)", head)
            whole = end + 4 + (int(found[1]) if found else 0)
            if len(self.waiting) < whole:
                return
            self.waiting = self.waiting[whole:]
            method, target, _ = head.split(b"\r\n", 1)[0].decode().split(" ")
            status, body = self.drive.answer(method, target)
            kind = b"text/plain" if isinstance(body, bytes) else b"application/json"
            body = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.transport.write(
                b"HTTP/1.1 %d OK\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s" % (status, kind, len(body), body)
            )


async def serve(files):
    drive = Drive(files)
    server = await asyncio.get_running_loop().create_server(lambda: Connection(drive), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    # Until the bench is over.
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


class Case:
    """A server of Catchment, and a drive that it has yet to sync."""

    def __init__(self, work, files):
        command = [sys.executable, __file__, "serve", str(files)]
        self.drive = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.google = f"http://127.0.0.1:{int(self.drive.stdout.readline())}"
        (work / "data").mkdir(parents=True)
        hosts = f'[hosts]\ngoogle_api = "{self.google}"\ngoogle_token = "{self.google}"\n'
        limits = "[limits]\ngoogle_drive_units_per_minute = 1000000000\n"
        (work / "data" / "config.toml").write_text(hosts + limits)
        os.environ.setdefault("CATCHMENT_LOG", "warn")
        self.server = Server(work)
        credentials = {"type": "oauth", "client_id": "c", "client_secret": "s", "refresh_token": "r"}
        connection = {
            "name": "Drive", "provider_type": "google_drive", "provider_config": {"credentials": credentials},
        }  # fmt: skip
        connection = self.server.call("POST", "/v1/organizations/connections", connection)["connection_id"]
        self.bucket = f"/v1/buckets/{self.server.bucket('drive')}"
        body = {"connection_id": connection, "source_path": "root", "status": "SUSPENDED"}
        made = self.server.call("POST", f"{self.bucket}/syncs", body)
        self.sync = f"{self.bucket}/syncs/{made['sync_config_id']}"
        self.counts()

    def counts(self):
        """The requests since the last call, by kind."""
        return json.loads(urllib.request.urlopen(f"{self.google}/bench/counts").read())

    def jobs(self):
        return self.server.call("POST", f"{self.sync}/jobs", {})["results"]

    def run(self, order="trigger"):
        """Makes a run; returns its seconds, from the order on."""
        before, started = len(self.jobs()), time.monotonic()
        self.server.call("POST", f"{self.sync}/{order}", {})
        over = lambda jobs: len(jobs) > before and all(job["status"] != "running" for job in jobs)
        until("the run", lambda: over(self.jobs()), patience=3600)
        job = self.jobs()[0]
        if job["status"] != "completed":
            raise SystemExit(f"the run ended as {job['status']}: {job}")
        return time.monotonic() - started

    def objects(self):
        """The paths of all objects, by their ids."""
        found, offset = {}, 0
        while True:
            page = self.server.call("POST", f"{self.bucket}/objects/list?limit=1000&offset={offset}", {})["results"]
            found.update((each["object_id"], each["key_prefix"]) for each in page)
            offset += len(page)
            if not page:
                return found

    def peak_mib(self):
        """The most memory that the server had resident since the last call."""
        process = pathlib.Path(f"/proc/{self.server.process.pid}")
        peak = int(re.search(r"VmHWM:\s+(\d+)", (process / "status").read_text())[1]) / 1024
        (process / "clear_refs").write_text("5")
        return peak

    def stop(self):
        self.server.stop()
        self.drive.stdin.close()
        self.drive.wait(60)


def told(what, found, wanted, unit=""):
    verdict = "reached" if found <= wanted else "MISSED"
    number = f"{found:,.1f}" if isinstance(found, float) else f"{found:,}"
    print(f"  {what:58} {number:>9}{unit}  (asked for: {wanted:,}{unit}, {verdict})")


def first(case, files):
    """A first run, and one that finds nothing changed."""
    print(f"\ndrive: one folder of {files:,} files ({case.peak_mib():.0f} MiB before the first run)")
    seconds, counts = case.run("resume"), case.counts()
    print(f"  first run: {seconds:.1f} s, {files / seconds:,.0f} files/s, {dict(counts)}")
    downloads = counts.pop("download", 0)
    # The folder is an item, too, and each further slice of a run looks at the changes once more.
    slices = (files - 1) // SLICE
    told("requests that list, of a first run", sum(counts.values()), 2 + -(-(files + 1) // PAGE) + slices)
    told("downloads of a first run", downloads, files)
    told("peak memory of a first run", case.peak_mib(), PEAK_MIB, " MiB")
    case.run()
    told("requests where nothing has changed", sum(case.counts().values()), 1)


def renamed(case):
    """A run that finds the folder renamed."""
    case.peak_mib()
    urllib.request.urlopen(f"{case.google}/bench/rename").read()
    seconds, counts = case.run(), case.counts()
    told("downloads where the folder is renamed", counts.get("download", 0), 0)
    told("requests where the folder is renamed", sum(counts.values()), 1)
    return seconds


def compare(case):
    first(case, FILES)
    before = case.objects()
    assert len(before) == FILES, len(before)
    seconds, peak = renamed(case), case.peak_mib()
    after = case.objects()
    assert all(path.startswith("Folder, renamed/") for path in after.values()), list(after.items())[:3]
    told("objects that have other ids then", len(before.keys() - after.keys()), 0)
    told("seconds from the order to the end of that run", seconds, RENAME_SECONDS, " s")
    told("peak memory of that run", peak, PEAK_MIB, " MiB")


def large(case):
    first(case, LARGE)
    print(f"  the folder is renamed: {renamed(case):.1f} s")
    told("peak memory of that run", case.peak_mib(), PEAK_MIB, " MiB")


def main():
    match sys.argv[1:]:
        case ["serve", files]:
            return asyncio.run(serve(int(files)))
    for files, measure in ((FILES, compare), (LARGE, large)):
        if not files:
            continue
        work = pathlib.Path(tempfile.mkdtemp(prefix="catchment-bench-", dir=os.environ.get("BENCH_DIR")))
        case = Case(work, files)
        try:
            measure(case)
        finally:
            case.stop()
            shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    main()
