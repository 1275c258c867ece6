"""What became of a call, told by one number of each of its messages: of a call the highest counts.

In: the status and the method of a message. Out: SQL (DuckDB's) of its number, which modulo OF_INVITE is a
status, 0 where nothing is decided. Those of an INVITE count before others, a 2xx to it before all: a
re-INVITE that fails later does not undo it. What can go wrong: nothing.
"""

from typing import Final

#: Statuses that do not say what became of a call: challenges, and a request that was given up.
UNDECIDED: Final[tuple[int, ...]] = (401, 407, 487)
#: What a message of an INVITE adds to its status, and a 2xx to it.
OF_INVITE, ANSWERED = 1000, 2000

_STATUS: Final = f"CASE WHEN status IN {UNDECIDED} THEN 0 ELSE coalesce(status, 0) END"
_PLUS: Final = f"CASE WHEN status BETWEEN 200 AND 299 THEN {ANSWERED} ELSE {OF_INVITE} END"
#: The number of a message, and the highest of some.
OUTCOME_SQL: Final = f"{_STATUS} + CASE WHEN method = 'INVITE' THEN {_PLUS} ELSE 0 END"
HIGHEST: Final = f"least(max({OUTCOME_SQL}), 65535)::USMALLINT"
