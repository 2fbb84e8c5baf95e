"""What is not done over a broker, for it takes one book over all workers; and what to do instead."""

from __future__ import annotations

from ..actors import _orders as orders
from ..messages.errors import NotOverBroker


def refuse(order: object) -> None:
    """Raise `NotOverBroker` for such an order. To lift what cannot be set is harmless."""
    match order:
        case orders.SetLimit(limit=limit) if limit is not None:
            raise NotOverBroker(
                "limit", "counts all workers of a queue, and those are on many machines; give each fewer slots"
            )
        case orders.SetBound(waiting=waiting) if waiting is not None:
            raise NotOverBroker("waiting", "a broker bounds its queues by a policy: max-length and reject-publish")
        case orders.SetPolicies(policies=policies) if policies:
            raise NotOverBroker("policies", "act on the pressure of one process; over a broker, watch `app.queue`")
        case orders.ShowPressure():
            raise NotOverBroker("pressure", "is that of one process; over a broker, look at `app.queue` and `app.pool`")
        case orders.Remember(dead_letters=count) if count is not None:
            raise NotOverBroker("dead_letters", "a broker bounds its queues by a policy: max-length or message-ttl")
        case _:
            return
