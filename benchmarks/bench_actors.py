"""`LinkedActor` against the stock Pykka actor: ask and tell."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pykka
from harness import Row, Work, alternate

from limen.actors.links import LinkedActor

AGAINST = "stock Pykka"


class Stock(pykka.ThreadingActor):
    """Echoes."""

    def on_receive(self, message: Any) -> Any:
        """Give it back."""
        return message


class Linked(LinkedActor):
    """Echoes."""

    def on_receive(self, message: Any) -> Any:
        """Give it back."""
        return message


def run() -> list[Row]:
    """Measure."""
    stock, linked = Stock.start(), Linked.start()
    try:
        return [
            Row("ask, sequential", *_both(_sequential, linked, stock, 3000), "us", 1.0, "lower", AGAINST),
            Row("ask, pipelined", *_both(_pipelined, linked, stock, 10_000), "us", 3.0, "higher", AGAINST),
            Row("tell", *_both(_tell, linked, stock, 20_000), "us", 3.0, "higher", AGAINST),
        ]
    finally:
        stock.stop()
        linked.stop()


def _both(work: Callable[[Any], Work], ours: Any, theirs: Any, calls: int) -> tuple[float, float]:
    return alternate(work(ours), work(theirs), calls)


def _sequential(ref: Any) -> Work:
    def work(calls: int) -> None:
        for number in range(calls):
            ref.ask(number)

    return work


def _pipelined(ref: Any) -> Work:
    def work(calls: int) -> None:
        for future in [ref.ask(number, block=False) for number in range(calls)]:
            future.get()

    return work


def _tell(ref: Any) -> Work:
    def work(calls: int) -> None:
        for number in range(calls):
            ref.tell(number)
        ref.ask(None)

    return work
