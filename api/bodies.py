"""Bodies are decoded once, strictly, straight into the type that the route names.

The framework would decode to plain dicts and convert those leniently, so that "5" passed for 5.
"""

from collections.abc import Generator
from typing import Any

import msgspec
from litestar.dto import AbstractDTO
from litestar.dto.data_structures import DTOFieldDefinition
from litestar.typing import FieldDefinition

from api.refusals import MalformedBody


class StrictBody(AbstractDTO[Any]):
    """Litestar's hook for decoding a body."""

    _decoders: dict[str, "msgspec.json.Decoder[Any]"] = {}  # noqa: RUF012  filled while routes are registered

    @classmethod
    def create_for_field_definition(
        cls, field_definition: FieldDefinition, handler_id: str, backend_cls: object = None
    ) -> None:
        """Once per route that takes a body."""
        del backend_cls
        cls._decoders[handler_id] = msgspec.json.Decoder(field_definition.annotation)

    def decode_bytes(self, value: bytes) -> Any:
        """Raises `MalformedBody`, and msgspec's errors, which `api/problem_json.py` explains."""
        try:
            return self._decoders[self.asgi_connection.route_handler.handler_id].decode(value)
        except UnicodeDecodeError as error:
            raise MalformedBody(reason=f"byte {error.start} of a text is not UTF-8") from error

    @classmethod
    def generate_field_definitions(cls, model_type: type[Any]) -> Generator[DTOFieldDefinition]:
        """Unused: the type is decoded as it is."""
        raise NotImplementedError

    @classmethod
    def detect_nested_field(cls, field_definition: FieldDefinition) -> bool:
        """Unused: the type is decoded as it is."""
        raise NotImplementedError
