"""The OpenAPI document, made from what the routes are: their types, guards and declarations.

Types come from msgspec's own JSON schema, so that what is described is what is decoded. Answers of
refusal come from `raises(...)` on the route and from what every route of its kind may refuse, with
the status of `api/problems.py`; each code has a schema with its own fields. Examples are put
together from those of the fields, so that no example says what its schema does not.
"""

from api.openapi.operations import document

__all__ = ["document"]
