"""Schemas of Structs and of refusals, as msgspec describes them, with names for code generators."""

import inspect
import re
from collections.abc import Sequence
from typing import Any, get_type_hints

import msgspec
from msgspec.inspect import DateTimeType, Field, Metadata, NoneType, StructType, Type
from msgspec.inspect import UnionType as UnionOfTypes

from api.openapi.examples import example_of
from api.problem_json import told
from api.problems import PROBLEMS
from commerce.kernel.errors import CommerceError

Schema = dict[str, Any]

REF = "#/components/schemas/"


class Problem(msgspec.Struct, frozen=True):
    """Why a request was refused (RFC 9457). `code` is stable; the texts are for people."""

    type: str
    title: str
    status: int
    code: str
    detail: str
    request_id: str


class Schemas:
    """The schemas of one document. Each is an empty slot until all are known, then all are filled.

    msgspec describes types together, so that equal ones are described once.
    """

    def __init__(self) -> None:
        self._slots: list[tuple[Schema, Any]] = []
        self._problems: dict[str, Schema] = {}
        self._errors: dict[str, type[CommerceError]] = {}
        self.of(Problem)

    def of(self, kind: Any) -> Schema:
        """The schema of a type; of several types, which need no tags, when it is a tuple."""
        if isinstance(kind, tuple):
            return {"anyOf": [self.of(each) for each in kind]}
        slot: Schema = {}
        self._slots.append((slot, kind))
        return slot

    def problem(self, error: type[CommerceError]) -> str:
        """Where the schema of a code is, with the fields that are its own."""
        name = "".join(part.title() for part in error.code.split("_")) + "Problem"
        if name not in self._problems:
            hints = get_type_hints(error, include_extras=True)
            own = {field: self.of(hints[field]) for field in error._fields}
            status = PROBLEMS[error].status
            self._errors[name] = error
            self._problems[name] = {
                "title": name,
                "description": first_line(error),
                "allOf": [
                    {"$ref": f"{REF}Problem"},
                    {
                        "type": "object",
                        "properties": {
                            "status": {"const": status},
                            "code": {"const": error.code},
                            **own,
                        },
                        "required": ["status", "code", *own],
                    },
                ],
            }
        return REF + name

    def fill(self) -> dict[str, Schema]:
        """Fill all slots; what they refer to, by name."""
        kinds = [kind for _, kind in self._slots]
        made, components = msgspec.json.schema_components(kinds, ref_template=REF + "{name}")
        for (slot, _), schema in zip(self._slots, made, strict=True):
            slot.update(schema)
        _name_moments(kinds, components)
        for schema in components.values():
            if "description" in schema:
                schema["description"] = inspect.cleandoc(schema["description"])
        names = {name: _plain(schema, name) for name, schema in components.items()}
        _rename([components, self._problems, [slot for slot, _ in self._slots]], names)
        every = {names[name]: schema for name, schema in components.items()} | self._problems
        for name, error in self._errors.items():
            every[name]["examples"] = [_example(error, every[name], every)]
        return every


def first_line(described: Any) -> str:
    """Of its docstring."""
    return (inspect.getdoc(described) or "").partition("\n")[0]


def _example(error: type[CommerceError], schema: Schema, components: dict[str, Schema]) -> Schema:
    """A refusal as it is answered in English."""
    row = PROBLEMS[error]
    title, detail = row.en
    given: Schema = example_of(schema, components)
    return given | {
        "type": f"/docs#{error.code}",
        "title": title,
        "detail": told(detail, given),
    }


def _plain(schema: Schema, name: str) -> str:
    """`Page[OrderView]` becomes `OrderPage`: brackets and dots are no part of a name."""
    generic = re.fullmatch(r"(\w+)\[(\w+)\]", schema.get("title", ""))
    if generic is None:
        return name
    outer, inner = generic.groups()
    schema["title"] = f"{inner.removesuffix('View')}{outer}"
    return str(schema["title"])


def _rename(part: Any, names: dict[str, str]) -> None:
    """Let references follow."""
    if isinstance(part, dict):
        for key, each in part.items():
            if isinstance(each, str) and each.startswith(REF):
                name = each.removeprefix(REF)
                part[key] = REF + names.get(name, name)
            _rename(each, names)
    elif isinstance(part, list):
        for each in part:
            _rename(each, names)


def _name_moments(kinds: Sequence[Any], components: dict[str, Schema]) -> None:
    """Give times their format. msgspec leaves it out where a type allows naive ones; we write none.

    Fields are found by the title of their Struct.
    """
    moments: set[tuple[str, str]] = set()
    seen: set[int] = set()
    queue: list[Any] = list(msgspec.inspect.multi_type_info(kinds))
    while queue:
        found = queue.pop()
        if id(found) in seen or not isinstance(found, (Type, Field)):
            continue
        seen.add(id(found))
        if isinstance(found, StructType):
            moments |= {
                (found.cls.__name__, field.encode_name)
                for field in found.fields
                if isinstance(_without_none(field.type), DateTimeType)
            }
        for name in found.__struct_fields__:
            value = getattr(found, name)
            queue.extend(value if isinstance(value, tuple) else [value])
    for schema in components.values():
        for name, part in schema.get("properties", {}).items():
            if (schema["title"].partition("[")[0], name) in moments:
                for each in (part, *part.get("anyOf", ())):
                    if each.get("type") == "string":
                        each["format"] = "date-time"


def _without_none(kind: Type) -> Type:
    if isinstance(kind, Metadata):
        return _without_none(kind.type)
    if isinstance(kind, UnionOfTypes) and kind.includes_none:
        return next(each for each in kind.types if not isinstance(each, NoneType))
    return kind
