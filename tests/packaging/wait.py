"""Asks for an address until it answers; the first connection may be what starts the server."""

import sys
import time
import urllib.request

deadline = time.monotonic() + 60
while True:
    try:
        with urllib.request.urlopen(sys.argv[1], timeout=30) as answer:
            sys.exit(0 if answer.status == 200 else 1)
    except OSError as error:
        if time.monotonic() > deadline:
            sys.exit(f"{sys.argv[1]}: {error}")
        time.sleep(0.1)
