"""Lines as points where somebody else may run: for races on plain shared memory, in modules that a test names."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any


class LinePoints:
    """Follows the threads of a simulation through some source files, by Python's own tracing."""

    def __init__(self, files: frozenset[str], pauses: Callable[[], bool], pause: Callable[[str], object]) -> None:
        self._files = files
        self._pauses = pauses
        """Whether to let somebody else run before the next line. Asked at each of them."""
        self._pause = pause

    def begin(self) -> None:
        """Follow the calling thread from now on, if there is a file to follow it through."""
        if self._files:
            sys.settrace(self._call)

    def end(self) -> None:
        """Follow it no more."""
        if self._files:
            sys.settrace(None)

    def _call(self, frame: Any, event: str, arg: Any) -> Any:
        return self._line if frame.f_code.co_filename in self._files else None

    def _line(self, frame: Any, event: str, arg: Any) -> Any:
        if event == "line":
            sys.settrace(None)
            try:
                if self._pauses():
                    self._pause(f"{frame.f_code.co_qualname}, line {frame.f_lineno}")
            finally:
                sys.settrace(self._call)
        return self._line
