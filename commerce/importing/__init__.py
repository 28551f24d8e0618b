"""What a retailer loads: places, goods, prices, stock, coupons, people; as CSV or JSON lines.

One line is one record, the same fields in both formats; `KINDS` lists them in the order in which
they are loaded. `read` streams a file of any length and reports what is wrong by line and field,
without losing the good lines; `write` is its inverse; `example` shows a documented file of a kind.
Nothing here knows a table or a request: the nouns store what is read.

CSV: UTF-8 (a byte order mark is tolerated), comma, a header line with the columns in any order,
cells trimmed, an empty cell means the default. Times of day and store codes are separated by ";",
`options` is a JSON object. Lines that start with "#" before the first record are comments.
"""

from commerce.importing.checks import Refused, gtin_check_digit
from commerce.importing.examples import example
from commerce.importing.reading import Bad, Good, read
from commerce.importing.records import (
    KINDS,
    AssociateRecord,
    CouponRecord,
    Kind,
    LocationRecord,
    PriceRecord,
    PriceZoneRecord,
    Record,
    SkuRecord,
    StockRecord,
    StoreRecord,
    TaxZoneRecord,
)
from commerce.importing.writing import FileFormat, write

__all__ = [
    "KINDS",
    "AssociateRecord",
    "Bad",
    "CouponRecord",
    "FileFormat",
    "Good",
    "Kind",
    "LocationRecord",
    "PriceRecord",
    "PriceZoneRecord",
    "Record",
    "Refused",
    "SkuRecord",
    "StockRecord",
    "StoreRecord",
    "TaxZoneRecord",
    "example",
    "gtin_check_digit",
    "read",
    "write",
]
