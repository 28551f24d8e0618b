"""Browsing: what visitors looked at, on which device, and whose trail that is.

Owns `browsing_event`, `browsing_link` and `browsing_choice`. Events under a session are the
shopper's. Anonymous events of a visitor are whose who signs in next on that device, and nobody
else's, ever. `TRAIL` is the one path from a person to events, `CLEAR_SIGNED_IN` and
`CLEAR_ANONYMOUS` the one way to remove them.

Events are facts, and cheap: a SKU or an item that the catalog does not know is kept as it came, and
shown once the catalog knows it. Whoever sends `DNT: 1` or `Sec-GPC: 1`, or has switched recording
off, is not recorded at all. What is recorded is the shopper's own; who in the stores may see it is
for `consents` to say (`browsing_insight`).
"""

from commerce.browsing.choices import recording
from commerce.browsing.events import (
    Batch,
    BrowsingCounts,
    CartAdd,
    CartRemove,
    CatalogSearch,
    Dated,
    Event,
    PageView,
    ShelfScan,
    StoreVisit,
    dated,
)
from commerce.browsing.storing import record
from commerce.browsing.summary import Browsing, Interest, Searched, Viewed, Visited
from commerce.browsing.trails import choose, clear, forget, link, recent

__all__ = [
    "Batch",
    "Browsing",
    "BrowsingCounts",
    "CartAdd",
    "CartRemove",
    "CatalogSearch",
    "Dated",
    "Event",
    "Interest",
    "PageView",
    "Searched",
    "ShelfScan",
    "StoreVisit",
    "Viewed",
    "Visited",
    "choose",
    "clear",
    "dated",
    "forget",
    "link",
    "recent",
    "record",
    "recording",
]
