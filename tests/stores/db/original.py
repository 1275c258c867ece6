"""The original's table as reference/sipcapture.md describes it: what the DDL of ours is compared with.

Written down a second time on purpose, not made from stores/classic/schema.py.
"""

#: name -> MariaDB type
COLUMNS = {
    "date": "timestamp",
    "micro_ts": "bigint(18)",
    "method": "varchar(50)",
    "reply_reason": "varchar(100)",
    "ruri": "varchar(200)",
    "ruri_user": "varchar(100)",
    "ruri_domain": "varchar(150)",
    "from_user": "varchar(100)",
    "from_domain": "varchar(150)",
    "from_tag": "varchar(64)",
    "to_user": "varchar(100)",
    "to_domain": "varchar(150)",
    "to_tag": "varchar(64)",
    "pid_user": "varchar(100)",
    "contact_user": "varchar(120)",
    "auth_user": "varchar(120)",
    "callid": "varchar(120)",
    "callid_aleg": "varchar(120)",
    "via_1": "varchar(256)",
    "via_1_branch": "varchar(80)",
    "cseq": "varchar(25)",
    "diversion": "varchar(256)",
    "reason": "varchar(200)",
    "content_type": "varchar(256)",
    "auth": "varchar(256)",
    "user_agent": "varchar(256)",
    "source_ip": "varchar(60)",
    "source_port": "int(10)",
    "destination_ip": "varchar(60)",
    "destination_port": "int(10)",
    "contact_ip": "varchar(60)",
    "contact_port": "int(10)",
    "originator_ip": "varchar(60)",
    "originator_port": "int(10)",
    "correlation_id": "varchar(256)",
    "custom_field1": "varchar(120)",
    "custom_field2": "varchar(120)",
    "custom_field3": "varchar(120)",
    "proto": "int(5)",
    "family": "int(1)",
    "rtp_stat": "varchar(256)",
    "type": "int(2)",
    "node": "varchar(125)",
    "msg": "varchar(1500)",
}
INDEXES = ("ruri_user", "from_user", "to_user", "pid_user", "auth_user", "callid_aleg", "date", "callid")
SISTER = (
    "date", "micro_ts", "correlation_id", "source_ip", "source_port", "destination_ip", "destination_port",
    "proto", "family", "type", "node", "msg",
)  # fmt: skip
#: What the script of 2012 had, of the columns; `authorization` was called auth later.
OLD_LACKS = (
    "ruri_domain", "from_domain", "to_domain", "auth", "correlation_id",
    "custom_field1", "custom_field2", "custom_field3",
)  # fmt: skip

NAMES_OF_SISTERS = ("logs_capture", "report_capture", "rtcp_capture")


def _default(kind: str) -> str:
    if kind == "timestamp":
        return "DEFAULT CURRENT_TIMESTAMP"
    return "DEFAULT ''" if kind.startswith("varchar") else "DEFAULT 0"


def original(name: str = "sip_capture", partitions: str = "", columns: dict[str, str] | None = None) -> str:
    """Return MariaDB's CREATE TABLE of the original. partitions: "" for the catch-all alone."""
    lines = ["id bigint(20) unsigned NOT NULL AUTO_INCREMENT"]
    for column, kind in (columns or COLUMNS).items():
        null = "DEFAULT NULL" if column == "family" else f"NOT NULL {_default(kind)}"
        lines.append(f"{column} {kind} {null}")
    lines += ["PRIMARY KEY (id, date)", *(f"KEY {column} ({column})" for column in INDEXES)]
    partitions = partitions or "PARTITION pmax VALUES LESS THAN MAXVALUE"
    return (
        f"CREATE TABLE {name} ({', '.join(lines)}) ENGINE=InnoDB DEFAULT CHARSET=utf8 ROW_FORMAT=COMPRESSED "
        f"KEY_BLOCK_SIZE=8 PARTITION BY RANGE (UNIX_TIMESTAMP(date)) ({partitions})"
    )


def old(name: str = "sip_capture") -> str:
    """Return MariaDB's CREATE TABLE of an older version: fewer columns, one of them without a default."""
    kept = {column: kind for column, kind in COLUMNS.items() if column not in OLD_LACKS}
    lines = ["id bigint(20) unsigned NOT NULL AUTO_INCREMENT", "authorization varchar(256) NOT NULL"]
    lines += [f"{column} {kind} NOT NULL {_default(kind)}" for column, kind in kept.items()]
    lines += ["PRIMARY KEY (id, date)", "KEY date (date)", "KEY callid (callid)"]
    return f"CREATE TABLE {name} ({', '.join(lines)}) ENGINE=InnoDB DEFAULT CHARSET=utf8"


def original_postgres(name: str = "sip_capture") -> str:
    """Return the table for PostgreSQL: the older columns, `msg` as text of 1500 characters, no partitions."""
    kinds = {
        column: kind.split("(")[0] if not kind.startswith("varchar") else kind
        for column, kind in COLUMNS.items()
        if column not in set(OLD_LACKS) - {"auth"}
    }
    lines = ["id serial NOT NULL"]
    for column, kind in kinds.items():
        default = "" if kind.startswith("varchar") and column != "callid" else _default(kind)
        lines.append(f"{column} {kind} NOT NULL {default}")
    return f"CREATE TABLE {name} ({', '.join(lines)}, PRIMARY KEY (id, date))"
