"""What `@activity` makes of a function, and what it refuses."""

import functools
import math
import pickle
from datetime import timedelta
from typing import Any

import face_activities
import pytest

from limen import ConfigError, InvalidChannelName, Limen, Retry, activity

untyped: Any = activity
"""For what type checkers would not let pass."""


@activity
def plain(number: int) -> int:
    """Add one."""
    return number + 1


@activity(queue="net", name="fetch", priority=3, start_to_close=1.5)
async def coroutine(number: int) -> int:
    """Add one, later."""
    return number + 1


def _triple(number: int, times: int = 3) -> int:
    return number * times


untyped_options: Any = plain.options


class Tools:
    """Things that can be called in other ways than a function."""

    @activity
    def method(self, number: int) -> int:
        """Give the number."""
        return number

    @staticmethod
    @activity
    def static(number: int) -> int:
        """Give the number."""
        return number

    shared = plain

    def triple(self, number: int) -> int:
        """Triple it."""
        return 3 * number

    def __call__(self, number: int) -> int:
        """Triple it too."""
        return 3 * number


tripled = activity(_triple)
by_hand = activity(name="by_hand")(functools.partial(_triple, times=5))


def test_an_activity_is_still_its_function():
    """Called directly it runs here and now; name, docstring and signature are the function's."""
    assert plain(1) == 2
    assert (untyped(_triple).__name__, plain.__doc__, plain.__wrapped__(1)) == ("_triple", "Add one.", 2)


def test_a_coroutine_function_stays_one():
    """Called directly it gives a coroutine."""
    made = coroutine(1)
    with pytest.raises(StopIteration, match="2"):
        made.send(None)


def test_with_and_without_parentheses_are_the_same():
    """`@activity` and `@activity()` differ in nothing but what is set."""
    assert activity()(_triple).defaults == activity(_triple).defaults == plain.defaults
    assert (plain.queue, plain.name, plain.is_async) == ("default", "plain", False)
    assert (coroutine.queue, coroutine.name, coroutine.is_async) == ("net", "fetch", True)


def test_options_change_a_copy():
    """`options` leaves the activity as it is; what is not given stays; limits are kept as a timedelta."""
    changed = coroutine.options(key="k", retry=Retry(2), queue="other")

    assert (changed.queue, changed.defaults.key, changed.defaults.priority) == ("other", "k", 3)
    assert changed.defaults.start_to_close == timedelta(seconds=1.5)
    assert (coroutine.queue, coroutine.defaults.key) == ("net", None)
    assert changed.options(priority=1).defaults.key == "k"
    assert coroutine.options(route_by="r").defaults.route_by == "r"


@pytest.mark.parametrize("each", [plain, coroutine, face_activities.double, Tools.static], ids=lambda each: each.name)
def test_an_activity_pickles_by_its_name(each):
    """As a function does: it arrives as the very object that the other side has."""
    assert pickle.loads(pickle.dumps(each)) is each


@pytest.mark.parametrize("each", [tripled, by_hand, plain.options(priority=5)], ids=lambda each: each.name)
def test_what_has_no_name_of_its_own_pickles_by_its_parts(each):
    """An activity made by hand, of a partial, or with other options arrives with all that was set."""
    there = pickle.loads(pickle.dumps(each))

    assert (there.name, there.queue, there.defaults) == (each.name, each.queue, each.defaults)
    assert there(2) == each(2)


def test_anything_that_can_be_called_will_do():
    """Partials, bound methods, objects with `__call__` and functions written in C, with a name where they have none."""
    tools = Tools()
    with Limen() as app:
        of_object = untyped(name="tools")(tools)
        each: list[Any] = [tripled, by_hand, untyped(tools.triple), of_object, untyped(math.sqrt), untyped(max)]
        app.worker("default", each)

        results = [app.dispatch(one, 4).result(timeout=5) for one in each[:-1]]

        assert results == [12, 20, 12, 12, 2.0]
        assert app.dispatch(each[-1], 1, 3, 2).result(timeout=5) == 3


def test_a_method_is_refused_where_it_is_called():
    """An activity travels without an object; on the class, as a static method or an attribute, it is a function."""
    tools: Any = Tools()
    with pytest.raises(ConfigError, match="method"):
        tools.method(1)

    assert (Tools.method(Tools(), 1), Tools().static(2), Tools().shared(3)) == (1, 2, 4)


def _generator():
    yield


async def _async_generator():
    yield


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda: untyped(lambda: None), "needs one"),
        (lambda: untyped(functools.partial(_triple)), "needs one"),
        (lambda: untyped(Tools), "class Tools"),
        (lambda: untyped(3), "type int"),
        (lambda: untyped(plain), "already"),
        (lambda: untyped(_generator), "generator"),
        (lambda: untyped(_async_generator), "generator"),
        (lambda: untyped(name=""), "non-empty"),
        (lambda: untyped(priority="high"), "priority"),
        (lambda: untyped(priority=2**31), "priority"),
        (lambda: untyped(start_to_close=-1), "negative"),
        (lambda: untyped(schedule_to_close="1 s"), "seconds"),
        (lambda: untyped(schedule_to_start=math.nan), "finite"),
        (lambda: untyped(max_crashes=0), "max_crashes"),
        (lambda: untyped(retry=3), "retry"),
        (lambda: untyped_options(key=1), "key"),
    ],
)
def test_what_makes_no_sense_is_refused_where_it_is_written(make, problem):
    """Nothing waits for the first dispatch to be found wrong."""
    with pytest.raises(ConfigError, match=problem):
        make()


@pytest.mark.parametrize("queue", ["", "a.b", "a\nb"])
def test_a_queue_must_be_fit_for_a_channel_name(queue):
    """CN-08: found out before anything is started."""
    with pytest.raises(InvalidChannelName):
        activity(queue=queue)
    with pytest.raises(InvalidChannelName):
        plain.options(queue=queue or ".")
