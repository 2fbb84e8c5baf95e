"""`make bench`: every figure beside a baseline that was measured in the same run.

Name benchmarks to run only those: `python benchmarks/run.py dispatch process`.
"""

from __future__ import annotations

import importlib
import json
import os
import platform
import sys
from collections.abc import Callable, Iterable

from harness import Bound, Row

NAMES = ("actors", "dispatch", "semantics", "process", "system", "scale", "simulation")


def main(arguments: list[str]) -> int:
    """Run, print, and say by the exit status whether every target was met."""
    wanted = [each for each in arguments if not each.startswith("-")] or list(NAMES)
    unknown = set(wanted) - set(NAMES)
    if unknown:
        print(f"no such benchmark: {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}", file=sys.stderr)
        return 2
    return report([importlib.import_module(f"bench_{name}").run for name in wanted], as_json="--json" in arguments)


def report(runs: Iterable[Callable[[], Iterable[Row | Bound]]], *, as_json: bool) -> int:
    """Run benchmarks and print what they give, line by line; give the exit status."""
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores, {platform.system()}")
    rows: list[Row | Bound] = []
    for run in runs:
        for row in run():
            rows.append(row)
            print(_line(row), flush=True)
    missed = [row.name for row in rows if not row.met]
    print(
        f"{len(rows) - len(missed)} of {len(rows)} targets met" + (f"; missed: {', '.join(missed)}" if missed else "")
    )
    if as_json:
        print(json.dumps([_plain(row) for row in rows]))
    return 1 if missed else 0


def _line(row: Row | Bound) -> str:
    mark = "ok  " if row.met else "MISS"
    if isinstance(row, Bound):
        return f"{mark} {row.name:<45} {row.ours:10.2f} {row.unit:<3} (bound {row.bound:g} {row.unit})"
    sense = "<=" if row.better == "lower" else ">="
    figures = f"{row.ours:10.2f} {row.unit:<3} | {row.against} {row.theirs:.2f} {row.unit}"
    return f"{mark} {row.name:<45} {figures} | {row.ratio:.2f} x (target {sense} {row.target:g} x)"


def _plain(row: Row | Bound) -> dict[str, object]:
    if isinstance(row, Bound):
        return {"name": row.name, "ours": row.ours, "unit": row.unit, "bound": row.bound, "met": row.met}
    return {
        "name": row.name,
        "ours": row.ours,
        "theirs": row.theirs,
        "unit": row.unit,
        "ratio": row.ratio,
        "target": row.target,
        "met": row.met,
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
