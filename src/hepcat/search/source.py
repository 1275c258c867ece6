"""What can be searched: a source of snapshots, whose files may go away under a search.

In: a function that searches. Out: the same, beginning again where a file went away. What can go wrong:
HepcatError where a file stays unreadable.
"""

import contextlib
import functools
from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager
from typing import Final, ParamSpec, Protocol, TypeVar

import duckdb

from hepcat.errors import HepcatError

#: How often a search begins again when files go away under it.
_TRIES: Final = 3

P = ParamSpec("P")
T = TypeVar("T")


def fresh(search: Callable[P, T]) -> Callable[P, T]:
    """Let a search begin again with a new snapshot where a file went away under it.

    Retention deletes files, and so does merging once the merged file has been there for a while.
    """

    @functools.wraps(search)
    def searched(*args: P.args, **kwargs: P.kwargs) -> T:
        for _ in range(_TRIES):
            with contextlib.suppress(duckdb.IOException):
                return search(*args, **kwargs)
        try:
            return search(*args, **kwargs)
        except duckdb.IOException as error:
            raise HepcatError(
                f"cannot read the lake: {str(error).splitlines()[0]}",
                "A damaged file can be moved out of its folder; what it held is then not found.",
            ) from None

    return searched


class SnapshotLike(Protocol):
    """One moment of a store."""

    connection: duckdb.DuckDBPyConnection


class Source(Protocol):
    """What can be searched: the lake's reader."""

    def snapshot(
        self,
        since_us: int | None = None,
        until_us: int | None = None,
        holding: Mapping[str, Collection[str]] | None = None,
        tables: Collection[str] | None = None,
    ) -> AbstractContextManager[SnapshotLike]:
        """Return the store as it is now; what lies outside the bounds may be left out.

        holding: columns of table sip, and values of which a record has one or is not wanted. tables:
        those that are needed; None is all.
        """
        ...
