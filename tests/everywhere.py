"""A search of a whole database: every value of every row of every table, by introspection."""

from collections.abc import Sequence

from commerce.kernel.sql import Database

TABLES = """
SELECT format('%I.%I', n.nspname, c.relname),
       array(SELECT quote_ident(a.attname) FROM pg_attribute a
             WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
               AND a.atttypid IN ('bytea'::regtype, 'bytea[]'::regtype))
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'm') AND NOT c.relispartition
  AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname NOT LIKE 'pg_toast%'
ORDER BY 1
"""


async def found(db: Database, words: Sequence[str]) -> dict[str, list[str]]:
    """The words that stand anywhere, in any case of letters, each with the tables where."""
    places: dict[str, list[str]] = {}
    async with db.reading() as conn:
        tables = await conn.driver.fetch(TABLES)
        assert len(tables) > 40
        for table, binary in tables:
            # Bytes are looked at as the text that they may hold, beside their hex digits.
            texts = ["t::text", *(f"encode(t.{column}, 'escape')" for column in binary)]
            for word in words:
                anywhere = " OR ".join(f"strpos(lower({text}), lower($1)) > 0" for text in texts)
                query = f"SELECT count(*) FROM {table} AS t WHERE {anywhere}"  # noqa: S608
                if await conn.driver.fetchval(query, word):
                    places.setdefault(word, []).append(table)
    return places
