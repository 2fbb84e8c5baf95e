"""`LinkedActor`: a Pykka actor whose end is never missed.

Every way to die leads through one funnel, and the last thing the funnel does is to tell whoever watches, once, with
the reason. Knows mailboxes and notices; knows nothing of channels or workers.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from queue import Full
from typing import Any, ClassVar, Self, TypeVar

from pykka import ActorDeadError, ActorRef, ActorRegistry, ThreadingActor
from pykka._envelope import Envelope
from pykka.messages import _ActorStop

from ..messages.errors import ActorCrashed
from ..messages.lifecycle import Down, ExitReason
from .life import Life, Watch
from .linking import (
    NOT_ENTERED,
    TOO_LATE,
    ExitSignal,
    Link,
    Notice,
    cut_link,
    enter_link,
    exit_reason,
    kill,
    life_of,
    notify,
    order_exit,
    post,
    send_exit,
    take_links,
)
from .runtime import Reply, here, offer, offer_error, runtime
from .watching import watch

__all__ = ["Link", "LinkedActor", "exit_reason", "kill", "notify", "order_exit", "post", "watch"]

logger = logging.getLogger("limen")

A = TypeVar("A", bound="LinkedActor")


_OUR_NAMES: set[str] = set()
"""Names that a subclass must not define, because the funnel stands on them."""


_ASKED_HERE: Any = object()
"""In place of the reply to a question that is answered on the asker's own thread, until one is needed."""


class LinkedActor(ThreadingActor):
    """A Pykka actor with links, monitors and a funnel. Everything a `ThreadingActor` promises, it promises.

    Its thread is its own unless the class says that it never blocks; such an actor costs no thread.
    """

    never_blocks: ClassVar[bool] = False
    """Say `True` where no handler waits or computes long: the actor is then run by the shared pool."""
    seldom_told: ClassVar[bool] = False
    """Say `True` beside `never_blocks` where there are many of a kind that get few messages, to save memory."""
    traps_exits: ClassVar[bool] = False
    """Say `True` to be sent a `Down` when a linked actor ends, instead of ending too. Source: OTP, trap_exit."""
    ask_errors_crash: ClassVar[bool] = False
    """Say `True` where an exception ends the actor under `ask` as it does under `tell`."""

    # What every actor begins with, and most keep: defaults of the class.
    _begun = _started = _ended = _winding_up = False
    _listed = True
    _now_handling: object = None
    _since_s = 0.0
    _now_reply: Any = None
    _here_reply: Any = None
    _sweep_at = 64
    _parent_urn: str | None = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Refuse a subclass that would break the funnel by a name it happens to choose."""
        super().__init_subclass__(**kwargs)
        taken = sorted(_OUR_NAMES.intersection(vars(cls)))
        if taken:
            raise TypeError(f"{cls.__name__} defines {', '.join(taken)}, which LinkedActor keeps for itself; rename it")

    def __init__(self, *_args: Any, **_kwargs: Any) -> None:
        self._runtime = current = runtime()
        self._life = Life()
        self._clock = current.now
        parent = here.mailbox
        if parent is not None:
            self._parent_urn = parent.owner.actor_urn
        # What Pykka's own __init__ does, but for a URN that costs no system call.
        self.actor_urn = current.new_urn()
        self.actor_inbox = self._create_actor_inbox()
        self.actor_stopped = current.create_event()
        self._actor_ref = ActorRef(self)

    # --- starting -----------------------------------------------------------------------------------------------

    @classmethod
    def start(  # pyright: ignore[reportIncompatibleMethodOverride] - Pykka has the same signature
        cls, *args: Any, **kwargs: Any
    ) -> ActorRef[Self]:
        """Start the actor. Raises what `__init__` raises, or `RuntimeError` when no thread can be had."""
        return cls._launch(None, args, kwargs)

    @classmethod
    def _launch(cls, prepare: Callable[[Self], None] | None, args: Any, kwargs: Any) -> ActorRef[Self]:
        actor = cls(*args, **kwargs)
        assert actor._actor_ref is not None, "did you forget to call super().__init__() in your override?"
        _register(actor._actor_ref)
        try:
            if prepare is not None:
                prepare(actor)
            actor._start_actor_loop()
        except BaseException as error:
            if actor._life.claim():  # no thread has begun to run it, and none will
                actor._fail(error)
                actor._end()
            else:
                kill(actor.actor_ref, "its start was broken off")
            raise
        return actor._actor_ref

    def spawn_link(self, actor_class: type[A], *args: Any, **kwargs: Any) -> ActorRef[A]:
        """Start another actor already linked to this one: there is no instant in between. Source: OTP, spawn_link."""
        return actor_class._launch(lambda child: self.link(child.actor_ref), args, kwargs)  # noqa: SLF001 - one of us

    # --- links and monitors -------------------------------------------------------------------------------------

    def link(self, ref: ActorRef[Any]) -> None:
        """Share fate: when one ends other than normally, so does the other. Idempotent. Does not block.

        Linking to an actor that is gone already counts as its abnormal end (`noproc`).
        """
        link = Link(self._actor_ref, ref)
        other = life_of(ref)
        entered = enter_link(link, self._life, other)
        if entered is NOT_ENTERED:
            return
        if entered is TOO_LATE:
            notify(self.actor_ref, ExitSignal(link, Down(ref, ExitReason.noproc(), self._runtime.now())))
        elif other is None:
            link.watch = watch(ref, lambda down: send_exit(self.actor_ref, ExitSignal(link, down)))
            if link.cut:
                link.drop_watch()

    def unlink(self, ref: ActorRef[Any]) -> None:
        """Share fate no more. When it returns, no exit of `ref` reaches this actor by that link."""
        link = self._life.links.get(ref.actor_urn)
        if link is not None:
            cut_link(link)

    def monitor(self, participant: Any) -> Watch:
        """Be sent one `Down` when the participant ends, ahead of the backlog; at once (`noproc`) if it is gone.

        Takes refs of any Pykka actor, processes and asyncio tasks. Source: OTP, monitors.
        """
        made = Watch()
        monitors = self._life.monitors = self._life.monitors or {}
        monitors[made] = None
        inner = watch(participant, lambda down: notify(self.actor_ref, Notice(made, down)))

        def drop() -> None:
            monitors.pop(made, None)
            inner.cancel()

        made._cancel = drop  # noqa: SLF001 - the two halves of one watch
        return made

    def demonitor(self, monitor: Watch) -> None:
        """Stop monitoring. When it returns, its `Down` is never handled, even if it is in the inbox by now."""
        monitor.cancel()

    # --- hooks --------------------------------------------------------------------------------------------------

    def on_exit(self, reason: ExitReason) -> None:
        """Run at the very end, once, on every path to it. Must not block long; what it raises is logged."""

    def on_stop_asked(self) -> bool:
        """Say whether to stop at once when asked to. Run for every `stop`, on the actor's thread.

        An actor that has to wind up first returns `False`, goes on handling messages, and calls `finish_stop` when it
        is ready. Whoever asked for the stop is answered when it is gone.
        """
        return True

    def finish_stop(self) -> None:
        """Stop in good order after the current message; for an actor that put it off in `on_stop_asked`."""
        self._stop()

    def crash(self, error: BaseException) -> None:
        """End with this error after the current message, whatever kind of message that is."""
        self._failed_at(None, error, fatal=True)

    def _refuse(self, error: Exception) -> None:
        """Answer the message being handled with an error, and keep nothing of it; for a `tell` it goes nowhere."""
        if self._now_reply is not None:
            offer_error(self._taken_reply(), error)

    def reply_later(self) -> Reply[Any]:
        """Take over the reply to the message being handled, to answer it after the handler has returned.

        For a `tell` the reply goes nowhere. An actor that ends without answering answers with an error.
        Source: OTP, `noreply` of gen_server.
        """
        reply = self._taken_reply() if self._now_reply is not None else self._runtime.create_future()
        waiting = self._life.deferred = self._life.deferred or []
        if len(waiting) >= self._sweep_at:
            waiting[:] = [each for each in waiting if not each.done()]
            self._sweep_at = max(64, 2 * len(waiting))
        waiting.append(reply)
        return reply

    # --- the seams of Pykka -------------------------------------------------------------------------------------

    def _create_actor_inbox(self) -> Any:  # type: ignore[override]  # Pykka calls it on the instance
        return self._runtime.create_inbox(self)

    @staticmethod
    def _create_future() -> Reply[Any]:
        return runtime().create_future()

    def _start_actor_loop(self) -> None:
        self._runtime.start(self, self._actor_loop)

    def _actor_loop(self) -> None:
        """Live on a thread of one's own, from `on_start` to the last notice."""
        if not self._life.claim():
            return
        here.mailbox = inbox = self.actor_inbox
        stopped = self.actor_stopped
        try:
            self._begin()
            while not stopped.is_set():
                self._step(inbox.get())
        except BaseException as error:  # noqa: BLE001 - nothing may escape the funnel
            self._fail(error)
        finally:
            self._end()
            here.mailbox = None

    def begin_pooled(self) -> None:
        """Take the first turn of an actor that is run by the pool; one that does nothing on it has begun already."""
        if type(self).on_start is ThreadingActor.on_start:
            self._begun = self._started = self._life.claim()
        else:
            self.actor_inbox.put_notice(TURN)  # type: ignore[attr-defined]

    def serve(self, budget: int) -> int:
        """Handle messages until there are none or the budget is spent; give back what is left of it.

        Called by the pool, by one thread at a time.
        """
        inbox, stopped = self.actor_inbox, self.actor_stopped
        try:
            if not self._begun and self._life.claim():
                self._begin()
            while budget > 0 and not stopped.is_set() and not inbox.empty():
                budget -= 1
                self._step(inbox.get())
        except BaseException as error:  # noqa: BLE001 - nothing may escape the funnel
            self._fail(error)
        if stopped.is_set():
            self._end()
        return budget

    def answer_here(self, message: object) -> tuple[Any] | Reply[Any]:
        """Handle one of the house's messages as an ask, on a borrowed turn: give the answer in a box, or the reply.

        To be called where no message comes first. Raises nothing: an error is in the reply.
        """
        at = here
        before = host = at.mailbox
        at.mailbox = self.actor_inbox
        if before is not None:
            host, at.host = at.host, before
        self._since_s = self._clock()
        self._now_handling = message
        self._now_reply = _ASKED_HERE
        answer: tuple[Any] | Reply[Any]
        try:
            answer = (self.on_receive(message),)
        except BaseException as error:  # noqa: BLE001 - it goes to the asker, or ends this actor, and no other
            answer = self._taken_reply()
            self._failed_at(answer, error, fatal=self.ask_errors_crash or not isinstance(error, Exception))
        else:
            if self._now_reply is not _ASKED_HERE:
                answer = self._taken_reply()
        finally:
            self._now_handling = self._now_reply = self._here_reply = None
            at.mailbox = before
            if before is not None:
                at.host = host
        if self.actor_stopped.is_set():
            self._end()
        return answer

    def _taken_reply(self) -> Reply[Any]:
        """Take the reply to the message being handled; to one that was asked on this thread it is made when needed."""
        reply, self._now_reply = self._now_reply, None
        if reply is None or reply is _ASKED_HERE:
            reply = self._here_reply
            if reply is None:
                reply = self._here_reply = self._runtime.create_future()
                reply.owed_by = self.actor_inbox
        return reply  # type: ignore[no-any-return]  # a future, then

    def _begin(self) -> None:
        self._begun = True
        error = _guarded(self.on_start)
        self._started = True
        if error is not None:
            self._fail(error)

    def _step(self, envelope: Envelope[Any]) -> None:
        """Handle one message and answer it."""
        self._since_s = self._clock()
        self._now_handling = message = envelope.message
        self._now_reply = reply = envelope.reply_to
        try:
            response = self._handle_receive(message)
        except Exception as error:  # noqa: BLE001 - it goes to the asker or to the funnel
            self._failed_at(reply, error, fatal=self.ask_errors_crash)
        except BaseException as error:  # noqa: BLE001 - it ends this actor, and no other
            self._failed_at(reply, error, fatal=True)
        else:
            if reply is not None and self._now_reply is reply:
                try:
                    reply.set(response)
                except Full:  # the asker has settled its own future
                    logger.debug("%s: the reply was settled by somebody else", self)
        self._now_handling = self._now_reply = None

    def _handle_receive(self, message: Any) -> Any:
        if not isinstance(message, tuple):  # all messages of Pykka's own are tuples
            kind = type(message)
            if kind is Notice:
                return self._notified(message)
            if kind is ExitSignal:
                return self._exit_signalled(message)
            return None if message is TURN else self.on_receive(message)
        if isinstance(message, _ActorStop):
            return self._stop_asked()
        return super()._handle_receive(message)

    def _notified(self, notice: Notice) -> Any:
        if notice.watch.cancelled:
            return None
        if self._life.monitors is not None:
            self._life.monitors.pop(notice.watch, None)
        return self.on_receive(notice.down)

    def _stop_asked(self) -> None:
        """Stop in good order. Whoever asked is answered last, after the notices."""
        if self._now_reply is not None:
            self._life.stop_replies += (self._now_reply,)
            self._now_reply = None
        try:
            at_once = self.on_stop_asked()
        except BaseException as error:  # noqa: BLE001 - an actor that cannot wind up must not live for ever
            self.crash(error)
            return
        if at_once:
            self._stop()
        else:
            self._winding_up = True

    def _stop(self) -> None:
        if self.actor_stopped.is_set():
            return
        self._leave_registry()
        self.actor_stopped.set()
        logger.debug("stopped %s", self)
        self._life.ended_by = self._life.ended_by or ExitReason.normal()
        error = _guarded(self.on_stop)
        if error is not None:
            self._life.ended_by = None
            self._fail(error)

    def _failed_at(self, reply: Any, error: BaseException, *, fatal: bool) -> None:
        """Give an error to the asker, or to the funnel, or to both."""
        if reply is not None:
            self._answer_with(reply, error)
            if not fatal:
                return
        self._fail(error)
        hook_error = _guarded(self.on_failure, type(error), error, error.__traceback__)
        if hook_error is not None:
            self._handle_failure(type(hook_error), hook_error, hook_error.__traceback__)

    def _answer_with(self, reply: Any, error: BaseException) -> None:
        if isinstance(error, Exception):
            logger.info("Exception returned from %s to caller:", self, exc_info=error)
            offer_error(reply, error)
            return
        crashed = ActorCrashed(str(self.actor_ref), type(error).__name__)
        crashed.__cause__ = error
        offer_error(reply, crashed)

    def _fail(self, error: BaseException) -> None:
        """Begin to die of an error; the first reason stays."""
        if self._life.ended_by is None:
            self._life.ended_by = ExitReason.from_error(error)
        self._handle_failure(type(error), error, error.__traceback__)  # which takes it from the registry
        self._listed = False

    def _leave_registry(self) -> None:
        """Leave once; Pykka's registry searches through all actors each time."""
        if self._listed:
            self._listed = False
            _unregister(self.actor_ref)

    def _die(self, reason: ExitReason) -> None:
        """Begin to die by order."""
        if self._life.ended_by is None:
            self._life.ended_by = reason
        self._leave_registry()
        self.actor_stopped.set()

    def _exit_signalled(self, signal: ExitSignal) -> None:
        link, reason = signal.link, signal.down.reason
        if link is None:
            return self._die(reason)
        if link.cut:
            return None
        cut_link(link)
        if self.traps_exits:
            self.on_receive(signal.down)
        elif not reason.is_normal:
            self._die(reason)
        return None

    def _end(self) -> None:
        """The funnel. The registry entry goes first, the notices come last; then those who asked for the stop."""
        if self._ended:
            return
        self._ended = True
        self.actor_stopped.set()
        self._leave_registry()
        life, inbox = self._life, self.actor_inbox
        reason = life.ended_by = life.ended_by or ExitReason.killed("its loop was broken off")
        inbox.closed = True  # type: ignore[attr-defined]
        inbox.refuse_rest()  # type: ignore[attr-defined]
        for reply in life.deferred:
            if not reply.done():
                offer_error(reply, ActorDeadError(f"{self.actor_ref} stopped before it answered"))
        error = _guarded(self.on_exit, reason)
        if error is not None:
            logger.error("on_exit of %s failed", self, exc_info=error)
        inbox.owner = self.actor_ref  # type: ignore[attr-defined]
        down = Down(self.actor_ref, reason, self._runtime.now())
        life.finish(down)
        self._tell_linked(down)
        for reply in life.stop_replies:
            offer(reply, None)

    def _tell_linked(self, down: Down) -> None:
        """Tell those that share this fate; watch nobody any more."""
        for monitor in tuple(self._life.monitors or ()):
            monitor.cancel()
        for link in take_links(self._life):
            link.drop_watch()
            if not link.cut:
                send_exit(link.other(self.actor_ref), ExitSignal(link, down))


TURN = object()
"""A message that says nothing, so that an actor takes a turn and sees where it stands."""

_OUR_NAMES.update(("_clock", "_life", "_runtime"))
_OUR_NAMES.update(name for name in vars(LinkedActor) if name.startswith("_") and not hasattr(ThreadingActor, name))
_OUR_NAMES.update(("answer_here", "begin_pooled", "serve"))


_pykka_logger = logging.getLogger("pykka")


def _register(ref: ActorRef[Any]) -> None:
    """Enter an actor in Pykka's registry, as Pykka does, but for a log text that is made and not used."""
    if _pykka_logger.isEnabledFor(logging.DEBUG):
        ActorRegistry.register(ref)
        return
    with ActorRegistry._actor_refs_lock:  # noqa: SLF001 - Pykka's own way makes the text first
        ActorRegistry._actor_refs.append(ref)  # noqa: SLF001 - as above


def _unregister(ref: ActorRef[Any]) -> None:
    """Take an actor from Pykka's registry; at once if it is the last that came, as in an ordered shutdown."""
    with ActorRegistry._actor_refs_lock:  # noqa: SLF001 - Pykka's own way is a search through all actors
        refs = ActorRegistry._actor_refs  # noqa: SLF001 - as above
        last = bool(refs) and refs[-1] is ref
        if last:
            refs.pop()
    if not last:
        ActorRegistry.unregister(ref)


def _guarded(hook: Callable[..., object], *args: Any) -> BaseException | None:
    """Call a user's hook; give back what it raised, whatever it is."""
    try:
        hook(*args)
    except BaseException as error:  # noqa: BLE001 - SystemExit and the like end one actor only
        return error
    return None
