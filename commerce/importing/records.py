"""The kinds of records: their fields, bounds and defaults, each field with what it must be.

The descriptions are what a retailer reads, in error messages and above example files.
"""

from datetime import datetime
from typing import Annotated, Literal, TypeAlias

from msgspec import Meta, Struct

from commerce.importing import checks
from commerce.importing.checks import Refused
from inventory.tables import MAX_UNITS

MAX_PRICE_MINOR = 10**12
"""Ten thousand million of a currency with two decimals: more than anything on a shelf costs."""

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

# No control characters (a text may have tabs and line breaks), no space at the ends. In Python `$`
# also matches before a final line break, hence `(?!\n)$`.
_END = r"(?!\n)$"
_VISIBLE = r"[^\s\x00-\x1f\x7f]"
_LINE = rf"{_VISIBLE}([^\x00-\x1f\x7f]*{_VISIBLE})?"
_LINES = rf"{_VISIBLE}([^\x00-\x08\x0b-\x1f\x7f]*{_VISIBLE})?"
_CODE = rf"^[A-Za-z0-9][A-Za-z0-9._-]*{_END}"

Code = Annotated[
    str,
    Meta(
        pattern=_CODE,
        max_length=40,
        description="a code of at most 40 letters, digits, '.', '_' and '-'",
    ),
]
Sku = Annotated[
    str,
    Meta(
        pattern=_CODE,
        max_length=64,
        description="a code of at most 64 letters, digits, '.', '_' and '-'",
    ),
]
Name = Annotated[
    str,
    Meta(
        pattern=rf"^{_LINE}{_END}", max_length=120, description="one line of at most 120 characters"
    ),
]
Phrase = Annotated[
    str,
    Meta(
        pattern=rf"^({_LINE})?{_END}",
        max_length=120,
        description="one line of at most 120 characters, or empty",
    ),
]
Text = Annotated[
    str,
    Meta(
        pattern=rf"^({_LINES})?{_END}",
        max_length=4000,
        description="a text of at most 4000 characters",
    ),
]
Price = Annotated[
    int,
    Meta(
        ge=0,
        le=MAX_PRICE_MINOR,
        description="a whole number of minor units (centavos, cents), 0 or more",
    ),
]
Currency = Annotated[
    str, Meta(pattern=rf"^[A-Z]{{3}}{_END}", description="a currency of ISO 4217, such as MXN")
]
Flag = Annotated[bool, Meta(description="true or false")]
Moment = Annotated[
    datetime,
    Meta(tz=True, description="a time with its zone, such as 2026-11-20T09:00:00-06:00"),
]
OpeningRange = Annotated[
    str,
    Meta(
        pattern=rf"^([01][0-9]|2[0-3]):[0-5][0-9]-(([01][0-9]|2[0-3]):[0-5][0-9]|24:00){_END}",
        description="opening hours such as 09:00-14:00;16:00-20:00, empty when closed",
    ),
]
Hours = Annotated[tuple[OpeningRange, ...], Meta(max_length=6)]


class Record(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One line of an import file."""


class LocationRecord(Record, frozen=True):
    """A place that holds stock."""

    code: Code
    name: Name
    kind: Annotated[
        Literal["store", "dark_store", "distribution_centre", "transit", "quarantine"],
        Meta(description="one of store, dark_store, distribution_centre, transit and quarantine"),
    ]
    latitude: Annotated[
        float, Meta(ge=-90, le=90, description="a number of degrees from -90 to 90")
    ]
    longitude: Annotated[
        float, Meta(ge=-180, le=180, description="a number of degrees from -180 to 180")
    ]


class PriceZoneRecord(Record, frozen=True):
    """Stores that share prices: one currency, tax inside the price or on top of it."""

    code: Code
    currency: Currency
    tax_included: Flag

    def __post_init__(self) -> None:
        checks.currency("currency", self.currency)


class TaxZoneRecord(Record, frozen=True):
    """Stores that share a tax rate."""

    code: Code
    rate_bp: Annotated[
        int, Meta(ge=0, le=10_000, description="a number of basis points, such as 1600 for 16 %")
    ]


class StoreRecord(Record, frozen=True):
    """A location that customers walk into: its address, zones, opening hours and pickup switch."""

    location_code: Code
    name: Name
    street: Name
    city: Name
    country: Annotated[
        str, Meta(pattern=rf"^[A-Z]{{2}}{_END}", description="a country of ISO 3166, such as MX")
    ]
    time_zone: Annotated[
        str, Meta(max_length=64, description="an IANA time zone, such as America/Mexico_City")
    ]
    price_zone: Code
    tax_zone: Code
    region: Phrase = ""
    postal_code: Annotated[
        str,
        Meta(pattern=rf"^[A-Za-z0-9 -]*{_END}", max_length=12, description="a postal code"),
    ] = ""
    phone: (
        Annotated[
            str,
            Meta(
                pattern=rf"^[+][1-9][0-9]{{6,14}}{_END}",
                description="a phone number as in E.164, such as +525555550101",
            ),
        ]
        | None
    ) = None
    pickup_enabled: Flag = True
    pickup_lead_minutes: Annotated[
        int, Meta(ge=0, le=7 * 24 * 60, description="a whole number of minutes, at most a week")
    ] = 120
    mon: Hours = ()
    tue: Hours = ()
    wed: Hours = ()
    thu: Hours = ()
    fri: Hours = ()
    sat: Hours = ()
    sun: Hours = ()

    def __post_init__(self) -> None:
        checks.country("country", self.country)
        checks.time_zone("time_zone", self.time_zone)
        if self.phone is not None:
            checks.phone("phone", self.phone)
        self.opening_minutes()

    def opening_minutes(self) -> tuple[tuple[tuple[int, int], ...], ...]:
        """Per weekday, Monday first: ranges in minutes since midnight, store time."""
        return tuple(checks.opening_minutes(day, getattr(self, day)) for day in WEEKDAYS)


class SkuRecord(Record, frozen=True):
    """A sellable variant with its item.

    The lines of one item repeat the item's columns, `item_name` to `return_window_days`; when they
    differ, the last line counts.
    """

    sku: Sku
    item_code: Code
    item_name: Name
    department: Name
    description: Text = ""
    brand: Phrase = ""
    final_sale: Flag = False
    return_window_days: Annotated[
        int, Meta(ge=0, le=3650, description="a whole number of days, 0 or more")
    ] = 30
    variant_name: Phrase = ""
    options: Annotated[
        dict[Name, Name],
        Meta(max_length=10, description='a JSON object of texts, such as {"size": "M"}'),
    ] = {}
    gtin: (
        Annotated[
            str,
            Meta(
                pattern=rf"^([0-9]{{8}}|[0-9]{{12,14}}){_END}",
                description="a GTIN of 8, 12, 13 or 14 digits",
            ),
        ]
        | None
    ) = None
    active: Flag = True

    def __post_init__(self) -> None:
        if self.gtin is not None:
            checks.gtin("gtin", self.gtin)


class PriceRecord(Record, frozen=True):
    """What a SKU costs in a price zone, in the zone's currency."""

    price_zone: Code
    sku: Sku
    amount_minor: Price


class StockRecord(Record, frozen=True):
    """A stock movement: units that arrived, a correction by so many units, or a counted total."""

    location_code: Code
    sku: Sku
    action: Annotated[
        Literal["receive", "adjust", "count"],
        Meta(description="one of receive (adds), adjust (adds or takes away) and count (sets)"),
    ]
    quantity: Annotated[
        int,
        Meta(
            ge=-MAX_UNITS, le=MAX_UNITS, description="a whole number of units, at most one million"
        ),
    ]
    reason: Name
    safety_stock: (
        Annotated[
            int,
            Meta(
                ge=0,
                le=MAX_UNITS,
                description="a whole number of units kept from online sale, unchanged when empty",
            ),
        ]
        | None
    ) = None

    def __post_init__(self) -> None:
        if self.action == "receive" and self.quantity <= 0:
            raise Refused("quantity", f"quantity {self.quantity} of a receive is not above 0")
        if self.action == "adjust" and self.quantity == 0:
            raise Refused("quantity", "quantity 0 of an adjust changes nothing")
        if self.action == "count" and self.quantity < 0:
            raise Refused("quantity", f"quantity {self.quantity} of a count is below 0")


class CouponRecord(Record, frozen=True):
    """A code that takes a percentage or an amount off an order."""

    code: Code
    kind: Annotated[
        Literal["percent", "amount"],
        Meta(description="one of percent and amount", examples=["percent"]),
    ]
    percent_bp: (
        Annotated[
            int,
            Meta(
                ge=1,
                le=10_000,
                description="a number of basis points from 1 to 10000",
                examples=[1_000],
            ),
        ]
        | None
    ) = None
    amount_minor: (
        Annotated[
            int,
            Meta(ge=1, le=MAX_PRICE_MINOR, description="a whole number of minor units above 0"),
        ]
        | None
    ) = None
    currency: Currency | None = None
    minimum_subtotal_minor: Price = 0
    starts_at: Moment | None = None
    ends_at: Moment | None = None
    max_redemptions: (
        Annotated[int, Meta(ge=1, le=10**9, description="a whole number above 0, or empty")] | None
    ) = None

    def __post_init__(self) -> None:
        for field, kind in (("percent_bp", "percent"), ("amount_minor", "amount")):
            if (getattr(self, field) is not None) != (self.kind == kind):
                need = "needs" if self.kind == kind else "cannot have"
                raise Refused(field, f"a coupon of kind {self.kind} {need} {field}")
        if self.currency is not None:
            checks.currency("currency", self.currency)
        elif self.kind == "amount" or self.minimum_subtotal_minor:
            raise Refused("currency", "amount_minor and minimum_subtotal_minor need a currency")
        if self.starts_at and self.ends_at and self.ends_at <= self.starts_at:
            raise Refused("ends_at", "ends_at is not later than starts_at")


class AssociateRecord(Record, frozen=True):
    """A person who works at the counter. Messages about these lines never repeat their values."""

    code: Code
    name: Name
    role: Annotated[
        Literal["associate", "manager"], Meta(description="one of associate and manager")
    ]
    store_codes: Annotated[
        tuple[Code, ...],
        Meta(min_length=1, max_length=500, description="store codes separated by ';'"),
    ]
    pin: Annotated[
        str,
        Meta(pattern=rf"^[0-9]{{4,8}}{_END}", description="4 to 8 digits", extra={"secret": True}),
    ]
    active: Flag = True

    def __post_init__(self) -> None:
        if len(set(self.store_codes)) < len(self.store_codes):
            raise Refused("store_codes", "store_codes names a store twice")

    def __repr__(self) -> str:
        return f"AssociateRecord(code={self.code!r})"


Kind: TypeAlias = Literal[
    "locations", "price_zones", "tax_zones", "stores", "skus", "prices", "stock", "coupons",
    "associates",
]  # fmt: skip

KINDS: dict[Kind, type[Record]] = {
    "locations": LocationRecord,
    "price_zones": PriceZoneRecord,
    "tax_zones": TaxZoneRecord,
    "stores": StoreRecord,
    "skus": SkuRecord,
    "prices": PriceRecord,
    "stock": StockRecord,
    "coupons": CouponRecord,
    "associates": AssociateRecord,
}
"""In load order: each kind names only what the kinds before it brought."""
