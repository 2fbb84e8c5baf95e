"""Promises of the built-in routers, tested without a channel."""

from collections import Counter

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from limen.actors.routers import NEAR, OVERFLOW, Affinity, ConsistentHash, LeastLoaded, RoundRobin

ROUTERS = [LeastLoaded, RoundRobin, ConsistentHash, Affinity]


@attrs.define(eq=False)
class Worker:
    """An entry with a number of slots."""

    worker_id: str
    order: int
    slots: int = 1
    taken: int = 0

    @property
    def has_room(self):
        return self.taken < self.slots

    @property
    def load(self):
        return self.taken


class Pool:
    """Candidates the plain way."""

    def __init__(self, workers):
        self._members = tuple(workers)

    def without(self, worker):
        return Pool(each for each in self._members if each is not worker)

    def least_loaded(self, activity_type):
        return min((each for each in self._members if each.has_room), key=lambda each: each.load, default=None)

    def members(self, activity_type):
        return self._members


def pool_of(count, *, slots=1):
    """Give a pool of this many workers."""
    return Pool(Worker(f"worker-{number}", number, slots) for number in range(1, count + 1))


def pick(router, pool, key=None, activity_type="any"):
    """Pick where somebody has room."""
    chosen = router.pick(pool, activity_type, key)
    assert chosen is not None
    return chosen


POOLS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=80).map(
    lambda loads: Pool(Worker(f"worker-{n}", n, slots, taken) for n, (slots, taken) in enumerate(loads, 1))
)
KEYS = st.none() | st.text(max_size=3)


@pytest.mark.parametrize("router", ROUTERS)
@given(pool=POOLS, keys=st.lists(KEYS, min_size=1, max_size=10))
def test_only_a_member_with_room_is_picked(router, pool, keys):
    """Every router picks a member that has room, and nobody exactly when nobody has (DP-11)."""
    one = router()

    for key in keys:
        chosen = one.pick(pool, "any", key)

        with_room = [each for each in pool.members("any") if each.has_room]
        assert (chosen in with_room) if with_room else (chosen is None)
        if chosen is not None:
            chosen.taken += 1


@pytest.mark.parametrize("router", [RoundRobin, ConsistentHash, Affinity])
def test_a_free_slot_goes_before_a_place_in_a_queue(router):
    """While any worker has a free slot, none that would only queue is picked."""
    queueing = [Worker(f"worker-{n}", n, slots=OVERFLOW + 9, taken=OVERFLOW) for n in range(3)]
    pool = Pool([*queueing, Worker("worker-3", 3)])
    one = router()

    assert {pick(one, pool, key).worker_id for key in "abcdefgh"} == {"worker-3"}
    assert one.pick(Pool(queueing), "any", "a") in queueing


def test_the_default_takes_the_least_loaded_first_registered():
    """Least in flight wins; among equals, registration order (DP-10)."""
    pool = Pool([Worker("worker-1", 1, 4, 2), Worker("worker-2", 2, 4, 1), Worker("worker-3", 3, 4, 1)])

    assert pick(LeastLoaded(), pool, "key").worker_id == "worker-2"


@given(count=st.integers(1, 150), rounds=st.integers(1, 3))
@settings(max_examples=30)
def test_round_robin_is_fair(count, rounds):
    """In a pool with room everywhere each worker has its turn before any has another (DP-10)."""
    pool, router = pool_of(count, slots=9), RoundRobin()

    picked = [pick(router, pool).order for _ in range(count * rounds)]

    assert picked == list(range(1, count + 1)) * rounds


def test_round_robin_goes_on_after_a_member_left():
    """Membership may change between turns; nobody has an extra turn for it."""
    pool, router = pool_of(4, slots=9), RoundRobin()
    first, second = (pick(router, pool) for _ in range(2))

    rest = [pick(router, pool.without(second)).order for _ in range(3)]

    assert (first.order, second.order, rest) == (1, 2, [3, 4, 1])


def test_round_robin_takes_turns_for_each_type():
    """What is dispatched of one type does not skip a worker's turn for another."""
    pool, router = pool_of(3, slots=9), RoundRobin()

    assert [pick(router, pool, None, name).order for name in ("a", "b", "a", "b")] == [1, 1, 2, 2]


def test_round_robin_finds_the_one_free_worker_of_many():
    """Where all near are full the least loaded is taken, so that a pick costs the same in a pool of any size."""
    pool = pool_of(10 * NEAR)
    for worker in pool.members("any")[:-1]:
        worker.taken = 1

    assert RoundRobin().pick(pool, "any", None) is pool.members("any")[-1]


@given(count=st.integers(2, 60), leaver=st.data())
@settings(max_examples=30)
def test_consistent_hash_moves_only_the_keys_of_the_one_that_left(count, leaver):
    """A key moves if and only if its worker left, and comes back with it."""
    pool, router = pool_of(count), ConsistentHash()
    keys = [f"key-{number}" for number in range(50)]
    before = {key: pick(router, pool, key) for key in keys}
    gone = leaver.draw(st.sampled_from(pool.members("any")))

    after = {key: pick(router, pool.without(gone), key) for key in keys}

    assert all(after[key] is before[key] for key in keys if before[key] is not gone)
    assert {key: pick(router, pool, key) for key in keys} == before


@given(sizes=st.lists(st.integers(1, 100), min_size=2, max_size=4))
@settings(max_examples=20)
def test_consistent_hash_does_not_depend_on_how_the_pool_came_to_be(sizes):
    """A ring that followed every change gives the same answers as a new one."""
    old, pools = ConsistentHash(), [pool_of(size) for size in sizes]
    for pool in pools:
        pick(old, pool, "key")

    keys = [f"key-{number}" for number in range(30)]
    assert [pick(old, pools[-1], key) for key in keys] == [pick(ConsistentHash(), pools[-1], key) for key in keys]


def test_consistent_hash_spreads_keys():
    """Each of ten workers has about a tenth of the keys, so about a tenth moves when one leaves."""
    pool, router = pool_of(10), ConsistentHash()

    counts = Counter(pick(router, pool, f"key-{number}").worker_id for number in range(5_000))

    assert len(counts) == 10
    assert max(counts.values()) < 750
    assert min(counts.values()) > 250


def test_consistent_hash_is_the_same_in_every_process():
    """The choice depends on ids and key alone."""
    picks = [pick(ConsistentHash(), pool_of(50), "customer-7").worker_id for _ in range(2)]

    assert picks == ["worker-29"] * 2


def test_consistent_hash_is_bounded():
    """A key whose worker is full goes to the next on the ring, always the same one, and not to the least loaded."""
    pool, router = pool_of(20, slots=3), ConsistentHash()

    picked = []
    for _ in range(9):
        picked.append(pick(router, pool, "key"))
        picked[-1].taken += 1

    assert [each.taken for each in dict.fromkeys(picked)] == [3, 3, 3]


def test_one_key_meets_at_one_worker_whatever_the_type():
    """Activities of different types with one key go to one worker."""
    pool, router = pool_of(20), ConsistentHash()

    assert len({pick(router, pool, "customer-7", name) for name in "abcdef"}) == 1


@given(count=st.integers(1, 30), keys=st.lists(st.sampled_from("abcde"), min_size=2, max_size=40))
def test_affinity_sticks(count, keys):
    """A key stays with its worker while that lives and has room, whatever else becomes of the loads."""
    pool, router = pool_of(count, slots=99), Affinity()
    last: dict[str, Worker] = {}

    for key in keys:
        chosen = pick(router, pool, key)
        chosen.taken += 1
        assert last.setdefault(key, chosen) is chosen


def test_affinity_moves_when_its_worker_is_full_or_gone():
    """A key goes to the least loaded when its worker cannot take it, and stays there."""
    pool, router = pool_of(3, slots=2), Affinity()
    first = pick(router, pool, "key")
    first.taken = 2

    second = pick(router, pool, "key")
    first.taken = 0
    assert second is not first
    assert pick(router, pool, "key") is second
    assert pick(router, pool.without(second), "key") is first


def test_affinity_forgets_the_key_that_was_not_used_for_longest():
    """Its memory is bounded."""
    pool, router = pool_of(3, slots=9), Affinity(max_keys=2)
    worker = pick(router, pool, "old")
    for key in ("young", "younger"):
        worker.taken += 1
        pick(router, pool, key)

    assert pick(router, pool, "old") is not worker
    with pytest.raises(ValueError, match="max_keys"):
        Affinity(max_keys=0)


@pytest.mark.parametrize("router", [ConsistentHash, Affinity])
def test_without_a_key_the_least_loaded_is_picked(router):
    """A router that goes by the key does as the default does where there is none."""
    pool = Pool([Worker("worker-1", 1, 4, 2), Worker("worker-2", 2, 4, 1)])

    assert pick(router(), pool).worker_id == "worker-2"
