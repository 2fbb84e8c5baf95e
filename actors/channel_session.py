"""A channel's lasting address, for an actor that may come and go.

The actor starts on first use. If it crashes, the next use starts another on the same book, within a budget of
restarts; where requests are open, nobody waits for the next use. After `close` nothing starts any more.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from typing import Any

from pykka import ActorDeadError, ActorRef, Future, Timeout

from ..messages.activities import Completed
from ..messages.bus_errors import ChannelClosed, DeliveryFailed
from ..messages.channel import ChannelConfig
from ..messages.drain import Unfinished
from ..messages.errors import ActorCrashed, ChannelLifecycleError, LimenError
from ..messages.restarts import RestartIntensity
from . import _decisions as decisions
from . import _orders as orders
from ._announcing import Announcer
from ._book import Book
from ._dead_letters import belongs
from .attempt import Attempt
from .channel import ChannelActor
from .conversation import Conversation
from .entry import WorkerEntry
from .linking import ask, post
from .runtime import Reply, here, runtime
from .runtime.reply import _running_loop as running_loop
from .subscription import Inbox
from .watching import watch

COMMAND_TIMEOUT_S = 5.0
"""How long an order to a channel may take before it counts as failed."""

GRACE_S = 1.0
"""How much longer to wait for an order that is being carried out when its time is up."""

RESTARTS = RestartIntensity(max_restarts=8, within_s=60.0)
"""How often a channel's actor may be restarted; after that it stays down until the window has passed."""

NEVER = RestartIntensity(max_restarts=0, within_s=1.0)
"""A channel that does not survive a crash."""

FOLLOWERS: list[Callable[[ChannelSession], object]] = []
"""Called with each channel of this process as it is made, before it is used."""


TurnOver = Callable[[Attempt], Attempt | bool | None]


class ChannelSession(Book):
    """The lasting address. Whoever has something to say to a channel says it here."""

    def __init__(self, config: ChannelConfig, restarts: RestartIntensity, queue_limit: int) -> None:
        super().__init__(config, queue_limit)
        self.closed = False
        self._budget = RestartBudget(restarts)
        self._lock = runtime().create_rlock()
        self._ref: ActorRef[ChannelActor] | None = None
        self._turn_over: TurnOver = _nothing
        """Does that part of the actor's work on its turn; gives `None` where it has ended."""
        self._serve_slot: Callable[[WorkerEntry], Attempt | None] = _nothing
        self._turn_over_told: TurnOver = _nothing
        """The same where somebody listens, who is told on that turn."""
        for follow in FOLLOWERS:
            follow(self)

    @property
    def local(self) -> ChannelSession:
        """Give itself: whoever stands for a channel of this process gives that channel's address."""
        return self

    @property
    def is_reachable(self) -> bool:
        """Whether an order would find an actor: one that lives, or one that may be started."""
        ref = self._ref
        if self.closed:
            return False
        return ref is None or not ref.actor_stopped.is_set() or not self._budget.is_spent(runtime().now())

    def ref(self) -> ActorRef[ChannelActor]:
        """Give the live actor, started if need be. Raises `ChannelClosed`, or `DeliveryFailed` out of restarts."""
        ref = self._ref
        if ref is not None and not ref.actor_stopped.is_set():
            return ref
        with ExitStack() as held:
            held.enter_context(self._lock)
            self.check_open()
            ref = self._ref
            if ref is not None and not ref.actor_stopped.is_set():
                return ref
            if ref is not None and not self._budget.take(runtime().now()):
                raise DeliveryFailed(f"channel {self.name} is down: {self._budget}")
            return self._start(held)

    def check_open(self, cause: BaseException | None = None) -> None:
        """Raise `ChannelClosed` if the channel is closed."""
        if self.closed:
            raise ChannelClosed(f"channel {self.name} is closed") from cause

    # --- saying something ---------------------------------------------------------------------------------------

    def ask(self, message: object, timeout: float = COMMAND_TIMEOUT_S) -> Any:
        """Give an order and wait for the answer. Raises what the order raises, `ChannelClosed`, `DeliveryFailed`.

        An order that was not carried out when this raises `DeliveryFailed` never will be, if it is revocable. A
        setting is made even if the channel crashes meanwhile.
        """
        if self.closed:
            self.check_open()
        if isinstance(message, orders.Setting):
            return self._order(message, timeout)
        answer = ask(self.ref(), message)
        if type(answer) is tuple:
            return answer[0]
        try:
            return self._answer(answer, message, timeout)  # type: ignore[arg-type]  # a future, then
        except (ActorDeadError, ActorCrashed) as error:
            self.check_open(error)
            raise DeliveryFailed(f"channel {self.name} crashed before it had carried out the order") from error

    def _order(self, message: object, timeout: float) -> None:
        """Say it, and wait until an actor has come so far. It ends, because each crash takes one of the restarts."""
        self.notice(message)
        while True:
            try:
                self._answer(self.ref().ask(orders.ARRIVED, block=False), message, timeout)
            except (ActorDeadError, ActorCrashed) as error:
                self.check_open(error)
            else:
                return

    def notice(self, message: object) -> None:
        """Say something that goes ahead of the backlog and outlives a crash. Never blocks; dropped after the close."""
        self.notices.append(message)
        try:
            while not self.ref().actor_inbox.put_notice(_NOTICED):  # type: ignore[attr-defined]
                pass
        except ChannelClosed:
            self.notices.clear()
        except LimenError:  # the next actor, if one may be started again, begins with it
            return

    # --- requests -----------------------------------------------------------------------------------------------

    def submit(self, conversation: Conversation) -> None:
        """Hand in a request; its reply is answered whatever happens to the channel. Any thread; never blocks.

        It goes into the tray. An idle slot is woken to look there; while all slots are taken, whoever frees one looks
        there anyway; else this thread does the channel's work itself.
        """
        tray, state = self.tray, self.state
        if conversation.priority and not state.ranked:
            state.ranked = True
        tray.append(conversation)
        if conversation.is_plain and not self.closed:
            waker = self.waker
            if waker is not None:
                self.waker = None
                waker()
                return
            if conversation.activity_type in state.saturated and len(tray) + state.waiting.count < state.queue_limit:
                if self.listeners:
                    conversation.accepted_s = runtime().now()
                return
        self.look()
        if self.policing is not None and here.mailbox is None and not here.draining and running_loop() is None:
            self._hold_up()

    def _hold_up(self) -> None:
        """Let a producer wait whom a policy slows down. Not where others would wait with him: actors, event loops."""
        wait_s = self.hold_up_s()
        if wait_s > 0:
            runtime().sleep(wait_s)

    def hold_up_s(self) -> float:
        """Say how long whoever has just handed something in is to wait before he goes on."""
        return self.policing.hold_up_s(runtime().now()) if self.policing is not None else 0.0

    def look(self, entry: WorkerEntry | None = None) -> Attempt | None:
        """Have what lies in the tray entered into the book: by this thread, if the channel is free. Never blocks.

        For an idle slot of this worker it may give something to run.
        """
        try:
            self.check_open()
            inbox: Any = self.ref().actor_inbox
            take_in = inbox.owner.take_in
        except LimenError as error:
            self._turn_away(error)
            return None
        except AttributeError:  # it has just ended, and left its inbox to its ref
            self.notice(orders.ARRIVED)
            return None
        taken: Attempt | bool | None = inbox.borrow(take_in, entry)
        if taken is None:
            self.notice(orders.ARRIVED)
        return taken if isinstance(taken, Attempt) else None

    def serve(self, entry: WorkerEntry) -> Attempt | None:
        """Do the same as `look`, for an idle slot of this worker, on its own thread; most often that is little."""
        attempt = self._serve_slot(entry)
        return attempt if attempt is not None or self._may_lie() else self.look(entry)

    def _may_lie(self) -> bool:
        """Whether the first in the tray can do nothing but wait; it is seen to when a slot is freed, as in `submit`."""
        try:
            first = self.tray[0]
        except IndexError:
            return False
        return first.is_plain and first.activity_type in self.state.saturated and not self.closed

    def turn_over(self, attempt: Attempt) -> Attempt | bool | None:
        """Have the channel end an answered attempt at once, if it is free to do so; give the slot's next one.

        `True`: it is ended, and nothing waits for the slot. `None`: nothing has been done. For a slot's own thread.

        A slot that becomes idle is the one to be woken for the next request. The tray is looked at once more after
        that has been said, for whoever put something in it while it was not.
        """
        following = (self._turn_over_told if self.listeners else self._turn_over)(attempt)
        if following is True and self.tray:
            self.look()
        return following

    def _turn_away(self, error: LimenError | None) -> None:
        """Refuse what has come in: with this error, or because the channel is closed."""
        while self.tray:
            try:
                conversation = self.tray.popleft()
            except IndexError:  # another thread was quicker
                return
            failure = self.state.turn_away(conversation) if error is None or self.closed else error
            self._end(conversation, failure)

    # --- subscribers that leave ---------------------------------------------------------------------------------

    def unsubscribe(self, inbox: Inbox) -> None:
        """Deliver to this inbox no more. Starts no actor: the next one, if there is one, hears of it."""
        ref = self._left(inbox)
        if ref is not None:
            ref.actor_inbox.put_notice(_NOTICED)  # type: ignore[attr-defined]

    def forsake(self, inbox: Inbox) -> None:
        """Do the same in a finaliser: only posts."""
        ref = self._left(inbox)
        if ref is not None:
            post(ref, _NOTICED)

    def _left(self, inbox: Inbox) -> ActorRef[ChannelActor] | None:
        """Take note that a subscriber has left, and give the actor that is to be woken, if there is one."""
        inbox.close()
        if self.closed:
            return None
        self.notices.append(orders.Unsubscribe(inbox))
        return self._ref

    # --- the end ------------------------------------------------------------------------------------------------

    def wind_down(self, until_s: float, *, runs_waiting: bool, reply: Reply[Any]) -> None:
        """Take nothing new until the close; `reply` is answered when nothing is left to do. Never blocks.

        `runs_waiting`: what has not begun may begin until then; else it is given up now.
        """
        self.state.ending.ask(until_s, runs_waiting=runs_waiting, reply=reply)
        self.notice(orders.WindDown())
        if not self.is_reachable:
            self.state.ending.say_quiet()

    def close(self, timeout: float) -> tuple[Unfinished, ...]:
        """Close for good, and give what was left undone; wait for it unless this is an actor's thread."""
        with self._lock:
            already, self.closed = self.closed, True
            self.hold_nothing()
            ref = self._ref
        if already:
            return tuple(self.state.ending.unfinished)
        if ref is not None and here.mailbox is not None:
            ref.actor_inbox.put_notice(orders.Close())  # type: ignore[attr-defined]
        elif ref is not None:
            with suppress(ActorDeadError, ActorCrashed, Timeout):
                ref.ask(orders.Close(), timeout=timeout)
        if ref is None or ref.actor_stopped.is_set():
            self._wind_up()
        return tuple(self.state.ending.unfinished)

    def let_go(self) -> None:
        """Close because nobody holds a handle any more. Runs in a finaliser: only posts."""
        self.closed = True
        self.hold_nothing()
        if self._ref is not None and not self._ref.actor_stopped.is_set():
            post(self._ref, orders.Close())
        else:
            self.fanout.close()

    @property
    def has_open(self) -> bool:
        """Whether anybody waits for an answer, or was said something that nobody has acted on."""
        left = self.tray or self.unfinished or self.notices
        return bool(left or self.state.open() or self.state.ending.is_waited_for)

    # --- how ----------------------------------------------------------------------------------------------------

    def _start(self, held: ExitStack) -> ActorRef[ChannelActor]:
        """Start an actor. It runs its first turn, which may lead anywhere, when nothing is held any more."""

        def make_known(actor: ChannelActor) -> None:
            self._ref = actor.actor_ref
            inbox: Any = actor.actor_inbox
            self._turn_over = inbox.lender(actor.turn_over)
            self._serve_slot = inbox.lender(actor.serve_slot)
            self._turn_over_told = lambda attempt: inbox.borrow(actor.turn_over, attempt)
            watch(actor.actor_ref, lambda _: self._ended())
            held.close()

        self.incarnation += 1
        try:
            return ChannelActor._launch(make_known, (self,), {})  # noqa: SLF001 - one of us
        except Exception as error:
            raise DeliveryFailed(f"channel {self.name} could not be started: {error}") from error

    def _ended(self) -> None:
        """See to what an actor has left behind. Runs on the thread on which it died."""
        spent = self._budget.is_spent(runtime().now())
        if self.closed or (spent and self.has_open):
            self._wind_up()
        elif self.has_open:
            try:
                self.ref()
            except LimenError:
                self._wind_up()

    def _wind_up(self) -> None:
        """Answer all that is open, in place of an actor that will not come."""
        with self._lock:
            ref = self._ref
            if ref is not None and not ref.actor_stopped.is_set():
                return
            error = None if self.closed else ChannelLifecycleError(self.name, str(self._budget))
            decided = [*self.unfinished, *self.state.close(error)]
            self.unfinished.clear()
            if self.closed:
                self.hold_nothing()
                for gate in self.state.gates.values():
                    gate.drop_timer()
                self.notices.clear()
                self.fanout.close()
        self._turn_away(error)
        for each in decided:
            self._carry_out(each)
        self.state.ending.say_quiet()

    def _carry_out(self, decided: decisions.Decision) -> None:
        """Do what answers callers and frees workers, and lose no dead letter; there is nobody to record it."""
        match decided:
            case decisions.Close(conversation, outcome):
                conversation.drop_timers()
                if not conversation.reply.done():
                    self._end(conversation, outcome)
            case decisions.CallOff(attempt):
                attempt.entry.runner.cancel(attempt)

    def _end(self, conversation: Conversation, outcome: Completed | BaseException) -> None:
        if isinstance(outcome, BaseException) and not self.closed and belongs(conversation, outcome):
            self.letters.add(conversation, outcome, datetime.fromtimestamp(runtime().wall_time(), UTC))
        Announcer(self, runtime().now).tell_of_end(conversation, outcome)
        if isinstance(outcome, BaseException):
            conversation.fail(outcome)
        else:
            conversation.settle(outcome)

    def _answer(self, reply: Future[Any], message: object, timeout: float) -> Any:
        try:
            return reply.get(timeout=timeout)
        except Timeout as error:
            if isinstance(message, orders.Revocable) and not message.claim():
                timeout += GRACE_S
                with suppress(Timeout):
                    return reply.get(timeout=GRACE_S)
            msg = f"channel {self.name} gave no answer to a {type(message).__name__} within {timeout:g} s"
            raise DeliveryFailed(msg) from error


class RestartBudget:
    """Restarts in a sliding window. A restart that is refused does not count."""

    def __init__(self, limit: RestartIntensity) -> None:
        self._limit = limit
        self._instants: deque[float] = deque()

    def __str__(self) -> str:
        return (
            f"its actor crashed more than {self._limit.max_restarts} times within {self._limit.within_s:g} s; "
            "it is not started again until that window has passed"
            if self._limit.max_restarts
            else "its actor crashed, and it is not to be started again"
        )

    def is_spent(self, now_s: float) -> bool:
        """Whether there is no restart left now."""
        recent = sum(instant_s >= now_s - self._limit.within_s for instant_s in list(self._instants))
        return recent >= self._limit.max_restarts

    def take(self, now_s: float) -> bool:
        """Take one restart; `False` if there is none left."""
        if self.is_spent(now_s):
            return False
        self._instants.append(now_s)
        while self._instants[0] < now_s - self._limit.within_s:
            self._instants.popleft()
        return True


_NOTICED = orders.Noticed()


def _nothing(_: object) -> None:
    """Do nothing: no actor has been started."""
