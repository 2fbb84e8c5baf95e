"""Dramatiq, set for the guarantee that limen gives: durable, confirmed, acknowledged after the result was sent.

Over RabbitMQ it has no results of its own: an actor's success is a message to another actor, which the requester
serves. Its queues are of the type that PEER_QUEUE names: `quorum` as limen's, or `classic` as by itself. The worker is
`dramatiq dramatiq_peer --queues work`; both sides read the broker's address from the environment.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import dramatiq
from dramatiq.brokers.rabbitmq import RabbitmqBroker


class Broker(RabbitmqBroker):
    """It declares its queues with a type."""

    def _build_queue_arguments(self, queue_name: str) -> dict[str, Any]:
        arguments: dict[str, Any] = super()._build_queue_arguments(queue_name)
        return {**arguments, "x-queue-type": os.environ.get("PEER_QUEUE", "quorum")}


broker = Broker(url=os.environ["PEER_URL"], confirm_delivery=True)
dramatiq.set_broker(broker)

arrived: list[Callable[[int], object]] = []
"""What the requester does with a result."""


@dramatiq.actor(queue_name="answers")
def answer(_message: dict[str, Any], result: int) -> None:
    """Bring a result to the requester."""
    for each in arrived:
        each(result)


@dramatiq.actor(queue_name="work", max_retries=0)
def echo(number: int) -> int:
    """Do nothing."""
    return number
