"""How full each channel is, from how full its consumers are. Source: behaviours BP-07, BP-08, BP-12."""

from __future__ import annotations

import logging
import math
from collections import Counter
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


class _Consumers:
    """One channel's, and how many of them are how full: their mean is found without going through them all."""

    def __init__(self) -> None:
        self.by_name: dict[str, ConsumerMetrics] = {}
        self._utilisations: Counter[float] = Counter()

    def put(self, metrics: ConsumerMetrics) -> None:
        """Take a consumer's figures in place of those before."""
        before = self.by_name.get(metrics.consumer)
        if before is not None:
            self._count_off(before)
        self.by_name[metrics.consumer] = metrics
        self._utilisations[metrics.utilisation] += 1

    def drop(self, name: str) -> bool:
        """Forget one. False if it is not known."""
        before = self.by_name.pop(name, None)
        if before is not None:
            self._count_off(before)
        return before is not None

    def _count_off(self, metrics: ConsumerMetrics) -> None:
        utilisation = metrics.utilisation
        self._utilisations[utilisation] -= 1
        if not self._utilisations[utilisation]:
            del self._utilisations[utilisation]

    def mean(self) -> float:
        """Give the mean of their utilisations. There must be some."""
        return math.fsum(each * count for each, count in self._utilisations.items()) / len(self.by_name)


class PressureMonitor:
    """Keeps the figures of channels and their consumers. One caller at a time."""

    def __init__(self, scorer: Scorer = mean_utilisation) -> None:
        self._scorer = scorer
        self._channels: dict[str, _Consumers] = {}

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
        consumers = self._channels.get(channel) or self._channels.setdefault(channel, _Consumers())
        known = consumers.by_name.get(consumer)
        consumers.put(
            ConsumerMetrics(
                consumer=consumer,
                current_in_flight=current_in_flight,
                max_in_flight=max_in_flight,
                buffer_depth=buffer_depth,
                max_buffer_depth=max_buffer_depth,
                accepted=known.accepted if known is not None else 0,
                deferred=known.deferred if known is not None else 0,
                rejected=known.rejected if known is not None else 0,
            )
        )

    def record(self, channel: str, consumer: str, signal: PressureSignal) -> bool:
        """Count what a producer was told. False, and nothing is counted, if the consumer is not known."""
        consumers = self._channels.get(channel)
        known = consumers.by_name.get(consumer) if consumers is not None else None
        if consumers is None or known is None:
            return False
        consumers.put(_counted(known, signal))
        return True

    def remove(self, channel: str, consumer: str) -> bool:
        """Forget a consumer that has left or died. False if it is not known."""
        consumers = self._channels.get(channel)
        if consumers is None or not consumers.drop(consumer):
            return False
        if not consumers.by_name:
            del self._channels[channel]
        return True

    def consumers(self, channel: str) -> tuple[ConsumerMetrics, ...]:
        """List a channel's consumers in the order in which they came."""
        consumers = self._channels.get(channel)
        return tuple(consumers.by_name.values()) if consumers is not None else ()

    def score(self, channel: str) -> float:
        """Say how full a channel is, from 0 to 1; without consumers 0.

        A scorer of the caller's that raises is logged, and the mean counts instead.
        """
        consumers = self._channels.get(channel)
        if consumers is None:
            return 0.0
        if self._scorer is mean_utilisation:
            return consumers.mean()
        try:
            return _clamped(float(self._scorer(self.consumers(channel))))
        except Exception:
            logger.exception("the scorer of a pressure monitor failed; the mean utilisation counts instead")
            return consumers.mean()

    def snapshot(self, channel: str) -> PressureSnapshot:
        """Give a channel's figures and their score, which agree."""
        return PressureSnapshot(channel=channel, score=self.score(channel), consumers=self.consumers(channel))


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
