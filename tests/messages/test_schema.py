"""Schemas: what they refuse, what they fill in, how they grow."""

import contextlib
import json
import pickle
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from limen.messages import (
    EvolutionRefused,
    InvalidSchema,
    PayloadNotJson,
    PayloadNotObject,
    PayloadRefused,
    Schema,
    SchemaError,
    SchemaMismatch,
)

ORDER = Schema.compile(
    {
        "type": "object",
        "required": ["sku"],
        "properties": {
            "sku": {"type": "string"},
            "count": {"type": "integer", "default": 1},
            "tags": {"type": "array", "items": {"type": "string"}, "default": []},
        },
    }
)

FILLING = Schema.compile({"properties": {"a": {"default": 1}, "é": {"default": ["x"]}}})

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def test_a_schema_has_an_id_made_from_its_content():
    """CH-09: the same definition has the same id, however it is written; another has another."""
    one = Schema.compile({"type": "object", "required": ["a"]})
    same = Schema.compile('{"required": ["a"], "type": "object"}')

    assert one == same
    assert one.id == same.id != Schema.compile({"type": "object"}).id


def test_a_schema_may_be_given_an_id():
    """CH-09: then it keeps it, also through a pickle."""
    schema = Schema.compile({"type": "object"}, id="orders-v1")

    assert schema.id == "orders-v1"
    assert pickle.loads(pickle.dumps(schema)) == schema
    assert schema != Schema.compile({"type": "object"})


def test_a_definition_is_kept_apart_from_what_was_given():
    """CH-09: neither the dict that was given nor the one that is read back changes the schema."""
    given_definition: dict[str, Any] = {"type": "object", "properties": {"a": {"type": "integer"}}}
    schema = Schema.compile(given_definition)
    given_definition["properties"]["a"]["type"] = "string"
    schema.definition["properties"].clear()

    assert schema.definition == {"type": "object", "properties": {"a": {"type": "integer"}}}
    assert schema.normalise(b'{"a":1}') == b'{"a":1}'


@pytest.mark.parametrize(
    "definition",
    [
        {"type": 7},
        {"type": "objekt"},
        {"properties": []},
        {"required": "a"},
        {"pattern": "("},
        "{",
        b"\xff",
        "[]",
        "null",
        5,
        None,
        [{}],
        {"default": float("nan")},
        {"const": object()},
        {"$ref": "https://example.com/other"},
        {"properties": {"a": {"anyOf": [{"$dynamicRef": "other.json"}]}}},
    ],
    ids=repr,
)
def test_a_bad_definition_is_refused(definition):
    """CH-09: what is no JSON Schema, or would have to be fetched, is refused before anything uses it."""
    with pytest.raises(InvalidSchema) as caught:
        Schema.compile(definition)

    assert isinstance(caught.value, SchemaError)


def test_a_reference_to_nothing_is_found_when_it_is_followed():
    """CH-09: it is the schema's fault, so the error is not a mismatch."""
    schema = Schema.compile({"properties": {"a": {"$ref": "#/$defs/missing"}}})

    assert schema.normalise(b"{}") == b"{}"
    with pytest.raises(InvalidSchema):
        schema.normalise(b'{"a":1}')


@pytest.mark.parametrize(
    ("payload", "kind"),
    [
        (b"", PayloadNotJson),
        (b"{", PayloadNotJson),
        (b"\xff", PayloadNotJson),
        (b"NaN", PayloadNotJson),
        (b'{"sku": "secret', PayloadNotJson),
        (b"[" * 100_000, PayloadNotJson),
        (b"[]", PayloadNotObject),
        (b"null", PayloadNotObject),
        (b'"secret"', PayloadNotObject),
        (b"{}", PayloadRefused),
        (b'{"sku": 5}', PayloadRefused),
        (b'{"sku": "a", "tags": ["secret", 5]}', PayloadRefused),
    ],
)
def test_each_way_to_be_wrong_has_an_error_of_its_own(payload, kind):
    """CH-07, CH-09, CD-13: all of them mismatches, and none quotes the payload."""
    with pytest.raises(SchemaMismatch) as caught:
        ORDER.normalise(payload)

    assert type(caught.value) is kind
    assert "secret" not in str(caught.value)


def test_a_refusal_names_the_place_and_the_rule():
    """CH-09: enough to find what is wrong without seeing the payload."""
    with pytest.raises(PayloadRefused) as caught:
        ORDER.normalise(b'{"sku": "a", "tags": ["b", 5]}')

    assert (caught.value.path, caught.value.rule, caught.value.expected) == ("$.tags[1]", "type", "string")
    assert "$.tags[1]" in str(caught.value)


def test_a_refusal_names_the_missing_property():
    """CH-09: it is a word of the schema, so it may be told."""
    with pytest.raises(PayloadRefused, match="sku"):
        ORDER.normalise(b'{"count": 1}')


@pytest.mark.parametrize(
    "definition",
    [
        {"additionalProperties": {"type": "integer"}},
        {"additionalProperties": False},
        {"propertyNames": {"maxLength": 2}},
        {"patternProperties": {"^s": {"type": "integer"}}},
        {"maxProperties": 0},
        {"enum": [1, 2]},
        {"const": 1},
        {"not": {}},
        {"anyOf": [{"type": "integer"}, {"type": "null"}]},
        {"type": ["integer", "null"]},
        {"properties": {"secret-key": False}},
        False,
    ],
    ids=repr,
)
def test_no_refusal_quotes_the_payload(definition):
    """ER-10: neither a value nor a key, unless the schema has that key itself."""
    with pytest.raises(PayloadRefused) as caught:
        Schema.compile(definition).normalise(b'{"secret-key": "secret-value"}')

    assert "secret-value" not in str(caught.value)
    assert "secret-key" not in str(caught.value) or "secret-key" in json.dumps(definition)


def test_a_refusal_is_short():
    """ER-10: what a rule asks for is cut."""
    with pytest.raises(PayloadRefused) as caught:
        Schema.compile({"enum": ["x" * 10_000]}).normalise(b"1")

    assert len(str(caught.value)) < 300


def test_deep_nesting_is_a_refusal():
    """CD-13: a payload that is too deep for a recursive schema does no harm."""
    nest = Schema.compile({"type": "object", "additionalProperties": {"$ref": "#"}})

    with pytest.raises(SchemaMismatch):
        nest.normalise(b'{"a":' * 900 + b"{}" + b"}" * 900)


def test_a_good_payload_keeps_its_bytes():
    """CH-04: where nothing is absent, nothing is changed."""
    payload = b' {"sku" : "a",\n"count":2, "tags":["x"], "other": 12345678901234567890123 } '

    assert ORDER.normalise(payload) is payload


@pytest.mark.parametrize(
    ("payload", "filled"),
    [
        (b'{"sku":"a"}', {"sku": "a", "count": 1, "tags": []}),
        (b'  {  "sku":"a"}\n', {"sku": "a", "count": 1, "tags": []}),
        (b'{"sku":"a","count":5}', {"sku": "a", "count": 5, "tags": []}),
        (b'{"sku":"a","tags":["x"]}', {"sku": "a", "count": 1, "tags": ["x"]}),
    ],
)
def test_absent_properties_are_filled_from_their_defaults(payload, filled):
    """CH-10: present ones are not overwritten."""
    assert json.loads(ORDER.normalise(payload)) == filled


def test_an_empty_object_can_be_filled():
    """CH-10: also when there is no member to put a comma before."""
    schema = Schema.compile({"properties": {"a": {"default": None}, "b": {"default": {"c": "é"}}}})

    assert schema.normalise(b" { } ") == '{"a":null,"b":{"c":"é"} } '.encode()


def test_filling_leaves_the_rest_of_the_bytes_alone():
    """CH-10: numbers keep their digits, whatever a parser would make of them."""
    schema = Schema.compile({"properties": {"a": {"default": 1}}})

    assert schema.normalise(b'{"big": 12345678901234567890123, "f": 1.10}') == (
        b'{"a":1,"big": 12345678901234567890123, "f": 1.10}'
    )


def test_a_default_is_filled_in_before_the_rules_are_applied():
    """CH-10: a required property with a default may be left out; a present null is not absent."""
    schema = Schema.compile({"required": ["a"], "properties": {"a": {"type": "integer", "default": 1}}})

    assert schema.normalise(b"{}") == b'{"a":1}'
    with pytest.raises(PayloadRefused):
        schema.normalise(b'{"a":null}')


@settings(max_examples=50)
@given(st.dictionaries(st.text(), json_values, max_size=4))
def test_filling_only_ever_adds(document):
    """CH-10: whatever the object, its own members come out as they went in, and a second time changes nothing."""
    payload = json.dumps(document).encode()

    filled = FILLING.normalise(payload)

    assert json.loads(filled) == {"a": 1, "é": ["x"]} | document
    assert FILLING.normalise(filled) is filled


@given(st.binary(max_size=40) | st.text(max_size=40).map(str.encode))
def test_any_bytes_pass_or_mismatch(payload):
    """CD-13: nothing else is ever raised."""
    with contextlib.suppress(SchemaMismatch):
        assert ORDER.normalise(payload).endswith(payload[-1:])


def test_evolution_adds_a_required_field_with_a_default():
    """CH-11: a new id; the old shape still passes and arrives filled; the old schema is as it was."""
    before = ORDER.id

    evolved = ORDER.evolve("currency", {"type": "string", "minLength": 3}, "EUR")

    assert ORDER.id == before != evolved.id
    assert json.loads(evolved.normalise(b'{"sku":"a"}'))["currency"] == "EUR"
    assert json.loads(evolved.normalise(b'{"sku":"a","currency":"USD"}'))["currency"] == "USD"
    assert "currency" in evolved.definition["required"]
    with pytest.raises(PayloadRefused):
        evolved.normalise(b'{"sku":"a","currency":"x"}')


def test_evolution_may_refer_to_the_schemas_own_definitions():
    """CH-11: the new field is part of the whole schema, also when its default is checked."""
    schema = Schema.compile({"type": "object", "$defs": {"id": {"type": "integer"}}})

    assert schema.evolve("a", {"$ref": "#/$defs/id"}, 1).normalise(b"{}") == b'{"a":1}'
    with pytest.raises(EvolutionRefused, match="default"):
        schema.evolve("a", {"$ref": "#/$defs/id"}, "x")


@pytest.mark.parametrize(
    ("schema", "arguments", "says"),
    [
        (Schema.compile(True), ("a", {}, 1), "true or false"),
        (Schema.compile({"type": "array"}), ("a", {}, 1), "for objects"),
        (Schema.compile({"type": ["array", "null"]}), ("a", {}, 1), "for objects"),
        (ORDER, ("", {}, 1), "name"),
        (ORDER, (5, {}, 1), "name"),
        (ORDER, ("a", True, 1), "must be an object"),
        (ORDER, ("a", [], 1), "must be an object"),
        (ORDER, ("a", {"type": 7}, 1), "invalid"),
        (ORDER, ("a", {"type": "string"}, 1), "default"),
        (ORDER, ("a", {}, float("nan")), "not JSON"),
        (ORDER, ("a", {}, object()), "not JSON"),
        (ORDER, ("sku", {"type": "string"}, "x"), "already"),
    ],
)
def test_evolution_that_makes_no_sense_is_refused(schema, arguments, says):
    """CH-12: the schema stays as it was, id and all."""
    before = (schema.id, schema.definition)

    with pytest.raises(EvolutionRefused, match=says):
        schema.evolve(*arguments)

    assert (schema.id, schema.definition) == before


@pytest.mark.parametrize("malformed", [{"properties": []}, {"required": "a"}, {"required": [5]}])
def test_a_malformed_schema_never_gets_as_far_as_evolution(malformed):
    """CH-12: `properties` and `required` are checked when the schema is compiled."""
    with pytest.raises(InvalidSchema):
        Schema.compile(malformed)
