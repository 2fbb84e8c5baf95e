"""Coroutines as activities: one worker with one event loop runs a hundred at a time, and handles can be awaited."""

import asyncio
import time

from limen import ActivityCancelled, Limen, activity


@activity(queue="net")
async def fetch(page: int) -> str:
    """Stand for a request that waits for the network."""
    await asyncio.sleep(0.2)
    return f"page {page}"


@activity(queue="net")
async def hang() -> None:
    """Stand for a server that never answers."""
    await asyncio.Event().wait()


async def main() -> None:
    """Dispatch, await, and cancel what never ends."""
    async with Limen() as app:
        app.worker("net", [fetch, hang], max_concurrent=100)

        began_s = time.perf_counter()
        pages = await asyncio.gather(*(app.dispatch(fetch, page) for page in range(100)))
        took_s = time.perf_counter() - began_s
        print(f"{len(pages)} pages of 0.2 s each in {took_s:.1f} s")
        assert pages == [f"page {page}" for page in range(100)]
        assert took_s < 10, "one after the other they take 20 s"

        stuck = app.dispatch(hang)
        stuck.cancel()
        try:
            await stuck
        except ActivityCancelled as error:
            print(error)
        else:
            raise AssertionError("a cancelled dispatch has no result")


asyncio.run(main())
