"""What `hepcat check-config` looks at beyond the file itself: keys, certificates, the user; and a summary.

In: settings. Out: problems as text (none: all is well), and lines for people. Secrets are never shown.
"""

from hepcat.config.settings import Settings
from hepcat.config.values import format_octets
from hepcat.errors import HepcatError
from hepcat.pipeline.privileges import look_up
from hepcat.pipeline.tls import make_context
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
    if settings.hep.tls.certificate and settings.hep.tls.key:
        try:
            make_context(settings.hep.tls)
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
    keys = f"with {len(hep.keys)} key{'s'[: len(hep.keys) != 1]}" if hep.keys else "from anybody (no keys)"
    lines = [
        f"receives HEP on {', '.join(hep.listen)}, {keys}",
        f"stores in {settings.data}",
        f"holds {format_octets(settings.queue.memory)} in memory while the store is away",
        f"metrics on http://{settings.http.listen}/metrics" if settings.http.listen else "no HTTP port",
    ]
    if settings.extra_headers:
        lines.append(f"extra headers: {', '.join(settings.extra_headers)}")
    if settings.aliases:
        lines.append(f"{len(settings.aliases)} aliases of hosts")
    if settings.user:
        lines.append(f"runs as {settings.user} once the sockets are open")
    return lines


def _text(error: HepcatError) -> str:
    return f"{error}. {error.hint}" if error.hint else str(error)
