"""What the formats need to know about a record's fields, read off its annotations."""

from functools import lru_cache
from typing import Any, get_type_hints

import msgspec
from msgspec import inspect

from commerce.importing.records import KINDS, Kind, Record


class Field(msgspec.Struct, frozen=True):
    """One field: how to check it, how a CSV cell becomes its value, and what people are told."""

    name: str
    required: bool
    default: object
    annotation: Any
    shape: inspect.Type
    description: str


class Layout(msgspec.Struct, frozen=True):
    """A kind's record and its fields by name. The values of a `secret` kind are never repeated."""

    kind: Kind
    record: type[Record]
    fields: dict[str, Field]
    secret: bool


@lru_cache(maxsize=len(KINDS))
def layout(kind: Kind) -> Layout:
    """The layout of a kind of records."""
    record = KINDS[kind]
    annotations = get_type_hints(record, include_extras=True)
    described = inspect.type_info(record)
    assert isinstance(described, inspect.StructType)
    fields = {
        field.name: Field(
            name=field.name,
            required=field.required,
            default=field.default,
            annotation=annotations[field.name],
            shape=_shape(field.type),
            description=_note(field.type, "description"),
        )
        for field in described.fields
    }
    secret = any(_is_secret(field.type) for field in described.fields)
    return Layout(kind=kind, record=record, fields=fields, secret=secret)


def _parts(of: inspect.Type) -> list[inspect.Type]:
    """The type itself and what it is made of, outside first: notes of `X | None` sit on X."""
    match of:
        case inspect.Metadata(type=inner):
            return [of, *_parts(inner)]
        case inspect.UnionType(types=types):
            return [of, *(part for inner in types for part in _parts(inner))]
        case inspect.VarTupleType(item_type=inner):
            return [of, *_parts(inner)]
    return [of]


def _shape(of: inspect.Type) -> inspect.Type:
    wrappers = (inspect.Metadata, inspect.UnionType)
    return next(part for part in _parts(of) if not isinstance(part, wrappers))


def _note(of: inspect.Type, key: str) -> str:
    notes = (p.extra_json_schema or {} for p in _parts(of) if isinstance(p, inspect.Metadata))
    return next(str(note[key]) for note in notes if key in note)


def _is_secret(of: inspect.Type) -> bool:
    return any((p.extra or {}).get("secret") for p in _parts(of) if isinstance(p, inspect.Metadata))
