"""Channel names: the grammar, what it refuses and in which order."""

import contextlib
import copy
import pickle

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from limen.messages import (
    ChannelKind,
    ChannelName,
    InvalidChannelName,
    dispatch_channel,
    history_channel,
    signal_channel,
)
from limen.messages.names import MAX_PART_LENGTH

CONSTRUCTORS = {dispatch_channel: "task_queue", signal_channel: "workflow_id", history_channel: "workflow_id"}

parts = st.text(
    st.characters(exclude_categories=("Cc", "Cs"), exclude_characters="."), min_size=1, max_size=MAX_PART_LENGTH
)


def test_a_dispatch_channel_is_named_after_its_task_queue():
    """CN-01, CN-07: the full name is the `str`."""
    name = dispatch_channel("default", "email-queue")

    assert str(name) == "aion.dispatch.default.email-queue"
    assert (name.kind, name.namespace, name.id) == (ChannelKind.DISPATCH, "default", "email-queue")
    assert name.task_queue == "email-queue"


def test_signal_and_history_channels_are_named_after_their_workflow():
    """CN-02: three kinds, and no other."""
    assert str(signal_channel("prod", "wf-123")) == "aion.signal.prod.wf-123"
    assert str(history_channel("prod", "wf-123")) == "aion.history.prod.wf-123"
    assert history_channel("prod", "wf-123").workflow_id == "wf-123"
    assert [str(kind) for kind in ChannelKind] == ["dispatch", "signal", "history"]


def test_a_name_has_only_the_id_of_its_kind():
    """CN-05: what is a task queue in one kind is a workflow id in the others."""
    with pytest.raises(AttributeError, match="no task queue"):
        _ = signal_channel("a", "b").task_queue
    with pytest.raises(AttributeError, match="no workflow id"):
        _ = dispatch_channel("a", "b").workflow_id


@pytest.mark.parametrize("constructor", CONSTRUCTORS)
@pytest.mark.parametrize(
    ("bad", "says"),
    [
        ("", "empty"),
        (".", "'.'"),
        ("bad.ns", "'.'"),
        ("a.", "'.'"),
        ("a\nb", "control"),
        ("\0", "control"),
        ("a\x7f", "control"),
        ("a\x85", "control"),
        ("\ud800", "surrogates"),
        ("a" * (MAX_PART_LENGTH + 1), "longer"),
        (5, "str"),
        (None, "str"),
        (b"a", "str"),
    ],
)
def test_an_unfit_part_is_refused_in_each_position(constructor, bad, says):
    """CN-03, CN-04, CN-05, CN-06: the error names the part, keeps the raw input and says what is wrong."""
    for arguments, part in [((bad, "ok"), "namespace"), (("ok", bad), CONSTRUCTORS[constructor])]:
        with pytest.raises(InvalidChannelName) as caught:
            constructor(*arguments)

        assert (caught.value.part, caught.value.input) == (part, bad)
        assert says in caught.value.message


def test_the_namespace_is_checked_first_and_alone():
    """CN-05: only the first problem is reported."""
    with pytest.raises(InvalidChannelName) as both:
        dispatch_channel("", "")
    with pytest.raises(InvalidChannelName) as queue:
        dispatch_channel("a", "")

    assert both.value.part == "namespace"
    assert queue.value.part == "task_queue"


@pytest.mark.parametrize("text", ["É q/1", " padded ", "e\u0301", "UPPER", "\u2028", "a" * MAX_PART_LENGTH])
def test_other_text_is_kept_as_it_is(text):
    """CN-06: no trimming, no case folding, no Unicode normalisation."""
    assert dispatch_channel(text, text).task_queue == text


def test_a_text_of_another_class_is_kept_as_plain_text():
    """CN-06: an enum's member, which prints as something else, counts as its text."""
    queue = ChannelKind.SIGNAL

    assert type(dispatch_channel("a", queue).id) is str
    assert str(dispatch_channel("a", queue)) == "aion.dispatch.a.signal"


def test_a_name_is_an_immutable_hashable_value():
    """CN-07: equal names are equal and hash alike; kinds and parts tell names apart."""
    assert dispatch_channel("a", "b") == dispatch_channel("a", "b")
    assert len({dispatch_channel("a", "b"), dispatch_channel("a", "b"), signal_channel("a", "b")}) == 2
    assert signal_channel("a", "b") != history_channel("a", "b")
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        dispatch_channel("a", "b").id = "c"  # type: ignore[misc]


def test_a_name_comes_only_from_the_constructors():
    """CN-07: calling the class is refused, so that every name is a valid one."""
    with pytest.raises(TypeError, match="dispatch_channel"):
        ChannelName(ChannelKind.DISPATCH, "a", "b")  # type: ignore[arg-type]


@pytest.mark.parametrize("twin", [copy.copy, copy.deepcopy, lambda name: pickle.loads(pickle.dumps(name))])
def test_a_copied_name_equals_the_first(twin):
    """CN-07, TY-09: copies and pickles are values too."""
    name = dispatch_channel("a", "b")

    assert twin(name) == name
    assert str(twin(name)) == str(name)


@given(st.sampled_from(list(CONSTRUCTORS)), parts, parts)
def test_parsing_gives_back_what_was_built(constructor, namespace, last):
    """CN-07: parse ∘ build is the identity."""
    name = constructor(namespace, last)

    parsed = ChannelName.parse(str(name))

    assert parsed == name
    assert (parsed.kind, parsed.namespace, parsed.id) == (name.kind, namespace, last)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "name"),
        ("aion", "name"),
        ("aion.dispatch.a", "name"),
        ("aion.dispatch.a.b.c", "name"),
        ("noia.dispatch.a.b", "name"),
        ("aion.other.a.b", "name"),
        ("aion.dispatch..b", "namespace"),
        ("aion.dispatch.a.", "task_queue"),
        ("aion.signal.a.", "workflow_id"),
        (None, "name"),
    ],
)
def test_what_is_no_name_does_not_parse(text, part):
    """CN-07: parsing refuses what no constructor could have built."""
    with pytest.raises(InvalidChannelName) as caught:
        ChannelName.parse(text)

    assert caught.value.part == part


@given(st.text() | st.lists(st.sampled_from(["aion", "dispatch", "signal", "", "a", "é "])).map(".".join))
def test_parsing_any_text_gives_a_name_or_the_one_error(text):
    """CN-07: nothing else is ever raised, and an accepted text is the name's own."""
    with contextlib.suppress(InvalidChannelName):
        assert str(ChannelName.parse(text)) == text
