"""Client books and outreach over HTTP: who is in one, what may be written, what came of it."""

from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from api.services import Services
from commerce import outreach
from commerce.access import OPERATOR, put_associate
from commerce.kernel import events
from tests.looking import PERSONAL, Known, known, viewed
from tests.shop import Shop, make_shop
from tests.sold import sell
from tests.tablet import Tablet, sign_in, told


@pytest.fixture(scope="module")
async def shop(services: Services) -> Shop:
    return await make_shop(services.database)


@pytest.fixture
async def eva(http: httpx.AsyncClient, services: Services, shop: Shop) -> Tablet:
    return await sign_in(http, services, shop)


@pytest.fixture
async def manager(http: httpx.AsyncClient, services: Services, shop: Shop) -> Tablet:
    return await sign_in(http, services, shop, role="manager")


async def client(
    http: httpx.AsyncClient, services: Services, *writing: str, name: str = "Ana Torres"
) -> Known:
    """A shopper who allows personal service, and to be written to by mail for these purposes."""
    made = await known(http, services, PERSONAL, name=name)
    for purpose in writing:
        await decide(http, made, purpose, granted=True)
    return made


async def decide(http: httpx.AsyncClient, shopper: Known, purpose: str, *, granted: bool) -> None:
    channel = {} if purpose == PERSONAL else {"channel": "email"}
    decision = {"purpose": purpose, "granted": granted, **channel}
    answer = await http.put(
        "/v1/profile/consents", json={"decisions": [decision]}, headers=shopper.headers
    )
    assert answer.status_code == 200, answer.text


async def add(tablet: Tablet, shopper: Known) -> httpx.Response:
    view = await viewed(tablet, shopper)
    return await tablet.post(f"/shopper-views/{view['id']}/client-book-entry")


async def entry_of(tablet: Tablet, shopper: Known) -> str:
    answer = await add(tablet, shopper)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


async def write(tablet: Tablet, entry_id: str, **body: Any) -> httpx.Response:
    return await tablet.post(
        f"/client-book/{entry_id}/outreach", **{"template": "outreach_thanks", **body}
    )


async def listed(tablet: Tablet, path: str, **params: Any) -> list[dict[str, Any]]:
    answer = await tablet.get(path, **params)
    assert answer.status_code == 200, answer.text
    items: list[dict[str, Any]] = answer.json()["items"]
    return items


async def hear(services: Services, kind: str, aggregate_id: UUID) -> None:
    """Tell outreach of what happened, as its actor is told."""
    async with services.database.transaction() as conn:
        told_of = [e for e in await events.timeline(conn, aggregate_id) if e.type == kind]
        assert told_of
        await outreach.hear(conn, told_of, now=services.now())


async def test_a_client_comes_from_an_open_view_and_is_shown_without_address(
    http: httpx.AsyncClient, services: Services, eva: Tablet
) -> None:
    ana = await client(http, services, "follow_up")
    entry_id = await entry_of(eva, ana)
    assert await entry_of(eva, ana) == entry_id
    (shown,) = await listed(eva, "/client-book")
    assert (shown["id"], shown["name"], shown["channels"]) == (entry_id, "Ana Torres", ["email"])
    assert shown["last_contact_at"] is None
    assert shown["suggested_at"] == shown["added_at"]
    assert ana.email not in str(shown)
    assert ana.phone not in str(shown)


async def test_a_book_is_read_page_by_page(
    http: httpx.AsyncClient, services: Services, eva: Tablet
) -> None:
    entries = [await entry_of(eva, await client(http, services)) for _ in range(3)]
    first = (await eva.get("/client-book", limit=2)).json()
    rest = (await eva.get("/client-book", limit=2, cursor=first["next_cursor"])).json()
    assert [each["id"] for each in (*first["items"], *rest["items"])] == entries
    assert rest["next_cursor"] is None


async def test_nobody_without_consent_or_view_or_of_a_colleague_comes_in(
    http: httpx.AsyncClient, services: Services, shop: Shop, eva: Tablet
) -> None:
    silent = await known(http, services)
    assert told(await add(eva, silent)) == (403, "consent_missing")
    nothing = await eva.post(f"/shopper-views/{uuid4()}/client-book-entry")
    assert told(nothing) == (404, "not_found")
    ana = await client(http, services)
    view = await viewed(eva, ana)
    await eva.delete(f"/shopper-views/{view['id']}")
    closed = await eva.post(f"/shopper-views/{view['id']}/client-book-entry")
    assert told(closed) == (410, "view_over")
    await entry_of(eva, ana)
    colleague = await sign_in(http, services, shop)
    assert told(await add(colleague, ana)) == (409, "client_of_colleague")
    assert await listed(colleague, "/client-book") == []


async def test_whoever_withdraws_leaves_the_book_at_once(
    http: httpx.AsyncClient, services: Services, eva: Tablet
) -> None:
    ana = await client(http, services, "follow_up")
    entry_id = await entry_of(eva, ana)
    await decide(http, ana, PERSONAL, granted=False)
    assert await listed(eva, "/client-book") == []
    assert told(await write(eva, entry_id)) == (403, "consent_missing")
    await hear(services, "consent.changed", ana.id)
    assert told(await write(eva, entry_id)) == (404, "not_found")


async def test_outreach_goes_out_within_consent_and_cap(
    http: httpx.AsyncClient, services: Services, shop: Shop, eva: Tablet
) -> None:
    ana = await client(http, services, "follow_up")
    entry_id = await entry_of(eva, ana)
    suggestion = {"template": "outreach_suggestion", "sku": shop.skus[0].sku}
    assert told(await write(eva, entry_id, **suggestion)) == (403, "consent_missing")
    await decide(http, ana, "marketing", granted=True)
    sent = await write(eva, entry_id, **suggestion, line="Te espero el sábado")
    assert sent.status_code == 201, sent.text
    assert sent.json()["channel"] == "email"
    body = await services.database.pool.fetchval(
        "SELECT body FROM message WHERE reason = $1", UUID(sent.json()["id"])
    )
    assert "Te espero el sábado" in body
    assert f"Item {shop.skus[0].item_code}" in body
    assert (await write(eva, entry_id)).status_code == 201
    full = await write(eva, entry_id)
    assert told(full) == (409, "outreach_cap_reached")
    assert len(await listed(eva, "/outreach", entry_id=entry_id)) == 2


@pytest.mark.parametrize(
    ("body", "refusal"),
    [
        ({"template": "outreach_suggestion"}, (422, "invalid_field")),
        ({"sku": "ANY"}, (422, "invalid_field")),
        ({"template": "outreach_suggestion", "sku": "NO-SUCH"}, (404, "not_found")),
        ({"template": "order_placed"}, (400, "invalid_request")),
        ({"line": "x" * 201}, (400, "invalid_request")),
        ({"line": "two\nlines"}, (400, "invalid_request")),
    ],
)
async def test_outreach_that_makes_no_sense_is_refused(
    http: httpx.AsyncClient, services: Services, eva: Tablet, body: dict[str, str],
    refusal: tuple[int, str],
) -> None:  # fmt: skip
    ana = await client(http, services, "follow_up", "marketing")
    entry_id = await entry_of(eva, ana)
    assert told(await write(eva, entry_id, **body)) == refusal
    assert await listed(eva, "/outreach") == []


async def test_whoever_has_no_address_for_what_they_allow_is_unreachable(
    http: httpx.AsyncClient, services: Services, eva: Tablet
) -> None:
    ana = await client(http, services, "follow_up")
    entry_id = await entry_of(eva, ana)
    await services.database.pool.execute("UPDATE shopper SET email = NULL WHERE id = $1", ana.id)
    assert told(await write(eva, entry_id)) == (409, "shopper_unreachable")
    assert await listed(eva, "/outreach") == []


async def test_outreach_leads_to_a_visit_and_an_order_and_its_end_is_noted(
    http: httpx.AsyncClient, services: Services, shop: Shop, eva: Tablet, manager: Tablet
) -> None:
    ana = await client(http, services, "follow_up")
    entry_id = await entry_of(eva, ana)
    outreach_id = (await write(eva, entry_id)).json()["id"]
    (before,) = await listed(eva, "/outreach")
    assert (before["id"], before["stage"], before["order_id"]) == (outreach_id, "queued", None)
    view = await viewed(eva, ana)
    await hear(services, "shopper_view.opened", UUID(view["id"]))
    (visited,) = await listed(eva, "/outreach")
    assert visited["stage"] == "visited"
    bought = await sell(
        services.database, shop, (0, 1), total_minor=10_000, shopper_id=ana.id, at=services.now()
    )
    for _ in range(2):
        await hear(services, "order.placed", bought.id)
    note = {"outcome": "reply_later", "note": "After her holidays"}
    noted = await http.put(
        f"/v1/store/outreach/{outreach_id}/outcome", json=note, headers=eva.headers
    )
    assert noted.status_code == 200, noted.text
    (after,) = await listed(manager, "/outreach", associate_id=eva.associate_id)
    assert after == noted.json()
    assert (after["stage"], after["order_id"]) == ("bought", str(bought.id))
    assert (after["outcome"], after["note"]) == ("reply_later", "After her holidays")
    assert await listed(manager, "/outreach", outcome="not_interested") == []
    await ana.decides(personal_service=False)
    assert await listed(eva, "/outreach") == [after | {"note": None}]


async def test_what_others_wrote_is_not_ones_own(
    http: httpx.AsyncClient, services: Services, shop: Shop, eva: Tablet
) -> None:
    ana = await client(http, services, "follow_up")
    entry_id = await entry_of(eva, ana)
    outreach_id = (await write(eva, entry_id)).json()["id"]
    other = await sign_in(http, services, shop)
    assert await listed(other, "/outreach", associate_id=eva.associate_id) == []
    noted = await http.put(
        f"/v1/store/outreach/{outreach_id}/outcome",
        json={"outcome": "replied"},
        headers=other.headers,
    )
    assert told(noted) == (404, "not_found")
    assert told(await write(other, entry_id)) == (404, "not_found")
    assert told(await other.delete(f"/client-book/{entry_id}")) == (404, "not_found")
    assert (await eva.delete(f"/client-book/{entry_id}")).status_code == 204
    assert await listed(eva, "/client-book") == []


async def test_a_manager_passes_on_the_clients_of_who_has_left(
    http: httpx.AsyncClient, services: Services, shop: Shop, eva: Tablet, manager: Tablet
) -> None:
    ana = await client(http, services)
    entry_id = await entry_of(eva, ana)
    code = await services.database.pool.fetchval(
        "SELECT code FROM associate WHERE id = $1", UUID(eva.associate_id)
    )
    async with services.database.transaction() as conn:
        await put_associate(
            conn, OPERATOR, code=code, name="Eva", role="associate",
            location_ids=[shop.stores[0].location_id], active=False, now=services.now(),
        )  # fmt: skip
    (left,) = await listed(manager, "/clients", associate_id=eva.associate_id)
    assert (left["id"], left["associate_active"]) == (entry_id, False)
    heir = await sign_in(http, services, shop)
    where = f"/v1/store/clients/{entry_id}/associate"

    async def pass_on(to: str) -> httpx.Response:
        return await http.put(where, json={"associate_id": to}, headers=manager.headers)

    assert told(await pass_on(eva.associate_id)) == (404, "not_found")
    passed = await pass_on(heir.associate_id)
    assert passed.status_code == 200, passed.text
    assert [each["id"] for each in await listed(heir, "/client-book")] == [passed.json()["id"]]
    assert told(await pass_on(heir.associate_id)) == (404, "not_found")


async def test_the_clients_of_a_store_are_for_who_works_there(
    back_office: httpx.AsyncClient, manager: Tablet, services: Services
) -> None:
    assert told(await back_office.get("/v1/store/clients")) == (422, "invalid_field")
    other = await make_shop(services.database, stores=1)
    elsewhere = await manager.get("/clients", location_id=str(other.stores[0].location_id))
    assert told(elsewhere) == (403, "store_not_allowed")
