"""Signing in with an external issuer's token: only genuine ones, only verified addresses join."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from importlib import import_module
from typing import Any
from uuid import uuid4

import httpx
import jwt
import pytest

from api.app import ROUTES
from api.middleware import Edge
from api.services import Services
from commerce.customers import Issuer, IssuerUnavailable, TokenRefused
from tests.api.conftest import MakeKey, client
from tests.issuer import AUDIENCE, FakeIssuer
from tests.persons import make_shopper, merge
from tests.simulation.story import Moment

Start = Callable[..., AbstractAsyncContextManager[Edge]]


@pytest.fixture(scope="module")
def issuer() -> Iterator[FakeIssuer]:
    with FakeIssuer() as running:
        running.add("ec-1", "ES256")
        yield running


@pytest.fixture(scope="module")
async def shop(
    issuer: FakeIssuer, start: Start, make_key: MakeKey
) -> AsyncIterator[httpx.AsyncClient]:
    """A web shop whose shoppers sign in with the issuer."""
    modules = [import_module(name) for name in ROUTES]
    key = await make_key("storefront")
    async with start(modules, **issuer.settings) as edge, client(edge, key) as made:
        yield made


async def sign_in(http: httpx.AsyncClient, token: str, **brought: Any) -> httpx.Response:
    return await http.post("/v1/sessions/external", json={"token": token, **brought})


async def profile(http: httpx.AsyncClient, started: httpx.Response) -> Any:
    assert started.status_code == 201, started.text
    bearer = {"Authorization": f"Bearer {started.json()['secret']}"}
    return (await http.get("/v1/profile", headers=bearer)).json()


@pytest.mark.parametrize("key", ["rsa-1", "ec-1"])
async def test_an_identity_is_one_shopper_whatever_its_address_says(
    shop: httpx.AsyncClient, issuer: FakeIssuer, key: str
) -> None:
    subject, email = uuid4().hex, f"{uuid4().hex}@example.com"
    first = await sign_in(
        shop, issuer.token(subject, key=key, email=email.upper(), email_verified=True)
    )
    known = await profile(shop, first)
    assert known["emails"] == [email]
    again = await sign_in(shop, issuer.token(subject, key=key, email="other@example.com"))
    assert await profile(shop, again) == known
    assert again.json()["secret"] != first.json()["secret"]
    other = await sign_in(shop, issuer.token(uuid4().hex, key=key))
    assert (await profile(shop, other))["id"] != known["id"]


async def test_a_verified_address_joins_who_has_it_and_an_unverified_one_nobody(
    shop: httpx.AsyncClient, issuer: FakeIssuer, services: Services
) -> None:
    db = services.database
    ana, root = await make_shopper(db), await make_shopper(db)
    for verified in (False, None, "true", 1):
        token = issuer.token(uuid4().hex, email=ana.email, email_verified=verified)
        stranger = await profile(shop, await sign_in(shop, token))
        assert stranger["id"] != str(ana.id)
        assert stranger["emails"] == []
    subject = uuid4().hex
    token = issuer.token(subject, email=ana.email, email_verified=True)
    assert (await profile(shop, await sign_in(shop, token)))["id"] == str(ana.id)
    await merge(db, ana.id, root.id)
    joined = await sign_in(shop, issuer.token(subject))
    assert joined.json()["shopper"]["id"] == str(root.id)
    stored = await db.pool.fetch(
        "SELECT subject_hash FROM shopper_identity WHERE shopper_id = $1", ana.id
    )
    assert [row["subject_hash"] for row in stored] == [
        hashlib.sha256(f"{issuer.url}\0{subject}".encode()).digest()
    ]


async def test_a_cart_and_a_trail_come_along(shop: httpx.AsyncClient, issuer: FakeIssuer) -> None:
    made = await shop.post("/v1/carts", json={}, headers={"Idempotency-Key": uuid4().hex})
    cart, token = made.json()["cart"], made.json()["cart_token"]
    subject = uuid4().hex
    brought = {"visitor_id": str(uuid4()), "cart_id": cart["id"], "cart_token": token}
    first = await sign_in(shop, issuer.token(subject), **brought)
    assert first.json()["cart_id"] == cart["id"]
    bearer = {"Authorization": f"Bearer {first.json()['secret']}"}
    assert (await shop.get(f"/v1/carts/{cart['id']}", headers=bearer)).status_code == 200
    wrong = brought | {"cart_token": "x" * 26}
    other = await sign_in(shop, issuer.token(uuid4().hex), **wrong)
    assert (other.status_code, other.json()["cart_id"]) == (201, None)


def signed(head: dict[str, Any], claims: dict[str, Any], secret: bytes) -> str:
    """A token by hand, with a key that is none."""
    parts = [
        base64.urlsafe_b64encode(json.dumps(each).encode()).rstrip(b"=") for each in (head, claims)
    ]
    body = b".".join(parts)
    mac = hmac.digest(secret, body, "sha256") if secret else b""
    return (body + b"." + base64.urlsafe_b64encode(mac).rstrip(b"=")).decode()


async def test_what_is_not_genuine_signs_nobody_in(
    shop: httpx.AsyncClient, issuer: FakeIssuer
) -> None:
    now = int(time.time())
    good = {"iss": issuer.url, "aud": AUDIENCE, "sub": "ana", "iat": now, "exp": now + 300}
    token = issuer.token("ana")
    head, body, signature = token.split(".")
    other = issuer.token("luz").split(".")
    public = issuer.private("rsa-1").public_key()
    forged = {
        "other issuer": issuer.token("ana", iss="https://evil.example"),
        "other audience": issuer.token("ana", aud="somebody else"),
        "over": issuer.token("ana", exp=now - 60),
        "from the future": issuer.token("ana", iat=now + 600),
        "not yet": issuer.token("ana", nbf=now + 600),
        "without end": issuer.token("ana", exp=None),
        "endless": issuer.token("ana", exp="never"),
        "without subject": issuer.token("ana", sub=None),
        "empty subject": issuer.token(""),
        "endless subject": issuer.token("x" * 300),
        "other body": f"{head}.{other[1]}.{signature}",
        "no signature": f"{head}.{body}.",
        "none": signed({"alg": "none", "kid": "rsa-1"}, good, b""),
        "a public key as a secret": signed(
            {"alg": "HS256", "kid": "rsa-1"}, good, str(public.public_numbers().n).encode()
        ),
        "no key": jwt.encode(good, issuer.private("rsa-1"), algorithm="RS256"),
        "other algorithm": jwt.encode(
            good, issuer.private("rsa-1"), algorithm="RS512", headers={"kid": "rsa-1"}
        ),
        "no token": "ana",
        "odd": "a.b.c",
    }
    for why, given in forged.items():
        refused = await sign_in(shop, given)
        assert (refused.status_code, refused.json()["code"]) == (401, "token_refused"), why
    assert (await sign_in(shop, token)).status_code == 201


async def test_without_an_issuer_or_its_keys_nobody_is_let_in(
    storefront: httpx.AsyncClient, issuer: FakeIssuer, start: Start, make_key: MakeKey
) -> None:
    off = await sign_in(storefront, issuer.token("ana"))
    assert (off.status_code, off.json()["code"]) == (404, "external_sign_in_off")
    modules = [import_module(name) for name in ROUTES]
    away = {**issuer.settings, "oidc_jwks_url": "http://127.0.0.1:9/jwks"}
    async with start(modules, **away) as edge, client(edge, await make_key("storefront")) as http:
        refused = await sign_in(http, issuer.token("ana"))
    assert (refused.status_code, refused.json()["code"]) == (503, "issuer_unavailable")


async def test_keys_are_kept_and_asked_for_anew_at_most_once_a_minute() -> None:
    with FakeIssuer() as fresh:
        clock = Moment()
        known = Issuer(issuer=fresh.url, audience=AUDIENCE, jwks_url=f"{fresh.url}/jwks", now=clock)

        def token(key: str = "rsa-1") -> str:
            now = int(clock().timestamp())
            return fresh.token("ana", key=key, iat=now, exp=now + 300)

        for _ in range(3):
            assert (await known.verify(token())).subject == "ana"
        assert fresh.asked == 1
        fresh.add("rsa-2", "RS256")
        for _ in range(3):
            with pytest.raises(TokenRefused):
                await known.verify(token("rsa-2"))
        assert fresh.asked == 1
        clock.pass_by(minutes=1)
        assert (await known.verify(token("rsa-2"))).subject == "ana"
        assert fresh.asked == 2
        fresh.answer = (500, b"down")
        clock.pass_by(hours=2)
        assert (await known.verify(token())).subject == "ana"
        assert fresh.asked == 3
        for broken in ((200, b"not json"), (200, b" " * 300_000), (404, b"")):
            fresh.answer = broken
            clock.pass_by(minutes=2)
            assert (await known.verify(token())).subject == "ana"
        clock.pass_by(days=1)
        with pytest.raises(IssuerUnavailable):
            await known.verify(token())
        fresh.answer = None
        clock.pass_by(minutes=2)
        assert (await known.verify(token())).subject == "ana"
        await known.close()
