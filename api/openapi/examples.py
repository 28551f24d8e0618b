"""An example of any schema: what its fields say themselves, else what a field of that name holds.

A body shows what is required and what has an example of its own, so that it can be sent as it is.
An answer shows every field.
"""

import json
import re
from typing import Any

Schema = dict[str, Any]

_ID = "01900000-0000-7000-8000-000000000000"
_MOMENT = "2026-11-21T18:30:00Z"
_FORMATS = {"uuid": _ID, "date-time": _MOMENT, "date": "2026-12-21"}
_SMALLEST = {"integer": 1, "number": 1.0, "boolean": True, "string": "text", "null": None}

BY_NAME: dict[str, Any] = {
    "aggregate": "order",
    "action": "key.revoked",
    "actor": "key:01900000-0000-7000-8000-000000000000",
    "available_to_promise": 7,
    "body": "Your order 7K2M9QD is ready.",
    "cancelled_quantity": 0,
    "cart_token": "8ZK3W0V5N2QJ7R1C4XAYHM6TBD",
    "channel": "web",
    "city": "Ciudad de México",
    "code": "MX-ROMA",
    "country": "MX",
    "coupon_code": "HOLA10",
    "currency": "MXN",
    "department": "Ropa",
    "description": "Camisa de lino, manga larga.",
    "distance_km": 1.8,
    "documentation": "/docs",
    "email": "ana@example.com",
    "event": "pickup.ready",
    "fault": "TimeoutError",
    "fulfilled_quantity": 0,
    "gtin": "7501055300013",
    "health": "/health",
    "hint": "x7Qz",
    "id": "WzEsIjEwMDE6MTAwMToiLG51bGwsMF0",
    "item_code": "APP-01",
    "kind": "storefront",
    "latitude": 19.4326,
    "locale": "es",
    "longitude": -99.1332,
    "metrics": "/metrics",
    "name": "Camisa de lino",
    "number": "7K2M9QD",
    "on_hand": 9,
    "openapi": "/openapi.json",
    "order_number": "7K2M9QD",
    "order_token": "8ZK3W0V5N2QJ7R1C4XAYHM6TBD",
    "path": "/lines/0/quantity",
    "phone": "+525512345678",
    "pickup_code": "7K2M9Q",
    "postal_code": "06700",
    "price_zone": "MX",
    "provider_code": "card_declined",
    "quantity": 2,
    "reason": "available",
    "recipient": "ana@example.com",
    "region": "CDMX",
    "request_id": "5f0c1d9a2b7e48f3000000a1",
    "requests_per_minute": 6_000,
    "reserved": 2,
    "retry_after_seconds": 12,
    "returned_quantity": 0,
    "role": "associate",
    "safety_stock": 0,
    "secret": "mk_Zb3vQ...",
    "sku": "APP-01-01",
    "state": "placed",
    "street": "Av. Álvaro Obregón 99",
    "subject": "key:01900000-0000-7000-8000-000000000000",
    "template": "pickup_ready",
    "tender": "card",
    "time_zone": "America/Mexico_City",
    "type": "order.placed",
    "url": "https://shop.example/back",
}
"""What fields of these names hold, wherever they stand."""

_AMOUNTS = {
    "unit_price": 6_450,
    "subtotal": 12_900,
    "discount": 1_290,
    "tax": 1_601,
    "total": 11_610,
    "due": 11_610,
    "amount": 11_610,
    "authorized": 11_610,
    "captured": 0,
    "refunded": 0,
    "refund_pending": 0,
    "change": 390,
    "unit_refund": 5_805,
    "refund": 5_805,
}
"""Two units, ten percent off, sixteen percent tax included: an answer's amounts add up."""


def example_of(
    schema: Schema, components: dict[str, Schema], *, name: str = "", sent: bool = False
) -> Any:
    """An example; `name` is that of the field, `sent` is for what clients send."""
    if schema.get("$ref", "").endswith("/Money") and name in _AMOUNTS and not sent:
        return {"amount_minor": _AMOUNTS[name], "currency": BY_NAME["currency"]}
    if "$ref" in schema:
        schema = components[schema["$ref"].rpartition("/")[2]]
    if "contentSchema" in schema:
        return json.dumps(example_of(schema["contentSchema"], components))
    written = _written(schema, name)
    if written is not None:
        return written
    if "allOf" in schema:
        parts = [example_of(each, components, sent=sent) for each in schema["allOf"]]
        return {key: value for part in parts for key, value in part.items()}
    either = schema.get("anyOf") or schema.get("oneOf")
    if either:
        return _chosen(either, components, name, sent)
    return _of_its_type(schema, components, name, sent)


def _written(schema: Schema, name: str) -> Any:
    """What the schema says itself; None when it says nothing."""
    if "examples" in schema:
        return schema["examples"][0]
    if "enum" in schema:
        known = BY_NAME.get(name)
        return known if known in schema["enum"] else schema["enum"][0]
    return schema.get("const", schema.get("default"))


def has_own_example(schema: Schema, components: dict[str, Schema]) -> bool:
    """Whether somebody wrote an example for this field."""
    if "examples" in schema:
        return True
    return any(has_own_example(each, components) for each in schema.get("anyOf", ()))


def _chosen(either: list[Schema], components: dict[str, Schema], name: str, sent: bool) -> Any:
    """Null where a field may be null and nobody knows an example for it."""
    nullable = {"type": "null"} in either
    others = [each for each in either if each != {"type": "null"}]
    known = any(has_own_example(each, components) for each in others)
    if nullable and not known and (sent or name not in BY_NAME):
        return None
    return example_of(others[0], components, name=name, sent=sent)


def _of_its_type(schema: Schema, components: dict[str, Schema], name: str, sent: bool) -> Any:
    kind = schema.get("type", "string")
    if kind == "object":
        return _object(schema, components, sent)
    if kind == "array":
        return [example_of(schema["items"], components, name=_one_of(name), sent=sent)]
    if schema.get("format") in _FORMATS:
        return _FORMATS[schema["format"]]
    known = BY_NAME.get(name)
    if known is not None and isinstance(known, str) == (kind == "string"):
        return known
    return schema.get("minimum", _SMALLEST[kind])


def _object(schema: Schema, components: dict[str, Schema], sent: bool) -> Schema:
    properties = schema.get("properties", {})
    if not properties and isinstance(schema.get("additionalProperties"), dict):
        return {"mon": example_of(schema["additionalProperties"], components, sent=sent)}
    required = schema.get("required", ())
    return {
        name: example_of(part, components, name=name, sent=sent)
        for name, part in properties.items()
        if not sent or name in required or has_own_example(part, components)
    }


def _one_of(name: str) -> str:
    """The name of one of many: `skus` holds what `sku` holds."""
    return re.sub(r"s$", "", name)
