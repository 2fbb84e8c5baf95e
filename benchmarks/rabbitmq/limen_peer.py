"""Limen as the benchmark uses it: nothing is set that is not so by itself.

Run as a script it is a host; both sides read the broker's address from the environment.
"""

from __future__ import annotations

import os
import sys

from limen import Limen, activity


@activity(queue="work")
def echo(number: int) -> int:
    """Do nothing."""
    return number


if __name__ == "__main__":
    with Limen(os.environ["PEER_URL"]) as app:
        app.worker("work", [echo], max_concurrent=int(sys.argv[1]))
        sys.stdin.read()
