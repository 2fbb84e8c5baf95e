"""Waiting for what happens on the I/O thread, from another one, within a bound."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from pykka import Timeout

from ..actors.runtime import offer, runtime
from ..messages.errors import BrokerError
from .io import BrokerIO

WAIT_S = 10.0
"""How long the broker may take for each step that somebody waits for."""


def ask_io(io: BrokerIO, begin: Callable[[Callable[[Any], object]], object], timeout_s: float = WAIT_S) -> Any:
    """Have something begun on the I/O thread, and block for what it gives. Raises `BrokerError` when time is up."""
    io.wait_up(timeout_s)
    answer = runtime().create_future()
    io.do(lambda: begin(functools.partial(offer, answer)))
    try:
        return answer.get(timeout=timeout_s)
    except Timeout:
        raise BrokerError(str(io.address), f"no answer within {timeout_s:g} s") from None
