"""A tablet follows an open view: told of changes, and of the end, at once."""

import httpx
import pytest

from api.middleware import Edge
from api.services import Services
from commerce.kernel.sql import Database
from tests.feeds import FeedClient
from tests.looking import BROWSING, PERSONAL, Known, known, merged, signed_in_again, viewed
from tests.shop import Shop, make_shop
from tests.tablet import Tablet, sign_in, told


@pytest.fixture(scope="module")
def db(services: Services) -> Database:
    return services.database


@pytest.fixture(scope="module")
async def shop(db: Database) -> Shop:
    return await make_shop(db, skus=0)


@pytest.fixture
async def eva(http: httpx.AsyncClient, services: Services, shop: Shop) -> Tablet:
    """An associate of the first store."""
    return await sign_in(http, services, shop)


@pytest.fixture
async def ana(http: httpx.AsyncClient, services: Services) -> Known:
    return await known(http, services, PERSONAL, BROWSING)


def following(edge: Edge, tablet: Tablet, view_id: str) -> FeedClient:
    return FeedClient(edge, f"/v1/store/shopper-views/{view_id}/feed", tablet.headers)


async def test_what_the_shopper_withdraws_changes_the_view_and_says_so(
    edge: Edge, eva: Tablet, ana: Known
) -> None:
    view = await viewed(eva, ana)
    async with following(edge, eva, view["id"]) as feed:
        assert (await feed.next()).kind == "open"
        await ana.decides(browsing_insight=False)
        changed = await feed.next()
        assert (changed.kind, changed.data) == (
            "view.changed", {"view_id": view["id"], "because": "consent.changed"},
        )  # fmt: skip
        less = (await eva.get(f"/shopper-views/{view['id']}")).json()
        assert less["shopper"]["browsing"] is None


async def test_the_end_of_consent_ends_the_stream(edge: Edge, eva: Tablet, ana: Known) -> None:
    view = await viewed(eva, ana)
    async with following(edge, eva, view["id"]) as feed:
        await feed.next()
        await ana.decides(personal_service=False)
        ended = await feed.until("view.ended")
        assert ended.data == {"view_id": view["id"], "because": "consent_withdrawn"}
        await feed.end()
    refused = await eva.get(f"/shopper-views/{view['id']}/feed")
    assert told(refused) == (410, "view_over")


async def test_the_consent_of_others_is_nothing_to_a_view(
    http: httpx.AsyncClient, services: Services, edge: Edge, eva: Tablet, ana: Known
) -> None:
    view, other = await viewed(eva, ana), await known(http, services, PERSONAL)
    async with following(edge, eva, view["id"]) as feed:
        await feed.next()
        await other.decides(personal_service=False)
        await ana.decides(browsing_insight=False)
        await feed.next()
        assert feed.body().count(b"view.") == 0


async def test_closing_on_another_tablet_ends_the_stream(
    edge: Edge, eva: Tablet, ana: Known
) -> None:
    view = await viewed(eva, ana)
    async with following(edge, eva, view["id"]) as feed:
        await feed.next()
        await eva.delete(f"/shopper-views/{view['id']}")
        assert (await feed.until("view.ended")).data["because"] == "closed"
        await feed.end()


@pytest.mark.parametrize("into", ["other", "this"])
async def test_a_merge_ends_the_stream(
    http: httpx.AsyncClient, services: Services, edge: Edge, eva: Tablet, ana: Known, into: str
) -> None:
    view, same = await viewed(eva, ana), await known(http, services)
    async with following(edge, eva, view["id"]) as feed:
        await feed.next()
        source, target = (ana.id, same.id) if into == "other" else (same.id, ana.id)
        await merged(services, source, target)
        assert (await feed.until("view.ended")).data["because"] == "merged"
        await feed.end()


async def test_signing_out_ends_the_stream(
    http: httpx.AsyncClient, edge: Edge, eva: Tablet, ana: Known
) -> None:
    view = await viewed(eva, ana)
    async with following(edge, eva, view["id"]) as feed:
        await feed.next()
        await http.delete("/v1/sessions/current", headers=eva.headers)
        assert (await feed.until("view.ended")).data["because"] == "session_ended"
        await feed.end()


async def test_another_session_of_the_associate_follows_nothing(
    services: Services, eva: Tablet, ana: Known
) -> None:
    view = await viewed(eva, ana)
    again = await signed_in_again(services, eva)
    refused = await again.get(f"/shopper-views/{view['id']}/feed")
    assert told(refused) == (410, "view_over")


async def test_a_feed_of_nothing_is_refused(eva: Tablet, shop: Shop) -> None:
    nothing = shop.stores[0].location_id
    assert told(await eva.get(f"/shopper-views/{nothing}/feed")) == (404, "not_found")
