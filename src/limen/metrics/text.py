"""The text that Prometheus reads, format 0.0.4, and names that are fit for it. Source: behaviour MX-06."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Iterable, Iterator

import attrs

from .snapshot import Distribution, Kind, LabelPairs, Metric, Sample, Snapshot

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_NOT_IN_NAME = re.compile(r"[^a-zA-Z0-9_:]")
_NOT_IN_LABEL = re.compile(r"[^a-zA-Z0-9_]")
_IN_HELP = {"\\": r"\\", "\n": r"\n"}
_IN_VALUE = {**_IN_HELP, '"': r"\""}


def render(snapshot: Snapshot) -> str:
    """Write a snapshot as text, which ends with a newline unless it is empty."""
    return "".join(f"{line}\n" for metric in exposed(snapshot) for line in _lines(metric))


def exposed(snapshot: Snapshot) -> Iterator[Metric]:
    """Give the metrics of a snapshot under names that Prometheus takes, no two of which are the same."""
    taken: set[str] = set()
    for metric in snapshot.metrics:
        yield _renamed(metric, taken)


# --- names ----------------------------------------------------------------------------------------------------------


def metric_name(name: str) -> str:
    """Make a name fit: what it may not hold becomes `_`, and one that begins with a digit gets a `_` in front."""
    fit = _NOT_IN_NAME.sub("_", name) or "_"
    return f"_{fit}" if fit[0].isdigit() else fit


def label_name(name: str) -> str:
    """Do so for a label; one that begins with `__`, which is for Prometheus itself, gets `label` in front."""
    fit = _NOT_IN_LABEL.sub("_", name) or "_"
    if fit.startswith("__"):
        return f"label{fit}"
    return f"_{fit}" if fit[0].isdigit() else fit


def _renamed(metric: Metric, taken: set[str]) -> Metric:
    name = _free(metric_name, metric.name, taken, _suffixes(metric.kind))
    taken |= {name + suffix for suffix in _suffixes(metric.kind)}
    used: set[str] = {"le"} if metric.kind is Kind.HISTOGRAM else set()
    names: dict[str, str] = {}
    for each in sorted({label for sample in metric.samples for label, _ in sample.labels}):
        names[each] = _free(label_name, each, used)
        used.add(names[each])
    samples = tuple(attrs.evolve(each, labels=_relabelled(each.labels, names)) for each in metric.samples)
    return attrs.evolve(metric, name=name, samples=samples)


def _suffixes(kind: Kind) -> tuple[str, ...]:
    return ("", "_bucket", "_sum", "_count") if kind is Kind.HISTOGRAM else ("",)


def _free(fit: Callable[[str], str], name: str, taken: set[str], suffixes: Iterable[str] = ("",)) -> str:
    """Make a name fit, and number it where another one has become the same."""
    tries = (fit(name if each == 1 else f"{fit(name)}_{each}") for each in itertools.count(1))
    return next(each for each in tries if not any(each + suffix in taken for suffix in suffixes))


def _relabelled(labels: LabelPairs, names: dict[str, str]) -> LabelPairs:
    return tuple(sorted((names[name], _writable(value)) for name, value in labels))


# --- lines ----------------------------------------------------------------------------------------------------------


def _lines(metric: Metric) -> Iterator[str]:
    yield f"# HELP {metric.name} {_escaped(_writable(metric.help), _IN_HELP)}".rstrip(" ")
    yield f"# TYPE {metric.name} {metric.kind}"
    for sample in metric.samples:
        yield from _lines_of(metric.name, sample)


def _lines_of(name: str, sample: Sample) -> Iterator[str]:
    value = sample.value
    if not isinstance(value, Distribution):
        yield f"{name}{_braced(sample.labels)} {number(value)}"
        return
    bounds = (*map(number, value.bounds), "+Inf")
    for bound, count in zip(bounds, value.cumulative, strict=True):
        yield f"{name}_bucket{_braced((*sample.labels, ('le', bound)))} {count}"
    yield f"{name}_sum{_braced(sample.labels)} {number(value.sum)}"
    yield f"{name}_count{_braced(sample.labels)} {value.count}"


def _braced(labels: LabelPairs) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{_escaped(value, _IN_VALUE)}"' for name, value in labels) + "}"


def number(value: float) -> str:
    """Write a number: whole ones of any size exactly, what is no finite number as Go writes it."""
    if isinstance(value, int):
        return str(int(value))
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return "NaN" if math.isnan(value) else repr(float(value))


def _escaped(text: str, escapes: dict[str, str]) -> str:
    return "".join(escapes.get(each, each) for each in text)


def _writable(text: str) -> str:
    """Replace what UTF-8 cannot express: half of a surrogate pair."""
    return text.encode("utf-8", "replace").decode("utf-8")
