"""What the demo retailer sells: departments of nouns, each noun in a few series and variants."""

import itertools
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from random import Random

from msgspec import Struct

from api.demo_retailer.places import DISTRIBUTION_CENTRE, PLACES
from commerce.importing import (
    CouponRecord,
    PriceRecord,
    SkuRecord,
    StockRecord,
    gtin_check_digit,
)

SHOWPIECE = "APP-01-01"
"""A SKU of which every store has plenty."""

FINAL_SALE_ITEMS = 8
ONLINE_ONLY_SKUS = 12
GONE_SKUS = 6

BRANDS = ("Brisanto", "Norvela", "Ocarú", "Quimbaro", "Tepuyo", "Vereda Nueve")
SERIES = (
    "Alba", "Bruma", "Cauce", "Duna", "Estero", "Faro", "Greda", "Jacal", "Lucero", "Milpa",
    "Nopal", "Otate",
)  # fmt: skip
COLOURS = ("negro", "blanco", "azul marino", "arena", "terracota", "verde olivo", "rojo óxido")


class Department(Struct, frozen=True):
    """Its nouns (Spanish, English, pesos) in so many series; `options` are what a shopper chooses.

    `steps` scale the price along the last option, in percent.
    """

    code: str
    name: str
    series: int
    nouns: tuple[tuple[str, str, int], ...]
    options: dict[str, tuple[str, ...]]
    steps: tuple[int, ...] = ()
    return_window_days: int = 30


DEPARTMENTS = (
    Department("APP", "apparel", 1, (
        ("Playera", "T-shirt", 249), ("Camisa", "Shirt", 549), ("Sudadera", "Sweatshirt", 699),
        ("Pantalón", "Trousers", 749), ("Chamarra", "Jacket", 1299),
    ), {"color": COLOURS[:3], "size": ("XS", "S", "M", "L", "XL")}),
    Department("SHO", "shoes", 1, (
        ("Tenis", "Sneakers", 1199), ("Huaraches", "Sandals", 599), ("Botines", "Boots", 1699),
        ("Mocasines", "Loafers", 1399), ("Pantuflas", "Slippers", 349),
    ), {"color": COLOURS[2:5], "size": ("24", "25", "26", "27", "28")}),
    Department("ELE", "electronics", 5, (
        ("Audífonos", "Headphones", 899), ("Bocina", "Speaker", 1299), ("Cargador", "Charger", 399),
        ("Reloj", "Watch", 2499), ("Teclado", "Keyboard", 1099),
    ), {"color": COLOURS[:3]}, return_window_days=15),
    Department("HOM", "home", 5, (
        ("Lámpara", "Lamp", 799), ("Florero", "Vase", 389), ("Cojín", "Cushion", 299),
        ("Cobija", "Blanket", 649), ("Juego de tazas", "Set of mugs", 459),
    ), {"color": COLOURS[3:6]}),
    Department("TOY", "toys", 5, (
        ("Rompecabezas", "Jigsaw puzzle", 279), ("Tren de madera", "Wooden train", 549),
        ("Juego de mesa", "Board game", 499), ("Peluche", "Plush animal", 329),
        ("Bloques", "Building blocks", 429),
    ), {"age": ("3-5", "6-8", "9-12")}, steps=(100, 120, 150)),
    Department("BEA", "beauty", 5, (
        ("Crema de manos", "Hand cream", 149), ("Champú", "Shampoo", 129),
        ("Jabón líquido", "Liquid soap", 99), ("Aceite corporal", "Body oil", 219),
        ("Agua de colonia", "Cologne", 389),
    ), {"content": ("50 ml", "100 ml", "250 ml")}, steps=(100, 170, 340), return_window_days=14),
    Department("SPO", "sports", 3, (
        ("Guantes", "Gloves", 329), ("Rodilleras", "Knee pads", 389), ("Licra", "Leggings", 499),
        ("Casco", "Helmet", 899), ("Chaleco", "Vest", 649),
    ), {"size": ("XS", "S", "M", "L", "XL")}),
    Department("GRO", "groceries", 5, (
        ("Café de olla", "Spiced coffee", 139), ("Chocolate de mesa", "Drinking chocolate", 119),
        ("Granola", "Granola", 99), ("Miel de azahar", "Orange blossom honey", 149),
        ("Frijol negro", "Black beans", 59),
    ), {"content": ("250 g", "500 g", "1 kg")}, steps=(100, 180, 330), return_window_days=7),
)  # fmt: skip

COUPONS = (
    CouponRecord(code="WELCOME10", kind="percent", percent_bp=1_000),
    CouponRecord(
        code="TAKE100", kind="amount", amount_minor=10_000, currency="MXN",
        minimum_subtotal_minor=50_000,
    ),
    CouponRecord(
        code="TAKE10", kind="amount", amount_minor=1_000, currency="USD",
        minimum_subtotal_minor=5_000,
    ),
    CouponRecord(
        code="VERANO2025", kind="percent", percent_bp=1_500,
        starts_at=datetime(2025, 6, 1, tzinfo=UTC), ends_at=datetime(2025, 9, 1, tzinfo=UTC),
    ),
    CouponRecord(code="FIRST5", kind="percent", percent_bp=2_000, max_redemptions=5),
)  # fmt: skip


class Item(Struct, frozen=True):
    """An item before it is multiplied by its options."""

    department: Department
    code: str
    name: str
    description: str
    brand: str
    pesos: int
    gtin_prefix: str


class Good(Struct, frozen=True):
    """A SKU and what it costs in Mexico, tax included."""

    sku: SkuRecord
    pesos: int


def catalog(seed: int) -> list[Good]:
    """Every SKU: department by department, item by item, variant by variant."""
    random = Random(f"{seed} catalog")
    items = [
        item
        for number, department in enumerate(DEPARTMENTS, start=1)
        for item in _items(department, number, random)
    ]
    codes = [item.code for item in items if not SHOWPIECE.startswith(item.code)]
    final_sale = set(random.sample(codes, FINAL_SALE_ITEMS))
    return [good for item in items for good in _variants(item, item.code in final_sale)]


def _items(department: Department, department_number: int, random: Random) -> Iterator[Item]:
    series = random.sample(SERIES, department.series)
    named = itertools.product(department.nouns, series)
    for number, ((spanish, english, pesos), word) in enumerate(named, start=1):
        yield Item(
            department=department,
            code=f"{department.code}-{number:02}",
            name=f"{spanish} {word}",
            description=f"{english} of our {word} series.",
            brand=random.choice(BRANDS),
            pesos=pesos * random.randint(80, 130) // 100,
            # GS1 leaves 200 to 299 to each company for its own use.
            gtin_prefix=f"2{department_number:02}{number:06}",
        )


def _variants(item: Item, final_sale: bool) -> Iterator[Good]:
    department = item.department
    steps = department.steps or (100,)
    for number, chosen in enumerate(itertools.product(*department.options.values()), start=1):
        gtin = f"{item.gtin_prefix}{number:03}"
        step = steps[(number - 1) % len(steps)]
        sku = SkuRecord(
            sku=f"{item.code}-{number:02}",
            item_code=item.code,
            item_name=item.name,
            department=department.name,
            description=item.description,
            brand=item.brand,
            final_sale=final_sale,
            return_window_days=department.return_window_days,
            variant_name=" / ".join(chosen),
            options=dict(zip(department.options, chosen, strict=True)),
            gtin=f"{gtin}{gtin_check_digit(gtin)}",
        )
        yield Good(sku, item.pesos * step // 100 // 10 * 10 + 9)


def prices(goods: Sequence[Good]) -> Iterator[PriceRecord]:
    """Whole pesos that end in 9 with tax; whole dollars and 99 cents, at 20 pesos, without tax."""
    for good in goods:
        yield PriceRecord(price_zone="MX", sku=good.sku.sku, amount_minor=good.pesos * 100)
        dollars = max(1, good.pesos // 20)
        yield PriceRecord(price_zone="US", sku=good.sku.sku, amount_minor=dollars * 100 + 99)


def stock(goods: Sequence[Good], seed: int) -> Iterator[StockRecord]:
    """The first delivery: deep in the distribution centre, scarce or sold out here and there.

    A few SKUs are in no store (so only shipping could serve them) and a few are nowhere.
    """
    random = Random(f"{seed} stock")
    skus = [good.sku.sku for good in goods]
    unusual = random.sample([sku for sku in skus if sku != SHOWPIECE], ONLINE_ONLY_SKUS + GONE_SKUS)
    gone, not_in_stores = set(unusual[:GONE_SKUS]), set(unusual)
    for sku in skus:
        if sku not in gone:
            yield _delivery(DISTRIBUTION_CENTRE.code, sku, random.randint(120, 900), 0)
    for place in PLACES:
        for sku in skus:
            if sku == SHOWPIECE:
                yield _delivery(place.code, sku, 100, 2)
            elif sku not in not_in_stores and random.randrange(100) < place.carries:
                yield _on_the_shelf(place.code, sku, random)


def _on_the_shelf(location_code: str, sku: str, random: Random) -> StockRecord:
    match random.randrange(10):
        case 0:
            return StockRecord(
                location_code=location_code,
                sku=sku,
                action="count",
                quantity=0,
                reason="opening count",
            )
        case 1 | 2:
            return _delivery(location_code, sku, random.randint(1, 3), 0)
        case 3:
            return _delivery(location_code, sku, random.randint(40, 120), 5)
        case _:
            return _delivery(location_code, sku, random.randint(4, 30), random.choice((0, 0, 1, 2)))


def _delivery(location_code: str, sku: str, quantity: int, safety_stock: int) -> StockRecord:
    return StockRecord(
        location_code=location_code,
        sku=sku,
        action="receive",
        quantity=quantity,
        reason="opening stock",
        safety_stock=safety_stock or None,
    )
