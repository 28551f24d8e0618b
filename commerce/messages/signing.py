"""Signatures between us and carriers, in both directions: `t=<unix seconds>,v1=<hex>`.

HMAC-SHA256 over `<t>.<body>` with the secret that both know, as payment providers sign theirs. The
moment is signed too, so what was overheard is worth nothing later.
"""

import hmac
from datetime import datetime, timedelta

from commerce.kernel.errors import CommerceError

HEADER = "mostrador-signature"
TOLERANCE = timedelta(minutes=5)


class CallbackRefused(CommerceError):
    """The signature is missing, wrong or too old, or no secret is configured."""

    code = "callback_refused"
    reason: str


def sign(secret: str, body: bytes, at: datetime) -> str:
    """The header's value for a body."""
    seconds = int(at.timestamp())
    return f"t={seconds},v1={_digest(secret, seconds, body)}"


def verify(secret: str, header: str, body: bytes, now: datetime) -> None:
    """Raises `CallbackRefused` for a body that who knows the secret did not sign just now."""
    if not secret:
        raise CallbackRefused(reason="CARRIER_SECRET is not set here")
    parts = dict(part.split("=", 1) for part in header.split(",") if "=" in part)
    moment, given = parts.get("t", ""), parts.get("v1", "")
    if not (moment.isascii() and moment.isdigit() and len(moment) <= len("9999999999")):
        raise CallbackRefused(reason=f"no timestamp in {HEADER}")
    if not hmac.compare_digest(given.encode(), _digest(secret, int(moment), body).encode()):
        raise CallbackRefused(reason="the signature is not of this body and secret")
    if abs(now.timestamp() - int(moment)) > TOLERANCE.total_seconds():
        raise CallbackRefused(reason="signed more than five minutes ago, or ahead")


def _digest(secret: str, seconds: int, body: bytes) -> str:
    return hmac.new(secret.encode(), b"%d." % seconds + body, "sha256").hexdigest()
