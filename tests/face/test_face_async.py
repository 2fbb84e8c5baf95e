"""The face from inside an event loop, and activities that are coroutines."""

import asyncio
import threading

import pytest

from limen import ActivityCancelled, ActivityFailed, ChannelLifecycleError, Limen, activity

TIMEOUT_S = 10


@activity
def double(number: int) -> int:
    """Double it."""
    return 2 * number


@activity
async def relay(text: str) -> str:
    """Give it back, later."""
    await asyncio.sleep(0)
    return text


@activity
async def fail() -> None:
    """Raise."""
    raise LookupError("not here")


def test_a_handle_can_be_awaited():
    """In `async with`; results, failures, many at once, and again when it is done."""

    async def main():
        async with Limen() as app:
            app.worker("default", [double])
            handle = app.dispatch(double, 1)
            results = await asyncio.gather(handle, *(app.dispatch(double, number) for number in range(50)))
            with pytest.raises(ZeroDivisionError):
                await asyncio.gather(app.dispatch(double, 2), _raise())
            return results, await handle

    results, again = asyncio.run(main())

    assert results == [2, *(2 * number for number in range(50))]
    assert again == 2


async def _raise():
    raise ZeroDivisionError


def test_awaiting_never_holds_the_loop_up():
    """While a handle is awaited, other tasks run; the activity here cannot end before one of them did."""
    gate = threading.Event()

    @activity
    def wait() -> str:
        assert gate.wait(TIMEOUT_S)
        return "done"

    async def main():
        async with Limen() as app:
            app.worker("default", [wait])
            task = asyncio.ensure_future(_as_coroutine(app.dispatch(wait)))
            await asyncio.sleep(0)
            gate.set()
            return await task

    assert asyncio.run(main()) == "done"


async def _as_coroutine(handle):
    return await handle


def test_giving_up_awaiting_leaves_the_work_alone():
    """`wait_for` ends the waiting only: no task is left behind, and the result can be had later."""
    gate = threading.Event()

    @activity
    def wait() -> str:
        assert gate.wait(TIMEOUT_S)
        return "done"

    async def main():
        async with Limen() as app:
            app.worker("default", [wait])
            handle = app.dispatch(wait)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(handle, 0.01)
            assert asyncio.all_tasks() == {asyncio.current_task()}
            assert not handle.done()
            gate.set()
            return await handle

    assert asyncio.run(main()) == "done"


def test_coroutine_activities_run_side_by_side_on_one_loop():
    """A worker of coroutine functions needs no other setting; a hundred wait at once on one thread."""
    met: list[asyncio.Barrier] = []

    @activity
    async def meet() -> str:
        if not met:
            met.append(asyncio.Barrier(100))
        await met[0].wait()
        return threading.current_thread().name

    with Limen() as app:
        app.worker("default", [meet])
        handles = [app.dispatch(meet) for _ in range(100)]

        assert len({handle.result(timeout=TIMEOUT_S) for handle in handles}) == 1


def test_coroutine_activities_succeed_and_fail_like_others():
    """The result is checked, the error is the cause, both also when awaited."""

    async def main():
        async with Limen() as app:
            app.worker("default", [relay, fail])
            with pytest.raises(ActivityFailed) as raised:
                await app.dispatch(fail)
            return await app.dispatch(relay, "text"), raised.value.__cause__

    result, cause = asyncio.run(main())

    assert result == "text"
    assert isinstance(cause, LookupError)


def test_a_coroutine_that_is_cancelled_is_stopped():
    """It sees `CancelledError` at its next await, and its slot is free for others."""
    begun, stopped = threading.Event(), threading.Event()

    @activity
    async def wait() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()

    with Limen() as app:
        app.worker("default", [wait, relay], max_concurrent=1)
        handle = app.dispatch(wait)
        assert begun.wait(TIMEOUT_S)
        handle.cancel()

        assert isinstance(handle.exception(timeout=TIMEOUT_S), ActivityCancelled)
        assert stopped.wait(TIMEOUT_S)
        assert app.dispatch(relay, "text").result(timeout=TIMEOUT_S) == "text"


def test_an_activity_can_dispatch_and_await_others():
    """From a coroutine on one worker to a function on another."""
    app = Limen()

    @activity(queue="outer")
    async def outer(number: int) -> int:
        return await app.dispatch(double, number) + await app.dispatch(double, 1)

    with app:
        app.worker("outer", [outer])
        app.worker("default", [double])

        assert app.dispatch(outer, 20).result(timeout=TIMEOUT_S) == 42


def test_leaving_the_block_fails_what_is_open():
    """Whoever still awaits is told; the loop is not held up by the closing."""

    async def main():
        async with Limen() as app:
            app.worker("default", [relay])

            @activity(schedule_to_start=TIMEOUT_S)
            async def nobody() -> None: ...

            task = asyncio.ensure_future(_as_coroutine(app.dispatch(nobody)))
            await asyncio.sleep(0)
        with pytest.raises(ChannelLifecycleError):
            await task

    asyncio.run(main())
