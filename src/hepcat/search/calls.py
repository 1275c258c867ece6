"""Calls: what the messages of one Call-ID say together. One row a Call-ID; messages without one are no calls.

In: the name of a relation with the columns of table sip. Out: the SQL of one row a call. All of it is
constant text; nothing of a query's words gets in here.

The call's method is INVITE where any message belongs to an INVITE, else the method of its first message.
Below, "final" is a final response (200 and above) to a request of that method; a challenge (401, 407)
is final only where nothing followed it. Times are those of capture; where a message was captured on
several hops, the first sight of it counts.
"""

import functools
import re
from dataclasses import dataclass
from typing import Final, Literal

from hepcat.batch.schema import columns_of

ColumnType = Literal["timestamp", "string", "number", "seconds"]


@dataclass(frozen=True, slots=True)
class CallColumn:
    """A column of the calls: `sql` is over the aggregates of `calls_sql`."""

    name: str
    type: ColumnType
    sql: str
    doc: str
    shown: bool = False  # in the table unless --fields says otherwise


@dataclass(frozen=True, slots=True)
class State:
    """A state of a call and when a call is in it. The first that fits, for its kind of method, wins."""

    name: str
    kind: Literal["INVITE", "REGISTER", "other"]
    sql: str
    doc: str


_FINAL: Final = "final.status"
_CHALLENGED: Final = "challenge IS NOT NULL AND coalesce(last_request, 0) <= challenge_order"

#: Every state, in the order in which they are tried.
STATES: Final[tuple[State, ...]] = (
    State(
        "completed",
        "INVITE",
        "ok_at IS NOT NULL AND bye_at IS NOT NULL",
        "answered (2xx), and a BYE was seen",
    ),
    State("in call", "INVITE", "ok_at IS NOT NULL", "answered (2xx), no BYE seen so far"),
    State("cancelled", "INVITE", f"{_FINAL} = 487", "487: the caller gave up (RFC 3261 section 9)"),
    State("busy", "INVITE", f"{_FINAL} IN (486, 600)", "486 or 600"),
    State("no answer", "INVITE", f"{_FINAL} IN (408, 480)", "408 or 480: nobody picked up in time"),
    State("redirected", "INVITE", f"{_FINAL} BETWEEN 300 AND 399", "3xx"),
    State("failed", "INVITE", f"{_FINAL} BETWEEN 500 AND 599", "5xx: a server could not do it"),
    State("rejected", "INVITE", f"{_FINAL} IS NOT NULL", "any other 4xx or 6xx, such as 403, 404 or 603"),
    State("cancelled", "INVITE", "cancel_at IS NOT NULL", "CANCEL seen, its 487 not"),
    State("auth required", "INVITE", _CHALLENGED, "401 or 407, and no further INVITE followed"),
    State("ringing", "INVITE", "alert_at IS NOT NULL", "180 to 189, nothing final so far"),
    State(
        "trying",
        "INVITE",
        "provisional IS NOT NULL OR challenge IS NOT NULL",
        "100 or 199, or INVITE repeated after 401/407",
    ),
    State("no reply", "INVITE", "true", "no response was seen at all"),
    State(
        "unregistered",
        "REGISTER",
        "last_final.status < 300 AND last_expires = 0",
        "2xx to a REGISTER with Expires: 0",
    ),
    State("registered", "REGISTER", "last_final.status < 300", "2xx"),
    State("redirected", "REGISTER", "last_final.status < 400", "3xx"),
    State("failed", "REGISTER", "last_final.status BETWEEN 500 AND 599", "5xx"),
    State("rejected", "REGISTER", "last_final IS NOT NULL", "any other 4xx or 6xx"),
    State("auth required", "REGISTER", _CHALLENGED, "401 or 407, and no further REGISTER followed"),
    State(
        "trying",
        "REGISTER",
        "provisional IS NOT NULL OR challenge IS NOT NULL",
        "1xx, or REGISTER repeated after 401/407",
    ),
    State("no reply", "REGISTER", "true", "no response was seen at all"),
    State("succeeded", "other", "last_final.status < 300", "2xx"),
    State("failed", "other", "last_final IS NOT NULL", "3xx to 6xx"),
    State("auth required", "other", _CHALLENGED, "401 or 407, and the request was not repeated"),
    State(
        "trying",
        "other",
        "provisional IS NOT NULL OR challenge IS NOT NULL",
        "1xx, or the request repeated after 401/407",
    ),
    State("no reply", "other", "method IS NOT NULL AND method <> 'ACK'", "no response was seen at all"),
)

#: States that can still change.
OPEN_STATES: Final = frozenset({"in call", "ringing", "trying", "no reply"})


def _state_sql() -> str:
    branches = []
    for state in STATES:
        kind = {"INVITE": "method = 'INVITE'", "REGISTER": "method = 'REGISTER'"}.get(
            state.kind, "method IS DISTINCT FROM 'INVITE' AND method IS DISTINCT FROM 'REGISTER'"
        )
        branches.append(f"WHEN {kind} AND ({state.sql}) THEN '{state.name}'")
    return f"CASE {' '.join(branches)} END"


def _seconds(later: str, earlier: str) -> str:
    """Seconds between two times; null where one is missing or the order is not this one."""
    return f"CASE WHEN {later} >= {earlier} THEN round(epoch_us({later} - {earlier}) / 1e6, 6) END"


def _endpoint(ip: str, port: str) -> str:
    return (
        f"CASE WHEN contains({ip}, ':') THEN '[' || {ip} || ']' ELSE {ip} END || coalesce(':' || {port}, '')"
    )


def _uri(user: str, domain: str) -> str:
    return f"coalesce({user} || '@' || {domain}, {user}, {domain})"


#: The response that the call's status and phrase are taken from.
_DECISIVE: Final = (
    "CASE WHEN method = 'INVITE' THEN coalesce(ok, final, CASE WHEN cancel_at IS NULL AND "
    f"{_CHALLENGED} THEN challenge END, provisional, challenge)"
    f" ELSE coalesce(last_final, CASE WHEN {_CHALLENGED} THEN challenge END, provisional, challenge) END"
)
_SENT: Final = "first.status IS NULL"  # the first message is a request: its source began the call

CALL_COLUMNS: Final[tuple[CallColumn, ...]] = (
    CallColumn("start", "timestamp", "start", "time of the call's first message", True),
    CallColumn("from", "string", _uri("first.from_user", "first.from_domain"), "user@domain of From", True),
    CallColumn("to", "string", _uri("first.to_user", "first.to_domain"), "user@domain of To", True),
    CallColumn("method", "string", "method", "INVITE, else the method of the first message", True),
    CallColumn("status", "number", "decisive.status", "status of the response that decided, so far", True),
    CallColumn("phrase", "string", "decisive.phrase", "its reason phrase", True),
    CallColumn("state", "string", _state_sql(), "what became of the call, see the list of states", True),
    CallColumn(
        "post_dial_delay", "seconds", _seconds("least(alert_at, ok_at)", "invite_at"),
        "first INVITE to the first 18x or 2xx (session request delay of RFC 6076 section 4.3.1)", True,
    ),
    CallColumn(
        "ring_time", "seconds", _seconds("coalesce(ok_at, least(final_at, cancel_at))", "alert_at"),
        "first 18x to the 2xx, or to the failure or CANCEL", True,
    ),
    CallColumn("talk_time", "seconds", _seconds("bye_at", "ok_at"), "2xx to INVITE to BYE", True),
    CallColumn("messages", "number", "messages", "messages captured, copies and retransmissions too", True),
    CallColumn(
        "source", "string",
        f"CASE WHEN {_SENT} THEN {_endpoint('first.src_ip', 'first.src_port')} "
        f"ELSE {_endpoint('first.dst_ip', 'first.dst_port')} END",
        "address:port that sent the first request", True,
    ),
    CallColumn(
        "destination", "string",
        f"CASE WHEN {_SENT} THEN {_endpoint('first.dst_ip', 'first.dst_port')} "
        f"ELSE {_endpoint('first.src_ip', 'first.src_port')} END",
        "address:port that it was sent to", True,
    ),
    CallColumn("call_id", "string", "call_id", "Call-ID", True),
    CallColumn("end", "timestamp", '"end"', "time of the call's last message"),
    CallColumn("duration", "seconds", _seconds('"end"', "start"), "first message to last"),
    CallColumn("answered", "timestamp", "ok_at", "time of the first 2xx to an INVITE"),
    CallColumn("from_user", "string", "first.from_user", "user of From"),
    CallColumn("from_domain", "string", "first.from_domain", "domain of From"),
    CallColumn("from_tag", "string", "first.from_tag", "tag of From"),
    CallColumn("to_user", "string", "first.to_user", "user of To"),
    CallColumn("to_domain", "string", "first.to_domain", "domain of To"),
    CallColumn("to_tag", "string", "to_tag", "first tag of To that was seen"),
    CallColumn("ruri", "string", "request.ruri", "Request-URI of the first request"),
    CallColumn("ruri_user", "string", "request.ruri_user", "its user"),
    CallColumn("ruri_domain", "string", "request.ruri_domain", "its domain"),
    CallColumn("pid_user", "string", "pid_user", "asserted identity, the first that was seen"),
    CallColumn("auth_user", "string", "auth_user", "authentication user, the first that was seen"),
    CallColumn("user_agent", "string", "request.user_agent", "User-Agent of the first request"),
    CallColumn("server", "string", "server", "User-Agent or Server of the response that decided last"),
    CallColumn("transport", "string", "first.transport", "transport of the first message"),
    CallColumn("node_id", "number", "first.node_id", "capture agent id of the first message"),
    CallColumn("node_name", "string", "first.node_name", "capture agent name of the first message"),
    CallColumn("correlation_id", "string", "correlation_id", "correlation id, the first that was seen"),
    CallColumn("call_id_aleg", "string", "call_id_aleg", "Call-ID of the other leg, the first that was seen"),
    CallColumn("reason", "string", "reason", "Reason header (RFC 3326), the last that was seen"),
    CallColumn("diversion", "string", "diversion", "Diversion, the first that was seen"),
    CallColumn(
        "retransmissions", "number", "messages - distinct_messages",
        "messages seen again between the same addresses, with the same CSeq, branch and status",
    ),
    CallColumn("malformed", "number", "malformed", "messages with a `malformed` reason"),
)  # fmt: skip
CALL_COLUMN: Final[dict[str, CallColumn]] = {column.name: column for column in CALL_COLUMNS}
DEFAULT_FIELDS: Final[tuple[str, ...]] = tuple(column.name for column in CALL_COLUMNS if column.shown)

_RESPONSE: Final = "struct_pack(status := status, phrase := reason_phrase)"
#: A time of capture may be any 64 bits; beyond the year 2223 messages are no longer told apart by it.
_MOMENT: Final = "greatest(least(epoch_us(ts), 8000000000000000), -8000000000000000)"
#: More than any status: messages of one microsecond are in order of that.
_ORDERS: Final = 1024
_CHALLENGE: Final = "status IN (401, 407)"
_FIRST_OF: Final = "first"  # of the call's first message
_REQUEST_OF: Final = "request"  # of its first request

#: What can be said of a call, by the names that CALL_COLUMNS, STATES and _DECISIVE use. Only what the wanted
#: columns need is computed, so that no other column of the messages is read.
_FACTS: Final[dict[str, str]] = {
    "method": "any_value(kind)",
    "start": "min(ts)",
    "end": "max(ts)",
    "messages": "count(*)",
    "malformed": "count(malformed)",
    "distinct_messages": (
        "count(DISTINCT hash(src_ip, src_port, dst_ip, dst_port, method, status, cseq, via_1_branch))"
    ),
    "to_tag": "arg_min(to_tag, o)",
    "pid_user": "arg_min(pid_user, o)",
    "auth_user": "arg_min(auth_user, o)",
    "correlation_id": "arg_min(correlation_id, o)",
    "call_id_aleg": "arg_min(call_id_aleg, o)",
    "diversion": "arg_min(diversion, o)",
    "reason": "arg_max(reason, o)",
    "server": "arg_max(user_agent, o) FILTER (status >= 180 AND own)",
    "last_expires": "arg_max(expires, o) FILTER (status IS NULL AND own)",
    "last_request": "max(o) FILTER (status IS NULL AND own)",
    "invite_at": "min(ts) FILTER (status IS NULL AND method = 'INVITE')",
    "alert_at": "min(ts) FILTER (status BETWEEN 180 AND 189 AND method = 'INVITE')",
    "ok_at": "min(ts) FILTER (status BETWEEN 200 AND 299 AND method = 'INVITE')",
    "final_at": f"min(ts) FILTER (status >= 300 AND NOT ({_CHALLENGE}) AND method = 'INVITE')",
    "cancel_at": "min(ts) FILTER (status IS NULL AND method = 'CANCEL')",
    "bye_at": "min(ts) FILTER (status IS NULL AND method = 'BYE')",
    "challenge_order": f"max(o) FILTER ({_CHALLENGE} AND own)",
}
#: Responses that decide something: the first or the last, of which.
_DECIDING: Final[dict[str, tuple[Literal["min", "max"], str]]] = {
    "ok": ("min", "status BETWEEN 200 AND 299 AND own"),
    "final": ("max", f"status >= 300 AND NOT ({_CHALLENGE}) AND own"),
    "last_final": ("max", f"status >= 200 AND NOT ({_CHALLENGE}) AND own"),
    "challenge": ("max", f"{_CHALLENGE} AND own"),
    "provisional": ("max", "status < 200 AND own"),
}
_MESSAGE_COLUMNS: Final = frozenset(column.name for column in columns_of("sip"))
_WORD: Final = re.compile(r"'[^']*'|\b(?:(first|request)\.)?([a-z_]+)\b")


def _facts(wanted: str) -> dict[str, str]:
    """Return the facts that an expression over them names, with their SQL."""
    names: set[str] = set()
    parts: dict[str, set[str]] = {_FIRST_OF: set(), _REQUEST_OF: set()}
    for owner, name in _WORD.findall(wanted):
        if owner:
            parts[owner].add(name)
        else:
            names.add(name)
    facts = {name: sql for name, sql in _FACTS.items() if name in names}
    facts |= {name: _response(*of, "phrase" in names) for name, of in _DECIDING.items() if name in names}
    for owner, condition in ((_FIRST_OF, ""), (_REQUEST_OF, " FILTER (status IS NULL)")):
        if parts[owner]:
            facts[owner] = f"arg_min(struct_pack({', '.join(sorted(parts[owner]))}), o){condition}"
    return facts


def _response(which: Literal["min", "max"], condition: str, phrase: bool) -> str:
    """Return the SQL of the first or last response for which a condition is true; null where there is none.

    Its status is the end of its `o`: where nobody asks for the phrase, that is had for a tenth of the time.
    """
    if phrase:
        return f"arg_{which}({_RESPONSE}, o) FILTER ({condition})"
    order = f"{which}(o) FILTER ({condition})"
    status = f"(({order} % {_ORDERS} + {_ORDERS}) % {_ORDERS})::USMALLINT"  # times before 1970 are negative
    return f"CASE WHEN {order} IS NOT NULL THEN struct_pack(status := {status}) END"


@functools.lru_cache(256)
def columns_read(columns: tuple[str, ...]) -> frozenset[str]:
    """Return the columns of the messages that `calls_sql` of these reads; maybe a few that it does not."""
    return frozenset(re.findall(r"\w+", calls_sql("sip", columns))) & _MESSAGE_COLUMNS


def calls_sql(relation: str, columns: tuple[str, ...]) -> str:
    """Return SELECT of the columns, one row a call of the relation (a name, or SQL in parentheses).

    `o` orders messages: by time, a request before the responses of the same microsecond.
    """
    chosen = ", ".join(f'{CALL_COLUMN[name].sql} AS "{name}"' for name in columns)
    wanted = " ".join(CALL_COLUMN[name].sql for name in columns)
    decisive = ""
    if "decisive" in wanted:
        decisive, wanted = f", {_DECISIVE} AS decisive", f"{wanted} {_DECISIVE}"
    facts = "".join(f',\n        {sql} AS "{name}"' for name, sql in _facts(wanted).items())
    kinds, marked = "", "marked"
    if re.search(r"\b(?:kind|own)\b", facts):
        kinds = """, kinds AS (
    SELECT call_id AS id,
        CASE WHEN bool_or(method = 'INVITE') THEN 'INVITE' ELSE arg_min(method, o) END AS kind
    FROM marked GROUP BY call_id
)"""
        marked = """(
        SELECT m.*, kind, method IS NOT DISTINCT FROM kind AS own
        FROM marked m JOIN kinds k ON m.call_id = k.id
    )"""
    return f"""
WITH marked AS (
    SELECT *, {_MOMENT} * {_ORDERS} + coalesce(status, 0) AS o FROM {relation} WHERE call_id IS NOT NULL
){kinds}, facts AS (
    SELECT call_id{facts}
    FROM {marked}
    GROUP BY call_id
), decided AS (
    SELECT *{decisive} FROM facts
)
SELECT {chosen} FROM decided"""
