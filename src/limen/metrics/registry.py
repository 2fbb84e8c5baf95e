"""`Registry`: the series of one process or application, by name and labels. Source: behaviours MX-04, MX-05."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Iterator
from threading import Lock
from typing import Any, Generic, Protocol, TypeVar

import attrs

from .errors import InvalidMetric, MetricConflict
from .series import (
    SECONDS,
    Counter,
    Gauge,
    Histogram,
    Labels,
    NoCounter,
    NoGauge,
    NoHistogram,
    to_bounds,
    to_labels,
)
from .snapshot import Kind, LabelPairs, Metric, Sample, Snapshot

logger = logging.getLogger("limen")

S = TypeVar("S", bound=Counter | Gauge | Histogram)


@attrs.frozen
class Reading:
    """A gauge that is read when somebody looks, and exists only then."""

    name: str
    value: float
    labels: Labels = ()
    help: str = ""


class Source(Protocol):
    """Whatever has readings to give."""

    def read(self) -> Iterable[Reading]:
        """Give what there is now. Called without any lock of the registry's, on the thread that takes a snapshot."""
        ...


class _Series:
    """One name: what kind of thing it is, and its series by labels."""

    def __init__(self, kind: Kind, bounds: tuple[float, ...], text: str) -> None:
        self.kind = kind
        self.bounds = bounds
        self.help = text
        self.by_labels: dict[LabelPairs, Any] = {}

    def __str__(self) -> str:
        return _described(self.kind, self.bounds)

    def make(self) -> Counter | Gauge | Histogram:
        if self.kind is Kind.HISTOGRAM:
            return Histogram(self.bounds)
        return Counter() if self.kind is Kind.COUNTER else Gauge()


class Family(Generic[S]):
    """The series of one name with certain labels, for whoever counts in the middle of something else.

    `labels` never raises: where there is no such series to be had, it gives one that counts nothing.
    """

    def __init__(self, get: Callable[[LabelPairs], S], names: Iterable[str], nothing: S) -> None:
        self._get = get
        self._names = tuple(names)
        self._nothing = nothing

    def labels(self, *values: object) -> S:
        """Give the series whose labels have these values, in the order of the names."""
        try:
            return self._get(tuple(zip(self._names, map(str, values), strict=True)))
        except Exception as error:  # noqa: BLE001 - whatever a value's `__str__` raises
            logger.debug("a metric counts nothing: %s", type(error).__name__)
            return self._nothing


class Registry:
    """Series by name and labels. All methods may be called on any thread."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._names: dict[str, _Series] = {}
        self._sources: tuple[Source, ...] = ()

    # --- series -------------------------------------------------------------------------------------------------

    def counter(self, name: str, labels: Labels = (), *, help_text: str = "") -> Counter:
        """Give the counter of this name and labels, made if need be. Raises `MetricConflict`, `InvalidMetric`."""
        return self._get(name, Kind.COUNTER, (), labels, help_text)  # type: ignore[no-any-return]

    def gauge(self, name: str, labels: Labels = (), *, help_text: str = "") -> Gauge:
        """Give the gauge of this name and labels, made if need be. Raises `MetricConflict`, `InvalidMetric`."""
        return self._get(name, Kind.GAUGE, (), labels, help_text)  # type: ignore[no-any-return]

    def histogram(
        self,
        name: str,
        labels: Labels = (),
        *,
        buckets: Iterable[float] = SECONDS,
        help_text: str = "",
    ) -> Histogram:
        """Give the histogram of this name and labels, made if need be.

        All histograms of a name have the same buckets: at most 64 finite bounds. Raises `MetricConflict`,
        `InvalidMetric`.
        """
        return self._get(name, Kind.HISTOGRAM, to_bounds(name, buckets), labels, help_text)  # type: ignore[no-any-return]

    def counters(self, name: str, names: Iterable[str], *, help_text: str = "") -> Family[Counter]:
        """Give the counters of a name by the values of these labels."""
        return Family(lambda labels: self.counter(name, labels, help_text=help_text), names, NoCounter())

    def gauges(self, name: str, names: Iterable[str], *, help_text: str = "") -> Family[Gauge]:
        """Give the gauges of a name by the values of these labels."""
        return Family(lambda labels: self.gauge(name, labels, help_text=help_text), names, NoGauge())

    def histograms(
        self,
        name: str,
        names: Iterable[str],
        *,
        buckets: Iterable[float] = SECONDS,
        help_text: str = "",
    ) -> Family[Histogram]:
        """Give the histograms of a name by the values of these labels."""
        bounds = tuple(buckets)
        return Family(
            lambda labels: self.histogram(name, labels, buckets=bounds, help_text=help_text), names, NoHistogram(())
        )

    def remove(self, name: str, labels: Labels = ()) -> bool:
        """Forget one series. Whoever still holds it counts for nobody. False if there is none."""
        wanted = to_labels(name, labels)
        with self._lock:
            series = self._names.get(name)
            return series is not None and series.by_labels.pop(wanted, None) is not None

    def _get(self, name: str, kind: Kind, bounds: tuple[float, ...], labels: Labels, text: str) -> Any:
        _check_name(name)
        wanted = to_labels(name, labels)
        with self._lock:
            series = self._names.get(name)
            if series is None:
                series = self._names[name] = _Series(kind, bounds, text)
            if (series.kind, series.bounds) != (kind, bounds):
                raise MetricConflict(name, str(series), _described(kind, bounds))
            series.help = series.help or text
            found = series.by_labels.get(wanted)
            if found is None:
                found = series.by_labels[wanted] = series.make()
            return found

    # --- looking ------------------------------------------------------------------------------------------------

    @property
    def sources(self) -> tuple[Source, ...]:
        """Who is asked at each snapshot."""
        return self._sources

    def add_source(self, source: Source) -> None:
        """Have a source asked at each snapshot. Idempotent."""
        with self._lock:
            if source not in self._sources:
                self._sources = (*self._sources, source)

    def remove_source(self, source: Source) -> None:
        """Ask it no more."""
        with self._lock:
            self._sources = tuple(each for each in self._sources if each is not source)

    def snapshot(self) -> Snapshot:
        """Copy all that there is. Readings of one name and labels, from several sources, are added up.

        Safe while others count; blocks for as long as the sources take. A source that fails is logged and left out.
        """
        read = list(self._read_sources())
        with self._lock:
            names = [(name, each.kind, each.help, dict(each.by_labels)) for name, each in self._names.items()]
        metrics = {
            name: Metric(name=name, kind=kind, help=text, samples=_samples(by_labels))
            for name, kind, text, by_labels in names
        }
        for each in _gauges(read):
            metrics[each.name] = _merged(metrics[each.name], each) if each.name in metrics else each
        return Snapshot(metrics=tuple(metrics[name] for name in sorted(metrics)))

    def _read_sources(self) -> Iterator[tuple[LabelPairs, Reading]]:
        for source in self._sources:
            try:
                yield from [(to_labels(each.name, each.labels), each) for each in source.read()]
            except Exception:
                logger.exception("a source of metrics failed; its readings are missing")


def _check_name(name: object) -> None:
    if not isinstance(name, str) or not name:
        raise InvalidMetric(f"of type {type(name).__name__}", "its name is a text, and not empty")


def _described(kind: Kind, bounds: tuple[float, ...]) -> str:
    return f"{kind} with buckets {', '.join(f'{each:g}' for each in bounds)}" if bounds else kind.value


def _samples(by_labels: dict[LabelPairs, Counter | Gauge | Histogram]) -> tuple[Sample, ...]:
    return tuple(Sample(labels=labels, value=by_labels[labels].value) for labels in sorted(by_labels))


def _gauges(readings: Iterable[tuple[LabelPairs, Reading]]) -> Iterator[Metric]:
    """Make gauges of readings: those of one name and labels are added up, and what is not finite is left out."""
    texts: dict[str, str] = {}
    values: dict[str, dict[LabelPairs, float]] = {}
    for labels, each in readings:
        if math.isfinite(each.value):
            texts[each.name] = texts.get(each.name) or each.help
            by_labels = values.setdefault(each.name, {})
            by_labels[labels] = by_labels.get(labels, 0) + each.value
    for name, by_labels in values.items():
        samples = tuple(Sample(labels=labels, value=by_labels[labels]) for labels in sorted(by_labels))
        yield Metric(name=name, kind=Kind.GAUGE, help=texts[name], samples=samples)


def _merged(registered: Metric, read: Metric) -> Metric:
    """Put readings among the gauges of the same name; those that were set by hand come first. Others stay alone."""
    if registered.kind is not Kind.GAUGE:
        return registered
    mine = {each.labels for each in registered.samples}
    samples = (*registered.samples, *(each for each in read.samples if each.labels not in mine))
    return attrs.evolve(
        registered, help=registered.help or read.help, samples=tuple(sorted(samples, key=lambda each: each.labels))
    )
