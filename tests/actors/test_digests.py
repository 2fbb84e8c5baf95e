"""Digests of arguments: equal for equal values, whatever they are made of, and different for others."""

import collections
import copy
import dataclasses
import datetime as dt
import decimal
import enum
import functools
import pathlib
import re
import threading
import uuid
from typing import NamedTuple

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from limen.actors._digests import digest
from limen.messages.payloads import Local, Payload


@attrs.frozen
class Job:
    """A value of a user's own."""

    name: str
    parts: tuple[int, ...] = ()


@dataclasses.dataclass
class Order:
    """Another one."""

    lines: list[str]


class Plain:
    """An object like any other."""

    def __init__(self, value: object) -> None:
        self.value = value


class Slotted:
    """One without a dictionary."""

    __slots__ = ("value",)

    def __init__(self, value: object) -> None:
        self.value = value


class Colour(enum.Enum):
    """Members are told apart by name."""

    RED = 1
    BLUE = 2


class Stubborn:
    """Cannot be taken apart."""

    def __init__(self, value: object) -> None:
        self.value = value

    def __reduce_ex__(self, protocol: object) -> str:
        raise TypeError("no")


class Point(NamedTuple):
    """A tuple with names."""

    x: int
    y: int


PAIRS = [
    (1, 2),
    (1, True),
    (1, 1.0),
    ("1", b"1"),
    ("", None),
    ([1], (1,)),
    ([1, [2]], [1, 2]),
    (["ab", "c"], ["a", "bc"]),
    ({"a": 1}, {"a": 2}),
    ({1, 2}, {1, 3}),
    (Job("a"), Job("b")),
    (Job("a", (1,)), Job("a", (2,))),
    (Order(["a"]), Order(["b"])),
    (Plain([1]), Plain([2])),
    (Slotted(1), Slotted(2)),
    (Point(1, 2), Point(2, 1)),
    (Colour.RED, Colour.BLUE),
    (Payload(b"a"), Payload(b"b")),
    (Local([1]), Local([2])),
    (dt.datetime(2024, 5, 17, tzinfo=dt.UTC), dt.datetime(2024, 5, 18, tzinfo=dt.UTC)),
    (decimal.Decimal("1.0"), decimal.Decimal("1.1")),
    (uuid.UUID(int=1), uuid.UUID(int=2)),
    (pathlib.PurePosixPath("a"), pathlib.PurePosixPath("b")),
    (functools.partial(int, 1), functools.partial(int, 2)),
    (re.compile("a"), re.compile("b")),
    (len, max),
    (int, str),
    (collections.deque([1]), collections.deque([2])),
    (bytearray(b"a"), bytearray(b"b")),
    (ValueError("a"), ValueError("b")),
    ("\ud800", "\ud801"),
]


@pytest.mark.parametrize(("one", "other"), PAIRS, ids=lambda each: repr(each)[:30])
def test_equal_values_have_equal_digests_and_others_have_not(one, other):
    """Design, keys: the same key with other arguments is told from the same request made again."""
    assert digest(one) == digest(copy.deepcopy(one))
    assert digest(one) != digest(other)


def test_the_order_of_a_set_or_a_mapping_does_not_count():
    """Nor whether two parts are one object or two that are equal."""
    words = [f"word {number}" for number in range(100)]
    shared = [1]

    assert digest(set(words)) == digest({*words[50:], *words[:50]})
    assert digest(dict.fromkeys(words)) == digest(dict.fromkeys(reversed(words)))
    assert digest([shared, shared]) == digest([[1], [1]])


def test_what_cannot_be_compared_counts_as_equal():
    """A lock, or an object that refuses, is like all others of its type; what lies beside it is compared."""
    for one, other in ((threading.Lock(), threading.Lock()), (Stubborn(1), Stubborn(2))):
        assert digest(one) == digest(other)
        assert digest((one, 1)) != digest((other, 2))
    assert digest(threading.Lock()) != digest(Stubborn(1))


def test_a_value_that_holds_itself_is_no_problem():
    """Nor is one that is very deep."""
    loop: list[object] = [1]
    loop.append(loop)
    other: list[object] = [2]
    other.append(other)
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]

    assert digest(loop) != digest(other)
    assert digest(deep) == digest([deep])


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: (
        st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text(), inner) | st.frozensets(st.text())
    ),
    max_leaves=10,
)


def typed(value: object) -> object:
    """Give a form in which equality is that of type and value."""
    if isinstance(value, dict):
        return dict, frozenset((key, typed(each)) for key, each in value.items())
    if isinstance(value, list | tuple):
        return type(value), tuple(typed(each) for each in value)
    return type(value), repr(value) if isinstance(value, float) else value


@given(one=values, other=values)
def test_digests_agree_with_equality(one, other):
    """For plain data: equal digests for equal values of equal types, and for no others."""
    assert (digest(one) == digest(other)) is (typed(one) == typed(other))
    assert digest(one) == digest(copy.deepcopy(one))
