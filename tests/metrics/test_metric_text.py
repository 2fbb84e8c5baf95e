"""The text for Prometheus, read back by a parser of its own; and the registry among those of `prometheus_client`."""

import io
import math
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_fd_to_metric_families

from limen.metrics import CONTENT_TYPE, Registry, Snapshot, render
from limen.metrics.prometheus import RegistryCollector
from limen.metrics.text import label_name, metric_name, number

MAX_COUNT = 2**64 - 1


def _parsed(text):
    """Give the families that a parser finds: name, kind, help and samples."""
    return {family.name: family for family in text_fd_to_metric_families(io.StringIO(text))}


def _samples(family):
    return {(each.name, tuple(sorted(each.labels.items()))): each.value for each in family.samples}


def _registry():
    registry = Registry()
    registry.counter("jobs", {"queue": "a"}, help_text="Jobs done.").add(3)
    registry.counter("jobs", {"queue": "b"}).add()
    registry.gauge("depth").set(1.5)
    took = registry.histogram("took", {"queue": "a"}, buckets=[0.1, 1], help_text="How long.")
    for value in (0.05, 0.1, 0.5, 7):
        took.observe(value)
    return registry


def test_the_text_is_exactly_this():
    """MX-06: HELP and TYPE once for each name, cumulative buckets with `+Inf`, sum and count, a newline at the end."""
    assert render(_registry().snapshot()) == (
        "# HELP depth\n"
        "# TYPE depth gauge\n"
        "depth 1.5\n"
        "# HELP jobs Jobs done.\n"
        "# TYPE jobs counter\n"
        'jobs{queue="a"} 3\n'
        'jobs{queue="b"} 1\n'
        "# HELP took How long.\n"
        "# TYPE took histogram\n"
        'took_bucket{queue="a",le="0.1"} 2\n'
        'took_bucket{queue="a",le="1.0"} 3\n'
        'took_bucket{queue="a",le="+Inf"} 4\n'
        'took_sum{queue="a"} 7.65\n'
        'took_count{queue="a"} 4\n'
    )


def test_the_content_type_says_the_version():
    """MX-06: 0.0.4."""
    assert CONTENT_TYPE == "text/plain; version=0.0.4; charset=utf-8"


def test_an_empty_registry_is_an_empty_text():
    """MX-06: there is nothing to say."""
    assert render(Snapshot()) == ""


def test_a_parser_reads_what_was_counted():
    """MX-06: the same names, kinds and values."""
    families = _parsed(render(_registry().snapshot()))

    assert {name: each.type for name, each in families.items()} == {
        "jobs": "counter",
        "depth": "gauge",
        "took": "histogram",
    }
    assert families["jobs"].documentation == "Jobs done."
    assert _samples(families["jobs"]) == {
        ("jobs_total", (("queue", "a"),)): 3,  # the parser's own name for a counter's sample
        ("jobs_total", (("queue", "b"),)): 1,
    }
    assert _samples(families["took"])[("took_bucket", (("le", "1.0"), ("queue", "a")))] == 3


@pytest.mark.parametrize(
    ("name", "fit"),
    [
        ("channel_message_rate", "channel_message_rate"),
        ("a:b", "a:b"),
        ("a-b.c d", "a_b_c_d"),
        ("5xx", "_5xx"),
        ("größe", "gr__e"),
        ("", "_"),
        ("__internal", "__internal"),
        ("٣", "_"),
    ],
)
def test_the_name_of_a_metric_is_made_fit(name, fit):
    """MX-06: a bad character becomes `_`, a leading digit is prefixed; a colon may stay."""
    assert metric_name(name) == fit


@pytest.mark.parametrize(
    ("name", "fit"),
    [
        ("queue", "queue"),
        ("a:b", "a_b"),
        ("5xx", "_5xx"),
        ("__name__", "label__name__"),
        ("éé", "label__"),
        ("_x", "_x"),
        ("", "_"),
    ],
)
def test_the_name_of_a_label_is_made_fit(name, fit):
    """MX-06: the same without colons; what begins with `__` is prefixed."""
    assert label_name(name) == fit


def test_names_that_become_the_same_stay_apart():
    """MX-06: HELP and TYPE stay once for each family, and no two series get the same name and labels."""
    registry = Registry()
    registry.counter("a-b").add(1)
    registry.gauge("a.b").set(2)
    registry.histogram("took", {"le": "mine", "x-y": 1, "x.y": 2}, buckets=[])
    registry.gauge("took_sum").set(3)
    registry.gauge("z", {"": 1, "-": 2, "__2": 3}).set(4)

    text = render(registry.snapshot())
    families = _parsed(text)

    assert re.findall("# TYPE ([^ ]+)", text) == ["a_b", "a_b_2", "took", "took_sum_2", "z"]
    assert _samples(families["a_b_2"]) == {("a_b_2", ()): 2}
    assert families["z"].samples[0].labels == {"_": "1", "label__2": "2", "label__2_2": "3"}
    assert 'took_count{le_2="mine",x_y="1",x_y_2="2"} 0' in text


def test_quotes_backslashes_and_newlines_are_escaped():
    """MX-06: in the values of labels and, but for quotes, in help; the parser gets back what was given."""
    nasty = 'a "b" \\ c\nd \\n {x="y",} é'
    registry = Registry()
    registry.gauge("g", {"v": nasty}, help_text=nasty).set(1)

    text = render(registry.snapshot())

    assert text.count("\n") == 3
    (family,) = _parsed(text).values()
    assert (family.documentation, family.samples[0].labels) == (nasty, {"v": nasty})


def test_half_of_a_surrogate_pair_is_replaced():
    """MX-06: the text can always be encoded."""
    registry = Registry()
    registry.gauge("g", {"v": "a\ud800b"}, help_text="\udfff").set(1)

    assert 'g{v="a?b"} 1' in render(registry.snapshot()).encode().decode()


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (MAX_COUNT, "18446744073709551615"),
        (True, "1"),
        (0.1, "0.1"),
        (1e300, "1e+300"),
        (math.inf, "+Inf"),
        (-math.inf, "-Inf"),
        (math.nan, "NaN"),
    ],
)
def test_numbers_are_written_exactly(value, text):
    """MX-06, MX-04: whole ones of any size, and what is none in the words of Go."""
    assert number(value) == text


texts = st.text(max_size=8)
labels = st.dictionaries(texts, texts, max_size=3)


@settings(deadline=None, max_examples=150)
@given(
    series=st.lists(
        st.tuples(st.sampled_from(["counter", "gauge", "histogram"]), st.text(min_size=1, max_size=6), labels, texts),
        max_size=8,
    )
)
def test_whatever_is_registered_can_be_parsed(series):
    """MX-06: any names, labels and help: one HELP and one TYPE each, no series twice, all of them there."""
    registry = Registry()
    for kind, name, given_labels, text in series:
        try:
            getattr(registry, kind)(name, given_labels, help_text=text)
        except ValueError:
            continue
    snapshot = registry.snapshot()

    text = render(snapshot)
    families = _parsed(text.replace("\r", ""))  # lines of the parser end there too

    assert not text or text.endswith("\n")
    kinds = re.findall("^# TYPE ([^ ]+) ", text, re.MULTILINE)
    assert sorted(kinds) == sorted(set(kinds))
    assert sorted(each.type for each in families.values()) == sorted(str(each.kind) for each in snapshot.metrics)
    written = [line.rpartition(" ")[0] for line in text.split("\n") if line and not line.startswith("#")]
    assert len(written) == len(set(written))
    counted = sum(1 for each in families.values() for sample in each.samples if not sample.name.endswith("_bucket"))
    expected = sum(len(each.samples) * (2 if each.kind == "histogram" else 1) for each in snapshot.metrics)
    assert counted >= expected


def test_prometheus_client_shows_the_registry():
    """MX-06: among its own collectors, with `_total` where that library wants it."""
    theirs = CollectorRegistry()
    registry = _registry()
    theirs.register(RegistryCollector(registry))
    registry.counter("done_total").add(2)

    families = _parsed(generate_latest(theirs).decode())

    assert _samples(families["jobs"])[("jobs_total", (("queue", "a"),))] == 3
    assert _samples(families["done"]) == {("done_total", ()): 2}
    assert _samples(families["depth"]) == {("depth", ()): 1.5}
    assert _samples(families["took"]) == _samples(_parsed(render(registry.snapshot()))["took"])
