"""Requests that come as messages from actors: a conversation whose outcome is the answer to an ask."""

from __future__ import annotations

from typing import Any

from ..messages.activities import Completed, Failed
from ..messages.dispatch import DispatchRequest, DispatchResponse
from ..messages.dispatch_errors import ActivityFailed
from ..messages.errors import ConfigError
from .conversation import Conversation
from .runtime import Reply, offer, offer_error, runtime


def conversation_for(message: DispatchRequest, asker: Reply[Any], channel_name: str) -> Conversation | None:
    """Make the conversation for a request, with `asker` as the reply: a `DispatchResponse`, or an error.

    An activity that raised is a response, too. `None`, and the asker is told, where the request is for another queue.
    """
    queue, asked_for = channel_name.rpartition(".")[2], message.request.task_queue
    if asked_for not in {None, queue}:
        wrong = ConfigError("task_queue", f"the request is for {asked_for!r}, this channel for {queue!r}")
        offer_error(asker, wrong)
        return None
    reply: Reply[Completed] = runtime().create_future()
    conversation = Conversation(
        message.conversation_id, message.request, reply, channel_name=channel_name, priority=message.priority
    )
    reply.add_done_callback(lambda: _respond(conversation, asker))
    return conversation


def _respond(conversation: Conversation, asker: Reply[Any]) -> None:
    try:
        result: Completed | Failed = conversation.reply.get(timeout=0)
    except ActivityFailed as error:
        result = Failed(error.__cause__ or error)
    except Exception as error:  # noqa: BLE001 - it is the asker's
        offer_error(asker, error)
        return
    offer(asker, DispatchResponse(worker_id=conversation.attempts[-1].worker_id, result=result))
