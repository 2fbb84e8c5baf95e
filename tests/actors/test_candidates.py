"""Who could take an activity now: the index of a channel's workers, checked against a scan of all of them."""

from hypothesis import given, settings
from hypothesis import strategies as st
from statekit import die, make_conversation, make_worker

from limen.actors._candidates import Candidates


def _load(entry, count):
    for _ in range(count):
        entry.attempts = {*entry.attempts, object()}


def _candidates(*entries):
    candidates = Candidates()
    for entry in entries:
        candidates.add(entry)
    return candidates


def _scan(candidates, kind):
    free = [entry for entry in candidates if entry.capacity.serves(kind) and entry.has_room]
    return min(free, key=lambda entry: (entry.load, entry.order), default=None)


def test_the_least_loaded_worker_is_found_and_the_first_among_equals():
    """Design: the default router is least loaded, then registration order."""
    first, second, third = (make_worker(f"worker-{number}", 3) for number in (1, 2, 3))
    candidates = _candidates(first, second, third)
    assert candidates.least_loaded("any") is first

    _load(first, 1)
    candidates.changed(first)

    assert candidates.least_loaded("any") is second


def test_workers_of_other_types_are_passed_over_and_those_without_types_serve_all():
    """WC-23, TY-08: an empty list of types means every type."""
    encoder, both, any_type = (
        make_worker("1", 1, "encode"),
        make_worker("2", 1, "encode", "resize"),
        make_worker("3", 1),
    )
    candidates = _candidates(encoder, both, any_type)

    assert candidates.members("encode") == (encoder, both, any_type)
    assert candidates.members("resize") == (both, any_type)
    assert candidates.members("other") == (any_type,)
    assert candidates.least_loaded("resize") is both
    assert candidates.served_types() == ("encode", "resize")


def test_types_keep_order_and_duplicates_in_the_view_and_make_no_group_of_their_own():
    """TY-06: `["b", "a", "b"]` is shown as it is."""
    twice, once = make_worker("1", 1, "b", "a", "b"), make_worker("2", 1, "b", "a")
    candidates = _candidates(twice, once)

    assert twice.view().affinity_tags == ("b", "a", "b")
    assert candidates.members("b") == (twice, once)


def test_a_full_worker_is_a_member_and_is_not_chosen():
    """WC-24: saturated workers are listed, with nothing left."""
    worker = make_worker("worker-1", 1)
    candidates = _candidates(worker)
    _load(worker, 1)
    candidates.changed(worker)

    assert candidates.least_loaded("any") is None
    assert candidates.serves("any")
    assert candidates.members("any") == (worker,)


def test_a_worker_without_slots_serves_nothing():
    """TY-07: it is there, and nobody may wait for it."""
    candidates = _candidates(make_worker("worker-1", 0))

    assert not candidates.serves("any")
    assert candidates.least_loaded("any") is None


def test_a_worker_that_only_queues_comes_after_all_with_a_free_slot():
    """DP-18: what an executor takes beyond its slots is the last resort."""
    queueing, busy = make_worker("worker-1", 1, prefetch=2), make_worker("worker-2", 5)
    candidates = _candidates(queueing, busy)
    _load(queueing, 1)
    _load(busy, 4)
    candidates.changed(queueing)
    candidates.changed(busy)
    assert candidates.least_loaded("any") is busy

    _load(busy, 1)
    candidates.changed(busy)

    assert candidates.least_loaded("any") is queueing


def test_a_dead_worker_is_not_chosen_even_before_it_is_removed():
    """LM-03: inactive comes first, so nobody is given to the dead."""
    worker = make_worker()
    candidates = _candidates(worker)

    die(worker)

    assert candidates.least_loaded("any") is None


def test_removing_is_by_identity():
    """WC-26: an id that is used again is not removed with its first owner."""
    first, second = make_worker("same"), make_worker("same")
    candidates = _candidates(first)
    candidates.remove(first)
    candidates.add(second)

    candidates.remove(first)
    candidates.changed(first)

    assert list(candidates) == [second]
    assert candidates.least_loaded("any") is second


def test_members_are_the_same_tuple_until_membership_changes():
    """Routers remember by it what they have worked out."""
    first, second = make_worker("1"), make_worker("2")
    candidates = _candidates(first)
    members = candidates.members("any")
    _load(first, 1)
    candidates.changed(first)
    assert candidates.members("any") is members

    candidates.add(second)

    assert candidates.members("any") == (first, second)


def test_rebuilding_keeps_the_order_and_forgets_what_was_left_over():
    """After a crash in the middle of a change the index is made from the entries alone."""
    first, second = make_worker("1", 1, "encode"), make_worker("2", 1, "encode")
    candidates = _candidates(first, second)
    orders = [first.order, second.order]
    candidates.members("encode")
    del candidates.entries["1"]  # and here it crashed

    candidates.rebuild()

    assert candidates.members("encode") == (second,)
    assert candidates.least_loaded("encode") is second
    assert [first.order, second.order] == orders
    del candidates.entries["2"]
    candidates.rebuild()
    assert not candidates.serves("encode")


changes = st.lists(st.tuples(st.sampled_from(["add", "remove", "load", "free"]), st.integers(0, 20)), max_size=60)


@settings(deadline=None, max_examples=60)
@given(changes=changes)
def test_the_index_never_disagrees_with_a_scan(changes):
    """WC-20, DP-18: whatever comes, goes, is loaded or freed, in groups of one worker or of many."""
    kinds = [(), ("a",), ("b",), ("a", "b")]
    candidates = Candidates()
    for step, (change, number) in enumerate(changes):
        entries = list(candidates)
        if change == "add":
            candidates.add(make_worker(f"worker-{step}", number % 4, *kinds[number % 4]))
        elif entries:
            entry = entries[number % len(entries)]
            if change == "remove":
                candidates.remove(entry)
            elif change == "load" and entry.has_room:
                _load(entry, 1)
                candidates.changed(entry)
            elif change == "free" and entry.attempts:
                entry.attempts.pop()
                candidates.changed(entry)
        for kind in ("a", "b"):
            assert candidates.least_loaded(kind) is _scan(candidates, kind)


def test_what_is_held_back_is_not_on_offer():
    """Design, blame: a worker is kept free for a suspect, and gives itself away to nobody."""
    worker = make_worker("worker-1", 2)
    candidates = _candidates(worker)
    suspect = make_conversation()
    suspect.suspect = True
    worker.hold(suspect)
    worker.reserve()
    candidates.changed(worker)

    assert candidates.least_loaded("any") is None
    assert worker.next_held() is suspect
    assert (worker.reserved, worker.settled) == (True, False)
