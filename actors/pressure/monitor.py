"""How full each channel is, from how full its consumers are. Source: behaviours BP-07, BP-08, BP-12."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

import attrs

from ...messages.pressure import Accept, Defer, PressureSignal

logger = logging.getLogger("limen")


@attrs.frozen(kw_only=True)
class ConsumerMetrics:
    """One consumer's figures."""

    consumer: str
    current_in_flight: int
    max_in_flight: int
    buffer_depth: int = 0
    max_buffer_depth: int = 0
    accepted: int = 0
    deferred: int = 0
    rejected: int = 0

    @property
    def load(self) -> float:
        """The share of its slots that it uses; above 1 if it has been given more than it takes. No slots: 0."""
        return self.current_in_flight / self.max_in_flight if self.max_in_flight > 0 else 0.0

    @property
    def utilisation(self) -> float:
        """The same, from 0 to 1."""
        return _clamped(self.load)


Scorer = Callable[[Sequence[ConsumerMetrics]], float]
"""Makes one figure of a channel's consumers; never called for none. It is clamped to 0..1, and NaN counts as 0."""


def mean_utilisation(consumers: Sequence[ConsumerMetrics]) -> float:
    """How full a channel's consumers are on average."""
    return sum(each.utilisation for each in consumers) / len(consumers)


@attrs.frozen(kw_only=True)
class PressureSnapshot:
    """One channel's figures; a copy, which stays as it is."""

    channel: str
    score: float
    """From 0, all idle, to 1, all full."""
    consumers: tuple[ConsumerMetrics, ...] = ()
    """In the order in which they came."""


class PressureMonitor:
    """Keeps the figures of channels and their consumers. One caller at a time."""

    def __init__(self, scorer: Scorer = mean_utilisation) -> None:
        self._scorer = scorer
        self._channels: dict[str, dict[str, ConsumerMetrics]] = {}

    def update(
        self,
        channel: str,
        consumer: str,
        *,
        current_in_flight: int,
        max_in_flight: int,
        buffer_depth: int = 0,
        max_buffer_depth: int = 0,
    ) -> None:
        """Take a consumer's figures. One that was not known is from now on."""
        consumers = self._channels.setdefault(channel, {})
        known = consumers.get(consumer) or ConsumerMetrics(consumer=consumer, current_in_flight=0, max_in_flight=0)
        consumers[consumer] = attrs.evolve(
            known,
            current_in_flight=current_in_flight,
            max_in_flight=max_in_flight,
            buffer_depth=buffer_depth,
            max_buffer_depth=max_buffer_depth,
        )

    def record(self, channel: str, consumer: str, signal: PressureSignal) -> bool:
        """Count what a producer was told. False, and nothing is counted, if the consumer is not known."""
        known = self._channels.get(channel, {}).get(consumer)
        if known is None:
            return False
        self._channels[channel][consumer] = _counted(known, signal)
        return True

    def remove(self, channel: str, consumer: str) -> bool:
        """Forget a consumer that has left or died. False if it is not known."""
        consumers = self._channels.get(channel, {})
        if consumers.pop(consumer, None) is None:
            return False
        if not consumers:
            del self._channels[channel]
        return True

    def consumers(self, channel: str) -> tuple[ConsumerMetrics, ...]:
        """List a channel's consumers in the order in which they came."""
        return tuple(self._channels.get(channel, {}).values())

    def score(self, channel: str) -> float:
        """Say how full a channel is, from 0 to 1; without consumers 0.

        A scorer of the caller's that raises is logged, and the mean counts instead.
        """
        return self._score(self.consumers(channel))

    def snapshot(self, channel: str) -> PressureSnapshot:
        """Give a channel's figures and their score, which agree."""
        consumers = self.consumers(channel)
        return PressureSnapshot(channel=channel, score=self._score(consumers), consumers=consumers)

    def _score(self, consumers: Sequence[ConsumerMetrics]) -> float:
        if not consumers:
            return 0.0
        try:
            return _clamped(float(self._scorer(consumers)))
        except Exception:
            logger.exception("the scorer of a pressure monitor failed; the mean utilisation counts instead")
            return mean_utilisation(consumers)


def _counted(known: ConsumerMetrics, signal: PressureSignal) -> ConsumerMetrics:
    match signal:
        case Accept():
            return attrs.evolve(known, accepted=known.accepted + 1)
        case Defer():
            return attrs.evolve(known, deferred=known.deferred + 1)
        case _:
            return attrs.evolve(known, rejected=known.rejected + 1)


def _clamped(value: float) -> float:
    """Bring a figure into 0..1; NaN, which compares with nothing, becomes 0."""
    return min(value, 1.0) if value > 0 else 0.0
