"""Where conversations report their operations, and where a replay finds its answer.

A recorder is called on the channel's turn and must not block. The one here keeps its record in memory.
"""

from __future__ import annotations

import threading
from typing import Protocol

from ..messages.activities import Completed, Failed
from ..messages.operations import Operation, OperationKind


class Recorder(Protocol):
    """What a dispatch needs of a journal."""

    def record(self, operation: Operation) -> None:
        """Keep one operation. What it raises aborts the dispatch."""

    def outcome(self, conversation_id: str) -> Completed | Failed | None:
        """Give the outcome of a conversation that is on record as closed; `None` for any other."""


class MemoryRecorder:
    """Keeps every operation in memory, in the order in which they came. Any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._operations: list[Operation] = []
        self._outcomes: dict[str, Completed | Failed] = {}

    def record(self, operation: Operation) -> None:
        """Keep it."""
        with self._lock:
            self._operations.append(operation)
            if operation.kind is OperationKind.CONVERSATION_OPENED:  # once more, after a requeue
                self._outcomes.pop(operation.conversation_id, None)
            if operation.kind is OperationKind.CONVERSATION_CLOSED and operation.result is not None:
                self._outcomes[operation.conversation_id] = operation.result

    def outcome(self, conversation_id: str) -> Completed | Failed | None:
        """Look it up."""
        with self._lock:
            return self._outcomes.get(conversation_id)

    def operations(self, conversation_id: str | None = None) -> list[Operation]:
        """Give all operations, or those of one conversation, as a new list."""
        with self._lock:
            if conversation_id is None:
                return list(self._operations)
            return [each for each in self._operations if each.conversation_id == conversation_id]
