"""What is asked on a connection, on channels of their own, with a client that answers when it is told to."""

from typing import Any

from limen.rabbitmq._session import Session


class Frame:
    """An answer to a passive declaration."""

    consumer_count = message_count = 1

    @property
    def method(self) -> "Frame":
        """Give itself."""
        return self


class SlowChannel:
    """Answers at once, and takes its time to close."""

    is_open = True

    def __init__(self) -> None:
        self.closed: Any = None

    def add_on_close_callback(self, closed: Any) -> None:
        """Keep what is to be told of the end."""
        self.closed = closed

    def queue_declare(self, name: str, *, passive: bool, callback: Any) -> None:
        """Answer, or keep silent about one queue."""
        assert passive
        if name != "silent":
            callback(Frame())

    def close(self) -> None:
        """Begin to close."""


class Connection:
    """Opens channels at once."""

    is_open = True

    def __init__(self) -> None:
        self.channels: list[SlowChannel] = []

    def channel(self, on_open_callback: Any) -> SlowChannel:
        """Open one; its caller hears of it when he has it."""
        made = SlowChannel()
        self.channels.append(made)
        self.opened = on_open_callback
        return made


def test_the_end_of_one_channel_says_nothing_of_another():
    """A queue that is there is not taken for none because a channel closes late on which something else was asked."""
    connection = Connection()
    session = Session(1, connection, lambda _: None, lambda _: None)
    seen: list[int | None] = []
    session.look("there", lambda consumers, _: seen.append(consumers))
    connection.opened(connection.channels[0])
    for _ in range(100):
        session.look("silent", lambda consumers, _: seen.append(consumers))

    connection.channels[0].closed(None, "done with")

    assert seen == [1]
