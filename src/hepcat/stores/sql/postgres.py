"""PostgreSQL: a connection that waits for an answer no longer than it was told to.

In: what psycopg.connect takes. Out: psycopg's connection. What can go wrong: psycopg's errors; a server whose
kernel still takes what is sent, but that says nothing (stopped, swapping, its disk hung, a proxy without a
server behind), which neither libpq nor TCP ever notice, is an OperationalError, and the connection is closed.
"""

import math
import time
from collections.abc import Generator
from typing import Any, Self

from psycopg import Connection, OperationalError


class PatientConnection(Connection[Any]):
    """`answer_seconds`: how long a silence of the server may last while something is asked of it."""

    answer_seconds: float = math.inf

    @classmethod
    def connect_within(cls, answer_seconds: float, *words: Any, **options: Any) -> Self:
        """Connect; psycopg itself bounds that by `connect_timeout`."""
        connection = cls.connect(*words, **options)
        connection.answer_seconds = answer_seconds
        return connection

    def wait(self, gen: Any, *words: Any, **options: Any) -> Any:
        """Drive one exchange with the server; all of psycopg comes by here."""
        return super().wait(self._bounded(gen), *words, **options)

    def _bounded(self, exchange: Any) -> Generator[Any, Any, Any]:
        """Pass on what is waited for, and what became ready; psycopg looks up about ten times a second."""
        heard = time.monotonic()
        try:
            wanted = next(exchange)
            while True:
                ready = yield wanted
                now = time.monotonic()
                if ready:
                    heard = now
                elif now - heard > self.answer_seconds:
                    self.close()  # a rollback would wait as long again
                    raise OperationalError(f"the server has said nothing for {self.answer_seconds:g} s")
                wanted = exchange.send(ready)
        except StopIteration as end:
            return end.value
