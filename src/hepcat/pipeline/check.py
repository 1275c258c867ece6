"""What `hepcat check-config` looks at beyond the file itself: keys, certificates, the user; and a summary.

In: settings. Out: problems as text (none: all is well), and lines for people. Secrets are never shown.
"""

from hepcat.config.databases import LAKE, kind_of, safe_url
from hepcat.config.settings import Settings
from hepcat.config.sipcapture import SipcaptureSettings
from hepcat.config.values import format_octets
from hepcat.errors import HepcatError
from hepcat.pipeline.nonsip import read_hook
from hepcat.pipeline.privileges import look_up
from hepcat.pipeline.server import NO_HOOK, hep_urls
from hepcat.pipeline.tls import make_context
from hepcat.stores.make import check_url
from hepcat.wire.hep import AuthKeys


def check_files(settings: Settings) -> list[str]:
    """Return what is wrong with the files and variables that the settings name."""
    problems = []
    pairs = []
    for key in settings.hep.keys:
        try:
            pairs.append((key.read(), key.name))
        except HepcatError as error:
            problems.append(_text(error))
    try:
        AuthKeys(pairs)
    except HepcatError as error:
        problems.append(_text(error))
    for database in settings.databases:
        try:
            check_url(database)
        except HepcatError as error:
            problems.append(_text(error))
    if settings.hep.tls.certificate and settings.hep.tls.key:
        try:
            make_context(settings.hep.tls)
        except HepcatError as error:
            problems.append(_text(error))
    classic = settings.sipcapture
    if classic is not None and classic.nonsip_hook not in NO_HOOK:
        try:
            read_hook(str(classic.nonsip_hook))
        except HepcatError as error:
            problems.append(_text(error))
    if settings.user is not None:
        try:
            look_up(settings.user)
        except HepcatError as error:
            problems.append(_text(error))
    return problems


def summary(settings: Settings) -> list[str]:
    """Return what the settings come to, a line each."""
    hep = settings.hep
    classic = settings.sipcapture
    keys = f"with {len(hep.keys)} key{'s'[: len(hep.keys) != 1]}" if hep.keys else "from anybody (no keys)"
    lines = [
        f"receives HEP on {', '.join(hep.listen)}, {keys}"
        if hep_urls(settings)
        else "receives no HEP: hep_capture_on is off",
        *_raw(classic),
        *_stores(settings),
        f"holds {format_octets(settings.queue.memory)} in memory while the store is away",
        _http(settings),
    ]
    if settings.extra_headers:
        lines.append(f"extra headers: {', '.join(settings.extra_headers)}")
    if settings.aliases:
        lines.append(f"{len(settings.aliases)} aliases of hosts")
    if settings.user:
        lines.append(f"runs as {settings.user} once the sockets are open")
    return lines


def _raw(classic: SipcaptureSettings | None) -> list[str]:
    """Say which raw mode is on, and whether capture is."""
    if classic is None:
        return []
    mode = (
        "IP-in-IP copies" if classic.raw_ipip_capture_on else "frames" if classic.raw_moni_capture_on else ""
    )
    where = f" on {classic.raw_interface or 'any interface'}, {classic.raw_socket_listen or 'all ports'}"
    return ([f"captures {mode}{where}"] if mode else []) + (
        []
        if classic.capture_on
        else ["capture is off at the start (capture_on): switch it on with hepcat ctl"]
    )


def _stores(settings: Settings) -> list[str]:
    """Say where records go."""
    databases = {database.name: database for database in settings.databases}
    lines = []
    for name in settings.stores:
        if name == LAKE:
            lines.append(f"stores in the lake at {settings.data}")
        else:
            url = databases[name].read()
            table = "" if kind_of(url) == "clickhouse" else f", {databases[name].table_name}"
            lines.append(f"stores in {name}: {safe_url(url)}{table}")
    others = [name for name in databases if name not in settings.stores]
    return [
        *lines,
        *([f"searches but does not write to {', '.join(others)}: not in `stores`"] if others else []),
    ]


def _text(error: HepcatError) -> str:
    return f"{error}. {error.hint}" if error.hint else str(error)


def _http(settings: Settings) -> str:
    listen = settings.http.listen
    if settings.web.enabled:
        scheme = "https" if settings.web.certificate is not None else "http"
        return f"page on {scheme}://{listen or '127.0.0.1:9080'}/"
    return f"metrics on http://{listen}/metrics" if listen else "no HTTP port"
