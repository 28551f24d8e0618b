"""The preference centre and one-click unsubscribing: links that open one person's settings."""

import re
from uuid import UUID

import httpx
import pytest

from api.preferences import CHANGES_PER_MINUTE
from api.services import Services
from commerce import consents, customers
from commerce.consents import Consents, Decision
from commerce.kernel import clock, ids
from commerce.messages import Link, Links, links

FORM = {"content-type": "application/x-www-form-urlencoded"}


class Ana:
    """A shopper who allows follow-ups and marketing by mail."""

    def __init__(self, services: Services, shopper_id: UUID) -> None:
        self._services = services
        self.id = shopper_id
        self.links = Links(services.secret, "")
        self.link = Link(shopper_id, "marketing", "email")

    async def consents(self) -> Consents:
        """What she allows now."""
        async with self._services.database.reading() as conn:
            return await consents.of(conn, [self.id])


async def shopper(services: Services, locale: customers.Locale = "es") -> Ana:
    now = clock.now()
    email = f"ana-{ids.uuid7().hex}@example.com"
    granted = [Decision(each, granted=True, channel="email") for each in ("follow_up", "marketing")]
    async with services.database.transaction() as conn:
        row = await customers.put_shopper(conn, email=email, phone=None, locale=locale, now=now)
        await consents.decide(conn, row.id, granted, "profile", "test", now)
    return Ana(services, row.id)


@pytest.fixture
async def ana(services: Services) -> Ana:
    return await shopper(services)


def ticked(page: str) -> set[str]:
    """The boxes of a page that are ticked."""
    return set(re.findall(r'name="allowed" value="([a-z_.]+)" checked', page))


def shown(page: str) -> set[str]:
    return set(re.findall(r'name="shown" value="([a-z_.]+)"', page))


async def test_the_page_shows_what_is_allowed_and_nothing_about_the_person(
    http: httpx.AsyncClient, services: Services, ana: Ana
) -> None:
    for path in (ana.links.preferences(ana.link), ana.links.unsubscribe(ana.link)):
        answer = await http.get(path)
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert shown(answer.text) == ticked(answer.text) == {"follow_up.email", "marketing.email"}
        assert "Novedades y ofertas" in answer.text
        assert "<script" not in answer.text
        assert "example.com" not in answer.text
        assert str(ana.id) not in answer.text
    assert (await ana.consents()).allows("marketing", "email"), "to look changes nothing"
    english = await shopper(services, "en")
    answer = await http.get(english.links.preferences(english.link))
    assert "News and offers" in answer.text


async def test_the_form_decides_what_it_shows_with_its_source_and_may_come_twice(
    http: httpx.AsyncClient, ana: Ana
) -> None:
    form = "shown=follow_up.email&shown=marketing.email&allowed=follow_up.email&preferred=email"
    for _ in range(2):
        answer = await http.post(ana.links.preferences(ana.link), content=form, headers=FORM)
        assert answer.status_code == 200
        assert ticked(answer.text) == {"follow_up.email"}
        assert '<option value="email" selected>' in answer.text
        assert "Guardado." in answer.text
    held = await ana.consents()
    kept = held.decision("marketing", "email")
    assert kept is not None
    assert (kept.granted, kept.source) == (False, "preference_centre")
    assert held.allows("follow_up", "email")
    assert held.decision("marketing", "sms") is None


async def test_the_button_for_everything_ends_every_permission_to_write(
    http: httpx.AsyncClient, ana: Ana
) -> None:
    answer = await http.post(ana.links.preferences(ana.link), content="everything=1", headers=FORM)
    assert answer.status_code == 200
    held = await ana.consents()
    assert not held.allows("marketing")
    assert not held.allows("follow_up")


async def test_one_click_ends_the_kind_of_message_that_it_came_with(
    http: httpx.AsyncClient, ana: Ana
) -> None:
    for _ in range(2):
        answer = await http.post(
            ana.links.unsubscribe(ana.link), content="List-Unsubscribe=One-Click", headers=FORM
        )
        assert (answer.status_code, answer.content) == (204, b"")
    held = await ana.consents()
    kept = held.decision("marketing", "email")
    assert kept is not None
    assert (kept.granted, kept.source) == (False, "unsubscribe")
    assert held.allows("follow_up", "email")


def cut(token: str) -> str:
    return token[:-1]


def other_person(token: str) -> str:
    return ("B" if token[0] == "A" else "A") + token[1:]


def not_ours(_: str) -> str:
    return links.token(b"another secret", Link(ids.uuid7(), "marketing", "email"))


def nonsense(_: str) -> str:
    return "ñ%00"


@pytest.mark.parametrize("forge", [cut, other_person, not_ours, nonsense])
async def test_forged_links_and_those_of_nobody_get_one_same_answer(
    http: httpx.AsyncClient, services: Services, ana: Ana, forge: object
) -> None:
    assert callable(forge)
    token = links.token(services.secret, ana.link)
    nobody = links.token(services.secret, Link(ids.uuid7(), "marketing", "email"))
    answers = []
    for bad in (forge(token), nobody):
        for method, path in (
            ("GET", "preferences"), ("POST", "preferences"), ("GET", "unsubscribe"),
            ("POST", "unsubscribe"),
        ):  # fmt: skip
            answer = await http.request(method, f"/{path}/{bad}", headers=FORM)
            problem = answer.json()
            problem.pop("request_id", None)
            problem.pop("instance", None)
            answers.append((answer.status_code, problem))
    assert all(each == answers[0] for each in answers)
    assert (answers[0][0], answers[0][1]["code"]) == (404, "link_invalid")
    assert (await ana.consents()).allows("marketing", "email")


async def test_a_form_that_is_none_is_refused_and_changes_nothing(
    http: httpx.AsyncClient, ana: Ana
) -> None:
    url = ana.links.preferences(ana.link)
    answer = await http.post(url, content="a=1&" * 50, headers=FORM)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_request")
    answer = await http.post(url, content="a" * 5_000, headers=FORM)
    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")
    assert (await ana.consents()).allows("marketing", "email")


async def test_who_changes_too_often_waits(http: httpx.AsyncClient, ana: Ana) -> None:
    url = ana.links.unsubscribe(ana.link)
    answers = [await http.post(url) for _ in range(CHANGES_PER_MINUTE + 1)]
    late = [each for each in answers if each.status_code == 429]
    assert late, "the limit is a minute's; a new minute may have begun between"
    assert late[0].json()["code"] == "rate_limited"
