"""What follows, at once, from each change of a channel's pressure. Source: behaviours BP-10, BP-11, BP-12."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

import attrs

from ...messages.pressure import PressurePolicy, PressureSignal, ScaleConsumers, ScaleSignal, ShedLoad, SlowProducer
from .monitor import PressureMonitor, PressureSnapshot
from .policies import MARGIN, Hysteresis


class PressureEventKind(StrEnum):
    """What happened to a policy."""

    BEGAN = "began"
    ENDED = "ended"


@attrs.frozen(kw_only=True)
class PressureEvent:
    """A policy took effect on a channel, or no longer does."""

    kind: PressureEventKind
    channel: str
    policy: PressurePolicy
    score: float
    at_s: float
    """When, on the clock of whoever gave the time."""


@attrs.frozen(kw_only=True)
class Enforcement:
    """What follows from one change."""

    snapshot: PressureSnapshot
    actions: tuple[PressurePolicy, ...] = ()
    """The policies that take effect now, lowest threshold first. One that goes on holding is not among them."""
    active: tuple[PressurePolicy, ...] = ()
    """All that hold, those included."""
    events: tuple[PressureEvent, ...] = ()
    """One for each policy that took effect or no longer does."""
    scale: tuple[ScaleSignal, ...] = ()
    """One for each `ScaleConsumers` among the actions."""


class PressureEnforcer:
    """Keeps the figures of channels, and says what their policies ask for. One caller at a time; the time is given."""

    def __init__(self, monitor: PressureMonitor | None = None, *, margin: float = MARGIN) -> None:
        self.monitor = monitor or PressureMonitor()
        self._margin = margin
        self._policies: dict[str, Hysteresis] = {}

    def set_policies(self, channel: str, policies: Iterable[PressurePolicy], *, now_s: float) -> Enforcement:
        """Replace a channel's policies, and act on its present score. Those that go on holding are not begun again.

        None leaves the channel to itself.
        """
        before = self.active(channel)
        self._policies[channel] = fresh = Hysteresis(policies, margin=self._margin, active=before)
        snapshot = self.monitor.snapshot(channel)
        began, _ = fresh.update(snapshot.score)
        ended = tuple(each for each in before if each not in fresh.active)
        if not fresh.policies:
            del self._policies[channel]
        return _enforcement(snapshot, began, ended, fresh.active, now_s)

    def update(
        self,
        channel: str,
        consumer: str,
        *,
        current_in_flight: int,
        max_in_flight: int,
        buffer_depth: int = 0,
        max_buffer_depth: int = 0,
        now_s: float,
    ) -> Enforcement:
        """Take a consumer's figures, and say what follows."""
        self.monitor.update(
            channel,
            consumer,
            current_in_flight=current_in_flight,
            max_in_flight=max_in_flight,
            buffer_depth=buffer_depth,
            max_buffer_depth=max_buffer_depth,
        )
        return self._evaluate(channel, now_s)

    def record(self, channel: str, consumer: str, signal: PressureSignal, *, now_s: float) -> Enforcement:
        """Count what a producer was told, unless the consumer is not known, and say what follows."""
        self.monitor.record(channel, consumer, signal)
        return self._evaluate(channel, now_s)

    def remove(self, channel: str, consumer: str, *, now_s: float) -> Enforcement:
        """Forget a consumer that has left or died, so that it no longer counts, and say what follows."""
        self.monitor.remove(channel, consumer)
        return self._evaluate(channel, now_s)

    def active(self, channel: str) -> tuple[PressurePolicy, ...]:
        """Give the policies that hold on a channel, lowest threshold first."""
        policies = self._policies.get(channel)
        return policies.active if policies is not None else ()

    def sheds(self, channel: str, priority: int) -> bool:
        """Say whether a message of this priority is to be rejected now."""
        return any(isinstance(each, ShedLoad) and each.sheds(priority) for each in self.active(channel))

    def delay_s(self, channel: str, interval_s: float) -> float:
        """How far apart messages are to be let in now, where one is finished every `interval_s` seconds."""
        slowing = (each.delay_s(interval_s) for each in self.active(channel) if isinstance(each, SlowProducer))
        return max(slowing, default=0.0)

    def evaluate(self, channel: str, *, now_s: float) -> Enforcement | None:
        """Say what follows from a channel's figures as they are now, if anything does."""
        policies = self._policies.get(channel)
        if policies is None:
            return None
        began, ended = policies.update(self.monitor.score(channel))
        if not began and not ended:
            return None
        return _enforcement(self.monitor.snapshot(channel), began, ended, policies.active, now_s)

    def _evaluate(self, channel: str, now_s: float) -> Enforcement:
        snapshot = self.monitor.snapshot(channel)
        policies = self._policies.get(channel)
        if policies is None:
            return Enforcement(snapshot=snapshot)
        began, ended = policies.update(snapshot.score)
        return _enforcement(snapshot, began, ended, policies.active, now_s)


def _enforcement(
    snapshot: PressureSnapshot,
    began: tuple[PressurePolicy, ...],
    ended: tuple[PressurePolicy, ...],
    active: tuple[PressurePolicy, ...],
    now_s: float,
) -> Enforcement:
    changes = [(PressureEventKind.ENDED, each) for each in ended] + [(PressureEventKind.BEGAN, each) for each in began]
    signal = ScaleSignal(channel=snapshot.channel, consumers=len(snapshot.consumers))
    return Enforcement(
        snapshot=snapshot,
        actions=began,
        active=active,
        events=tuple(
            PressureEvent(kind=kind, channel=snapshot.channel, policy=each, score=snapshot.score, at_s=now_s)
            for kind, each in changes
        ),
        scale=tuple(signal for each in began if isinstance(each, ScaleConsumers)),
    )
