"""Runs a peer for exactly as long as the test that asked for it.

    keep.py PROGRAM ARGUMENT...

The program is killed when our standard input closes, which the operating system does for a test
that ends, panics or is killed. Standard library only.
"""

import os
import signal
import subprocess
import sys
import threading


def main() -> int:
    child = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL, start_new_session=True)

    def kill(*_: object) -> None:
        try:
            os.killpg(child.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass

    def until_the_test_is_gone() -> None:
        while sys.stdin.buffer.read(4096):
            pass
        kill()

    signal.signal(signal.SIGTERM, kill)
    signal.signal(signal.SIGINT, kill)
    threading.Thread(target=until_the_test_is_gone, daemon=True).start()
    return child.wait()


sys.exit(main())
