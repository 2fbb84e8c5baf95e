"""Who is in a channel's pool, and what becomes of it when workers come, speak and leave. Part of a channel's shell."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from ..messages.activities import Completed, Failed
from ..messages.drain import Unfinished
from ..messages.errors import ChannelLifecycleError
from ..messages.events import EventKind
from ..messages.lifecycle import ExitReason
from . import _decisions as decisions
from . import _orders as orders
from ._carrying import Carrier
from ._progress import EVENT_EVERY_S, unpack
from ._texts import text_of
from .conversation import Conversation
from .entry import WorkerEntry

logger = logging.getLogger("limen")

_REGISTERED = EventKind.REGISTERED


class Membership(Carrier):
    """Tells the book who has come, what he says and who has left, and the others what follows."""

    # --- what workers say ---------------------------------------------------------------------------------------------

    def _finished(self, message: orders.Finished) -> None:
        attempt = message.attempt
        if attempt.conversation is None:  # an actor that crashed since has acted on this, and not said so
            return
        counts = message.answered or not attempt.claimed
        if self._book.policing is not None:
            self._book.policing.note_end(self._runtime.now())
        decided = self._state.finished(attempt, message.result, answered=message.answered)
        conversation: Conversation = attempt.conversation
        if message.answered and (conversation.timers or conversation.try_timer is not None):
            conversation.drop_timers()
        if counts and self._book.listeners:
            failed = isinstance(message.result, Failed)
            detail = text_of(message.result.error) if isinstance(message.result, Failed) else ""
            self._announcer.tell_of(EventKind.FAILED if failed else EventKind.FINISHED, attempt, detail)
        if message.answered:
            self._announcer.tell_of_end(conversation, _end_of(message.result))
        if decided:
            self._carry_out(decided)
        if attempt.entry.draining:
            self._say_drained(attempt.entry)
        if message.answered:
            attempt.conversation = None  # as in `WorkerReport.finished`

    def _progressed(self, message: orders.Progressed) -> None:
        progress = message.conversation.progress
        assert progress is not None, "it was kept before this was said"
        progress.on_its_way = False
        progress.next_s = self._runtime.now() + EVENT_EVERY_S
        if not message.attempt.claimed:
            self._announcer.tell_progress(message.attempt, unpack(progress.latest))

    def _crashed(self, message: orders.Crashed) -> None:
        attempt = message.attempt
        if not attempt.claimed:  # else it was ended because it had been decided
            self._announcer.tell_of(EventKind.CRASHED, attempt, str(message.reason))
        self._freed(attempt.entry, self._state.crashed(attempt, message.reason))

    def _freed(self, entry: WorkerEntry, decided: Iterable[decisions.Decision]) -> None:
        self._carry_out(decided)
        self._say_drained(entry)

    def _worker_down(self, message: orders.WorkerDown) -> None:
        entry, reason = message.entry, message.down.reason
        if not self._is_listed(entry):
            return
        decided = self._state.leave(entry, reason, vacancy=entry.comes_back)
        self._part_from(entry)
        kind = EventKind.UNREGISTERED if reason.is_normal else EventKind.CRASHED
        self._announcer.tell(kind, entry, str(reason), since_s=None if reason.is_normal else message.down.at_s)
        self._freed(entry, decided)

    # --- who is there -------------------------------------------------------------------------------------------------

    def _join(self, entry: WorkerEntry) -> None:
        """Subscribe and insert a worker whose watch is armed. `ChannelLifecycleError` for a live duplicate id."""
        state, worker_id = self._state, entry.worker_id
        if worker_id in state.candidates.entries:
            self._bury_dead_twin(entry)
        other = state.candidates.entries.get(worker_id) or state.vacancies.get(worker_id)
        if other is None:
            self._enter(entry)
        elif other.origin is entry.origin:
            self._rejoin(entry)
        else:
            how = "alive" if self._is_listed(other) else "about to be restarted"
            raise ChannelLifecycleError(state.name, f"a worker {worker_id!r} is registered and {how}")

    def _rejoin(self, entry: WorkerEntry) -> None:
        self._bury_dead_twin(entry)
        listed = self._state.candidates.entries.get(entry.worker_id)
        if listed is not None:
            if listed.origin is not entry.origin:
                logger.error("worker %s was restarted, but another has its id now", entry.worker_id)
            if listed is not entry:  # perhaps its own next incarnation, which was quicker
                self._fanout.remove(entry)
            return
        self._enter(entry)

    def _enter(self, entry: WorkerEntry) -> None:
        self._fanout.add(entry)
        entry.since_s = self._runtime.now()
        decided = self._state.join(entry)
        if self._state.candidates.entries.get(entry.worker_id) is entry:
            self._announcer.tell(_REGISTERED, entry)
        else:
            self._fanout.remove(entry)
        if decided:
            self._carry_out(decided)

    def _bury_dead_twin(self, entry: WorkerEntry) -> None:
        """Take out the last worker of this id, whose end has not been handled yet."""
        twin = self._state.candidates.entries.get(entry.worker_id)
        if twin is not None and twin is not entry and twin.exited is not None:
            self._worker_down(orders.WorkerDown(twin, twin.exited))

    def _none_follows(self, entry: WorkerEntry) -> None:
        self._carry_out(self._state.give_up(entry))
        self._announcer.show_pool()

    def _leave(self, entry: WorkerEntry) -> tuple[Unfinished, ...]:
        """Take a worker out and give what it had not done."""
        entry.origin.retired = True
        present = self._state.present(entry)
        listed = self._is_listed(present)
        decided = self._state.leave(present, ExitReason.normal())
        self._part_from(present)
        if listed:
            self._announcer.tell(EventKind.UNREGISTERED, present)
        self._freed(present, decided)
        return present.origin.unfinished

    def _drain(self, entry: WorkerEntry) -> None:
        present = self._state.present(entry)
        if self._is_listed(present) and not present.draining:
            self._announcer.tell(EventKind.DRAINING, present, f"{len(present.attempts)} to finish")
        self._freed(present, self._state.drain(present))

    def _take_slot(self, entry: WorkerEntry) -> bool:
        if not entry.has_slot or entry.in_flight >= entry.capacity.max_concurrent:
            return False
        self._carry_out(self._state.set_manual(entry, entry.manual + 1))
        return True

    def _is_listed(self, entry: WorkerEntry) -> bool:
        return self._state.candidates.entries.get(entry.worker_id) is entry

    def _part_from(self, entry: WorkerEntry) -> None:
        """Tell a worker that has left, and lost all it had, what that means for it."""
        self._fanout.remove(entry)
        entry.wake()


def _end_of(result: Completed | Failed) -> Completed | BaseException:
    return result.error if isinstance(result, Failed) else result
