"""Mistakes made on purpose, each a patch of one function, and the scenario that must find it.

They show that the suite would notice. Each patch says in a line what it breaks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
from pykka import ActorRegistry

from limen.actors import _orders
from limen.actors._channel_state import ChannelState
from limen.actors.attempt import Attempt
from limen.actors.blueprint import Blueprint
from limen.actors.channel import ChannelActor
from limen.actors.conversation import ROUTING
from limen.actors.life import Life
from limen.actors.links import LinkedActor

Patch = Callable[[Any], None]


@attrs.frozen
class Mutant:
    """A mistake, and where it must show."""

    patch: Patch
    scenario: str


MUTANTS: dict[str, Mutant] = {}


def mutant(scenario: str) -> Callable[[Patch], Patch]:
    """Keep a mistake by its name."""

    def keep(patch: Patch) -> Patch:
        MUTANTS[patch.__name__] = Mutant(patch, scenario)
        return patch

    return keep


@mutant("registration_races_a_crash")
def inserted_before_armed(monkeypatch: Any) -> None:
    """The worker is offered first and watched later."""
    arm = Blueprint.arm

    def insert_and_arm(blueprint: Blueprint, entry: Any) -> None:
        assert blueprint.channel is not None
        blueprint.channel.session.ask(_orders.Join(entry))
        arm(blueprint, entry)

    monkeypatch.setattr(Blueprint, "arm", insert_and_arm)


@mutant("short_work_survives_workers")
def down_after_the_next_dispatch(monkeypatch: Any) -> None:
    """A worker's end is told behind the backlog, and until then it is offered."""

    def told_in_turn(blueprint: Blueprint, entry: Any, down: Any) -> None:
        entry.exited = down
        assert blueprint.channel is not None
        blueprint.channel.session.ref().tell(_orders.WorkerDown(entry, down))

    monkeypatch.setattr(Blueprint, "ended", told_in_turn)


@mutant("work_survives_processes")
def slot_not_freed_on_a_crash(monkeypatch: Any) -> None:
    """The slot of a child that died stays taken."""
    crashed = ChannelState.crashed

    def keep_slot(state: ChannelState, attempt: Attempt, *args: Any) -> Any:
        decided = crashed(state, attempt, *args)
        attempt.entry.attempts.add(attempt)
        return decided

    monkeypatch.setattr(ChannelState, "crashed", keep_slot)


@mutant("every_watch_is_told_once")
def told_twice(monkeypatch: Any) -> None:
    """Every watcher gets its notice twice."""
    finish = Life.finish

    def finish_twice(life: Life, down: Any) -> None:
        watchers = dict(life._watchers)
        finish(life, down)
        for on_exit in watchers.values():
            on_exit(down)

    monkeypatch.setattr(Life, "finish", finish_twice)


@mutant("every_watch_is_told_once")
def told_before_the_registry(monkeypatch: Any) -> None:
    """The registry entry goes last, after the notices."""
    finish = Life.finish

    def finish_first(life: Life, down: Any) -> None:
        finish(life, down)
        ActorRegistry.unregister(down.ref)

    def leave_later(actor: LinkedActor) -> None:
        actor._listed = False

    monkeypatch.setattr(Life, "finish", finish_first)
    monkeypatch.setattr(LinkedActor, "_leave_registry", leave_later)


@mutant("late_results_are_fenced_off")
def no_fence(monkeypatch: Any) -> None:
    """Everybody may decide an attempt's outcome."""

    def claim(attempt: Attempt) -> bool:
        attempt.claimed = True
        return True

    monkeypatch.setattr(Attempt, "claim", claim)


@mutant("work_survives_workers")
def the_work_of_the_dead_is_dropped(monkeypatch: Any) -> None:
    """A worker that dies takes what it held with it."""
    leave = ChannelState.leave

    def leave_alone(state: ChannelState, entry: Any, *args: Any, **kwargs: Any) -> Any:
        entry.attempts = set()
        return leave(state, entry, *args, **kwargs)

    monkeypatch.setattr(ChannelState, "leave", leave_alone)


@mutant("close_while_dispatching")
def waiter_lost_on_close(monkeypatch: Any) -> None:
    """The close forgets those that wait for a slot."""
    close = ChannelState.close

    def close_the_running(state: ChannelState, error: BaseException) -> Any:
        for conversation in state.waiting.all():
            state.waiting.leave(conversation, ROUTING)
        return close(state, error)

    monkeypatch.setattr(ChannelState, "close", close_the_running)


@mutant("nothing_lies_in_the_tray")
def tray_not_looked_at_again(monkeypatch: Any) -> None:
    """A slot says that it is idle and looks into the tray neither before nor after."""
    from limen.actors.channel_session import ChannelSession

    def end(actor: ChannelActor, attempt: Attempt) -> Any:
        following = actor._state.turn_over(attempt)
        if following is True:
            actor._book.waker = attempt.entry.nudge
        return following

    def turn_over(session: ChannelSession, attempt: Attempt) -> Any:
        if session._ref is None:
            return None
        inbox: Any = session._ref.actor_inbox
        actor = inbox.owner
        return inbox.borrow(actor.turn_over, attempt) if isinstance(actor, ChannelActor) else None

    monkeypatch.setattr(ChannelActor, "turn_over", end)
    monkeypatch.setattr(ChannelSession, "turn_over", turn_over)


@mutant("a_channel_dies_while_its_router_thinks")
def routed_requests_are_not_recovered(monkeypatch: Any) -> None:
    """A channel that comes back forgets what was with the routing function."""
    rebuild = ChannelState.rebuild

    def forget(state: ChannelState) -> None:
        for conversation in list(state.apart):
            if conversation.phase is ROUTING:
                del state.apart[conversation]
        rebuild(state)

    monkeypatch.setattr(ChannelState, "rebuild", forget)


@mutant("restart_storms_end")
def a_vacancy_is_never_given_up(monkeypatch: Any) -> None:
    """Requests go on waiting for a worker that will not come."""
    monkeypatch.setattr(ChannelState, "give_up", lambda _state, _entry: [])


@mutant("capacity_is_kept_when_saturated")
def one_slot_too_many(monkeypatch: Any) -> None:
    """A full worker is given one more."""
    from limen.actors.entry import WorkerEntry

    def has_room(entry: WorkerEntry) -> bool:
        return entry.active and len(entry.attempts) <= entry.capacity.max_concurrent

    monkeypatch.setattr(WorkerEntry, "has_room", property(has_room))


@mutant("a_publish_is_delivered_once_or_failed")
def a_publish_is_delivered_twice(monkeypatch: Any) -> None:
    """Each subscriber gets it two times."""
    from limen.actors._fanout import Fanout

    publish = Fanout._publish

    def publish_twice(fanout: Fanout, message: Any) -> Any:
        publish(fanout, message)
        return publish(fanout, message)

    monkeypatch.setattr(Fanout, "_publish", publish_twice)


@mutant("work_survives_the_channel")
def work_is_asked_of_the_ref_of_the_dead(monkeypatch: Any) -> None:
    """A slot that ends its attempt looks for the channel's work where only its ref is left."""
    from limen.actors.channel_session import ChannelSession

    def turn_over(session: ChannelSession, attempt: Attempt) -> Any:
        inbox: Any = session._ref.actor_inbox if session._ref is not None else None
        return inbox.borrow(inbox.owner.turn_over, attempt) if inbox is not None else None

    monkeypatch.setattr(ChannelSession, "turn_over", turn_over)


@mutant("callers_of_one_key_race")
def each_caller_has_work_of_its_own(monkeypatch: Any) -> None:
    """Nobody finds what goes under his key."""
    from limen.actors._keys import Keys

    opened = Keys.open

    def open_anew(keys: Any, name: Any, caller: Any, work: Any) -> Any:
        keys.live.pop(name, None)
        return opened(keys, name, caller, work)

    monkeypatch.setattr(Keys, "find", lambda _keys, _name, _now_s: None)
    monkeypatch.setattr(Keys, "open", open_anew)


@mutant("callers_of_one_key_race")
def the_first_to_give_up_takes_the_work_with_him(monkeypatch: Any) -> None:
    """Cancelling one caller cancels the work of all."""
    from limen.actors._sharing import SharedWork

    def leave(state: Any, caller: Any, outcome: BaseException) -> Any:
        return state.cancel(caller.work, outcome)

    monkeypatch.setattr(SharedWork, "_leave_work", leave)


@mutant("one_poison_and_three_innocents")
def all_who_ran_are_charged(monkeypatch: Any) -> None:
    """Nobody asks who was to blame."""
    from limen.actors import _channel_state

    monkeypatch.setattr(_channel_state, "_blamed", lambda entry, _reason: (set(entry.attempts), set()))


@mutant("a_letter_goes_one_way")
def a_requeue_that_is_given_up_is_lost(monkeypatch: Any) -> None:
    """Only poison comes back."""
    from limen.actors import _carrying, channel_session
    from limen.messages.dispatch_errors import PoisonActivity

    def belongs(_conversation: Any, outcome: BaseException) -> bool:
        return isinstance(outcome, PoisonActivity)

    monkeypatch.setattr(_carrying, "belongs", belongs)
    monkeypatch.setattr(channel_session, "belongs", belongs)


@mutant("requeue_races_close")
def a_close_forgets_who_requeued(monkeypatch: Any) -> None:
    """What was requeued is not among what is open."""
    listed = ChannelState.open

    def open_but_requeued(state: ChannelState) -> Any:
        return [each for each in listed(state) if each.letter is None]

    monkeypatch.setattr(ChannelState, "open", open_but_requeued)


@mutant("nobody_pays_for_who_is_in_front")
def a_limit_counts_from_the_hand_over(monkeypatch: Any) -> None:
    """Who lies behind another pays for what that one takes."""
    monkeypatch.setattr(Attempt, "left_s", lambda _attempt, _limit_s, _now_s: 0.0)


@mutant("everything_ends_at_once_thread")
def cancelled_before_it_counts(monkeypatch: Any) -> None:
    """An activity is told that it is cancelled when its worker ends; what it returns then is taken for its result."""
    from limen.actors.executors._local_run import LocalRun
    from limen.actors.executors.thread import ThreadExecutor

    over: list[Any] = []
    close = ThreadExecutor.close

    def close_and_tell(executor: ThreadExecutor) -> None:
        close(executor)
        over.append(executor._report)
        executor.wake()

    monkeypatch.setattr(ThreadExecutor, "close", close_and_tell)
    monkeypatch.setattr(LocalRun, "cancelled", property(lambda run: run.work.claimed or run._report in over))


@mutant("what_does_not_end_costs_no_slot_thread")
def an_abandoned_thread_stays(monkeypatch: Any) -> None:
    """It goes on as a thread of the worker's when it has ended after all."""
    from limen.actors.executors.thread import ThreadExecutor

    monkeypatch.setattr(ThreadExecutor, "_ends_here", lambda _executor, _place: False)


@mutant("a_slot_that_was_kept_comes_back_asyncio")
def a_kept_slot_is_kept(monkeypatch: Any) -> None:
    """When there is room again, nobody looks who waits for it."""
    from limen.actors.executors._abandoned import Abandoned

    monkeypatch.setattr(Abandoned, "next_kept", lambda _abandoned: None)


@mutant("everything_ends_at_once_thread")
def an_attempt_finds_its_own_word(monkeypatch: Any) -> None:
    """What the last attempt said is forgotten as soon as the next one says something."""
    from limen.actors._progress import Progress

    monkeypatch.setattr(Progress, "before", lambda progress, _number: progress.latest)


@mutant("nothing_starts_in_a_pause")
def a_pause_is_for_new_ones_only(monkeypatch: Any) -> None:
    """A slot goes on to what waits, paused or not."""
    from limen.actors._placement import Placement
    from limen.actors.routers import LeastLoaded

    note = Placement._note_restraint

    def swap_all_the_same(state: Placement) -> None:
        note(state)
        state.swaps = type(state.router) is LeastLoaded

    monkeypatch.setattr(Placement, "_note_restraint", swap_all_the_same)


@mutant("places_at_a_gate_come_back")
def a_place_is_lost_with_its_attempt(monkeypatch: Any) -> None:
    """Nobody counts off at the gate what a child or a time-out has ended."""
    monkeypatch.setattr(ChannelState, "_depart", lambda _state, _activity_type: None)


@mutant("places_at_a_gate_come_back")
def a_gate_lets_in_one_too_many(monkeypatch: Any) -> None:
    """It opens when it is full, not before."""
    from limen.actors._gates import Gate

    def has_place(gate: Gate) -> bool:
        most = gate.limit.max_concurrent
        return most is None or gate.running <= most

    monkeypatch.setattr(Gate, "has_place", property(has_place))


@mutant("limits_change_under_work")
def a_lifted_limit_goes_on_to_bar(monkeypatch: Any) -> None:
    """The line at a gate that is gone is passed over."""
    from limen.actors._waiting import WaitingRoom

    monkeypatch.setattr(WaitingRoom, "release", lambda _room, _activity_type: None)


@mutant("room_is_found_or_refused")
def room_is_not_passed_on(monkeypatch: Any) -> None:
    """Whoever waits for room is not told that there is some."""
    monkeypatch.setattr(ChannelState, "_fill_room", lambda _state: [])


@mutant("starts_keep_to_the_rate")
def tokens_are_forgotten_at_a_crash(monkeypatch: Any) -> None:
    """A channel that comes back begins with a full bucket."""
    rebuild = ChannelState.rebuild

    def fill_up(state: ChannelState) -> None:
        for gate in state.gates.values():
            if gate.bucket is not None:
                gate.bucket.full_at_s = 0.0
        rebuild(state)

    monkeypatch.setattr(ChannelState, "rebuild", fill_up)


@mutant("a_worker_drains_while_everything_happens")
def a_worker_that_drains_is_offered(monkeypatch: Any) -> None:
    """It gets new work until it leaves."""

    def drain(state: ChannelState, entry: Any) -> Any:
        entry.draining = True
        return [] if state._is_offered(entry) else state.give_up(entry)

    monkeypatch.setattr(ChannelState, "drain", drain)


@mutant("an_application_drains_while_everything_happens")
def a_drain_names_only_what_waits(monkeypatch: Any) -> None:
    """What was interrupted is on no report."""
    from limen.actors._winding import WindingDown

    shut_out = WindingDown._shut_out

    def forget_the_running(state: Any, conversation: Any, error: Any = None) -> Any:
        before = len(state.ending.unfinished)
        closed = shut_out(state, conversation, error)
        if conversation.attempts:
            del state.ending.unfinished[before:]
        return closed

    monkeypatch.setattr(WindingDown, "_shut_out", forget_the_running)


@mutant("an_end_is_told_without_further_use")
def news_waits_for_the_next_use(monkeypatch: Any) -> None:
    """A channel that crashed with news unread, and nothing open, stays down."""
    from limen.actors.channel_session import ChannelSession

    monkeypatch.setattr(
        ChannelSession,
        "has_open",
        property(lambda self: bool(self.tray or self.unfinished or self.state.open())),
    )
