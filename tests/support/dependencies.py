"""Checks the dependencies against deny.toml: licences, sources, duplicates.

deny.toml is that of cargo-deny, which checks the same and more. Building cargo-deny takes longer than
all the rest of a test run, so tests/run reads the same file with this.

    python3 tests/support/dependencies.py
"""

import re
import subprocess
import sys
import tomllib
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parents[2]


def packages(targets):
    """What Cargo builds on any of the targets, without tests' own dependencies: (name, version) to
    (licence, source)."""
    found = {}
    for target in targets:
        command = ["cargo", "tree", "--locked", "--edges", "normal,build", "--target", target]
        command += ["--prefix", "none", "--no-dedupe", "--format", "{p}\t{l}"]
        tree = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
        for line in set(tree.splitlines()):
            package, licence = line.split("\t")
            # "name v1.2.3", then "(proc-macro)" and, if it is not from crates.io, "(its source)".
            name, version, *rest = package.split()
            sources = [part.strip("()") for part in rest if part != "(proc-macro)"]
            found[name, version] = (licence, sources[0] if sources else None)
    return {key: value for key, value in found.items() if value[1] != str(ROOT)}


def allows(expression, allowed):
    """Whether an SPDX expression can be met with the allowed licences."""
    words = re.findall(r"[()]|[^\s()/]+|/", expression or "")

    def either():
        met = both()
        while words and words[0] in ("OR", "/"):
            words.pop(0)
            met = both() or met
        return met

    def both():
        met = one()
        while words and words[0] == "AND":
            words.pop(0)
            met = one() and met
        return met

    def one():
        if not words:
            return False
        word = words.pop(0)
        if word == "(":
            met = either()
            words.pop(0)
            return met
        if words and words[0] == "WITH":
            words.pop(0)
            word = f"{word} WITH {words.pop(0)}"
        return word in allowed

    return bool(words) and either()


def problems(config, found):
    licences = config["licenses"]
    exceptions = {item["crate"]: item["allow"] for item in licences.get("exceptions", [])}
    clarified = {item["crate"]: item["expression"] for item in licences.get("clarify", [])}
    versions = defaultdict(set)
    for (name, version), (licence, source) in sorted(found.items()):
        versions[name].add(version)
        licence = clarified.get(name, licence)
        if not allows(licence, licences["allow"] + exceptions.get(name, [])):
            yield f"{name} {version}: the licence {licence!r} is not allowed"
        if source:
            yield f"{name} {version}: it comes from {source}; only crates.io is allowed"
    skipped = {item["crate"].split("@")[0] for item in config["bans"].get("skip", [])}
    for name, several in versions.items():
        if len(several) > 1 and name not in skipped:
            yield f"{name}: is built in {len(several)} versions: {', '.join(sorted(several))}"
    for name in sorted(skipped):
        if len(versions[name]) < 2:
            yield f"{name}: is built in one version at most; remove it from [bans] skip"


def main():
    config = tomllib.loads((ROOT / "deny.toml").read_text())
    found = packages(config["graph"]["targets"])
    wrong = list(problems(config, found))
    for line in wrong:
        print(f"deny.toml: {line}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
