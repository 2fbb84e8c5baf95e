"""`worker`, `pool` and `route`: what is refused with what words, and what can be seen."""

import threading
from typing import Any

import pytest

from limen import ConfigError, InvalidCapacity, Limen, RouterCrashed, UnknownWorkerSelected, UnpicklableError, activity
from limen.actors._router_runner import router_runner
from limen.routers import Affinity, ConsistentHash, LeastLoaded, RoundRobin

TIMEOUT_S = 10


@activity(queue="media")
def work(number: int = 0) -> str:
    """Say which thread runs it."""
    return threading.current_thread().name


@activity(queue="media", name="work")
def namesake() -> None:
    """Do nothing, under the name of another."""


@activity(queue="media")
async def wait() -> None:
    """Do nothing, later."""


@pytest.fixture
def app():
    """An application, closed at the end."""
    with Limen() as made:
        yield made


@pytest.fixture
def brief_router_threads(monkeypatch):
    """Let threads of routing functions end soon after their last call."""
    monkeypatch.setattr(router_runner(), "_idle_s", 0.01)


def _local() -> Any:
    @activity(queue="media")
    def local() -> None: ...

    return local


@pytest.mark.parametrize(
    ("args", "options", "problem"),
    [
        (("media", []), {}, "at least one"),
        (("media", work), {}, "must be a list"),
        (("media", [len]), {}, "decorated with @activity"),
        (("media", [work, namesake]), {}, "the name 'work'"),
        (("other", [work]), {}, "is for queue 'media', not 'other'"),
        (("media", [work]), {"executor": "fibre"}, "'thread', 'asyncio' or 'process'"),
        (("media", [work]), {"executor": "asyncio"}, "coroutine functions only"),
        (("media", [wait]), {"executor": "thread"}, "needs an asyncio worker"),
        (("media", [work, wait]), {}, "needs an asyncio worker"),
        (("media", [wait]), {"executor": "process"}, "needs an asyncio worker"),
    ],
)
def test_a_worker_that_cannot_be_meant_is_refused(app, args, options, problem):
    """With what is wrong and what would be right; no worker has come of it."""
    with pytest.raises(ConfigError, match=problem):
        app.worker(*args, **options)

    assert app.pool("media") == []


def test_a_capacity_that_cannot_be_meant_is_refused(app):
    """TY-07: negative, of another type; zero is a worker that is listed and never given anything."""
    for slots in (-1, 1.5, True):
        with pytest.raises(InvalidCapacity):
            app.worker("media", [work], max_concurrent=slots)
    app.worker("media", [work], max_concurrent=0)

    assert [(row.max_concurrent, row.free) for row in app.pool("media")] == [(0, 0)]


def test_a_process_worker_needs_functions_that_can_be_imported(app):
    """Found out before a process is started, and said with the activity's name."""
    with pytest.raises(UnpicklableError, match="'local', a function that cannot be imported by its name"):
        app.worker("media", [_local()], executor="process")

    assert app.pool("media") == []


def test_the_pool_shows_what_each_worker_can_and_does(app):
    """Rows are copies in the order of registration; a queue without workers has none."""
    begun, gate = threading.Event(), threading.Event()

    @activity(queue="media")
    def hold() -> None:
        begun.set()
        assert gate.wait(TIMEOUT_S)

    app.worker("media", [work], max_concurrent=2)
    app.worker("media", [wait])
    app.worker("media", [hold], max_concurrent=3)
    handle = app.dispatch(hold)
    assert begun.wait(TIMEOUT_S)

    rows = app.pool("media")
    gate.set()
    handle.result(timeout=TIMEOUT_S)

    assert [(row.worker_id, row.executor, row.activity_types, row.in_flight, row.free) for row in rows] == [
        ("worker-1", "thread", ("work",), 0, 2),
        ("worker-2", "asyncio", ("wait",), 0, 100),
        ("worker-3", "thread", ("hold",), 1, 2),
    ]
    assert app.pool("elsewhere") == []


def test_a_worker_can_be_taken_out(app):
    """`unregister` returns when it is out of the pool; the others stay, in their order."""
    first, second, third = (app.worker("media", [work]) for _ in range(3))
    second.unregister()

    assert [row.worker_id for row in app.pool("media")] == [first.worker_id, third.worker_id]
    assert (first.is_active, second.is_active) == (True, False)


def test_only_process_workers_have_children(app):
    """What a thread worker gives is empty, not an error."""
    assert app.worker("media", [work]).children() == ()


@pytest.mark.parametrize("router", [RoundRobin(), RoundRobin])
def test_a_queue_can_have_another_router(app, router):
    """One of those that ship, given as an object or as a class."""
    app.route("media", router)
    for _ in range(3):
        app.worker("media", [work])

    chosen = []
    for _ in range(6):
        handle = app.dispatch(work)
        handle.result(timeout=TIMEOUT_S)
        chosen.append(handle.attempts[0].worker_id)

    assert chosen == ["worker-1", "worker-2", "worker-3"] * 2


@pytest.mark.parametrize("router", [ConsistentHash(), Affinity()])
def test_requests_with_one_key_meet_at_one_worker(app, router):
    """With a router that goes by keys, one worker has them all."""
    app.route("media", router)
    for _ in range(3):
        app.worker("media", [work], max_concurrent=5)
    handles = [app.dispatch(work.options(route_by="k")) for _ in range(5)]
    for handle in handles:
        handle.result(timeout=TIMEOUT_S)

    assert len({handle.attempts[0].worker_id for handle in handles}) == 1


@pytest.mark.usefixtures("brief_router_threads")
def test_a_function_of_the_users_decides(app):
    """RT-04: it is given copies of what is known, and names the worker."""
    seen = []

    def last(message, views):
        seen.append((dict(message), [view.consumer for view in views]))
        return views[-1].consumer

    app.route("media", last)
    app.worker("media", [work])
    app.worker("media", [work])
    handle = app.dispatch(work.options(route_by="k"), 1)
    handle.result(timeout=TIMEOUT_S)
    app.dispatch(work.options(key="named"), 1).result(timeout=TIMEOUT_S)

    assert handle.attempts[0].worker_id == "worker-2"
    assert seen[0][1] == ["worker-1", "worker-2"]
    assert seen[0][0] | {"input_content_type": ""} == {
        "activity_type": "work",
        "task_queue": "media",
        "input_content_type": "",
        "key": "k",
    }
    assert seen[1][0]["key"] == "named", "a key is the routing key unless there is one of its own"


@pytest.mark.usefixtures("brief_router_threads")
@pytest.mark.parametrize(
    ("router", "error"), [(lambda *_: 1 / 0, RouterCrashed), (lambda *_: "ghost", UnknownWorkerSelected)]
)
def test_a_routing_function_that_goes_wrong_costs_that_request_only(app, router, error):
    """The caller is told what it did, and another router can take over at any time."""
    app.route("media", router)
    app.worker("media", [work])
    assert isinstance(app.dispatch(work).exception(timeout=TIMEOUT_S), error)

    app.route("media", LeastLoaded())
    assert app.dispatch(work).exception(timeout=TIMEOUT_S) is None


async def _async_router(message, views):
    return None


@pytest.mark.parametrize("router", [None, "least-loaded", _async_router, object()])
def test_what_is_no_router_is_refused(app, router):
    """With what would be one."""
    with pytest.raises(ConfigError, match=r"limen\.routers"):
        app.route("media", router)
