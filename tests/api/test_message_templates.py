"""The retailer's own texts: tried before they are kept, used from then on, and taken back."""

from typing import Any
from uuid import uuid4

import httpx
import pytest

from api.services import Services
from commerce import messages
from commerce.kernel import ids
from commerce.kernel.sql import Database
from commerce.messages import SAMPLES, NewMessage, Outcome
from commerce.messages.writing import Address

ADDRESS = "/v1/backoffice/message-templates/refund_made/{channel}/es"
LINES = {"name": "Ana <b>", "number": "7K3M9QX", "total": "$2", "amount": "$1", "tender": "card"}


@pytest.fixture
def db(services: Services) -> Database:
    return services.database


async def said(db: Database, services: Services, **changed: Any) -> Any:
    """A message of the template, by mail in Spanish, as it was written."""
    new = NewMessage(
        template="refund_made", parameters=LINES | changed, reason=ids.uuid7(),
        address=Address("email", f"{uuid4().hex}@example.com", "es"),
    )  # fmt: skip
    async with db.transaction() as conn:
        (outcome,) = await messages.write(conn, [new], services.now())
    assert isinstance(outcome, Outcome)
    return await db.pool.fetchrow(
        "SELECT subject, body, html FROM message WHERE id = $1", outcome.id
    )


async def test_an_own_text_is_used_until_it_is_removed(
    back_office: httpx.AsyncClient, db: Database, services: Services
) -> None:
    url = ADDRESS.format(channel="email")
    text = {
        "subject": "Te devolvimos {{ amount }}",
        "body": "Hola {{ name|upper }}.{% if tender == 'card' %} Espera unos días.{% endif %}",
        "html": "<p>Hola {{ name }}</p>",
    }
    put = await back_office.put(url, json=text)
    assert put.status_code == 200, put.text
    listed = (await back_office.get("/v1/backoffice/message-templates")).json()["templates"]
    (mine,) = [each for each in listed if each["template"] == "refund_made"]
    assert mine["parameters"] == sorted(SAMPLES["refund_made"])
    assert [each["body"] for each in mine["own_texts"]] == [text["body"]]
    kept = await said(db, services)
    assert tuple(kept) == (
        "Te devolvimos $1",
        "Hola ANA <B>. Espera unos días.",
        "<p>Hola Ana &lt;b&gt;</p>",
    )
    gone = await back_office.delete(url)
    assert gone.status_code == 204
    assert (await said(db, services))["subject"] == "El reembolso de tu pedido 7K3M9QX"
    again = await back_office.delete(url)
    assert (again.status_code, again.json()["code"]) == (404, "not_found")
    record = await back_office.get("/v1/backoffice/staff-record", params={"limit": 2})
    assert [each["action"] for each in record.json()["items"]] == [
        "message_template.removed", "message_template.changed",
    ]  # fmt: skip


async def test_a_text_that_does_not_fit_what_is_given_gives_way_to_the_products(
    back_office: httpx.AsyncClient, db: Database, services: Services
) -> None:
    url = ADDRESS.format(channel="email")
    await back_office.put(url, json={"subject": "x", "body": "{{ tender|first|upper }}"})
    try:
        assert (await said(db, services))["body"] == "C"
        assert (await said(db, services, tender=None))["subject"].startswith("El reembolso")
    finally:
        await back_office.delete(url)


@pytest.mark.parametrize(
    "body",
    [
        "{% set a = 'xxxxxxxx' %}" + "{% set a = a ~ a %}" * 900,
        "{% set a = 'xxxxxxxx' %}" + "{% set a = a + a %}" * 900,
        "{% set a = 'x' %}" + "{% set a = [a, a] %}" * 900 + "{{ a }}",
        "{% set a %}xxxxxxxx{% endset %}" + "{% set a %}{{ a }}{{ a }}{% endset %}" * 400,
        "{% set a = 'xxxxxxxx' %}" + "{% set a = a|join(a) %}" * 500,
        "{% macro a() %}{{ a() }}{{ a() }}{% endmacro %}{{ a() }}",
        "{{ '{:>9999999999}'.format('x') }}",
        "{{ name.ljust(9999999999) }}",
        "{% for a in 'x' %}" * 500 + "{% endfor %}" * 500,
        "{% if name %}" * 150 + "x" + "{% endif %}" * 150,
        "{% set a = name %}{% for b in a %}{% endfor %}",
    ],
)
async def test_a_short_text_that_would_become_a_huge_one_is_refused_unsaid(
    back_office: httpx.AsyncClient, body: str
) -> None:
    url = ADDRESS.format(channel="email")
    answer = await back_office.put(url, json={"subject": "x", "body": body})
    assert (answer.status_code, answer.json()["code"]) == (422, "template_invalid")


async def test_a_given_list_is_gone_through_once(back_office: httpx.AsyncClient) -> None:
    url = ADDRESS.format(channel="email").replace("refund_made", "erasure_requested") + "/preview"
    text = {
        "subject": "{{ numbers|join(', ') }}",
        "body": "{% for each in numbers %}{{ loop.index }}: {{ each }}{% endfor %}",
    }
    answer = await back_office.post(url, json=text)
    assert (answer.json()["subject"], answer.json()["body"]) == ("7K3M9QX", "1: 7K3M9QX")
    twice = {"body": "{% for a in numbers %}{% for b in numbers %}{% endfor %}{% endfor %}"}
    answer = await back_office.post(url, json=text | twice)
    assert answer.json()["reason"] == "A list is gone through for each part of another"


@pytest.mark.parametrize(
    ("channel", "text", "part", "line", "reason"),
    [
        ("sms", {"body": "Hola\n{{ nombre }}"}, "body", 2, "nombre is not one of amount, "),
        ("sms", {"body": "a\n\n{% if %}"}, "body", 3, "Expected an expression"),
        ("sms", {"body": "{{ number }"}, "body", 1, "unexpected '}'"),
        ("sms", {"body": "\n{{ name.age }}"}, "body", 2, "has no attribute 'age'"),
        ("sms", {"body": "{{ name.__class__ }}"}, "body", 1, "unsafe"),
        ("sms", {"body": "{{ 'x' * 9999999 }}"}, "body", 1, "Mul is not for texts"),
        ("sms", {"body": "{% include 'place.txt' %}"}, "body", 1, "Include is not for texts"),
        ("sms", {"body": "{% for i in range(9) %}x{% endfor %}"}, "body", 1, "range is not one"),
        ("sms", {"body": "x" * 460}, "body", 1, "460 characters with the examples; at most 459"),
        ("sms", {"body": "x", "subject": "x"}, "subject", 1, "sms has no subject"),
        ("push", {"body": "x", "subject": "x", "html": "x"}, "html", 1, "push has no HTML"),
        ("email", {"body": "x"}, "subject", 1, "says nothing"),
        ("email", {"body": "x", "subject": "x", "html": "a\n{{ b }}"}, "html", 2, "b is not one"),
    ],
)
async def test_a_text_that_cannot_be_said_is_refused_with_its_line(
    back_office: httpx.AsyncClient, channel: str, text: dict[str, str], part: str, line: int,
    reason: str,
) -> None:  # fmt: skip
    url = ADDRESS.format(channel=channel)
    for answer in (
        await back_office.put(url, json=text),
        await back_office.post(f"{url}/preview", json=text),
    ):
        assert answer.status_code == 422, answer.text
        problem = answer.json()
        assert (problem["code"], problem["part"], problem["line"]) == (
            "template_invalid", part, line,
        ), problem  # fmt: skip
        assert reason in problem["reason"]
    listed = (await back_office.get("/v1/backoffice/message-templates")).json()["templates"]
    assert [each["own_texts"] for each in listed if each["template"] == "refund_made"] == [[]]


async def test_a_preview_shows_the_text_with_examples_and_keeps_nothing(
    back_office: httpx.AsyncClient,
) -> None:
    url = ADDRESS.format(channel="email") + "/preview"
    text = {"subject": "{{ number }}", "body": "{{ amount }}", "html": "<b>{{ name }}</b>"}
    answer = await back_office.post(url, json=text)
    assert answer.json() == {"subject": "7K3M9QX", "body": "$45.00", "html": "<b>Ana</b>"}
    unknown = url.replace("refund_made", "birthday")
    for answer in (
        await back_office.post(unknown, json=text),
        await back_office.put(unknown.removesuffix("/preview"), json=text),
    ):
        assert (answer.status_code, answer.json()["code"]) == (422, "unknown_template")
