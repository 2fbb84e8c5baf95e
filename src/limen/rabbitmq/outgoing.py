"""What a host sends: outcomes to those who asked, news of attempts, dead letters, and requests that it cannot serve.

A request is acknowledged when what comes of it has been confirmed, never before: `done` is called then. Runs on the I/O
thread, but for `answer`.
"""

from __future__ import annotations

import functools
from collections import defaultdict, deque
from collections.abc import Callable

from ..messages.errors import LimenError
from . import codec, topology
from ._ledger import Held
from .codec import Treatment
from .dead import LETTER, Letter, write_letter
from .io import BrokerIO
from .news import News
from .parcels import Delivery, Parcel, Unroutable
from .topology import Route

_BATCH_BYTES = 1 << 18
_BATCH_COUNT = 500
"""How much is put into one message of outcomes at most."""


class Outgoing:
    """All that one host has to say."""

    def __init__(self, io: BrokerIO, namespace: str, process: str, done: Callable[[Held], object]) -> None:
        self._io = io
        self._namespace = namespace
        self._process = process
        self._done = done
        self._outcomes: deque[tuple[Held, bytes]] = deque()
        self._is_flushing = False

    # --- outcomes -----------------------------------------------------------------------------------------------

    def answer(self, held: Held, outcome: bytes) -> None:
        """Send an outcome to whoever asked. Any thread; never blocks."""
        self._outcomes.append((held, outcome))
        if not self._is_flushing:
            self._is_flushing = True
            self._io.do_here(self._flush)

    def _flush(self) -> None:
        """Send what has come together: one message for each asker, or a few."""
        self._is_flushing = False
        batches: dict[str, list[tuple[Held, bytes]]] = defaultdict(list)
        sizes: dict[str, int] = defaultdict(int)
        while self._outcomes:
            held, outcome = self._outcomes.popleft()
            held.answered = True
            reply_to = held.delivery.reply_to or ""
            batches[reply_to].append((held, outcome))
            sizes[reply_to] += len(outcome)
            if len(batches[reply_to]) >= _BATCH_COUNT or sizes[reply_to] > _BATCH_BYTES:
                self._send(reply_to, batches.pop(reply_to))
                del sizes[reply_to]
        for reply_to, batch in batches.items():
            self._send(reply_to, batch)

    def _send(self, reply_to: str, batch: list[tuple[Held, bytes]]) -> None:
        if not reply_to:
            self._keep(batch)
            return
        self._io.publish(
            Parcel(
                exchange="",
                key=reply_to,
                body=codec.join_outcomes(self._process, [outcome for _, outcome in batch]),
                content_type=codec.OUTCOMES,
                message_id=topology.short(f"outcomes-{batch[0][0].name}"),
                done=functools.partial(self._sent, batch),
            )
        )

    def _sent(self, batch: list[tuple[Held, bytes]], problem: LimenError | None) -> None:
        if problem is None:
            for held, _ in batch:
                self._done(held)
        elif isinstance(problem, Unroutable):
            self._keep(batch)

    def _keep(self, batch: list[tuple[Held, bytes]]) -> None:
        """Put outcomes whose asker is gone where he may find them when he is back: each for itself."""
        for held, outcome in batch:
            self._io.publish(
                Parcel(
                    exchange=topology.RESULTS,
                    key=topology.short(self._namespace),
                    body=codec.join_outcomes(self._process, [outcome]),
                    content_type=codec.OUTCOMES,
                    message_id=topology.short(f"result-{held.name}"),
                    done=functools.partial(self._kept, held),
                )
            )

    def _kept(self, held: Held, problem: LimenError | None) -> None:
        if problem is None or isinstance(problem, Unroutable):
            self._done(held)

    # --- news ---------------------------------------------------------------------------------------------------

    def tell(self, news: News) -> None:
        """Tell an asker how far his requests have got. It does not matter much if that is lost."""
        self._io.publish(
            Parcel(
                exchange="",
                key=news.reply_to,
                body=codec.write_document(codec.NEWS, host=self._process, begun=news.begun, progress=news.progress),
                content_type=codec.NEWS,
                message_id="news",
                persistent=False,
                mandatory=False,
            )
        )

    # --- other ends ---------------------------------------------------------------------------------------------

    def bury(self, letter: Letter, then: Callable[[], object]) -> None:
        """Put a request among the dead letters; `then` is called when it is there."""
        self._io.publish(
            Parcel(
                exchange=topology.DEAD,
                key=topology.short(letter.shown.channel_name),
                body=write_letter(letter),
                content_type=LETTER,
                message_id=topology.short(letter.shown.id),
                type=topology.short(letter.shown.activity_type),
                done=lambda problem: then() if problem is None else None,
            )
        )

    def pass_on(
        self, delivery: Delivery, route: Route, then: Callable[[], object], treatment: Treatment | None = None
    ) -> None:
        """Send a request on as a new message, perhaps to be treated in another way; `then` is called when it is there.

        If the broker does not take it, the request stays this host's, unacknowledged: in the end it goes to another.
        """
        headers = {name: value for name, value in delivery.headers.items() if not name.startswith("x-")}
        if treatment is not None:
            headers = codec.write_treatment(treatment)
        self._io.publish(
            Parcel(
                exchange=topology.DISPATCH,
                key=route.key,
                body=delivery.body,
                content_type=delivery.content_type,
                message_id=delivery.message_id or "",
                type=delivery.type,
                reply_to=delivery.reply_to,
                headers=headers,
                done=lambda problem: then() if problem is None else None,
            )
        )
