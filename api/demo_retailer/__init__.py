"""The demo retailer: an invented chain in Mexico and the United States, repeatable from a seed.

Twelve stores and a distribution centre, two currencies, tax inside the price (Mexico) and on top
of it (United States), 600 SKUs in 8 departments, stock that differs by store, coupons, associates
with known PINs and shoppers. Everything is plain import records, so it is also what a retailer's
own files look like; the same seed always gives the same records.

What tours and tests may rely on: `SHOWPIECE` is in stock at every store; the coupons are
WELCOME10, TAKE100 and TAKE10, VERANO2025 (expired) and FIRST5 (five redemptions); at the store
with number 3 the PINs are 0311 and 0322, the manager's is 0399.
"""

from collections.abc import Iterator

from api.demo_retailer import goods, people, places
from api.demo_retailer.goods import SHOWPIECE
from api.demo_retailer.people import Shopper, shoppers
from commerce.importing import KINDS, Kind, Record

__all__ = ["SHOWPIECE", "Shopper", "records", "shoppers"]


def records(seed: int = 7) -> Iterator[tuple[Kind, Record]]:
    """All records but the shoppers, in load order."""
    catalog = goods.catalog(seed)
    brought: dict[Kind, Iterator[Record]] = {
        "locations": places.locations(),
        "price_zones": iter(places.PRICE_ZONES),
        "tax_zones": iter(places.TAX_ZONES),
        "stores": places.stores(),
        "skus": (good.sku for good in catalog),
        "prices": goods.prices(catalog),
        "stock": goods.stock(catalog, seed),
        "coupons": iter(goods.COUPONS),
        "associates": people.associates(seed),
    }
    for kind in KINDS:
        for record in brought[kind]:
            yield kind, record
