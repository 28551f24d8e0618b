"""The external issuer whose tokens sign shoppers in: its keys, and whether a token is genuine.

Keys come from the issuer's JWKS address, are kept for an hour, and are fetched anew when a token
names one that is not known, at most once a minute, so that nobody can make us ask without end.
While the issuer is away, known keys go on for a day. No database here: all of this is done before
a transaction begins.
"""

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import msgspec

from commerce.customers.identities import Claims
from commerce.kernel.errors import CommerceError

if TYPE_CHECKING:
    import httpx

ALGORITHMS = ("RS256", "ES256")
KEYS_FRESH = timedelta(hours=1)
KEYS_KEPT = timedelta(days=1)
PAUSE = timedelta(minutes=1)
MAX_TOKEN_LENGTH = 8_000
_LEEWAY_SECONDS = 30
_MAX_KEYS = 50
_MAX_BYTES = 256_000
_TIMEOUT_SECONDS = 5.0
_MAX_SUBJECT_LENGTH = 255


class ExternalSignInOff(CommerceError):
    """This installation knows no external issuer."""

    code = "external_sign_in_off"


class TokenRefused(CommerceError):
    """The token is forged, over, or meant for somebody else. Get a new one from the issuer."""

    code = "token_refused"


class IssuerUnavailable(CommerceError):
    """The issuer's keys could not be fetched. Nothing was changed; try again after a moment."""

    code = "issuer_unavailable"
    retry_after_seconds: int = 60


class Issuer:
    """One per process. Close it when the process ends."""

    def __init__(
        self, *, issuer: str, audience: str, jwks_url: str, now: Callable[[], datetime]
    ) -> None:
        self._issuer = issuer
        self._audience = audience
        self._url = jwks_url
        self._now = now
        self._keys: dict[str, Any] = {}
        self._fetched_at: datetime | None = None
        self._tried_at: datetime | None = None
        self._fetching = asyncio.Lock()
        self._client: httpx.AsyncClient | None = None

    async def close(self) -> None:
        """Let go of the connection."""
        if self._client is not None:
            await self._client.aclose()

    async def verify(self, token: str) -> Claims:
        """What a token says, if it is genuine: signature, issuer, audience and time.

        Raises ExternalSignInOff, TokenRefused, IssuerUnavailable.
        """
        if not (self._issuer and self._audience and self._url):
            raise ExternalSignInOff
        import jwt  # 0.2 s: only who signs in with a token pays for it

        try:
            header = jwt.get_unverified_header(token)
        except jwt.InvalidTokenError:
            raise TokenRefused from None
        if header.get("alg") not in ALGORITHMS or not isinstance(header.get("kid"), str):
            raise TokenRefused
        key = await self._key(header["kid"])
        if key.algorithm_name != header["alg"]:
            raise TokenRefused
        try:
            told = jwt.decode(
                token,
                key,
                algorithms=[key.algorithm_name],
                audience=self._audience,
                issuer=self._issuer,
                options={
                    "require": ["exp", "iat", "sub"],
                    "verify_exp": False,
                    "verify_nbf": False,
                    "verify_iat": False,
                },
            )
        except jwt.InvalidTokenError:
            raise TokenRefused from None
        self._check_times(told)
        return _claims(self._issuer, told)

    def _check_times(self, told: dict[str, Any]) -> None:
        """By our clock, which is not always the system's."""
        moment = self._now().timestamp()
        exp, begins = told["exp"], (told["iat"], told.get("nbf", 0))
        if not all(isinstance(each, int | float) for each in (exp, *begins)):
            raise TokenRefused
        if exp <= moment - _LEEWAY_SECONDS or max(begins) > moment + _LEEWAY_SECONDS:
            raise TokenRefused

    async def _key(self, key_id: str) -> Any:
        """The issuer's key of this name. Raises TokenRefused, IssuerUnavailable."""
        async with self._fetching:
            if key_id not in self._keys or self._older_than(KEYS_FRESH):
                await self._fetch()
        if self._older_than(KEYS_KEPT):
            raise IssuerUnavailable
        if key_id not in self._keys:
            raise TokenRefused
        return self._keys[key_id]

    def _older_than(self, age: timedelta) -> bool:
        return self._fetched_at is None or self._now() - self._fetched_at >= age

    async def _fetch(self) -> None:
        """The keys as they are now, unless we have just asked; who does not answer changes none."""
        if self._tried_at is not None and self._now() - self._tried_at < PAUSE:
            return
        import httpx  # 0.1 s, as above

        self._tried_at = self._now()
        if self._client is None:
            self._client = httpx.AsyncClient(timeout=_TIMEOUT_SECONDS)
        try:
            async with (
                asyncio.timeout(_TIMEOUT_SECONDS),
                self._client.stream("GET", self._url) as answer,
            ):
                answer.raise_for_status()
                body = b""
                async for part in answer.aiter_bytes():
                    body += part
                    if len(body) > _MAX_BYTES:
                        return
            self._keys = _keys(body)
        except (httpx.HTTPError, TimeoutError, msgspec.MsgspecError):
            return
        self._fetched_at = self._now()


class _Jwks(msgspec.Struct, frozen=True):
    keys: list[dict[str, Any]]


def _keys(body: bytes) -> dict[str, Any]:
    """The keys that we can use, by name."""
    import jwt

    keys = {}
    for each in msgspec.json.decode(body, type=_Jwks).keys[:_MAX_KEYS]:
        algorithm = {"RSA": "RS256", "EC": "ES256"}.get(str(each.get("kty")))
        name = each.get("kid")
        if algorithm is None or not isinstance(name, str) or each.get("use", "sig") != "sig":
            continue
        try:
            keys[name] = jwt.PyJWK(each, algorithm)
        except (jwt.PyJWTError, TypeError, ValueError):
            continue  # one that we cannot read signs nothing for us
    return keys


def _claims(issuer: str, told: dict[str, Any]) -> Claims:
    subject, email = told["sub"], told.get("email")
    if not isinstance(subject, str) or not 0 < len(subject) <= _MAX_SUBJECT_LENGTH:
        raise TokenRefused
    verified = told.get("email_verified") is True and isinstance(email, str)
    return Claims(issuer, subject, email if verified else None)
