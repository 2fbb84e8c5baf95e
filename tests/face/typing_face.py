# ruff: noqa: D103 - the names of these functions say it
"""What type checkers make of the public face. Never run: mypy and pyright read it in the gate.

A line with an ignore is one that must be an error; an ignore that is not needed is an error itself.
"""

from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from typing import Any, assert_type

from limen import (
    Activity,
    ActivityContext,
    AsyncActivity,
    DeadLetter,
    DeadLetters,
    Event,
    EventStream,
    Handle,
    Limen,
    Payload,
    PoolRow,
    Retry,
    activity,
    as_completed,
    current,
)


@activity
def bare(number: int) -> str:
    return str(number)


@activity(queue="media", retry=Retry(max_attempts=5, non_retryable=[ValueError]), start_to_close=timedelta(seconds=1))
def full(name: str, *parts: bytes, times: int = 1, **tags: float) -> list[str]:
    return [name] * times


@activity
async def bare_async(number: int) -> float:
    return number / 2


@activity(queue="net", start_to_close=1.5)
async def full_async(url: str, /, *, limit: int | None = None) -> Payload:
    return Payload(url.encode())


def decorated_functions_keep_their_signature() -> None:
    assert_type(bare(1), str)
    assert_type(full("a", b"b", times=2, tag=1.0), list[str])
    bare("1")  # type: ignore[arg-type]
    bare()  # type: ignore[call-arg]


async def coroutine_functions_give_coroutines() -> None:
    assert_type(await bare_async(1), float)
    assert_type(await full_async("u", limit=3), Payload)
    await full_async(url="u")  # type: ignore[call-arg]


def dispatch_gives_a_handle_of_the_result(app: Limen) -> None:
    assert_type(app.dispatch(bare, 1), Handle[str])
    assert_type(app.dispatch(full, "a", b"b", times=2, tag=1.0), Handle[list[str]])
    assert_type(app.dispatch(bare_async, 1), Handle[float])
    assert_type(app.dispatch(full_async, "u", limit=None), Handle[Payload])
    assert_type(app.dispatch(bare, 1).result(timeout=1), str)
    assert_type(app.dispatch(bare, 1).exception(), BaseException | None)


def dispatch_checks_the_arguments(app: Limen) -> None:
    app.dispatch(bare, "1")  # type: ignore[arg-type]
    app.dispatch(bare)  # type: ignore[call-arg]
    app.dispatch(bare, 1, 2)  # type: ignore[call-arg]
    app.dispatch(full, "a", times="2")  # type: ignore[arg-type]
    app.dispatch(full_async, "u", limit="3")  # type: ignore[arg-type]
    app.dispatch(len, "u")  # type: ignore[arg-type]


def requeue_is_typed_by_the_activity(app: Limen) -> None:
    assert_type(app.requeue(bare, "id"), Handle[str])
    assert_type(app.requeue(bare_async, "id"), Handle[float])
    assert_type(app.requeue("media", "id"), Handle[Any])
    assert_type(app.dead_letters("media"), DeadLetters)
    assert_type(app.discard("media", "id"), DeadLetter)
    app.requeue(len, "id")  # type: ignore[call-overload]


def options_keep_the_type(app: Limen) -> None:
    assert_type(app.dispatch(bare.options(priority=5, key="k"), 1), Handle[str])
    assert_type(app.dispatch(bare_async.options(start_to_close=3), 1), Handle[float])
    assert_type(bare.options(queue="other")(1), str)
    bare.options(priorty=5)  # type: ignore[call-arg]


async def handles_can_be_awaited(app: Limen) -> None:
    assert_type(await app.dispatch(bare, 1), str)
    assert_type(await app.dispatch(full_async, "u"), Payload)


def map_takes_what_the_activity_takes(app: Limen) -> None:
    assert_type(app.map(bare, range(3)), Iterator[str])
    assert_type(app.map(full, ["a"], max_in_flight=2, timeout=1), Iterator[list[str]])
    assert_type(app.map(bare_async, [1, 2]), Iterator[float])
    app.map(bare, ["a"])  # type: ignore[arg-type]


def as_completed_keeps_the_type(app: Limen) -> None:
    handles = [app.dispatch(bare, number) for number in range(3)]
    assert_type(as_completed(handles, timeout=1), Iterator[Handle[str]])


def workers_take_activities_of_any_type(app: Limen) -> None:
    app.worker("default", [bare, bare_async], max_concurrent=2, executor="thread")
    app.worker("media", activities=[full])
    app.worker("media", [full], executor="fibre")  # type: ignore[arg-type]


def what_can_be_watched(app: Limen) -> None:
    assert_type(app.pool("media"), list[PoolRow])
    with app.events() as events:
        assert_type(events, EventStream)
        for event in events:
            assert_type(event, Event)


def what_an_activity_knows_of_itself() -> None:
    assert_type(current(), ActivityContext)
    assert_type(current().attempt, int)
    assert_type(current().remaining_s, float | None)
    assert_type(current().wait_cancelled(1.5), bool)
    current().progress({"done": 1})
    current().logger.info("half of it")


def blocks_give_the_application() -> None:
    with Limen() as app:
        assert_type(app, Limen)


async def async_blocks_give_the_application() -> AsyncIterator[str]:
    async with Limen() as app:
        assert_type(app, Limen)
        yield await app.dispatch(bare, 1)


def an_async_activity_is_an_activity(given: AsyncActivity[[int], str]) -> Activity[[int], str]:
    return given
