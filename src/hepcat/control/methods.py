"""What can be asked of a running server or agent, and switched: one table of methods, whatever the door.

In: what runs, a method's name, arguments as a door read them, and whether whoever asks may change anything.
Out: plain values (what JSON can carry); secrets never. What can go wrong: `MethodError`, which says whose
fault it is, so that each door can answer in its own words.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol

import structlog

from hepcat import __version__
from hepcat.batch.drops import Drop
from hepcat.errors import HepcatError
from hepcat.pipeline.counters import Snapshot, SourceCounts
from hepcat.pipeline.switch import CaptureSwitch

if TYPE_CHECKING:
    from hepcat.pipeline.metrics import Metrics

log = structlog.get_logger("hepcat.control")

#: Longest text that an argument can be.
MAX_ARGUMENT: Final = 1024
#: Sources that an error names, at most.
_NAMED: Final = 20


class Counting(Protocol):
    """Has all the counts."""

    def snapshot(self) -> Snapshot:
        """Return all counts."""

    def agents(self) -> list[dict[str, Any]]:
        """Return the agents that messages came of: node id, name, messages, time of the last."""


class Running(Protocol):
    """What a door needs of a server or an agent."""

    @property
    def counters(self) -> Counting:
        """Its counters."""

    @property
    def switch(self) -> CaptureSwitch:
        """Whether it captures."""

    def store_ok(self) -> bool:
        """Whether records get where they are to go, just now."""

    def store_gauges(self) -> Mapping[str, float]:
        """What its store tells of itself."""

    def about(self) -> dict[str, Any]:
        """What it does: listeners, folders, targets."""


@dataclass(frozen=True, slots=True)
class Control:
    """What the doors lead to. reload: puts the configuration in force and returns what there is to say about
    it; raises HepcatError where the old one stays in force.
    """

    running: Running
    reload: Callable[[], list[str]] | None = None


#: unknown: no such method. parameter: wrong or missing. right: the caller may not. failed: it was tried.
Fault = Literal["unknown", "parameter", "right", "failed"]


class MethodError(HepcatError):
    """A method that was not carried out."""

    def __init__(self, fault: Fault, message: str, hint: str = "", missing: bool = False) -> None:
        super().__init__(message, hint)
        self.fault: Fault = fault
        #: a parameter is not there, rather than wrong
        self.missing = missing


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter: a text, of `choices` (in any case of letters) where there are some. All are optional."""

    name: str
    doc: str
    choices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Method:
    """A method: `call(control, arguments)`, its parameters in their order, and a line for people.

    changes: parameters with which it changes something; "always" where it does without any.
    """

    call: Callable[[Control, Mapping[str, str]], Any]
    doc: str
    parameters: tuple[Parameter, ...] = field(default=())
    changes: frozenset[str] | Literal["always"] = frozenset()

    def changes_with(self, arguments: Mapping[str, str]) -> bool:
        """Whether it changes something, called so."""
        return self.changes == "always" or bool(self.changes & arguments.keys())


def call_method(control: Control, name: str, given: Any = None, may_change: bool = True) -> Any:
    """Carry a method out. given: arguments in order, or by name. Raises MethodError."""
    method = METHODS.get(name)
    if method is None:
        raise MethodError("unknown", f"there is no method {name}", f"There is {', '.join(METHODS)}.")
    arguments = _bind(method, given)
    if not may_change and method.changes_with(arguments):
        raise MethodError(
            "right", f"only root and the server's own user may call {name} so", "Use sudo, or that user."
        )
    return method.call(control, arguments)


def _bind(method: Method, given: Any) -> dict[str, str]:
    """Return the arguments by name, checked."""
    known = {parameter.name: parameter for parameter in method.parameters}
    if given is None:
        given = {}
    if isinstance(given, Sequence) and not isinstance(given, str):
        if len(given) > len(known):
            raise MethodError("parameter", f"at most {len(known)} parameters")
        given = dict(zip(known, given, strict=False))
    if not isinstance(given, Mapping):
        raise MethodError("parameter", "parameters have to be a list, or stand by name")
    arguments: dict[str, str] = {}
    for name, value in given.items():
        parameter = known.get(name)
        if parameter is None:
            raise MethodError("parameter", f"no such parameter; there is {', '.join(known) or 'none'}")
        if value is not None:
            arguments[name] = _check(parameter, value)
    return arguments


def _check(parameter: Parameter, value: Any) -> str:
    if not isinstance(value, str) or len(value) > MAX_ARGUMENT:
        raise MethodError("parameter", f"{parameter.name} has to be a text of at most {MAX_ARGUMENT}")
    if not parameter.choices:
        return value
    if value.lower() not in parameter.choices:
        raise MethodError("parameter", f"{parameter.name} has to be {' or '.join(parameter.choices)}")
    return value.lower()


# -- the methods


def sip_capture(control: Control, arguments: Mapping[str, str]) -> dict[str, Any]:
    """Switch, or not, and return how the switches stand."""
    switch = control.running.switch
    sources = list(control.running.counters.snapshot().sources)
    mode, source = arguments.get("mode"), arguments.get("source")
    if source is not None and source not in sources:
        known = ", ".join(sources[:_NAMED]) + (", ..." if len(sources) > _NAMED else "")
        raise MethodError("parameter", f"no source {source}", f"There is {known or 'none'}.")
    if mode is not None:
        switch.set(mode == "on", source)
        log.info(f"capture switched {mode}", source=source or "all")
    return {
        "on": switch.on if source is None else switch.is_on(source),
        **({"source": source} if source is not None else {}),
        **_switches(switch, sources),
    }


def _switches(switch: CaptureSwitch, sources: Sequence[str]) -> dict[str, Any]:
    return {"capture": switch.on, "sources": {source: switch.is_on(source) for source in sources}}


def status(running: Running) -> dict[str, Any]:
    """Version, process, and what it does."""
    return {
        "program": "hepcat",
        "version": __version__,
        "pid": os.getpid(),
        "capture": running.switch.on,
        "capture_off": sorted(running.switch.off),
        **running.about(),
    }


def stats(running: Running) -> dict[str, Any]:
    """Return the counters: total, by source, agent, target, store; the numbers of /metrics and of the log."""
    counts = running.counters.snapshot()
    targets: Any = getattr(running.counters, "targets", None)
    stores: Any = getattr(running, "store_stats", None)
    return {
        "capture": running.switch.on,
        "total": _plain(counts.total),
        "sources": {
            url: {"capture": running.switch.is_on(url), **_plain(numbers)}
            for url, numbers in counts.sources.items()
        },
        **({"stores": stores()} if stores else {}),
        **({"targets": {name: _target(numbers) for name, numbers in targets().items()}} if targets else {}),
        "agents": counts.agents,
        "queue": {"records": counts.queue_records, "octets": counts.queue_octets},
    }


def metrics_of(running: Running) -> "Metrics":
    """Return what writes the counters as Prometheus reads them."""
    from hepcat.pipeline.metrics import HepcatCollector, Metrics  # most agents are never asked

    return Metrics(
        HepcatCollector(
            running.counters.snapshot,
            running.store_ok,
            running.store_gauges,
            getattr(running.counters, "targets", None),
            running.switch,
            getattr(running, "store_stats", None),
        )
    )


def reload(control: Control, _: Mapping[str, str]) -> dict[str, Any]:
    """Put the configuration in force; return once it is."""
    if control.reload is None:
        raise MethodError("failed", "there is nothing to reload here")
    try:
        return {"reloaded": True, "notes": control.reload()}
    except HepcatError as error:
        raise MethodError("failed", str(error), error.hint or "What was in force stays in force.") from None


def _plain(counts: SourceCounts) -> dict[str, Any]:
    return {
        "received": counts.received,
        "octets": counts.octets,
        "stored": counts.stored,
        "forwarded": counts.forwarded,
        "carried": counts.carried,
        "messages": counts.messages,
        "in_flight": counts.in_flight,
        "connections": counts.connections,
        "dropped": _named(counts.drops),
        **(
            {"stages": {stage: _named(drops) for stage, drops in counts.stages.items()}}
            if counts.stages
            else {}
        ),
    }


def _named(drops: Mapping[Drop, int]) -> dict[str, int]:
    return {drop.name.lower(): count for drop, count in drops.items()}


def _target(counts: Any) -> dict[str, Any]:
    plain = {name: getattr(counts, name) for name in counts.__slots__ if name != "drops"}
    return {**plain, "dropped": _named(counts.drops)}


#: name -> method
METHODS: Final[dict[str, Method]] = {
    "sip_capture": Method(
        sip_capture,
        "Switch capture on or off, all of it or one source; without a mode, the status unchanged.",
        (
            Parameter("mode", "on or off; left out: nothing changes.", ("on", "off")),
            Parameter("source", "A source's URL, as stats shows it; left out: all of them."),
        ),
        frozenset({"mode"}),
    ),
    "stats": Method(
        lambda control, _: stats(control.running), "The counters, by source, agent, store and target."
    ),
    "agents": Method(
        lambda control, _: control.running.counters.agents(),
        "Agents that sent HEP: node id, name, messages, and when the last one came (microseconds).",
    ),
    "metrics": Method(
        lambda control, _: metrics_of(control.running).text().decode(),
        "The text of /metrics, for Prometheus.",
    ),
    "status": Method(
        lambda control, _: status(control.running), "Version, process, listeners, stores, switches."
    ),
    "reload": Method(
        reload, "Put the configuration in force as it stands in its file now.", changes="always"
    ),
}
#: What GET of the HTTP door answers: what changes nothing and takes nothing.
READ: Final = tuple(name for name, method in METHODS.items() if not method.parameters and not method.changes)
