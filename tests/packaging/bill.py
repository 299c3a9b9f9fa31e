"""Checks a bill of materials: what CycloneDX 1.5 asks of it, and that it names what is linked."""

import json
import re
import sys

with open(sys.argv[1], encoding="utf-8") as file:
    bill = json.load(file)
assert bill["bomFormat"] == "CycloneDX" and bill["specVersion"] == "1.5" and bill["version"] == 1
assert re.fullmatch(r"urn:uuid:[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", bill["serialNumber"])
program = bill["metadata"]["component"]
assert program["name"] == "catchment" and program["type"] == "application"
components = bill["components"]
references = [component["bom-ref"] for component in components]
assert len(references) == len(set(references)), "one reference twice"
for component in components:
    assert component["type"] == "library" and component["version"], component
    assert component["purl"].startswith("pkg:cargo/"), component
    assert re.fullmatch(r"[0-9a-f]{64}", component["hashes"][0]["content"]), component
    licence = component["licenses"][0]
    assert licence.get("expression") or licence["license"]["name"], component
names = {component["name"] for component in components}
assert {"rusqlite", "libsqlite3-sys", "blake3", "tokio", "axum", "notify"} <= names
assert not {"proptest", "tempfile", "fastrand"} <= names, "test dependencies are not linked"
known = set(references) | {program["bom-ref"]}
for entry in bill["dependencies"]:
    assert entry["ref"] in known and set(entry["dependsOn"]) <= known, entry
