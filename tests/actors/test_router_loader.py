"""Promises of loaded routing functions and of the slot that holds the active one."""

import functools
import gc
import threading
from typing import Any

import pytest

from limen.actors.router_loader import RoutingSlot, load_router, loaded_hashes
from limen.actors.routers import LeastLoaded, RoundRobin
from limen.messages.routing_errors import RouterConflict

load: Any = load_router
"""For functions of types that `load_router` does not take."""


def nobody(message, views):
    """Choose nobody."""


def first(message, views):
    """Choose the first."""
    return views[0].consumer


def always(worker):
    """Make a function that carries what it chooses."""

    def choose(message, views):
        return worker

    return choose


class Sticky:
    """A router with state."""

    def choose(self, message, views):
        """Choose the first."""
        return views[0].consumer


def test_the_same_function_is_loaded_once():
    """Loading the same hash again gives the loaded one (RT-07)."""
    one = load_router(nobody, "nobody", "1")

    assert load_router(nobody, "nobody", "1") is one
    assert load_router(nobody, "nobody", "1", limit_s=1).hash == one.hash
    assert load_router(nobody, "nobody", "1", limit_s=1) is not one
    assert len(one.hash) == 64


def test_another_function_under_the_same_label_is_refused():
    """Two functions never share a name and version; the error names the label and what is loaded (RT-07)."""
    one = load_router(nobody, "mine", "1")

    with pytest.raises(RouterConflict, match="another name or version") as refused:
        load_router(first, "mine", "1")

    assert (refused.value.label, refused.value.loaded_hash) == ("mine@1", one.hash)
    assert load_router(first, "mine", "2").hash != one.hash


def test_functions_of_one_factory_are_told_apart():
    """What a function carries counts as its body: the same code with other values is another function (RT-07)."""
    one = load(always("worker-1"), "always")

    assert load(always("worker-1"), "always") is one
    with pytest.raises(RouterConflict):
        load(always("worker-2"), "always")
    thing = object()
    assert load(always(thing)) is not load(always(object()))


@pytest.mark.parametrize(
    "make",
    [
        lambda: functools.partial(first, views=()),
        lambda: Sticky().choose,
        lambda: lambda _message, _views, extra={}: extra,
        lambda: eval("lambda m, v: None", {}),  # noqa: S307 - a function with globals of its own
    ],
    ids=["partial", "method", "default", "globals"],
)
def test_what_cannot_be_compared_is_told_apart(make):
    """Objects count by identity: another instance is another function, the same one is the same (RT-07)."""
    function, other = make(), make()
    one = load(function, "same")

    assert load(function, "same") is one
    if not isinstance(function, functools.partial):  # all that this one carries is plain
        with pytest.raises(RouterConflict):
            load(other, "same")
    else:
        assert load(other, "same") is one


def test_without_a_name_nothing_is_refused():
    """A function without a label has a hash of its own, and is loaded once all the same (RT-07)."""
    things = [always(object()) for _ in range(3)]
    routers = [load(thing) for thing in things]

    assert len({router.hash for router in routers}) == 3
    assert [load(thing) for thing in things] == routers


def test_a_function_that_recurs_can_be_loaded():
    """A function that carries itself has a hash, too (RT-07)."""

    def choose(message, views):
        return choose(message, views[1:]) if views else None

    assert load_router(choose) is load_router(choose)


def test_the_hash_is_the_same_in_another_process(run_python):
    """A hash names a function of plain code wherever it runs, so that reports can be compared (RT-07)."""
    code = (
        "from limen.actors.router_loader import load_router\n"
        "def choose(message, views): return 'a' if message.get('x') in {'p', 'q', 'r'} else None\n"
        "print(load_router(choose, 'n', '1').hash)"
    )

    outputs = {run_python("-c", code).stdout for _ in range(2)}

    assert len(outputs) == 1
    assert len(outputs.pop().strip()) == 64


def test_an_unused_function_is_unloaded():
    """When nobody holds it any more it is forgotten, and its label is free (RT-07)."""
    hashed = load_router(nobody, "passing", "1").hash
    gc.collect()

    assert hashed not in loaded_hashes()
    assert load_router(first, "passing", "1").hash != hashed


def test_what_is_no_plain_function_is_refused():
    """What could never answer is refused when it is loaded, not when it is called (RT-05)."""

    async def later(message, views):
        return None

    for wrong in (later, "name", None):
        with pytest.raises(TypeError, match="routing function must be"):
            load(wrong)
    for limit_s in (0, -1, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="limit_s"):
            load_router(nobody, limit_s=limit_s)
    with pytest.raises(ValueError, match="needs a name"):
        load_router(nobody, version="1")


def test_a_slot_shows_what_is_active():
    """The active hash is readable, of built-in routers and of functions (RT-08)."""
    slot: Any = RoutingSlot()
    default, loaded = slot.active, load_router(nobody)

    assert slot.active_hash == LeastLoaded.hash
    assert slot.deploy(loaded) is default
    assert slot.active_hash == loaded.hash
    assert slot.deploy(RoundRobin()) is loaded
    assert slot.active_hash == RoundRobin.hash
    with pytest.raises(TypeError, match="deploy a built-in router"):
        slot.deploy(nobody)


def test_deploys_that_race_lose_no_router():
    """Each deploy takes out exactly the router that another put in (RT-08)."""
    slot, routers = RoutingSlot(), [RoundRobin() for _ in range(40)]
    start = slot.active
    taken: list[object] = []
    barrier = threading.Barrier(4)

    def deploy(part):
        barrier.wait()
        taken.extend(slot.deploy(router) for router in part)

    threads = [threading.Thread(target=deploy, args=(routers[number::4],)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert {*map(id, taken), id(slot.active)} == {id(start), *map(id, routers)}
