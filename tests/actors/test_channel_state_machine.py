"""The core of a channel under random events: whatever happens in whatever order, the book is right after each step."""

from collections import Counter, deque
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from statekit import CRASH, DONE, NORMAL, Notebook, die, make_conversation, make_worker

from limen.actors._decisions import Alarm, Ask
from limen.actors._gates import GRAIN_S
from limen.actors.attempt import Attempt
from limen.actors.conversation import CLOSED, JOINED, NEW, PAUSED, ROUTING, RUNNING, WAITING, Conversation
from limen.actors.entry import Origin, WorkerEntry
from limen.actors.recorder import MemoryRecorder
from limen.actors.routers import Affinity, ConsistentHash, LeastLoaded, RoundRobin
from limen.actors.runtime import runtime
from limen.messages.activities import Completed, Failed
from limen.messages.lifecycle_errors import ShutDown
from limen.messages.limits import Limit
from limen.messages.retry import Retry

KINDS = ("a", "b")
SERVES = st.sampled_from([(), (), ("a",), ("b",), ("a", "b")])
ROUTERS = {"least": LeastLoaded, "round": RoundRobin, "hash": ConsistentHash, "affinity": Affinity}
SORTS = st.sampled_from(["plain", "plain", "plain", "bare", "recorded", "patient", "has_time", "keyed", "keyed"])
MANY = 1_000_000
some = st.integers(0, MANY)
"""Picks one of what there is, whatever there is."""


class Nothing(Exception):
    """There is nothing to pick from, so the event does not happen."""


def one_of(*names: str, most: int = 1) -> Any:
    """Choose some events, each with a number that says to which of those it could happen to it happens."""
    return st.lists(st.tuples(st.sampled_from(names), some), min_size=1, max_size=most)


class Channel(RuleBasedStateMachine):
    """Plays workers, slots, callers, timers, supervisors and routing functions at once."""

    def __init__(self) -> None:
        super().__init__()
        self.book = Notebook()
        self.state = self.book.state
        self.conversations: list[Conversation] = []
        self.workers: list[WorkerEntry] = []
        self.missing: list[WorkerEntry] = []
        """Workers whose supervisor is about to start them again."""
        self.answered: Counter[Conversation] = Counter()
        self.held_by: dict[WorkerEntry, set[Attempt]] = {}
        """What workers that drain held at the last look."""
        self.untold: list[tuple[Attempt, Completed | Failed, bool]] = []
        """Results on their way to the channel, and whether the caller has them."""

    # --- help -------------------------------------------------------------------------------------------------------

    def do(self, decided: Any) -> None:
        """Carry out, and check that nobody jumped the queue."""
        decisions = self.book.do(decided)
        if self.state.router is None:
            return
        for attempt in decisions:
            if isinstance(attempt, Attempt) and not attempt.conversation.suspect:
                passed = self.state.waiting.next_for(attempt.entry.capacity.activity_types)
                assert passed is None or attempt.conversation.rank() < passed.rank(), "it jumped the queue"

    def pick(self, number: int, those: list[Any]) -> Any:
        if not those:
            raise Nothing
        return those[number % len(those)]

    @property
    def in_flight(self) -> list[Attempt]:
        untold = {attempt for attempt, _, _ in self.untold}
        return [
            each for entry in self.state.candidates for each in sorted(entry.attempts, key=_order) if each not in untold
        ]

    @property
    def open(self) -> list[Conversation]:
        return [each for each in self.conversations if each.phase is not CLOSED]

    # --- workers ----------------------------------------------------------------------------------------------------

    @initialize(
        workers=st.lists(st.tuples(st.integers(1, 4), SERVES, st.booleans()), min_size=1, max_size=3),
        router=st.sampled_from([*ROUTERS, "function", "function"]),
        limits=st.dictionaries(st.sampled_from(KINDS), st.sampled_from([1, 2]), max_size=1),
    )
    def begin(self, workers: list[tuple[int, tuple[str, ...], bool]], router: str, limits: dict[str, int]) -> None:
        """Begin with some workers, and perhaps a limit."""
        for slots, types, supervised in workers:
            self.join(slots, types, prefetch=0, supervised=supervised)
        self.do(self.state.deploy(_router(router)))
        for kind, most in limits.items():
            self.do(self.state.limit(kind, Limit(max_concurrent=most)))

    # --- events -----------------------------------------------------------------------------------------------------

    @rule(requests=st.lists(st.tuples(st.sampled_from(KINDS), st.integers(0, 2), SORTS, some), min_size=1, max_size=6))
    def requests_come_in(self, requests: list[tuple[str, int, str, int]]) -> None:
        """Some dispatch, and the tray is emptied as the channel does it."""
        tray: deque[Conversation] = deque()
        for kind, priority, sort, number in requests:
            tray.append(_request(f"c-{len(self.conversations) + 1}", kind, priority, sort, number))
            self.conversations.append(tray[-1])
        idle = [entry for entry in self.state.candidates if not entry.attempts]
        self.state.ranked = self.state.ranked or any(each.priority for each in tray)
        if idle and (attempt := self.state.admit(tray[0], self.pick(requests[0][3], idle))) is not None:
            assert attempt.conversation is tray.popleft()
            self.do([attempt])
        if self.in_flight and requests[0][3] % 2:
            self._has(requests[0][3], DONE, swap=True, tray=tray)
        while tray:
            self.state.absorb(tray)
            if tray:
                self.do(self.state.submit(tray.popleft()))

    @rule(
        events=one_of("begins", "begins", "ends", "ends", "swaps", "swaps", "fails", "tells", "tells", "tells", most=6)
    )
    def slots_work(self, events: list[tuple[str, int]]) -> None:
        """Slots begin, end, answer callers, and tell the channel, now or later."""
        self.happen(events)

    @rule(events=one_of("child_dies", "comes_back", most=2))
    def slots_break(self, events: list[tuple[str, int]]) -> None:
        """What runs an attempt dies, or gives it back."""
        self.happen(events)

    @rule(events=one_of("dies", "dies", "dies_of_one", "ends_well", "is_unregistered", most=2))
    def workers_leave(self, events: list[tuple[str, int]]) -> None:
        """Workers crash, stop or are taken back."""
        self.happen(events)

    @rule(events=one_of("is_restarted", "is_restarted", "is_restarted_dead", "is_given_up", most=2))
    def supervisors_act(self, events: list[tuple[str, int]]) -> None:
        """Supervisors start what has crashed again, or do not."""
        self.happen(events)

    @rule(
        slots=st.sampled_from([0, 1, 2, 2, 3, 4]),
        types=SERVES,
        prefetch=st.sampled_from([0, 0, 0, 2]),
        supervised=st.booleans(),
    )
    def a_worker_joins(self, slots: int, types: tuple[str, ...], prefetch: int, *, supervised: bool) -> None:
        """Somebody registers a worker."""
        self.join(slots, types, prefetch=prefetch, supervised=supervised)

    @rule(number=some, slots=st.integers(0, 3))
    def an_owner_acts(self, number: int, slots: int) -> None:
        """An owner takes slots, or gives some back."""
        entries = list(self.state.candidates)
        if entries:
            self.do(self.state.set_manual(entries[number % len(entries)], slots))

    @rule(events=one_of("drains", "is_unregistered", most=2))
    def an_owner_lets_his_worker_finish(self, events: list[tuple[str, int]]) -> None:
        """A worker drains, and perhaps leaves before it has done what it has."""
        self.happen(events)

    @rule(
        events=one_of(
            "cancels",
            "schedule_to_start",
            "start_to_close",
            "schedule_to_close",
            "resumes",
            "resumes",
            "waits_in_vain",
            most=3,
        )
    )
    def callers_and_clocks_act(self, events: list[tuple[str, int]]) -> None:
        """Callers give up, limits run out, pauses end."""
        self.happen(events)

    @rule(name=st.sampled_from([*ROUTERS, "function", "function", "function"]))
    def a_router_is_deployed(self, name: str) -> None:
        """Somebody swaps the router."""
        self.do(self.state.deploy(_router(name)))

    @rule(paused=st.booleans())
    def an_operator_pauses(self, *, paused: bool) -> None:
        """Or lets the channel go on. Saying it twice changes nothing."""
        if paused:
            self.state.pause()
        else:
            self.do(self.state.unpause())

    @rule(
        kind=st.sampled_from(KINDS),
        most=st.sampled_from([None, 0, 1, 1, 2, 3]),
        rate=st.sampled_from([None, None, 1.0, 3.0]),
        burst=st.sampled_from([None, 1, 2]),
    )
    def an_operator_limits(self, kind: str, most: int | None, rate: float | None, burst: int | None) -> None:
        """Or changes a limit, or lifts it."""
        limit = Limit(max_concurrent=most, rate=rate, burst=burst if rate is not None else None)
        self.do(self.state.limit(kind, limit))

    @rule(waiting=st.sampled_from([1, 2, 2, 3, None]))
    def an_operator_bounds(self, waiting: int | None) -> None:
        """Lets more or fewer wait."""
        self.do(self.state.bound(waiting or MANY, is_set=waiting is not None))

    @rule(seconds=st.sampled_from([0.01, 0.3, 1.0, 5.0]))
    def time_passes(self, seconds: float) -> None:
        """And those are told who wait for it."""
        self.state.now_s += seconds
        now_s = self.state.now_s + GRAIN_S
        due = [each for each in self.book.alarms if each.bucket is not None and each.bucket.opens_at_s <= now_s]
        self.book.alarms = [each for each in self.book.alarms if each not in due]
        for gate in due:
            self.do(self.state.token_due(gate))

    @rule(
        events=one_of(
            "chooses", "chooses", "chooses", "chooses_nobody", "chooses_a_ghost", "gives_up", "is_late", most=4
        )
    )
    def the_function_answers(self, events: list[tuple[str, int]]) -> None:
        """A routing function has chosen, or not."""
        self.happen(events)

    @rule()
    def the_channel_crashes(self) -> None:
        """Another actor takes over the book between two changes, and sees what the last one saw."""
        before = self._seen()
        unsettled = any(each.work.suspect or each.work.phase is ROUTING for each in self.open)
        decided = self.book.do(self.state.recover())
        if self.state.router is not None and not unsettled:
            now = self._seen()
            assert now == before, f"the next actor sees something else: {before} {now}"
            unexpected = [each for each in decided if not isinstance(each, Alarm)]
            assert not unexpected, f"the next actor decides something: {unexpected}"

    def _seen(self) -> Any:
        phases = [(each.id, each.phase) for each in self.conversations]
        pool = [(each.worker_id, each.in_flight, each.has_room, each.order) for each in self.state.candidates]
        in_line = [(each.id, each.is_outside) for each in self.state.waiting.all()]
        return phases, pool, in_line, self.state.held

    # --- what happens -----------------------------------------------------------------------------------------------

    def happen(self, events: list[tuple[str, int]]) -> None:
        """Let all that happen which can."""
        for name, number in events:
            try:
                getattr(self, f"_{name}")(number)
            except Nothing:
                continue

    def join(self, slots: int, types: tuple[str, ...], *, prefetch: int, supervised: bool) -> None:
        """Add a worker."""
        entry = make_worker(f"worker-{len(self.workers) + 1}", slots, *types, prefetch=prefetch, supervised=supervised)
        self.workers.append(entry)
        self.do(self.state.join(entry))

    def _begins(self, number: int) -> None:
        """All slots of one worker begin."""
        for attempt in self.pick(number, [each for each in self.state.candidates if each.attempts]).attempts:
            attempt.started_s = 1.0

    def _ends(self, number: int) -> None:
        self._has(number, DONE, swap=False)

    def _swaps(self, number: int) -> None:
        self._has(number, DONE, swap=True)

    def _fails(self, number: int) -> None:
        self._has(number, Failed(ValueError("no")), swap=False)

    def _has(
        self, number: int, result: Completed | Failed, *, swap: bool, tray: deque[Conversation] | None = None
    ) -> None:
        """A slot has a result. The caller is answered before the channel knows, where nothing is to be recorded."""
        attempt = self.pick(number, self.in_flight)
        attempt.started_s = 1.0
        conversation = attempt.conversation
        if isinstance(result, Failed) or conversation.recorder is not None or not attempt.claim():
            attempt.outcome = (result, False)
            self.untold.append((attempt, result, False))
            return
        self.answered[conversation] += 1
        tray = deque() if tray is None else tray
        following = self.state.turn_over(attempt, tray) if swap else None
        if isinstance(following, Attempt):
            self.do([following])
            types, taken = following.entry.capacity.activity_types, following.conversation.priority
            passed = [each for each in tray if not types or each.activity_type in types]
            assert all(each.priority <= taken for each in passed), "it jumped the queue"
        elif following is None:
            attempt.outcome = (result, True)
            self.untold.append((attempt, result, True))

    def _tells(self, number: int) -> None:
        told = self.pick(number, self.untold)
        self.untold.remove(told)
        attempt, result, answered = told
        self.do(self.state.finished(attempt, result, answered=answered))

    def _child_dies(self, number: int) -> None:
        self.do(self.state.crashed(self.pick(number, self.in_flight), CRASH))

    def _comes_back(self, number: int) -> None:
        attempt = self.pick(number, [each for each in self.in_flight if each.started_s is None or each.claimed])
        self.do(self.state.returned(attempt, NORMAL))

    def _dies(self, number: int) -> None:
        entry = self.pick(number, list(self.state.candidates))
        die(entry)
        if entry.comes_back:
            self.missing.append(entry)
        self.do(self.state.leave(entry, CRASH, vacancy=entry.comes_back))

    def _dies_of_one(self, number: int) -> None:
        """Its executor knows over which attempt."""
        entry = self.pick(number, [each for each in self.state.candidates if each.attempts])
        culprit = self.pick(number, sorted(entry.attempts, key=_order))
        culprit.started_s = 1.0
        entry.culprit = culprit
        self._dies(list(self.state.candidates).index(entry))

    def _ends_well(self, number: int) -> None:
        entry = self.pick(number, list(self.state.candidates))
        die(entry, NORMAL)
        self.do(self.state.leave(entry, NORMAL))

    def _is_unregistered(self, number: int) -> None:
        """Perhaps while it is being restarted."""
        entry = self.pick(number, [*self.state.candidates, *self.missing])
        entry.origin.retired = True
        self.do(self.state.leave(self.state.present(entry), NORMAL))

    @rule(number=some, often=st.integers(0, 9))
    def the_dispatcher_is_to_end(self, number: int, often: int) -> None:
        """Nothing new is taken from now on; in few plays, for it changes the rest of them."""
        if often:
            return
        ending = self.state.ending
        ending.ask((-1.0, 1.0)[number % 2], runs_waiting=number % 3 == 0, reply=runtime().create_future())
        self.do(self.state.wind_down())

    def _drains(self, number: int) -> None:
        """Perhaps while it is being restarted; then it stays away."""
        entry = self.pick(number, [*self.state.candidates, *self.missing])
        entry.origin.draining = True
        self.do(self.state.drain(self.state.present(entry)))

    def _is_restarted(self, number: int) -> None:
        before = self.pick(number, self.missing)
        self.missing.remove(before)
        entry = _next_incarnation(before)
        self.workers.append(entry)
        self.do(self.state.join(entry))
        assert (entry in list(self.state.candidates)) is not (before.origin.retired or before.origin.draining)

    def _is_restarted_dead(self, number: int) -> None:
        """The next incarnation is dead on arrival, and another one is on its way."""
        before = self.pick(number, self.missing)
        self.missing.remove(before)
        entry = _next_incarnation(before)
        die(entry)
        self.do(self.state.join(entry))
        if entry.comes_back:
            self.missing.append(entry)

    def _is_given_up(self, number: int) -> None:
        entry = self.pick(number, self.missing)
        self.missing.remove(entry)
        entry.origin.retired = True
        self.do(self.state.give_up(entry))

    def _cancels(self, number: int) -> None:
        self.do(self.state.cancel(self.pick(number, self.open)))

    def _schedule_to_start(self, number: int) -> None:
        patient = [each for each in self.open if each.has_limits]
        self.do(self.state.timed_out(self.pick(number, patient), "schedule_to_start", 1.0, 2.0))

    def _start_to_close(self, number: int) -> None:
        self.do(self.state.timed_out(self.pick(number, self.open), "start_to_close", 1.0, 2.0))

    def _schedule_to_close(self, number: int) -> None:
        self.do(self.state.timed_out(self.pick(number, self.open), "schedule_to_close", 1.0, 2.0))

    def _resumes(self, number: int) -> None:
        self.do(self.state.resume(self.pick(number, list(self.book.pauses))))

    def _waits_in_vain(self, number: int) -> None:
        """The caller has waited for room for as long as he would."""
        conversation = self.pick(number, [each for each in self.open if each.wait_s])
        was_outside = conversation.is_outside
        self.do(self.state.no_room(conversation))
        assert (conversation.phase is CLOSED) is was_outside

    def _chooses(self, number: int) -> None:
        ask = self._ask()
        self.do(self.state.routed(ask, ask.offered[number % len(ask.offered)]))

    def _chooses_nobody(self, _: int) -> None:
        self.do(self.state.routed(self._ask(), None))

    def _chooses_a_ghost(self, _: int) -> None:
        self.do(self.state.routed(self._ask(), "ghost"))

    def _gives_up(self, _: int) -> None:
        self.do(self.state.routing_failed(self._ask(), RuntimeError("no answer")))

    def _is_late(self, number: int) -> None:
        """An answer to something that is not asked any more changes nothing."""
        ask = self.pick(number, [each for each in self.book.asks if each is not self.state.routing])
        assert self.state.routed(ask, ask.offered[0]) == []

    def _ask(self) -> Ask:
        if self.state.routing is None:
            raise Nothing
        return self.state.routing

    # --- what is always so ------------------------------------------------------------------------------------------

    @invariant()
    def no_worker_has_more_than_it_takes(self) -> None:
        """Running activities never exceed `max_concurrent` (and what an executor asks for beyond it)."""
        for entry in self.state.candidates:
            beyond = entry.executor.prefetch if entry.executor is not None else 0  # type: ignore[attr-defined]
            assert len(entry.attempts) <= entry.capacity.max_concurrent + beyond

    @invariant()
    def every_conversation_has_one_outcome_at_most(self) -> None:
        """Exactly one once it is closed, none before."""
        outcomes = Counter(conversation for conversation, _ in self.book.closed) + self.answered
        pending = {attempt.conversation for attempt, _, answered in self.untold if answered}
        for conversation in self.conversations:
            expected = conversation.phase is CLOSED or conversation in pending
            assert outcomes[conversation] == expected, conversation.id

    @invariant()
    def callers_of_a_key_share_what_runs(self) -> None:
        """All of them, and nobody else, wait for the one piece of work under it; it runs while one wants it."""
        claims = self.state.keys.live
        joined = [each for each in self.open if each.phase is JOINED]
        assert Counter(joined) == Counter(each for claim in claims.values() for each in claim.callers)
        for name, claim in claims.items():
            assert claim.callers, "nobody wants it"
            assert {(each.activity_type, each.key) for each in claim.callers} == {name}
            assert {each.follows for each in claim.callers} == {claim.work}
        assert self.state.open_count() == len(self.open)

    @invariant()
    def nobody_is_lost(self) -> None:
        """Each open conversation is in one place, and its phase says where."""
        state = self.state
        running = [each.conversation for entry in state.candidates for each in entry.attempts]
        in_line = state.waiting.all()
        held = [each for entry in state.candidates for each in entry.held]
        works = {each.work for each in self.open}
        for conversation in works:
            places = (
                (RUNNING, conversation in running),
                (WAITING, conversation in in_line or conversation in held),
                (conversation.phase, conversation in state.apart and conversation.phase in {PAUSED, ROUTING}),
            )
            assert [phase for phase, here in places if here and phase is conversation.phase] == [conversation.phase]
            assert conversation.phase is not NEW
        assert len(in_line) == len(set(in_line)) == state.waiting.count
        assert len(held) == len(set(held)) == state.held
        assert not set(in_line) & set(held)
        assert set(state.named) <= {each.id for each in self.open}

    @invariant()
    def nothing_waits_while_a_slot_that_serves_it_is_free(self) -> None:
        """Unless the routing function is being asked about somebody else."""
        if self.state.paused:
            return
        for conversation in self.state.waiting.all():
            free = self.state.candidates.least_loaded(conversation.activity_type)
            gate = self.state.gates.get(conversation.activity_type)
            shut = gate is not None and gate.shut
            assert free is None or shut or (self.state.router is None and self.state.routing is not None)

    @invariant()
    def limits_are_kept(self) -> None:
        """Exactly those count that a worker holds or was chosen for; and a gate is shut when that is enough."""
        for kind, gate in self.state.gates.items():
            running = [each for entry in self.state.candidates for each in entry.attempts if each.activity_type == kind]
            chosen = [each for entry in self.state.candidates for each in entry.held]
            routed = [each for each in self.state.apart if each.phase is ROUTING]
            on_their_way = [each for each in chosen + routed if each.activity_type == kind]
            assert all(each.admitted for each in on_their_way)
            assert gate.running == len(running) + len(on_their_way)
            assert gate.shut or gate.lets_in(self.state.now_s)
            assert gate.shut is (kind in self.state.waiting.barred)

    @invariant()
    def nobody_waits_at_an_open_gate(self) -> None:
        """A gate that is shut has a reason, or somebody will look."""
        for kind, gate in self.state.gates.items():
            if not gate.shut or not self.state.waiting.has_any(kind):
                continue
            assert not gate.lets_in(self.state.now_s) or (gate.alarmed and gate in self.book.alarms)
            if gate.waits_for_time(self.state.now_s):
                assert gate.alarmed
                assert gate in self.book.alarms

    @invariant()
    def whoever_waits_outside_has_no_room(self) -> None:
        """It is in line all the same; and whoever is not outside has been let in, once, or is over."""
        state = self.state
        outside = set(state.outside)
        assert outside == {each for each in self.conversations if each.is_outside}
        assert outside <= set(state.waiting.all())
        assert not outside or state.buffered >= state.queue_limit
        assert not outside or not state.swaps
        assert not state.unsettled
        entered = Counter(self.book.entered)
        assert all(count == 1 and not each.is_outside for each, count in entered.items())

    @invariant()
    def only_what_is_past_its_gate_is_admitted(self) -> None:
        """Whoever waits in line, or between two tries, or has ended, counts nowhere."""
        held = {each for entry in self.state.candidates for each in entry.held}
        for each in self.conversations:
            assert not each.admitted or each in held or each.phase is ROUTING

    @invariant()
    def nothing_waits_for_nobody(self) -> None:
        """What waits may be served one day, or its caller gave it time."""
        assert all(self.state._may_be_served(each) for each in self.state.waiting.all())

    @invariant()
    def a_vacancy_is_a_worker_on_its_way(self) -> None:
        """Nobody waits for a worker that its owner, or its supervisor, has given up."""
        expected = {each for each in self.missing if not each.origin.retired and not each.origin.draining}
        assert set(self.state.vacancies.values()) == expected

    @invariant()
    def a_worker_that_drains_gets_nothing_new(self) -> None:
        """What it holds only becomes less, and whoever waits does not wait for it in particular."""
        for entry in self.state.candidates:
            if entry.draining:
                assert entry.attempts <= self.held_by.setdefault(entry, set(entry.attempts))
                self.held_by[entry] = set(entry.attempts)
                assert not entry.held

    @invariant()
    def a_drain_names_each_request_once(self) -> None:
        """What a worker left behind is named, once, by what became of it."""
        for entry in self.workers:
            named = [each.conversation_id for each in entry.origin.unfinished]
            assert len(named) == len(set(named))
            assert entry.origin.draining or not named

    @invariant()
    def a_channel_that_ends_names_what_it_gives_up(self) -> None:
        """Each request that is shut out is named once; of the others, only those go on that may."""
        over = [each for each, outcome in self.book.closed if isinstance(outcome, ShutDown)]
        shut_out = [each.id for each in over if each.claim is None]  # of a key, its callers
        assert sorted(shut_out) == sorted(each.conversation_id for each in self.state.ending.unfinished)
        if not self.state.is_ending:
            assert not shut_out
            return
        assert self.state.ending.runs_waiting or all(each.work.attempts for each in self.open)
        assert self.state.is_quiet == (self.state.open_count() == 0)
        assert not self.state.saturated
        assert not self.state.swaps

    @invariant()
    def held_requests_wait_for_a_reason(self) -> None:
        """The worker that they wait for is there, and cannot take the first of them."""
        for entry in self.state.candidates:
            assert entry.next_held() is None or self.state.paused
            assert entry.settled is not (entry.reserved or bool(entry.held))
            assert all(each.waits_for is entry for each in entry.held)

    @invariant()
    def suspects_run_alone(self) -> None:
        """Where a suspect runs, nothing else does."""
        for entry in self.state.candidates:
            wanted = [each for each in entry.attempts if not each.claimed]
            assert len(wanted) < 2 or not any(each.conversation.suspect and entry.alone for each in wanted)

    @invariant()
    def the_index_agrees_with_the_entries(self) -> None:
        """The least loaded worker is the least loaded worker, though nobody looked at all of them."""
        for kind in KINDS:
            free = [each for each in self.state.candidates if each.capacity.serves(kind) and each.has_room]
            least = min(free, key=lambda each: (each.load, each.order), default=None)
            assert self.state.candidates.least_loaded(kind) is least
            if kind in self.state.saturated:
                assert not free or self.state.paused
                assert kind not in self.state.gates

    def teardown(self) -> None:
        """At the close every conversation gets its outcome, and only those that wait for it are called off."""
        self.book.do(self.state.close(RuntimeError("closed")))
        for attempt, result, answered in self.untold:
            self.book.do(self.state.finished(attempt, result, answered=answered))
        self.untold.clear()
        self.every_conversation_has_one_outcome_at_most()
        assert not self.open


def _router(name: str) -> Any:
    return None if name == "function" else ROUTERS[name]()


def _request(name: str, kind: str, priority: int, sort: str, number: int) -> Conversation:
    retries = number // 3 % 3
    limits: dict[str, Any] = {"schedule_to_start": 9.0} if sort == "patient" else {}
    made = make_conversation(
        name,
        kind,
        priority=priority,
        route_by=(None, "k", "l")[number % 3],
        retry=Retry(max_attempts=retries + 1) if retries else None,
        max_crashes=1 + number // 9 % 3,
        key=f"key {number % 4}" if sort == "keyed" else None,
        recorder=MemoryRecorder() if sort == "recorded" or number % 7 == 6 else None,
        plain=sort == "plain",
        **limits,
    )
    if sort == "keyed" and number % 11 == 10:
        made.digest = b"of other arguments"
    return made


def _order(attempt: Attempt) -> tuple[int, int]:
    return attempt.conversation.arrival, attempt.number


def _next_incarnation(entry: WorkerEntry) -> WorkerEntry:
    capacity = entry.capacity
    return make_worker(
        entry.worker_id,
        capacity.max_concurrent,
        *capacity.activity_types,
        supervised=True,
        origin=entry.origin,
        incarnation=entry.incarnation + 1,
    )


def test_the_origin_of_a_worker_is_its_own():
    """Two workers of one id are told apart."""
    assert Origin() is not Origin()
    assert make_worker().origin is not make_worker().origin


def _play(examples: int, steps: int) -> None:
    run_state_machine_as_test(
        Channel, settings=settings(max_examples=examples, stateful_step_count=steps, deadline=None)
    )


def test_the_book_is_right_after_every_step_of_a_short_play():
    """DP-08, DP-09, DP-14, DP-16, DP-18, WR-03, invariants 3 and 4: some dozens of plays, each time others."""
    _play(40, 30)


@pytest.mark.slow
def test_the_book_is_right_after_every_step_of_a_long_play():
    """The same, for as long as a nightly run may take."""
    _play(2000, 60)
