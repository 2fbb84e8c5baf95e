"""RabbitMQ between machines: the same program, with its workers anywhere. Needs the extra `limen[rabbitmq]`.

Nothing here is imported by `import limen`, and the client library only with the first application that has a URL.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..messages.errors import ConfigError
from .url import parse

if TYPE_CHECKING:
    from .._engine import Engine
    from ..actors.context import WorkerContext
    from ..actors.recorder import Recorder


def engine_for(
    url: str, setting: str, namespace: str, context: WorkerContext | None, recorder: Recorder | None
) -> Engine:
    """Make the engine for a broker's URL. Raises `ConfigError` for a bad one, or where the client is missing."""
    address = parse(url, setting)
    try:
        from .engine import RabbitEngine
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != "pika":
            raise
        raise ConfigError(setting, "a broker needs a client: pip install 'limen[rabbitmq]'") from error
    return RabbitEngine(address, namespace, context, recorder)
