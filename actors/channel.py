"""`ChannelActor`: the one book-keeper of a dispatch channel.

The shell round `ChannelState`: it turns messages into questions to the book. Its `Membership` sees to workers, and the
`Carrier` beneath turns the book's decisions into hand-overs, replies, timers and events. It never blocks, and runs no
code of the user's but the recorder.
"""

from __future__ import annotations

import logging
from typing import Any

from ..messages.dispatch import DispatchRequest
from ..messages.errors import ChannelLifecycleError, ConfigError, DispatcherDraining, LimenError
from ..messages.events import EventKind
from ..messages.pressure import Pressure
from . import _decisions as decisions
from . import _orders as orders
from ._asking import conversation_for
from ._book import Book
from ._cancelling import cancel_all
from ._membership import Membership
from ._policing import Policing
from ._queue_view import queue_row
from ._router_runner import Chosen
from ._texts import text_of
from .attempt import HEARD, Attempt
from .conversation import WAITING, Conversation
from .entry import WorkerEntry
from .router_loader import LoadedRouter
from .routers import Affinity, ConsistentHash, LeastLoaded, RoundRobin

logger = logging.getLogger("limen")

AT_ONCE = 1000
"""Requests that are taken from the tray before the channel looks for news."""

_ROUTERS = (LoadedRouter, LeastLoaded, RoundRobin, ConsistentHash, Affinity)
"""What may be deployed. All but the first are asked on the channel's own turn, and so must be ours."""

_FANOUT = (orders.Publish, orders.Subscribe, orders.Unsubscribe, orders.Evolve)


class ChannelActor(Membership):
    """Serves one channel. What it knows lives in its book, which survives a restart of the actor."""

    never_blocks = True

    def __init__(self, book: Book) -> None:
        super().__init__(book)
        self._tray = book.tray

    def on_start(self) -> None:
        """Begin with what the last actor of this channel left."""
        if self._book.incarnation > 1:
            self._recover()

    def on_receive(self, message: object) -> object:
        """Handle one order, after what came in before it.

        One that fails half-way ends the actor, and the next one makes the book whole again.
        """
        try:
            if self._tray or self._state.gates:
                self.take_in()
            else:
                self._book.waker = None
            answer = self._handle(message)
            if self._state.unsettled:
                self._carry_out(self._state.settle())
            if self._tray and not self._closing:
                self.take_in()
            if self._state.is_ending:
                self._say_quiet()
            if self._book.policing is not None:
                self._police(self._book.policing)
        except LimenError:  # a refusal, before anything was changed
            raise
        except Exception as error:
            if self._now_reply is None or isinstance(message, _FANOUT):
                raise
            self.crash(error)
            raise ChannelLifecycleError(self._state.name, f"the channel crashed: {text_of(error)}") from error
        return answer

    def _handle(self, message: object) -> Any:  # noqa: C901, PLR0912 - a clause per message
        match message:
            case orders.Noticed():
                return self._noticed()
            case orders.Arrived():
                return None
            case orders.Finished():
                return self._finished(message)
            case orders.Join(entry):
                return self._join(entry)
            case orders.WorkerDown():
                return self._worker_down(message)
            case orders.Crashed():
                return self._crashed(message)
            case orders.Progressed():
                return self._progressed(message)
            case orders.Returned(attempt, reason):
                return self._freed(attempt.entry, self._state.returned(attempt, reason))
            case orders.Snapshot():
                return message.show(self._state.listed(message.activity_type))
            case orders.ShowPressure():
                return self._show_pressure()
            case orders.ShowQueue():
                return queue_row(self._state)
            case orders.SetManual(entry, slots):
                return self._carry_out(self._state.set_manual(entry, slots))
            case orders.TakeSlot(entry):
                return self._take_slot(entry)
            case orders.GiveSlot(entry):
                return self._carry_out(self._state.set_manual(entry, max(0, entry.manual - 1)))
            case orders.Rejoin(entry):
                return self._rejoin(entry)
            case orders.Leave(entry):
                return self._leave(entry)
            case orders.Drain(entry):
                return self._drain(entry)
            case orders.GiveUp(entry):
                return self._none_follows(entry)
            case orders.Cancel(conversation):
                return self._carry_out(self._state.cancel(conversation))
            case orders.CancelAll(conversations):
                return cancel_all(conversations, self._book, self._carry_out)
            case orders.Withdraw(conversation):
                return self._carry_out(self._state.withdraw(conversation))
            case orders.TimedOut():
                return self._timed_out(message)
            case orders.Resume(conversation):
                return self._carry_out(self._state.resume(conversation))
            case orders.Setting():
                return self._carry_out(self._settings.put(message))
            case orders.NoRoom(conversation):
                return self._carry_out(self._state.no_room(conversation))
            case orders.TokenDue(gate):
                return self._carry_out(self._state.token_due(gate))
            case orders.Routed():
                return self._routed(message)
            case orders.Declare():
                return []  # a channel keeps what it is given
            case orders.Deploy(router):
                return self._deploy(router)
            case orders.ListLetters():
                return self._book.letters.all()
            case orders.Requeue() if message.claim():
                return self._requeue(message)
            case orders.Discard(letter_id) if message.claim():
                return self._letterbox.discard(letter_id)
            case orders.Remember():
                return self._remember(message)
            case orders.Requeue() | orders.Discard():
                return None  # whoever gave the order has given it up
            case orders.Listen():
                return self._announcer.listen(message)
            case orders.Tell(kind, request, detail):
                return self._announcer.tell_about(kind, request, detail)
            case orders.Watch():
                return self._announcer.watch(message)
            case DispatchRequest():
                return self._dispatch(message)
            case orders.WindDown():
                return self._wind_down()
            case orders.Close():
                return self._close()
            case orders.Publish():
                return self._announcer.follow(message, self._fanout.handle(message))
            case orders.Published(delivery, took_s):
                return self._announcer.tell_of_publish(delivery, took_s)
            case orders.Measure():
                return self._book.figures()
            case _ if isinstance(message, _FANOUT):
                return self._fanout.handle(message)
            case _:
                logger.warning("channel %s does not know what to do with a %s", self._book.name, type(message).__name__)
                return None

    # --- requests -----------------------------------------------------------------------------------------------

    def take_in(self, entry: WorkerEntry | None = None) -> Attempt | bool:
        """Enter into the book what has come in. Called on the channel's turn.

        By an idle slot for the worker whose slot it is: if that one has nothing else to do, the first attempt for it is
        not delivered but given back.
        """
        self._book.waker = None
        own: list[Attempt] = []
        try:
            self._take_in(entry, own)
        except BaseException:
            for attempt in own:  # who would take it gets an error instead
                self._hand_over(attempt)
            raise
        return own[0] if own else True

    def _take_in(self, entry: WorkerEntry | None, own: list[Attempt]) -> None:
        tray, state = self._tray, self._state
        if state.gates:
            state.now_s = self._runtime.now()
        watched, policing = bool(self._book.listeners), self._book.policing
        for _ in range(AT_ONCE):
            if not tray:
                break
            if state.saturated and not watched:
                state.absorb(tray)
            try:
                conversation = tray.popleft()
            except IndexError:  # all absorbed, or turned away by whoever closes the channel
                break
            try:
                if policing is not None and self._shed(policing, conversation):
                    pass
                elif watched or not conversation.is_plain:
                    self._submit(conversation)
                elif decided := state.submit(conversation):
                    first = decided[0]
                    if not isinstance(first, Attempt) or len(decided) > 1:
                        self._carry_out(decided)
                    elif entry is not None and first.entry is entry and len(entry.attempts) == 1:
                        own.append(first)
                    else:
                        self._hand_over(first)
            except BaseException as error:
                self._not_taken_in(conversation, error)
                raise
        else:
            self._book.notice(orders.ARRIVED)  # callers are quick, and there may be news to be handled first
        if state.unsettled:
            self._carry_out(state.settle())
        if policing is not None:
            self._police(policing)

    def _shed(self, policing: Policing, conversation: Conversation) -> bool:
        """Turn a request away that is not important enough now; say whether that was done."""
        self._police(policing)
        if not policing.sheds(conversation.priority):
            return False
        conversation.accepted_s = self._runtime.now()
        self._carry_out(self._state.shed(conversation, policing.score))
        return True

    def _police(self, policing: Policing) -> None:
        """See how full the workers are that have more or less to do than before, and tell what follows."""
        self._announcer.tell_of_pressure(policing.follow(self._state.candidates.take_moves(), self._runtime.now()))

    def serve_slot(self, entry: WorkerEntry) -> Attempt | None:
        """Give an idle slot of this worker the one request that has just come in. Called by it, on the channel's turn.

        Sends nothing: `None`, and nothing is done, where there is more to do than to put one request into a slot. To a
        worker that has other attempts it must be delivered, so that there are threads enough for all of them.
        """
        book, tray = self._book, self._tray
        if len(tray) != 1 or entry.attempts or book.listeners:
            return None
        try:
            conversation = tray.popleft()
        except IndexError:  # turned away by whoever closes the channel
            return None
        attempt = self._state.admit(conversation, entry)
        if attempt is None:
            tray.appendleft(conversation)
        else:
            book.waker = None
        return attempt

    def turn_over(self, attempt: Attempt) -> Attempt | bool | None:
        """End an answered attempt and give its slot what waits for it. Called by the slot, on the channel's turn.

        Sends nothing, unless somebody listens: `None`, and nothing is done, where there is more to do than to move one
        request into a slot.
        """
        book, conversation = self._book, attempt.conversation
        if not conversation.is_plain and (conversation.timers or conversation.try_timer is not None):
            return None
        told = book.listeners
        following = self._turn_over_told(attempt) if told else self._state.turn_over(attempt, self._tray)
        if following is True:
            book.waker = attempt.entry.nudge
        return following

    def _turn_over_told(self, attempt: Attempt) -> Attempt | bool | None:
        """Do so where somebody listens, who is told of all that has come in first."""
        if self._tray:
            self.take_in()
        following = self._state.turn_over(attempt)
        if following is not None:
            self._announcer.tell_of_turn(attempt, following)
        return following

    def _show_pressure(self) -> Pressure:
        policing = self._book.policing
        if policing is None:
            policing = Policing(self._state.name)
            policing.look(self._state.serving(None), self._runtime.now())
        else:
            self._police(policing)
        return Pressure(policing.score, policing.active)

    def _not_taken_in(self, conversation: Conversation, error: BaseException) -> None:
        """Give up a request that is not known to be in the book, so that the next actor may miss it."""
        failure = ChannelLifecycleError(self._state.name, "the channel crashed as it took in the request")
        failure.__cause__ = error
        self._conclude(conversation, failure)

    def _requeue(self, message: orders.Requeue) -> Conversation:
        """Take in a dead letter as a new request. Raises `UnknownDeadLetter` and more, and then it stays."""
        if self._state.is_ending:
            raise DispatcherDraining(self._state.name)
        conversation = self._letterbox.take(message, self._state.named)
        try:
            self._submit(conversation)
        except BaseException as error:
            self._not_taken_in(conversation, error)
            raise
        return conversation

    def _submit(self, conversation: Conversation) -> None:
        if conversation.accepted_s is None:
            conversation.accepted_s = self._runtime.now()
        decided = self._state.submit(conversation)
        work = conversation.work
        begins = work.accepted_s is None or work is conversation
        if begins:
            work.accepted_s = conversation.accepted_s
        if conversation.has_limits:
            self._limit_all(conversation, work if begins else None)
        if conversation.joined_id is not None:
            self._announcer.tell_about(EventKind.JOINED, conversation, f"the work of {conversation.joined_id}")
        self._carry_out(decided)
        if conversation.entered is not None and not (begins and work.is_outside):
            self._let_in(conversation)
        if begins and work.phase is WAITING:
            self._announcer.tell_about(EventKind.DEFERRED, conversation)

    def _dispatch(self, message: DispatchRequest) -> None:
        """Serve a request that was asked or told by an actor: the answer is a `DispatchResponse`, or an error."""
        asker = self.reply_later()
        conversation = conversation_for(message, asker, self._state.name)
        policing = self._book.policing
        if conversation is not None and (policing is None or not self._shed(policing, conversation)):
            self._submit(conversation)

    def _timed_out(self, message: orders.TimedOut) -> None:
        now_s = self._runtime.now()
        self._carry_out(
            self._state.timed_out(message.conversation, message.limit, message.limit_s, now_s, message.attempt)
        )

    def _remember(self, message: orders.Remember) -> None:
        self._state.keys.resize(message.keys, message.ttl_s)
        self._state.keys.sweep(self._runtime.now())
        if message.dead_letters is not None:
            self._letterbox.resize(message.dead_letters)

    # --- routing functions --------------------------------------------------------------------------------------

    def _deploy(self, router: Any) -> None:
        if not isinstance(router, _ROUTERS):
            what = type(router).__name__
            raise ConfigError("router", f"must be one of limen.routers, or what load_router gives, not a {what}")
        self._slot.deploy(router)
        self._carry_out(self._state.deploy(None if isinstance(router, LoadedRouter) else router))

    def _routed(self, message: orders.Routed) -> None:
        ask, answer = message.ask, message.answer
        if isinstance(answer, Chosen):
            self._carry_out(self._state.routed(ask, answer.worker_id))
            return
        self._carry_out(self._state.routing_failed(ask, answer.error))

    # --- the end ------------------------------------------------------------------------------------------------

    def _noticed(self) -> object:
        """Handle the oldest notice; none is left if an actor that came after a crash has handled them all."""
        return self.on_receive(self._book.notices.popleft()) if self._book.notices else None

    def _recover(self) -> None:
        """Catch up on what the actor that crashed was told, or had decided, and never did."""
        state, active = self._state, self._slot.active
        state.now_s = self._runtime.now()
        state.use(None if isinstance(active, LoadedRouter) else active)
        state.rebuild()
        if self._book.policing is not None:
            self._announcer.tell_of_pressure(self._book.policing.look(state.serving(None), state.now_s))
        self._go_on()
        self._catch_up_on_results()
        while self._book.notices:
            self._noticed()
        for entry in list(state.candidates):
            if entry.exited is not None:
                self._worker_down(orders.WorkerDown(entry, entry.exited))
            elif entry.origin.retired:
                self._leave(entry)
        for entry in [*state.candidates, *state.vacancies.values()]:
            if entry.origin.draining:
                self._drain(entry)
        for conversation in state.open():
            if conversation.entered is not None and not conversation.work.is_outside:
                self._let_in(conversation)
            if conversation.reply.done():  # with the error of the crash
                self._carry_out(self._ended_by_crash(conversation))
        if state.ending.is_asked:
            self._wind_down()
        self._carry_out(state.recover())
        self.take_in()
        if state.is_ending:
            self._say_quiet()

    def _ended_by_crash(self, conversation: Conversation) -> list[decisions.Decision]:
        """Close a request whose caller has been told; nothing if it was by the slot, which has not said so yet."""
        error = ChannelLifecycleError(self._state.name, "the channel crashed as it took in the request")
        decided = self._state.cancel(conversation, error)
        if decided:
            self._announcer.tell_of_end(conversation, error)
        return decided

    def _go_on(self) -> None:
        """Do what had been decided, but hand over nothing that was given up meanwhile."""
        unfinished = list(self._book.unfinished)
        self._book.unfinished.clear()
        self._carry_out(each for each in unfinished if not isinstance(each, Attempt) or each in each.entry.attempts)

    def _catch_up_on_results(self) -> None:
        for entry in list(self._state.candidates):
            for attempt in entry.in_order():
                outcome = attempt.outcome
                if outcome is not None and outcome is not HEARD:
                    attempt.outcome = HEARD
                    self._finished(orders.Finished(attempt, *outcome))

    def _close(self) -> None:
        self._closing = True  # from here on nothing is kept, and nothing taken in
        self._settings.drop_alarms()
        self._carry_out(self._state.close())
        for entry in list(self._state.candidates):
            self._leave(entry)
        self._fanout.close()
        self._book.hold_nothing()
        self._state.ending.say_quiet()
        self.finish_stop()

    def _wind_down(self) -> None:
        is_first, state = not self._state.is_ending, self._state
        decided = state.wind_down()
        if is_first:
            given_up = f"; {len(state.ending.unfinished)} given up" * bool(state.ending.unfinished)
            self._announcer.tell_of_queue(EventKind.DRAINING, f"{state.open_count()} to finish{given_up}")
        self._carry_out(decided)

    def _say_quiet(self) -> None:
        if self._state.is_quiet and not self._tray:
            self._state.ending.say_quiet()
