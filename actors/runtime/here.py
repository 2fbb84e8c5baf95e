"""What the current thread is doing: which actor it serves, and which mailboxes it still owes a turn.

Nothing here is shared between threads.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import Any


class Here(threading.local):
    """One value a thread."""

    mailbox: Any = None
    """The mailbox of the actor that runs on this thread now, if any."""
    host: Any = None
    """The mailbox of the actor whose thread this is, while the thread serves others in a drain: it cannot be served."""
    draining: bool = False
    """Whether this thread is inside a drain of pooled mailboxes."""
    shield: Any = None
    """What holds signal handlers back on this thread from one drain to the next; whoever waits in between lifts it."""
    pool: Any = None
    """The pool that this thread drains for."""
    place: Any = None
    """Where this thread runs activities, if it does."""

    def __init__(self) -> None:
        self.is_main = threading.current_thread() is threading.main_thread()
        """Whether signal handlers run on this thread."""
        self.owed: deque[Any] = deque()
        """Pooled mailboxes that got a message while this thread was inside a drain."""


here = Here()
