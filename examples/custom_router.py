"""A routing function of your own: requests of big customers go to the worker kept for them, all others elsewhere."""

from limen import Limen, UnknownWorkerSelected, activity
from limen.messages.pool import ConsumerStateView
from limen.messages.routing import RoutingMessage


@activity(queue="orders")
def handle_order(number: int) -> str:
    """Stand for the work."""
    return f"order {number} is on its way"


def big_ones_apart(message: RoutingMessage, workers: tuple[ConsumerStateView, ...]) -> str | None:
    """Give the first worker to big customers; for others, the freest of the rest."""
    first, *rest = workers
    if str(message.get("key", "")).startswith("big-"):
        return first.consumer
    return max(rest, key=lambda worker: worker.available_capacity).consumer


def main() -> None:
    """Route by the key of each request, then swap the router while the workers run."""
    with Limen() as app:
        kept = app.worker("orders", [handle_order])
        others = [app.worker("orders", [handle_order]) for _ in range(2)]
        app.route("orders", big_ones_apart, limit=1.0)

        big = [app.dispatch(handle_order.options(route_by="big-corp"), number) for number in range(10)]
        small = [app.dispatch(handle_order.options(route_by="corner-shop"), number) for number in range(10)]
        for handle in (*big, *small):
            handle.result(timeout=10)
        by_big = {handle.attempts[-1].worker_id for handle in big}
        by_small = {handle.attempts[-1].worker_id for handle in small}
        print(f"big orders: {sorted(by_big)}, small ones: {sorted(by_small)}")
        assert by_big == {kept.worker_id}
        assert by_small <= {worker.worker_id for worker in others}

        app.route("orders", lambda *_: "nobody-of-that-name")
        wrong = app.dispatch(handle_order, 1).exception(timeout=10)
        assert isinstance(wrong, UnknownWorkerSelected)
        print(wrong)


main()
