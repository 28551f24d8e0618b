"""Loading a text as a file, for tests."""

import io
from datetime import UTC, datetime

from commerce import importing, loading
from commerce.access import OPERATOR, Principal
from commerce.importing import FileFormat, Kind
from commerce.kernel.sql import Database
from commerce.loading import Loaded

LOADED_AT = datetime(2026, 11, 21, 9, tzinfo=UTC)
STOCK = "location_code,sku,action,quantity,reason,safety_stock\n"


async def load(
    db: Database,
    kind: Kind,
    text: str,
    file_format: FileFormat = "csv",
    *,
    who: Principal = OPERATOR,
    reference: str = "",
    check: bool = False,
) -> Loaded:
    """Load a file; the sums over its stretches."""
    content = io.BytesIO(text.encode())
    file_id = loading.stock_file_id(content, reference=reference) if kind == "stock" else None
    content.seek(0)
    stretches = loading.load(
        db,
        kind,
        importing.read(kind, content, file_format),
        who=who,
        now=lambda: LOADED_AT,
        file_id=file_id,
        check=check,
    )
    total = Loaded(0, 0, 0, None, [])
    async for each in stretches:
        total = Loaded(
            each.last_line,
            total.loaded + each.loaded,
            total.loaded_before + each.loaded_before,
            each.first_loaded_at,
            total.refused + each.refused,
        )
    return total


def faults(loaded: Loaded) -> list[tuple[int, str, str | None]]:
    """Line, code and field of each refusal."""
    return [(each.line, each.code, each.field) for each in loaded.refused]
