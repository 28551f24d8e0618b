"""Import files over HTTP: good lines kept, faults by line, repeats, limits, stores of others."""

from typing import Any

import httpx
import pytest

from api.backoffice.loading import MAX_FILE_BYTES
from api.services import Services
from commerce import importing
from commerce.importing import KINDS
from commerce.kernel.sql import Database
from tests.paging import all_of
from tests.shop import Shop, make_shop
from tests.tablet import sign_in, told

BASE = "/v1/backoffice/import"
STOCK = "location_code,sku,action,quantity,reason\n"
CSV = {"Content-Type": "text/csv; charset=utf-8"}


@pytest.fixture
async def shop(db: Database) -> Shop:
    """Two stores with ten of one SKU."""
    return await make_shop(db, skus=1)


async def load(client: httpx.AsyncClient, kind: str, text: str, **params: Any) -> httpx.Response:
    return await client.post(
        f"{BASE}/{kind}", content=text.encode(), params=params, headers={**client.headers, **CSV}
    )


async def on_hand(client: httpx.AsyncClient, shop: Shop, store: int = 0) -> int:
    location = shop.stores[store].location_id
    answer = await client.get(f"/v1/backoffice/stock/{location}/{shop.skus[0].sku}")
    found: int = answer.json()["on_hand"]
    return found


async def test_a_file_answers_line_by_line_and_counts_once(
    back_office: httpx.AsyncClient, shop: Shop
) -> None:
    at, sku = shop.stores[0].code, shop.skus[0].sku
    text = f"{STOCK}{at},{sku},receive,5,note\n{at},GONE,receive,1,note\n{at},{sku},count,x,note\n"
    checked = (await load(back_office, "stock", text, check="true")).json()
    assert (checked["loaded"], checked["refused"], checked["checked_only"]) == (1, 2, True)
    assert await on_hand(back_office, shop) == 10
    first = (await load(back_office, "stock", text)).json()
    assert first == {
        "kind": "stock", "checked_only": False, "loaded": 1, "loaded_before": 0,
        "first_loaded_at": None, "refused": 2,
        "faults": [
            {"line": 3, "code": "invalid_field", "field": "sku",
             "message": "sku GONE does not exist; load it first"},
            {"line": 4, "code": "invalid_value", "field": "quantity",
             "message": "quantity 'x' is not a whole number of units, at most one million"},
        ],
    }  # fmt: skip
    again = (await load(back_office, "stock", text)).json()
    assert (again["loaded"], again["loaded_before"], again["refused"]) == (0, 1, 2)
    assert again["first_loaded_at"] is not None
    assert await on_hand(back_office, shop) == 15
    named = (await load(back_office, "stock", text, reference="note 119")).json()
    assert (named["loaded"], await on_hand(back_office, shop)) == (1, 20)


async def test_json_lines_load_as_well(back_office: httpx.AsyncClient, shop: Shop) -> None:
    line = {"code": f"J-{shop.tag}", "rate_bp": 800}
    answer = await back_office.post(
        f"{BASE}/tax_zones",
        content=f'{{"code":"{line["code"]}","rate_bp":800}}\n',
        headers={**back_office.headers, "Content-Type": "application/x-ndjson"},
    )
    assert answer.json()["loaded"] == 1
    assert line in await all_of(back_office, "/v1/backoffice/tax-zones")


async def test_a_manager_loads_stock_of_the_own_store_only(
    http: httpx.AsyncClient, services: Services, back_office: httpx.AsyncClient, shop: Shop
) -> None:
    manager = await sign_in(http, services, shop, role="manager")
    lines = [f"{store.code},{shop.skus[0].sku},receive,5,note\n" for store in shop.stores]
    headers = manager.headers | CSV
    text = STOCK + "".join(lines)
    answer = await http.post(f"{BASE}/stock", content=text, headers=headers)
    told_of = answer.json()
    assert (told_of["loaded"], told_of["refused"]) == (1, 1)
    assert (told_of["faults"][0]["line"], told_of["faults"][0]["field"]) == (3, "location_code")
    assert [await on_hand(back_office, shop, store) for store in (0, 1)] == [15, 10]
    for kind in ("prices", "associates"):
        refused = await http.post(f"{BASE}/{kind}", content=b"", headers=headers)
        assert told(refused) == (403, "permission_denied")


async def test_only_the_first_hundred_faults_are_shown(back_office: httpx.AsyncClient) -> None:
    text = "code,rate_bp\n" + "A,x\n" * 1_234
    answer = (await load(back_office, "tax_zones", text)).json()
    assert (answer["refused"], len(answer["faults"])) == (1_234, 100)
    assert [answer["faults"][at]["line"] for at in (0, -1)] == [2, 101]


async def test_a_file_may_be_larger_than_other_bodies_and_not_boundless(
    back_office: httpx.AsyncClient, shop: Shop
) -> None:
    comment = "# " + "x" * 1_000 + "\n"
    text = comment * 2_000 + f"code,rate_bp\nL-{shop.tag},1600\n"
    assert (await load(back_office, "tax_zones", text)).json()["loaded"] == 1
    answer = await load(back_office, "tax_zones", "#" * (MAX_FILE_BYTES + 1))
    assert told(answer) == (413, "body_too_large")
    assert answer.json()["limit_bytes"] == MAX_FILE_BYTES


async def test_a_wrong_request_is_refused(back_office: httpx.AsyncClient) -> None:
    headers = {**back_office.headers, "Content-Type": "application/json"}
    answer = await back_office.post(f"{BASE}/prices", content=b"{}", headers=headers)
    assert (told(answer), answer.json()["path"]) == ((400, "invalid_request"), "Content-Type")
    assert told(await load(back_office, "bananas", "")) == (400, "invalid_request")


@pytest.mark.parametrize("kind", KINDS)
async def test_an_example_of_each_kind_is_shown(back_office: httpx.AsyncClient, kind: str) -> None:
    answer = await back_office.get(f"{BASE}/{kind}/example", params={"format": "jsonl"})
    assert answer.headers["content-type"].startswith("text/plain")
    assert answer.text == importing.example(kind, "jsonl")  # type: ignore[arg-type]
