"""Channel names: `aion.{kind}.{namespace}.{id}`.

Knows the grammar and nothing else. Text is kept as given: no trimming, no case folding, no Unicode normalisation.
"""

import functools
import re
from enum import StrEnum
from typing import Never, Self

import attrs

from .errors import InvalidChannelName

__all__ = ["MAX_PART_LENGTH", "ChannelKind", "ChannelName", "dispatch_channel", "history_channel", "signal_channel"]

MAX_PART_LENGTH = 255
"""The most characters a namespace, task queue or workflow id may have."""

_ROOT = "aion"
_SEGMENTS = 4
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
"""Control characters, and half surrogates, which have no UTF-8 form."""


class ChannelKind(StrEnum):
    """What a channel is for."""

    DISPATCH = "dispatch"
    SIGNAL = "signal"
    HISTORY = "history"

    @property
    def id_part(self) -> str:
        """What the last part of such a name is called."""
        return "task_queue" if self is ChannelKind.DISPATCH else "workflow_id"


@attrs.frozen(init=False, repr=False)
class ChannelName:
    """The name of a channel, always a valid one: it comes from a constructor of this module or from `parse`."""

    kind: ChannelKind = attrs.field(eq=False)
    namespace: str = attrs.field(eq=False)
    id: str = attrs.field(eq=False)
    _text: str

    def __init__(self, *_: Never) -> None:
        raise TypeError("make a channel name with dispatch_channel, signal_channel, history_channel or parse")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a full name back; `str(ChannelName.parse(text)) == text`. Raise `InvalidChannelName` if it is none."""
        kind, namespace, last = _split(text)
        if kind not in list(ChannelKind):
            raise InvalidChannelName("name", text, f"its kind must be one of {', '.join(ChannelKind)}")
        return cls._of(ChannelKind(kind), namespace, last)

    @classmethod
    def _of(cls, kind: ChannelKind, namespace: str, last: str) -> Self:
        """Check the parts, the namespace first, and make the name."""
        namespace, last = _checked("namespace", namespace), _checked(kind.id_part, last)
        name = object.__new__(cls)
        fields = {"kind": kind, "namespace": namespace, "id": last, "_text": f"{_ROOT}.{kind}.{namespace}.{last}"}
        for field, value in fields.items():
            object.__setattr__(name, field, value)
        return name

    @classmethod
    @functools.lru_cache(maxsize=256)
    def _dispatch(cls, namespace: str, task_queue: str) -> Self:
        """Make the same name only once, as long as it is in use. Both parts are of the very type `str`."""
        return cls._of(ChannelKind.DISPATCH, namespace, task_queue)

    @property
    def task_queue(self) -> str:
        """The task queue of a dispatch channel; other kinds have none and raise `AttributeError`."""
        if self.kind is not ChannelKind.DISPATCH:
            raise AttributeError(f"{self} is a {self.kind} channel and has no task queue")
        return self.id

    @property
    def workflow_id(self) -> str:
        """The workflow id of a signal or history channel; dispatch channels have none and raise `AttributeError`."""
        if self.kind is ChannelKind.DISPATCH:
            raise AttributeError(f"{self} is a dispatch channel and has no workflow id")
        return self.id

    def __str__(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return f"<ChannelName {self._text}>"


def dispatch_channel(namespace: str, task_queue: str) -> ChannelName:
    """Name the channel on which a task queue's requests are handed to workers."""
    if type(namespace) is str and type(task_queue) is str:
        return ChannelName._dispatch(namespace, task_queue)  # noqa: SLF001 - the one way in
    return ChannelName._of(ChannelKind.DISPATCH, namespace, task_queue)  # noqa: SLF001 - as above


def signal_channel(namespace: str, workflow_id: str) -> ChannelName:
    """Name the channel on which a workflow gets its signals."""
    return ChannelName._of(ChannelKind.SIGNAL, namespace, workflow_id)  # noqa: SLF001 - the one way in


def history_channel(namespace: str, workflow_id: str) -> ChannelName:
    """Name the channel on which a workflow's history is streamed."""
    return ChannelName._of(ChannelKind.HISTORY, namespace, workflow_id)  # noqa: SLF001 - the one way in


def _split(text: object) -> list[str]:
    """Return kind, namespace and id, none of them checked yet."""
    segments = text.split(".") if isinstance(text, str) else []
    if len(segments) != _SEGMENTS or segments[0] != _ROOT:
        raise InvalidChannelName("name", text, "must read aion.{kind}.{namespace}.{id}")
    return segments[1:]


def _checked(part: str, value: object) -> str:
    """Return the text if it may be a part of a name, or raise `InvalidChannelName` with the first reason why not."""
    if not isinstance(value, str):
        raise InvalidChannelName(part, value, "must be a str")
    if not value:
        raise InvalidChannelName(part, value, "must not be empty")
    if "." in value:
        raise InvalidChannelName(part, value, "must not contain '.', which separates the parts of a name")
    if _UNPRINTABLE.search(value):
        raise InvalidChannelName(part, value, "must not contain control characters or half surrogates")
    if len(value) > MAX_PART_LENGTH:
        raise InvalidChannelName(part, value, f"must not be longer than {MAX_PART_LENGTH} characters")
    # A subclass, such as an enum's member, may print as something else than its text.
    return str.__str__(value)
