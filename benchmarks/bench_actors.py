"""`LinkedActor` against the stock Pykka actor: ask and tell."""

from __future__ import annotations

from typing import Any

import pykka
from harness import Row, Work, alternate

from limen.actors.links import LinkedActor


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
            _row("ask, sequential", _sequential, linked, stock, 3000, 1.0, "lower"),
            _row("ask, pipelined", _pipelined, linked, stock, 10_000, 3.0, "higher"),
            _row("tell", _tell, linked, stock, 20_000, 3.0, "higher"),
        ]
    finally:
        stock.stop()
        linked.stop()


def _row(name: str, work: Any, ours: Any, theirs: Any, calls: int, target: float, better: Any) -> Row:
    mine, stock = alternate(work(ours), work(theirs), calls)
    return Row(name, mine, stock, "us", target, better, "stock Pykka")


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
