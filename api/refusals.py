"""Refusals of the edge itself: requests that never reach a verb."""

from commerce.kernel.errors import CommerceError, NotFound


class KeyMissing(CommerceError):
    """The request names no key."""

    code = "api_key_missing"


class MalformedBody(CommerceError):
    """The body is not JSON."""

    code = "malformed_body"
    reason: str


class InvalidRequest(CommerceError):
    """A field or parameter is missing, unknown, or not of its type. `path` says which.

    A JSON pointer into the body (`/lines/0/quantity`), `?name` for a query parameter, `{name}` for
    a part of the address, or the name of a header.
    """

    code = "invalid_request"
    path: str
    reason: str


class BodyTooLarge(CommerceError):
    """The body is larger than any request needs."""

    code = "body_too_large"
    limit_bytes: int


class NothingHere(NotFound):
    """No route has this address; or a part of it is not an id."""

    kind: str = "address"
    id: str = ""


class MethodNotAllowed(CommerceError):
    """The address exists, but not for this method."""

    code = "method_not_allowed"


class RateLimited(CommerceError):
    """This key, or this address, has used up its requests of the minute."""

    code = "rate_limited"
    retry_after_seconds: int


class OriginNotAllowed(CommerceError):
    """No key may be used by scripts of this web origin."""

    code = "origin_not_allowed"


class IdempotencyKeyMissing(CommerceError):
    """A command without a key cannot be repeated safely, so it is not taken."""

    code = "idempotency_key_missing"


class InternalError(CommerceError):
    """A fault of ours. It is in the log under the request's id."""

    code = "internal_error"
