"""Dispatch on a thread worker, the whole supervised path, against `ThreadPoolExecutor`."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from activities import noop, thread_noop
from harness import Row, alternate

from limen import Limen

OUTSTANDING = 1000


def run() -> list[Row]:
    """Measure."""
    with Limen() as app, ThreadPoolExecutor(1) as pool:
        app.worker("thread", [thread_noop], max_concurrent=1)
        sequential = alternate(_one_by_one(app), _one_by_one_in(pool), 2000)
        pipelined = alternate(_all_at_once(app), _all_at_once_in(pool), OUTSTANDING, rounds=21)
    against = "ThreadPoolExecutor"
    return [
        Row("thread dispatch, sequential", *sequential, "us", 1.1, "lower", against),
        Row(f"thread dispatch, {OUTSTANDING} outstanding", *pipelined, "us", 2.0, "higher", against),
    ]


def _one_by_one(app: Limen) -> Any:
    def work(calls: int) -> None:
        for number in range(calls):
            app.dispatch(thread_noop, number).result()

    return work


def _one_by_one_in(pool: ThreadPoolExecutor) -> Any:
    def work(calls: int) -> None:
        for number in range(calls):
            pool.submit(noop, number).result()

    return work


def _all_at_once(app: Limen) -> Any:
    def work(calls: int) -> None:
        for handle in [app.dispatch(thread_noop, number) for number in range(calls)]:
            handle.result()

    return work


def _all_at_once_in(pool: ThreadPoolExecutor) -> Any:
    def work(calls: int) -> None:
        for future in [pool.submit(noop, number) for number in range(calls)]:
            future.result()

    return work
