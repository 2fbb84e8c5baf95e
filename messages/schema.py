"""JSON Schemas that know how to check a payload, fill in defaults, and grow by one field.

Knows nothing of channels. Draft 2020-12 unless the definition names another. References lead into the definition
itself; nothing is ever fetched. The validator is imported when the first schema is compiled.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple, Self

import attrs

from ._json import NotJsonError, canonical, loads
from .errors import EvolutionRefused, InvalidSchema, PayloadNotJson, PayloadNotObject, PayloadRefused

__all__ = ["Schema"]

_REFERENCES = {"$ref", "$dynamicRef", "$recursiveRef"}
_SHOWN_LENGTH = 120
"""How much of what a rule expects an error quotes."""


@attrs.frozen
class Schema:
    """A compiled JSON Schema. Made by `compile`; equal when id and definition are."""

    id: str
    _text: bytes = attrs.field(repr=False)
    _validator: Any = attrs.field(repr=False, eq=False)
    _defaults: dict[str, "_Default"] = attrs.field(repr=False, eq=False)

    @classmethod
    def compile(cls, definition: Mapping[str, Any] | bool | str | bytes, id: str | None = None) -> Self:  # noqa: A002, FBT001 - a JSON Schema may be a boolean, and has an id
        """Check a definition, given as a value or as JSON text, and make it ready.

        Without an id it gets one that is derived from its content. Raise `InvalidSchema` if it is not a JSON Schema.
        """
        import hashlib

        text = _canonical_text(definition)
        own = json.loads(text)
        validator = _compiled(own)
        return cls(id or hashlib.sha256(text).hexdigest(), text, validator, _defaults_of(own))

    @property
    def definition(self) -> Any:
        """The definition as a value, a fresh copy each time."""
        return json.loads(self._text)

    def normalise(self, payload: bytes) -> bytes:
        """Return the payload with absent top-level properties filled from their defaults.

        Present properties are left alone and, where nothing is absent, so are the bytes. Raise a `SchemaMismatch`:
        `PayloadNotJson`, `PayloadNotObject` or `PayloadRefused`.
        """
        document = self._parse(payload)
        absent = [default for name, default in self._defaults.items() if name not in document]
        self._check(document | {default.name: default.value for default in absent} if absent else document)
        return _with_members(payload, [default.member for default in absent], empty=not document) if absent else payload

    def evolve(self, field: str, field_schema: Mapping[str, Any], default: Any) -> "Schema":
        """Return a schema that also requires `field`, and fills in `default` where it is absent.

        What the old schema accepted, the new one still does. Raise `EvolutionRefused` if there is no such schema.
        """
        definition = self.definition
        properties, required = _growable(definition)
        _check_new_field(field, field_schema, properties)
        definition["properties"] = {**properties, field: {**field_schema, "default": default}}
        definition["required"] = [*required, *([] if field in required else [field])]
        evolved = _recompiled(definition)
        if not evolved.allows(field, default):
            raise EvolutionRefused(f"the default of {field!r} does not pass the schema of {field!r}")
        return evolved

    def allows(self, field: str, value: Any) -> bool:
        """Say whether a top-level property may have this value."""
        return next(self._validator.descend(value, self._validator.schema["properties"][field]), None) is None

    def _parse(self, payload: bytes) -> Any:
        try:
            document = loads(payload)
        except NotJsonError as error:
            raise PayloadNotJson(f"the payload {error}") from None
        if self._defaults and not isinstance(document, dict):
            raise PayloadNotObject("the payload must be a JSON object: its schema has defaults to fill in")
        return document

    def _check(self, document: Any) -> None:
        try:
            error = next(self._validator.iter_errors(document), None)
        except RecursionError:
            raise PayloadRefused("$", "depth", "less nesting") from None
        except Exception as problem:
            raise InvalidSchema(f"the schema cannot be applied: {type(problem).__name__}") from problem
        if error is not None:
            raise self._refused(error)

    def _refused(self, error: Any) -> PayloadRefused:
        """Say what is wrong in words of the schema alone: the validator's own text quotes the payload."""
        path = _path(error.path, known=set(_names_in(self._validator.schema)))
        if error.validator is None:
            return PayloadRefused(path, "false")
        return PayloadRefused(path, error.validator, _expectation(error))

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self).compile, (self._text, self.id)


class _Default(NamedTuple):
    """A top-level property's default, as a value and as the text of an object's member."""

    name: str
    value: Any
    member: bytes


def _canonical_text(definition: object) -> bytes:
    try:
        value = json.loads(definition) if isinstance(definition, (str, bytes)) else definition
        text = canonical(dict(value) if isinstance(value, Mapping) else value)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidSchema(f"the definition is not JSON: {_short(str(error))}") from None
    if not isinstance(value, (Mapping, bool)):
        raise InvalidSchema(f"the definition must be an object or a boolean, not {type(value).__name__}")
    return text


def _compiled(definition: Any) -> Any:
    """Return a validator for the definition, once it has passed the rules of its own draft."""
    from jsonschema import Draft202012Validator, exceptions, validators

    kind = validators.validator_for(definition, default=Draft202012Validator)
    try:
        kind.check_schema(definition)
    except exceptions.SchemaError as error:
        raise InvalidSchema(f"at {error.json_path}: {_short(error.message)}") from None
    except RecursionError:
        raise InvalidSchema("the definition is nested too deeply") from None
    if foreign := next(_foreign_references(definition), None):
        raise InvalidSchema(f"the definition refers to {_short(foreign)}; it may refer only into itself, with '#'")
    return kind(definition)


def _foreign_references(definition: Any) -> Iterator[str]:
    """Yield every reference that leads out of the definition, for the validator would go and fetch it."""
    if isinstance(definition, list):
        for each in definition:
            yield from _foreign_references(each)
    if isinstance(definition, dict):
        for key, value in definition.items():
            if key in _REFERENCES and isinstance(value, str) and not value.startswith("#"):
                yield value
            yield from _foreign_references(value)


def _defaults_of(definition: Any) -> dict[str, _Default]:
    properties = definition.get("properties", {}) if isinstance(definition, dict) else {}
    return {
        name: _Default(name, schema["default"], canonical(name) + b":" + canonical(schema["default"]))
        for name, schema in properties.items()
        if isinstance(schema, dict) and "default" in schema
    }


def _with_members(payload: bytes, members: list[bytes], *, empty: bool) -> bytes:
    """Put members in front of an object's own, and leave every byte of those as it is."""
    own = payload[payload.index(b"{") + 1 :]
    return b"{" + b",".join(members) + (b"" if empty else b",") + own


def _growable(definition: Any) -> tuple[dict[str, Any], list[str]]:
    """Return the properties and the required names of a schema for objects."""
    if not isinstance(definition, dict):
        raise EvolutionRefused("only a schema that is an object can be evolved, not true or false")
    if "object" not in _as_list(definition.get("type", "object")):
        raise EvolutionRefused(f"only a schema for objects can be evolved, not one for {_short(definition['type'])}")
    properties, required = definition.get("properties", {}), definition.get("required", [])
    if not isinstance(properties, dict):
        raise EvolutionRefused("the schema's 'properties' must be an object")
    if not isinstance(required, list) or not all(isinstance(name, str) for name in required):
        raise EvolutionRefused("the schema's 'required' must be an array of names")
    return properties, required


def _check_new_field(field: object, field_schema: object, properties: Mapping[str, Any]) -> None:
    if not isinstance(field, str) or not field:
        raise EvolutionRefused("the new field must have a non-empty name")
    if not isinstance(field_schema, Mapping):
        raise EvolutionRefused(f"the schema of {field!r} must be an object, not {type(field_schema).__name__}")
    if field in properties:
        raise EvolutionRefused(f"the schema has a property {field!r} already; give the new field another name")


def _recompiled(definition: dict[str, Any]) -> Schema:
    try:
        return Schema.compile(definition)
    except InvalidSchema as error:
        raise EvolutionRefused(f"the evolved schema would be invalid: {error}") from error


def _names_in(definition: Any) -> Iterator[str]:
    """Yield every property name that the schema itself has anywhere."""
    if isinstance(definition, list):
        for each in definition:
            yield from _names_in(each)
    if isinstance(definition, dict):
        if isinstance(definition.get("properties"), dict):
            yield from definition["properties"]
        for each in definition.values():
            yield from _names_in(each)


def _path(steps: Iterable[str | int], *, known: set[str]) -> str:
    shown = (f"[{step}]" if isinstance(step, int) else f".{step if step in known else '*'}" for step in steps)
    return "$" + "".join(shown)


def _expectation(error: Any) -> str:
    """Quote what the rule asks for; of missing names only the first."""
    if error.validator == "required" and isinstance(error.instance, dict):
        return _short(next((name for name in error.validator_value if name not in error.instance), ""))
    if isinstance(error.validator_value, (dict, list)) and error.validator not in {"enum", "type", "const"}:
        return ""
    return _short(error.validator_value)


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= _SHOWN_LENGTH else f"{text[:_SHOWN_LENGTH]}…"
