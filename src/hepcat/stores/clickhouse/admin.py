"""`hepcat db create|upgrade|check` on ClickHouse.

In: the settings of the store. Out: `Finding`s (stores/admin.py), for each host of the cluster. Every host is
connected to by itself: ON CLUSTER would need ZooKeeper, and stops where one host is down. What can go wrong:
HepcatError for the URL, the login, an unknown cluster, or where no host of the URL answers.
"""

import time
from collections.abc import Iterator, Sequence
from typing import Final

from hepcat.config.databases import DatabaseSettings
from hepcat.errors import HepcatError
from hepcat.stores.admin import Finding, Tell
from hepcat.stores.clickhouse import client as ch
from hepcat.stores.clickhouse.address import Address, Host, parse_address
from hepcat.stores.clickhouse.tables import (
    ALL,
    LOCAL,
    Features,
    column_sql,
    columns,
    create_distributed,
    create_local,
    index_sql,
    indexes,
    stored_name,
    ttl_sql,
)
from hepcat.stores.clickhouse.topology import Shard, any_host, read_shards

DryRun = Tell | None
#: Seconds that a host's clock may be off before that is told.
_CLOCK: Final = 5.0


def create(settings: DatabaseSettings, dry: DryRun = None) -> list[Finding]:
    """Make the database and the tables on every host of the cluster, where they are missing."""
    address = parse_address(settings.read())
    findings: list[Finding] = []
    for host, statements, there in _plans(settings, address):
        findings += [Finding("ok", f"{host} table {table}", "was there already") for table in there]
        findings += _carry_out(address, host, statements, dry)
    return findings


def upgrade(settings: DatabaseSettings, dry: DryRun = None, widen: bool = False) -> list[Finding]:
    """Make what is missing, add what tables of an earlier version lack, set the retention.

    widen: nothing is ever too narrow here.
    """
    findings = create(settings, dry)
    address = parse_address(settings.read())
    for host, statements in _changes(settings, address):
        findings += _carry_out(address, host, statements, dry)
    return findings


def check(settings: DatabaseSettings) -> list[Finding]:
    """Look at every host of the cluster: does it answer, has it the tables, as they should be?"""
    address = parse_address(settings.read())
    findings: list[Finding] = []
    for shard, host, features in _hosts(settings, address):
        if isinstance(features, HepcatError):
            findings.append(Finding("bad", f"{host}", str(features), features.hint or "Start it."))
            continue
        findings += _check_host(settings, address, shard, host, features)
    return findings


# -- what there is


def _hosts(
    settings: DatabaseSettings, address: Address
) -> Iterator[tuple[Shard, Host, Features | HepcatError]]:
    """Yield every host of the cluster with what its version can, or with why it cannot be asked."""
    with any_host(address, database="") as connection:
        shards = read_shards(connection, address)
    for shard in shards:
        for host in shard.replicas:
            asked = ch.Connection(address, host, database="")
            try:
                yield shard, host, _features(asked, shard, address)
            except ch.Away as error:
                yield shard, host, error
            finally:
                asked.close()


def _features(connection: ch.Connection, shard: Shard, address: Address) -> Features:
    """Return what a host can. Replicas need a coordinator; without a cluster they are copies of their own."""
    if not address.cluster or len(shard.replicas) < 2:
        return Features.of(connection.version)
    try:
        connection.columns("SELECT count() AS n FROM system.zookeeper WHERE path = '/'")
        macros = connection.columns("SELECT macro FROM system.macros")["macro"][1]
    except ch.Refused as error:
        raise HepcatError(
            f"{shard} has replicas, but {connection.host} has no ZooKeeper or Keeper, without which tables "
            f"cannot be replicated ({error})",
            "Configure <zookeeper> on every host, or define the cluster with one replica a shard.",
        ) from None
    lacking = [macro for macro in ("shard", "replica") if macro.encode() not in macros]
    if lacking:
        raise HepcatError(
            f"{connection.host} has no macro {lacking[0]}, which tells replicated tables apart",
            "Set <macros><shard>...</shard><replica>...</replica></macros> in each host's configuration.",
        )
    return Features.of(connection.version, replicated=True)


def _plans(
    settings: DatabaseSettings, address: Address
) -> Iterator[tuple[Host, list[tuple[str, str]], list[str]]]:
    """Yield for each host what has to be made, as (subject, SQL), and the tables that are there."""
    for _, host, features in _hosts(settings, address):
        if isinstance(features, HepcatError):
            raise features
        has = _tables(address, host)
        statements: list[tuple[str, str]] = []
        there: list[str] = []
        if has is None:
            statements.append(
                (f"database {address.database}", f"CREATE DATABASE {ch.name(address.database)}")
            )
        for table in ALL:
            stored = stored_name(table, address.cluster)
            made = create_local(address.database, table, stored, features, settings.retention_days)
            wanted = [(stored, made)]
            if address.cluster:
                wanted.append((table, create_distributed(address.database, table, address.cluster)))
            for name, sql in wanted:
                if has is not None and name in has:
                    there.append(name)
                else:
                    statements.append((f"table {name}", sql))
        yield host, statements, there


def _tables(address: Address, host: Host) -> dict[str, str] | None:
    """Return the database's tables and their engines; None where there is no such database."""
    connection = ch.Connection(address, host, database="")
    try:
        name = ch.literal(address.database)
        if not connection.columns(f"SELECT name FROM system.databases WHERE name = {name}")["name"][1]:
            return None
        found = connection.columns(f"SELECT name, engine FROM system.tables WHERE database = {name}")
        pairs = zip(found["name"][1], found["engine"][1], strict=True)
        return {table.decode(): engine.decode() for table, engine in pairs}
    finally:
        connection.close()


def _columns(connection: ch.Connection, address: Address, table: str) -> dict[str, str]:
    found = connection.columns(
        f"SELECT name, type FROM system.columns WHERE database = {ch.literal(address.database)} "
        f"AND table = {ch.literal(table)}"
    )
    return {a.decode(): b.decode() for a, b in zip(found["name"][1], found["type"][1], strict=True)}


def _create_text(connection: ch.Connection, address: Address, table: str) -> str:
    found = connection.columns(f"SHOW CREATE TABLE {ch.name(address.database)}.{ch.name(table)}")
    return "".join(value.decode(errors="replace") for _, values in found.values() for value in values)


# -- what to change


def _changes(settings: DatabaseSettings, address: Address) -> Iterator[tuple[Host, list[tuple[str, str]]]]:
    """Yield for each host what its tables lack."""
    for _, host, features in _hosts(settings, address):
        if isinstance(features, HepcatError):
            raise features
        connection = ch.Connection(address, host, database="")
        try:
            statements: list[tuple[str, str]] = []
            for table in ALL:
                statements += _changes_of(connection, settings, address, table, features)
            yield host, statements
        finally:
            connection.close()


def _changes_of(
    connection: ch.Connection, settings: DatabaseSettings, address: Address, table: str, features: Features
) -> list[tuple[str, str]]:
    stored = stored_name(table, address.cluster)
    statements: list[tuple[str, str]] = []
    for name in (stored, table) if address.cluster else (stored,):
        has = _columns(connection, address, name)
        alter = f"ALTER TABLE {ch.name(address.database)}.{ch.name(name)}"
        plain = Features(modern=False)  # the Distributed table has neither codecs nor indexes
        for made in columns(table) if has else ():
            if made.name not in has:
                sql = column_sql(made, features if name == stored else plain)
                statements.append((f"table {name}", f"{alter} ADD COLUMN {sql}"))
    alter = f"ALTER TABLE {ch.name(address.database)}.{ch.name(stored)}"
    if not features.modern or not _columns(connection, address, stored):
        return statements
    text = _create_text(connection, address, stored)
    for column in indexes(table):
        if f"by_{column}" not in text:
            statements.append((f"table {stored}", f"{alter} ADD {index_sql(column)}"))
    if settings.retention_days is not None and not _has_ttl(text, settings.retention_days):
        statements.append((f"table {stored}", f"{alter} MODIFY TTL {ttl_sql(settings.retention_days)}"))
    return statements


def _has_ttl(text: str, days: int) -> bool:
    """Say whether CREATE TABLE has this retention; the server writes the interval as a function."""
    return f"TTL day + toIntervalDay({days})" in text or f"TTL day + INTERVAL {days} DAY" in text


def _carry_out(
    address: Address, host: Host, statements: Sequence[tuple[str, str]], dry: DryRun
) -> list[Finding]:
    """Run statements on a host, or show them; return what was done."""
    if dry is not None:
        for subject, sql in statements:
            dry(f"-- on {host}: {subject}\n{sql}")
        return []
    connection = ch.Connection(address, host, database="")
    findings: list[Finding] = []
    try:
        for subject, sql in statements:
            try:
                connection.run(sql)
            except ch.Refused as error:
                raise _explained(error, host, subject) from None
            verb = "made" if sql.startswith("CREATE") else sql.partition(" ADD ")[2].partition(" CODEC")[0]
            findings.append(
                Finding("ok", f"{host} {subject}", verb if verb == "made" else f"changed: {verb or sql}")
            )
    finally:
        connection.close()
    return findings


def _explained(error: ch.Refused, host: Host, subject: str) -> HepcatError:
    if error.code in ch.RIGHT:
        return HepcatError(
            f"{subject} cannot be made: {error}",
            "Grant the user CREATE and ALTER on the database, or run it as another.",
        )
    return HepcatError(f"{subject} cannot be made on {host}: {error}")


# -- what is wrong


def _check_host(
    settings: DatabaseSettings, address: Address, shard: Shard, host: Host, features: Features
) -> list[Finding]:
    version = ""
    connection = ch.Connection(address, host, database="")
    try:
        version = ".".join(map(str, connection.version))
        findings = [Finding("ok", f"{host}", f"answers, version {version}, {_role(shard, features)}")]
        has = _tables(address, host)
        if has is None:
            missing = f'has no database "{address.database}"'
            return [*findings, Finding("bad", f"{host}", missing, "Run hepcat db create.")]
        for table in ALL:
            findings += _check_table(connection, settings, address, table, features, has)
        findings += _check_clock(connection, host)
    finally:
        connection.close()
    return findings


def _role(shard: Shard, features: Features) -> str:
    copies = f", {len(shard.replicas)} replicas" if features.replicated else ""
    return f"shard {shard.number} of weight {shard.weight}{copies}"


def _check_table(
    connection: ch.Connection,
    settings: DatabaseSettings,
    address: Address,
    table: str,
    features: Features,
    has: dict[str, str],
) -> list[Finding]:
    """Look at the table that holds the rows, and at the one over all shards."""
    stored = stored_name(table, address.cluster)
    for name in (stored, table):
        if name not in has:
            return [Finding("bad", f"{connection.host} table {name}", "is missing", "Run hepcat db create.")]
    if address.cluster and has[table] != "Distributed":
        advice = f"Rename it, and run hepcat db create: rows go to {table + LOCAL}."
        return [
            Finding("bad", f"{connection.host} table {table}", f"is {has[table]}, not Distributed", advice)
        ]
    findings = []
    try:
        connection.columns(
            f"SELECT count() AS n FROM {ch.name(address.database)}.{ch.name(stored)} WHERE ts = 0"
        )
    except ch.Refused as error:
        advice = "Grant the user SELECT and INSERT."
        findings.append(Finding("bad", f"{connection.host} table {stored}", str(error), advice))
    changes = _changes_of(connection, settings, address, table, features)
    for _, sql in changes:
        level = "bad" if "ADD COLUMN" in sql else "warn"
        what = sql.partition(f"{ch.name(stored)} ")[2].partition(" COMMENT")[0] or sql
        findings.append(
            Finding(
                "bad" if level == "bad" else "warn",
                f"{connection.host} table {stored}",
                f"lacks: {what}",
                "Run hepcat db upgrade.",
            )
        )
    return findings or [Finding("ok", f"{connection.host} table {stored}", "is as it should be")]


def _check_clock(connection: ch.Connection, host: Host) -> list[Finding]:
    at = int(connection.columns("SELECT toInt64(toUnixTimestamp(now())) AS at")["at"][1][0])
    off = at - time.time()
    if abs(off) <= _CLOCK:
        return []
    return [
        Finding(
            "warn",
            f"{host}",
            f"its clock is {off:+.0f} s off ours",
            "Retention goes by it; synchronize the clocks.",
        )
    ]
