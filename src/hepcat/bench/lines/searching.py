"""How long finding takes among 5, 20 and (--full) 60 million messages, and how that grows.

The lake is made in this process (growing.py): a message every 4.32 ms, so that 20 million are a day. Each
query runs in a process of its own. The lake is left for the lines behind this one.
"""

from typing import Any, Final

from hepcat.bench.growing import lake_of
from hepcat.bench.measure import Context, Row
from hepcat.bench.server import on_disk

NAME = "search among many millions"

_MEMORY: Final = 2**30
#: Kinds of queries.py: what is asked, and the most seconds it may take.
_KINDS: Final[dict[str, tuple[str, float | None]]] = {
    "call_id": ("a Call-ID", 0.05),
    "calls_of": ("a from_user over a day, its newest 100 calls", 0.5),
    "messages_of": ("a from_user over a day, its newest 100 messages, all columns", 0.5),
    "matches_of": ("a from_user over a day, the number of its messages", 0.5),
    "histogram": ("a histogram of all messages", 0.7),
    "calls": ("a histogram of all calls", None),
}


def measure(context: Context) -> list[Row]:
    """Grow the lake step by step; ask at each size."""
    million = 1_000_000
    sizes = [million, 5 * million] if context.quick else [5 * million, 20 * million]
    if context.full:
        sizes.append(60 * million)
    lake = lake_of(context, sizes[-1])
    times: dict[str, dict[int, dict[str, Any]]] = {kind: {} for kind in _KINDS}
    built = 0.0
    for size in sizes:
        built += lake.grow(size)
        before, after = lake.merge()
        context.say(
            f"  {size // million} million messages in the lake after {built:.0f} s, "
            f"{before} files merged to {after}"
        )
        for kind, found in times.items():
            found[size] = lake.query(kind)
            context.say(f"  {kind}: {found[size]}")
    octets = on_disk(lake.data)["octets"] / lake.rows
    return [
        *(_row(what, limit, times[kind]) for kind, (what, limit) in _KINDS.items()),
        Row(
            "building that lake in one process (generate, decode, index, write)",
            f"{lake.rows / built:,.0f} messages a second, {octets:.0f} octets each on disk",
            value=lake.rows / built,
        ),
    ]


def _row(what: str, limit: float | None, found: dict[int, dict[str, Any]]) -> Row:
    """The demand holds at 20 million (with --quick: at the largest size), memory at every size."""
    sizes = sorted(found)
    judged = 20_000_000 if 20_000_000 in found else sizes[-1]
    warm = found[judged]["warm"]
    memory = max(f["memory"] for f in found.values())
    each = ", ".join(f"{size // 1_000_000} M: {found[size]['warm']:.3f} s" for size in sizes)
    growth = found[sizes[-1]]["warm"] / found[sizes[0]]["warm"]
    return Row(
        f"{what} among {judged // 1_000_000} million messages, warm",
        f"{warm:.3f} s ({each}), {memory / 2**20:.0f} MiB at most, {found[judged]['rows']:,} rows",
        f"at most {limit} s, 1 GiB" if limit else "",
        f"{growth:.1f} times the time for {sizes[-1] / sizes[0]:.0f} times the messages",
        None
        if limit is None
        else warm <= limit and memory <= _MEMORY and all(f["rows"] > 0 for f in found.values()),
        warm,
        {str(size): found[size] for size in sizes},
    )
