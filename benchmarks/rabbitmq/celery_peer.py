"""Celery, set for the guarantee that limen gives: durable, confirmed, acknowledged after the result was sent.

Its queue is of the type that PEER_QUEUE names: `quorum` as limen's, or `classic` as by itself.
The worker is `celery -A celery_peer worker`; both sides read the broker's address from the environment.
"""

from __future__ import annotations

import os

from celery import Celery

app = Celery("peer", broker=os.environ["PEER_URL"], backend="rpc://")
app.conf.update(
    task_serializer="json",
    result_serializer="json",
    accept_content=["json"],
    task_default_queue_type=os.environ.get("PEER_QUEUE", "quorum"),
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    broker_transport_options={"confirm_publish": True},
    result_persistent=True,
    broker_connection_retry_on_startup=True,
    result_expires=600,
    worker_prefetch_multiplier=64,
    worker_enable_remote_control=False,
    worker_send_task_events=False,
)


@app.task
def echo(number: int) -> int:
    """Do nothing."""
    return number
