"""What a host tells those who asked while their requests run: which attempts have begun, and how far they have got."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import attrs

from . import codec
from ._ledger import Held

_MOST_BYTES = 1 << 18
"""How much progress is put into one message before another is begun."""


@attrs.define
class News:
    """What there is to tell one asker."""

    reply_to: str
    begun: list[list[Any]] = attrs.field(factory=list)
    progress: list[list[Any]] = attrs.field(factory=list)
    _size: int = 0

    def add(self, held: Held) -> None:
        """Take what is new about a request, and note that it has been told."""
        call = held.call
        if attempts := call.history()[held.told :]:
            self.begun += [[held.name, *codec.write_attempt(each)] for each in attempts]
            held.told += len(attempts)
        report = call.progress.report if call.progress is not None else None
        if report is not None and report is not held.reported:
            held.reported = report
            number, packed = report
            self.progress.append([held.name, number, packed.decode()])
            self._size += len(packed)

    @property
    def is_full(self) -> bool:
        """Whether it is to be sent as it is."""
        return self._size > _MOST_BYTES

    def __bool__(self) -> bool:
        return bool(self.begun or self.progress)


def news_of(held: Iterable[Held]) -> Iterator[News]:
    """Give what is new about these requests, in messages of bounded size."""
    open_news: dict[str, News] = {}
    for each in held:
        reply_to = each.delivery.reply_to
        if not reply_to or each.call is None or each.answered:
            continue
        news = open_news.setdefault(reply_to, News(reply_to))
        news.add(each)
        if news.is_full:
            yield open_news.pop(reply_to)
    yield from (news for news in open_news.values() if news)
