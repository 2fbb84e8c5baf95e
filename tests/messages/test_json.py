"""JSON with and without orjson: the same bytes mean the same."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limen.messages import _json

orjson = pytest.importorskip("orjson")


@pytest.fixture(params=["plain", "orjson"])
def backend(request, monkeypatch):
    """Read and write with the standard library, then with orjson."""
    plain = (_json._plain_loads, _json._plain_dumps)
    chosen = plain if request.param == "plain" else (orjson.loads, orjson.dumps)
    monkeypatch.setattr(_json, "_fastest", lambda: chosen)


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"NaN",
        b"Infinity",
        b"-Infinity",
        b"1e999",
        b"9" * 5000,
        b"\xff",
        b"\xef\xbb\xbf{}",
        "{}".encode("utf-16"),
        b'"\\ud800"',
        b'["\\udc00x"]',
        b"[" * 100_000,
        b"01",
        b'"\x01"',
        b"{} {}",
        b"{'a': 1}",
    ],
    ids=lambda data: repr(data[:20]),
)
def test_both_refuse_the_same(data):
    """CD-14: strict JSON in UTF-8, whichever reader is there."""
    with pytest.raises(_json.NotJsonError):
        _json.loads(data)


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize(
    ("data", "value"),
    [
        (b" {} ", {}),
        (b'{"a":1,"a":2}', {"a": 2}),
        (b"18446744073709551615", 2**64 - 1),
        (b"18446744073709551616", float(2**64)),
        (b"-9223372036854775808", -(2**63)),
        (b'"\\u00e9\\ud83d\\ude00"', "é😀"),
        (b'"\\\\ud800"', "\\ud800"),
        (b"1e-999", 0.0),
    ],
)
def test_both_read_the_same(data, value):
    """CD-14: repeated keys, large numbers and escapes have one meaning."""
    read = _json.loads(data)

    assert read == value
    assert type(read) is type(value)


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-(2**63), 2**64 - 1)
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
        max_leaves=8,
    )
)
def test_each_reads_what_the_other_wrote(value):
    """CD-14: decode ∘ encode is the identity across the two."""
    assert _json._plain_loads(orjson.dumps(value)) == value
    assert orjson.loads(_json._plain_dumps(value)) == value


@given(st.binary(max_size=30) | st.text(max_size=30).map(str.encode))
def test_both_agree_on_any_bytes(data):
    """CD-14: what one reads, the other reads alike; what one refuses, so does the other."""
    assert _read(_json._plain_loads, data) == _read(orjson.loads, data)


def _read(loads, data):
    try:
        return loads(data)
    except ValueError:
        return ValueError


def test_the_canonical_text_sorts_keys():
    """CH-09: equal values have one text; what JSON cannot hold has none."""
    assert _json.canonical({"b": 1, "a": "é"}) == '{"a":"é","b":1}'.encode()
    with pytest.raises(ValueError, match="JSON"):
        _json.canonical(float("inf"))


def test_a_refusal_quotes_nothing():
    """ER-10: a place is enough."""
    with pytest.raises(_json.NotJsonError) as caught:
        _json.loads(b'{"a": secret}')

    assert "secret" not in str(caught.value)
    assert "column" in str(caught.value)
