"""Promises of `RoutingMessage`: what a routing function is told."""

import pickle

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from limen.messages.routing import RoutingMessage, dispatch_message

VALUES = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
FIELDS = st.dictionaries(st.text(min_size=1), VALUES)


@given(FIELDS)
def test_fields_come_in_key_order(fields):
    """Iteration is in key order, whatever the order in which the fields were given (RT-03)."""
    message = RoutingMessage(fields)

    assert list(message) == sorted(fields)
    assert dict(message) == fields


def test_a_later_value_replaces_an_earlier_one():
    """Of two values for one field the later stays, and the original is untouched by `with_field` (RT-03)."""
    pairs = RoutingMessage([("a", 1), ("b", 2), ("a", 3)])

    assert dict(pairs) == {"a": 3, "b": 2}
    assert dict(pairs.with_field("b", None)) == {"a": 3, "b": None}
    assert dict(pairs.with_field("0", "new")) == {"0": "new", "a": 3, "b": 2}
    assert dict(pairs) == {"a": 3, "b": 2}


def test_a_missing_field_is_none():
    """`get` of a field that is not there gives None (RT-03)."""
    assert RoutingMessage().get("anything") is None


@pytest.mark.parametrize("value", [b"bytes", ["list"], {"a": 1}, object()])
def test_other_kinds_of_values_are_refused(value):
    """A field holds text, an integer, a float, a bool or null; the refusal of others quotes no value (RT-03)."""
    with pytest.raises(TypeError, match=f"^a must be a str, int, float, bool or None, not {type(value).__name__}$"):
        RoutingMessage({"a": value})


@pytest.mark.parametrize("name", ["", 3, None])
def test_names_are_texts(name):
    """A field's name is a non-empty text (RT-03)."""
    with pytest.raises(TypeError, match="name must be a non-empty str"):
        RoutingMessage({name: 1})


def test_messages_cannot_be_changed():
    """A message is a value: no assignment, and the mapping it was made from is not kept (RT-03, RT-04)."""
    fields = {"a": 1}
    message = RoutingMessage(fields)

    fields["a"] = 2
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        setattr(message, "_fields", {})  # noqa: B010 - what a type checker would refuse is tried all the same
    assert not hasattr(message, "__setitem__")

    assert message["a"] == 1


def test_equality_tells_true_from_one():
    """Messages compare by fields and their types, and can be put into sets (RT-03, RT-10)."""
    assert RoutingMessage({"a": 1, "b": 2}) == RoutingMessage([("b", 2), ("a", 1)])
    assert len({RoutingMessage({"a": 1}), RoutingMessage({"a": True}), RoutingMessage({"a": 1.0})}) == 3


@given(FIELDS)
def test_messages_survive_pickling(fields):
    """What is unpickled has the same fields (RT-03)."""
    copy = pickle.loads(pickle.dumps(RoutingMessage(fields)))

    assert repr(copy) == repr(RoutingMessage(fields))


def test_a_function_sees_exactly_three_fields():
    """A dispatch is told in three fields (DP-11); a fourth, the key, only where the caller gave one."""
    assert dict(dispatch_message("resize", "media", "application/json")) == {
        "activity_type": "resize",
        "input_content_type": "application/json",
        "task_queue": "media",
    }
    assert dispatch_message("resize", "media", "", key="job-1")["key"] == "job-1"
