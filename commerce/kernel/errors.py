"""Business refusals: a stable code, and the data that the client needs to act.

A refusal is an expected answer, not a fault. Nouns raise (or, in batches, return) subclasses of
`CommerceError`; only `api/problems.py` knows which HTTP status each one becomes.
"""

from typing import Any, ClassVar, dataclass_transform


@dataclass_transform(kw_only_default=True)
class CommerceError(Exception):
    """Base of all refusals. Subclasses annotate their data and are constructed by keyword.

    `code` is the stable name of the reason; it is never translated and never reused.
    `path`, where given, is the JSON pointer of the field that is wrong.
    """

    code: ClassVar[str] = "commerce_error"
    _fields: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        own = (n for n, a in cls.__annotations__.items() if "ClassVar" not in str(a))
        cls._fields = tuple(dict.fromkeys((*cls._fields, *(n for n in own if n != "code"))))

    def __init__(self, **fields: Any) -> None:
        unknown = fields.keys() - set(self._fields)
        missing = [n for n in self._fields if n not in fields and not hasattr(type(self), n)]
        assert not unknown, f"{type(self).__name__} has no field {sorted(unknown)}"
        assert not missing, f"{type(self).__name__} needs {missing}"
        for name, value in fields.items():
            setattr(self, name, value)
        super().__init__(self.code)

    def fields(self) -> dict[str, Any]:
        """The data of this refusal, by name."""
        return {name: getattr(self, name) for name in self._fields}

    def __str__(self) -> str:
        pairs = ", ".join(f"{name}={value}" for name, value in self.fields().items())
        return f"{self.code}({pairs})"


class NotFound(CommerceError):
    """There is no such thing, or it is not for this principal to know that there is one."""

    code = "not_found"
    kind: str
    id: str


class WrongState(CommerceError):
    """The thing exists, but its life cycle does not allow this step now."""

    code = "wrong_state"
    kind: str
    id: str
    state: str
    allowed: list[str]


class InvalidField(CommerceError):
    """A field is well formed but breaks a rule that only the business knows."""

    code = "invalid_field"
    path: str
    reason: str
