"""`BrokerIO`: the one thread of a process that talks to a broker, and the one connection that it owns.

Others hand it parcels and short functions; it never runs an activity, and nothing that it runs blocks but the look-up
of the broker's address. A lost connection is made anew, after pauses that grow and vary; what was published and not
confirmed is sent again.
"""

from __future__ import annotations

import functools
import logging
import os
import threading
import weakref
from collections import deque
from collections.abc import Callable
from typing import Any

from pika.adapters.select_connection import SelectConnection
from pika.spec import Basic

from ..actors.runtime import here, runtime
from ..actors.runtime.shield import shielded
from ..messages.errors import BrokerError
from ._loop import Loop
from ._outbox import Outbox
from ._session import Session
from ._vigil import LOOKS, Vigil
from .dialling import parameters, scrubbed
from .parcels import NotConfirmed, Parcel
from .url import Address

logger = logging.getLogger("limen")

_FIRST_PAUSE_S = 0.05
_LONGEST_PAUSE_S = 5.0
_WIND_UP_S = 1.0
_AT_ONCE = 1_000
"""How much is taken in before the loop looks at the connection again."""

_LOOK_S = 0.1
"""How often the outbox is searched for what has waited too long."""


class BrokerIO:
    """The I/O thread. Starts with the first use. All public methods may be called on any thread, unless they say so.

    `on_up(session)` is called on the I/O thread for each new connection, before anything is published on it: who is
    there has `opened` called when all is declared and consumed. `on_down()` follows when it is lost.
    """

    def __init__(
        self, address: Address, name: str, on_up: Callable[[Session], object], on_down: Callable[[], object]
    ) -> None:
        self.address = address
        self._name = name
        self._on_up = on_up
        self._on_down = on_down
        self._now = runtime().now
        self._guard = threading.Lock()
        self._turn = threading.Lock()
        """Held by whoever works on the connection and the outbox: the I/O thread, but for when it only waits."""
        self._borrower: int | None = None
        """The thread that has the turn and is not the I/O thread."""
        self._thread: Any = None
        self._loop: Loop | None = None
        self._inbox: deque[Parcel | Callable[[], object]] = deque()
        self._is_woken = False
        self._outbox = Outbox()
        self._connection: Any = None
        self._session: Session | None = None
        self._sessions = 0
        self._is_open = False
        self._up = threading.Event()
        self._failures = 0
        self._problem = "it has not been reached yet"
        self._closing_by_s: float | None = None
        self._ended = threading.Event()
        self._watching = False
        _living.add(self)

    def __repr__(self) -> str:
        """Say where the broker is and whether it is connected; never with what credentials."""
        return f"<BrokerIO {self.address} {'up' if self._is_open else 'down'}>"

    # --- any thread ---------------------------------------------------------------------------------------------

    def publish(self, parcel: Parcel) -> None:
        """Send a parcel as soon as there is a connection; its `done` tells what came of it. Never blocks."""
        if self._borrower == threading.get_ident():
            self._outbox.waiting.append(parcel)
        else:
            self._give(parcel)

    def publish_here(self, parcel: Parcel) -> None:
        """Do the same on this very thread, which saves a switch, if nothing else is on its way to the broker."""
        if not self._borrow(functools.partial(self.publish, parcel)):
            self._give(parcel)

    def do_here(self, function: Callable[[], object]) -> None:
        """Have a function run on this very thread, if the I/O thread does nothing; else on that, as with `do`.

        It must do nothing but publish: it may be run while its caller holds a lock that the I/O thread could want.
        """
        if not self._borrow(function):
            self._give(function)

    def do(self, function: Callable[[], object]) -> None:
        """Have a function run on the I/O thread, in order with what is published. It must not block."""
        self._give(function)

    def with_session(self, function: Callable[[Session], object]) -> None:
        """Call a function with the connection, if there is one. On the I/O thread."""
        if self._session is not None and self._is_usable:
            function(self._session)

    def wait_up(self, timeout_s: float) -> None:
        """Block until there is a connection on which all is set up. Raises `BrokerError` when the time is up."""
        self._start()
        if not self._up.wait(timeout_s):
            raise BrokerError(str(self.address), f"no connection within {timeout_s:g} s: {self._problem}")

    def close(self, timeout_s: float) -> None:
        """Send what is to be sent, as far as the time allows, and end connection and thread. Idempotent."""
        with self._guard:
            thread = self._thread
            if thread is None:
                self._ended.set()
                return
        self.do(functools.partial(self._begin_close, self._now() + timeout_s))
        if thread is not threading.current_thread():
            thread.join(timeout_s + 2.0)

    def _give(self, item: Parcel | Callable[[], object]) -> None:
        self._inbox.append(item)
        if not self._is_woken:
            self._wake()
        if self._ended.is_set():
            self._turn_away()

    def _borrow(self, work: Callable[[], object]) -> bool:
        """Do something in place of the I/O thread, if that waits and nothing is before it; say whether it was done."""
        if self._inbox or not self._is_quiet or self._ended.is_set():
            return False
        if here.is_main:  # a signal's handler must not leave it half done
            return bool(shielded(self._borrow_turn, work))
        return self._borrow_turn(work)

    def _borrow_turn(self, work: Callable[[], object]) -> bool:
        if not self._turn.acquire(blocking=False):
            return False
        try:
            if self._inbox or not (self._is_quiet and self._is_usable):
                return False
            self._borrower = threading.get_ident()
            self._guarded(work)
            self._pump()
        finally:
            self._borrower = None
            self._turn.release()
        return True

    @property
    def _is_quiet(self) -> bool:
        """Whether nothing is on its way to the broker, and the outbox is looked after, so that no timer is to be set.

        While much is sent it is better sent by one thread, which puts together what has come together.
        """
        return self._watching and not self._outbox

    def _wake(self) -> None:
        self._is_woken = True
        self._start().add_callback_threadsafe(self._take_in)

    def _turn_away(self) -> None:
        """Settle what nobody will take in any more."""
        while self._inbox:
            try:
                item = self._inbox.popleft()
            except IndexError:  # another thread was quicker
                return
            if isinstance(item, Parcel) and item.done is not None:
                item.done(NotConfirmed("the connection has been closed", in_doubt=False))

    def _start(self) -> Loop:
        loop = self._loop
        if loop is not None:
            return loop
        with self._guard:
            if self._loop is None:
                self._loop = Loop(self._turn)
                if self._ended.is_set():
                    return self._loop
                self._loop.add_callback_threadsafe(self._connect)
                self._thread = runtime().start_thread(self._run, f"limen-rabbitmq-{self._name}")
            return self._loop

    # --- the thread ---------------------------------------------------------------------------------------------

    def _run(self) -> None:
        with self._turn:
            self._work()

    def _work(self) -> None:
        assert self._loop is not None, "made before its thread"
        while not self._ended.is_set():
            try:
                self._loop.start()
            except Exception as error:
                logger.exception("the connection to broker %s failed in an unexpected way", self.address)
                self._loop.cut()
                if self._connection is not None and self._connection.is_closed:
                    self._lost(None, error)  # the client was interrupted before it could say so
        self._loop.wind_up(self._now() + _WIND_UP_S, self._now)
        self._loop.close()
        self._turn_away()

    def _take_in(self) -> None:
        """Take what others have put in, and what comes of it, so that it is sent with no turn of the loop between."""
        inbox, waiting = self._inbox, self._outbox.waiting
        self._is_woken = True
        for _ in range(_AT_ONCE):
            try:
                item = inbox.popleft()
            except IndexError:
                break
            if isinstance(item, Parcel):
                waiting.append(item)
            else:
                self._guarded(item)
        self._is_woken = False
        if inbox:  # too much, or it came just now from somebody who saw us at work
            self._wake()
        self._pump()
        if self._closing_by_s is not None:
            self._close_if_done()

    def _pump(self) -> None:
        """Send what may be sent."""
        session, outbox = self._session, self._outbox
        if session is not None and self._is_usable:
            sent = outbox.unconfirmed
            while (parcel := outbox.next()) is not None:
                session.publish(parcel)
            if outbox.unconfirmed > sent:
                session.flush()
        if outbox and not self._watching:
            self._watching = True
            self._later(_LOOK_S, self._look)

    @property
    def _is_usable(self) -> bool:
        """Whether there is a connection on which all is set up, and which has not begun to close."""
        return self._is_open and self._connection is not None and bool(self._connection.is_open)

    def _look(self) -> None:
        """Give up what has waited too long, and end once all is sent if that is wanted."""
        self._watching = False
        now_s = self._now()
        for parcel, problem in self._outbox.overdue(now_s, self._why_not()):
            self._settle(parcel, problem)
        if self._closing_by_s is not None:
            self._close_if_done()
        self._pump()

    def _why_not(self) -> str:
        if self._session is None or not self._is_open:
            return f"there is no connection to {self.address}: {self._problem}"
        if self._session.blocked is not None:
            return f"the broker takes nothing for now: {self._session.blocked}"
        return "the broker has not answered"

    def _settle(self, parcel: Parcel, problem: Any) -> None:
        if parcel.done is not None:
            self._guarded(functools.partial(parcel.done, problem))

    def _guarded(self, function: Callable[[], object]) -> None:
        """Call what is not ours to trust: the thread outlives it."""
        try:
            function()
        except Exception:
            logger.exception("a step of the conversation with broker %s failed", self.address)

    def later(self, delay_s: float, function: Callable[[], object]) -> None:
        """Have a function run on the I/O thread after a while. From that thread only."""
        self._later(delay_s, functools.partial(self._guarded, function))

    def holds(self, message_id: str) -> bool:
        """Whether a parcel is yet to be confirmed. On the I/O thread; takes time where there are many."""
        inbox = [each for each in list(self._inbox) if isinstance(each, Parcel)]
        return any(each.message_id == message_id for each in (*inbox, *self._outbox.parcels()))

    def _later(self, delay_s: float, function: Callable[[], object]) -> None:
        assert self._loop is not None, "this is its thread"
        self._loop.call_later(delay_s, function)  # type: ignore[arg-type]  # what it gives is ignored

    # --- confirmations ------------------------------------------------------------------------------------------

    def _confirmed(self, frame: Any) -> None:
        method = frame.method
        if isinstance(method, Basic.Nack):
            self._outbox.refused(method.delivery_tag, multiple=method.multiple)
            self._later(_LOOK_S, self._pump)
            return
        for parcel, problem in self._outbox.confirmed(method.delivery_tag, multiple=method.multiple):
            self._settle(parcel, problem)
        if self._outbox.waiting:
            self._pump()
        elif self._closing_by_s is not None:
            self._close_if_done()

    # --- the connection -----------------------------------------------------------------------------------------

    def _connect(self) -> None:
        if self._closing_by_s is not None:
            self._end()
            return
        try:
            self._connection = SelectConnection(
                parameters(self.address),
                on_open_callback=self._connected,
                on_open_error_callback=self._failed,
                on_close_callback=self._lost,
                custom_ioloop=self._loop,
            )
        except Exception as error:  # noqa: BLE001 - a file of the TLS set-up that cannot be read, for one
            self._failed(None, error)

    def _failed(self, _: Any, error: BaseException) -> None:
        self._connection = None
        if self._closing_by_s is not None:
            self._end()
            return
        self._problem = scrubbed(self.address, error)
        self._failures += 1
        if self._failures == 1:
            logger.warning("no connection to broker %s, trying on: %s", self.address, self._problem)
        self._again()

    def _again(self) -> None:
        pause_s = min(_FIRST_PAUSE_S * 2 ** min(self._failures, 16), _LONGEST_PAUSE_S)
        self._later(pause_s * (0.5 + runtime().chance() / 2), self._connect)

    def _connected(self, connection: Any) -> None:
        if self._closing_by_s is not None:
            connection.close()
            return
        self._sessions += 1
        session = Session(self._sessions, connection, self._confirmed, self._break)
        self._session = session
        connection.add_on_connection_blocked_callback(self._blocked)
        connection.add_on_connection_unblocked_callback(self._unblocked)
        session.open(self._outbox.returned, lambda: self._guarded(lambda: self._on_up(session)))
        self._keep_vigil(session, Vigil())

    def _keep_vigil(self, session: Session, vigil: Vigil) -> None:
        """See that the broker is heard, for as long as this connection lasts."""
        if session is not self._session:
            return
        if vigil.look(self._connection.bytes_received):
            self._later(self.address.heartbeat / LOOKS, functools.partial(self._keep_vigil, session, vigil))
            return
        logger.warning("broker %s has not been heard for two heartbeats: its connection is cut", self.address)
        assert self._loop is not None, "this is its thread"
        self._loop.cut()

    def opened(self, session: Session) -> None:
        """Begin to publish: all is set up on this connection. On the I/O thread."""
        if session is not self._session or not session.alive:
            return
        if self._failures:
            logger.info("connected to broker %s again", self.address)
        self._failures = 0
        self._is_open = True
        self._up.set()
        self._pump()

    def broken(self, session: Session, why: str) -> None:
        """Give a connection up on which not all could be set up. On the I/O thread."""
        if session is self._session and session.alive:
            self._break(why)

    def _break(self, why: str) -> None:
        """End the connection because of what happened on it; another one is made."""
        self._problem = scrubbed(self.address, why)
        connection = self._connection
        if connection is not None and connection.is_open:
            connection.close()

    def _lost(self, _: Any, error: BaseException) -> None:
        session, self._session, self._connection = self._session, None, None
        was_open, self._is_open = self._is_open, False
        self._up.clear()
        if session is not None:
            session.ended()
            self._guarded(self._on_down)
        self._outbox.lost()
        if self._closing_by_s is not None:
            self._end()
            return
        self._failures += 1
        if was_open:
            self._problem = scrubbed(self.address, error)
            logger.warning("lost the connection to broker %s: %s", self.address, self._problem)
        elif self._failures == 1:
            logger.warning("no connection to broker %s, trying on: %s", self.address, self._problem)
        self._again()

    def _blocked(self, _: Any, frame: Any) -> None:
        if self._session is not None:
            self._session.blocked = str(frame.method.reason)
        logger.warning("broker %s takes nothing for now: %s", self.address, frame.method.reason)

    def _unblocked(self, *_: Any) -> None:
        if self._session is not None:
            self._session.blocked = None
        logger.info("broker %s takes messages again", self.address)

    # --- the end ------------------------------------------------------------------------------------------------

    def _begin_close(self, deadline_s: float) -> None:
        if self._closing_by_s is None:
            self._closing_by_s = deadline_s
            self._close_if_done()

    def _close_if_done(self) -> None:
        assert self._closing_by_s is not None, "asked for"
        is_done = not self._inbox and not self._outbox  # what is taken in may yet lead to something to be sent
        if not is_done and self._is_open and self._now() < self._closing_by_s:
            return
        connection = self._connection
        if connection is None:
            self._end()
        elif not connection.is_closing and not connection.is_closed:
            if connection.is_open:  # else it is closed once it is: the client fails to close it before
                if self._session is not None:
                    self._session.flush()  # what has been acknowledged last
                connection.close()
            self._later(_WIND_UP_S, self._end)  # a broker that does not answer any more is not waited for

    def _end(self) -> None:
        if self._ended.is_set():
            return
        self._ended.set()
        assert self._loop is not None, "this is its thread"
        connection = self._connection
        if connection is not None and not (connection.is_open or connection.is_closing or connection.is_closed):
            self._guarded(connection.close)
        self._loop.cut()
        self._outbox.lost()
        for parcel in self._outbox.waiting:
            self._settle(parcel, NotConfirmed("the connection has been closed", in_doubt=parcel.sent > 0))
        self._outbox.waiting.clear()
        self._loop.stop()

    # --- forked copies ------------------------------------------------------------------------------------------

    def cut(self) -> None:
        """Drop the connection as a failing network would. For tests."""
        if self._loop is not None:
            self._loop.cut()

    def _leave_to_parent(self) -> None:
        """Hold nothing of the connection in a forked copy of this process, and do nothing any more."""
        self._ended.set()
        self._closing_by_s = 0.0
        self._guard = threading.Lock()
        self._turn = threading.Lock()
        if self._loop is not None:
            self._loop.let_go()


_living: weakref.WeakSet[BrokerIO] = weakref.WeakSet()


def _leave_all_to_parent() -> None:
    for each in list(_living):
        each._leave_to_parent()  # noqa: SLF001 - this module's own
    _living.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_all_to_parent)
