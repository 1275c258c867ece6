"""What the page's own process counts: its connections and searches, as Prometheus metrics and as numbers.

In: the site. Out: text to follow the server's own metrics; a dict. What can go wrong: nothing.
"""

from typing import TYPE_CHECKING, Any, Final

from hepcat.web.door import Ended

if TYPE_CHECKING:
    from hepcat.web.site import Site

_NUMBERS: Final = (
    ("searches_running", "gauge", "Searches that run."),
    ("searches_waiting", "gauge", "Searches that wait for a place."),
    ("searches_done", "counter", "Searches that ended."),
    ("searches_refused", "counter", "Searches refused: too many waited, or none of the places came free."),
    ("searches_cancelled", "counter", "Searches ended because their client went away, or at the stop."),
    ("searches_timeouts", "counter", "Searches ended because their time was over."),
    ("live", "gauge", "Pages in live mode."),
    ("exports", "gauge", "Exports that are being sent."),
    ("connections", "gauge", "Connections of browsers and programs."),
)


def numbers(site: "Site") -> dict[str, Any]:
    """Return them by name."""
    searches, clients = site.searches, site.clients
    return {
        "searches_running": searches.running,
        "searches_waiting": searches.waiting,
        "searches_done": searches.done,
        "searches_refused": searches.refused,
        "searches_cancelled": searches.cancelled,
        "searches_timeouts": searches.timeouts,
        "live": len(site.watching),
        "exports": len(site.exports),
        "connections": clients.open,
        "connections_ended": {why.value: clients.ended[why] for why in Ended},
    }


def text(site: "Site") -> str:
    """Return Prometheus's text format; every reason shows from the start, at 0."""
    found = numbers(site)
    lines = []
    for name, kind, what in _NUMBERS:
        full = f"hepcat_web_{name}{'_total' if kind == 'counter' else ''}"
        lines += [f"# HELP {full} {what}", f"# TYPE {full} {kind}", f"{full} {found[name]}"]
    full = "hepcat_web_connections_ended_total"
    lines += [f"# HELP {full} Connections that were refused or given up.", f"# TYPE {full} counter"]
    lines += [f'{full}{{reason="{why}"}} {count}' for why, count in found["connections_ended"].items()]
    return "\n".join([*lines, ""])
