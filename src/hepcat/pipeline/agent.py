"""The agent: sources -> frames -> messages -> plan -> targets, wired from the settings.

In: `Settings`. Out: running threads and their counters. Order of life: `open` (sockets, files, keys, while
still root), `start`, `reload` any number of times, `stop`. What can go wrong: HepcatError from `open` and
`reload`; afterwards only the log and the counters tell.
"""

import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import structlog

from hepcat.config.agent import AgentSettings
from hepcat.config.settings import Settings
from hepcat.errors import HepcatError
from hepcat.pipeline.agent_counts import AgentCounters
from hepcat.pipeline.capture import AgentTally, Planner, Reader
from hepcat.pipeline.frame_worker import CaptureWorker
from hepcat.pipeline.profiles import Prepared, prepare
from hepcat.pipeline.shed import Shedder
from hepcat.pipeline.switch import CaptureSwitch
from hepcat.plans.plan import Environment
from hepcat.sinks.frame_writer import FrameWriter
from hepcat.sinks.make import make_sink
from hepcat.sinks.sink import Sink
from hepcat.sources.devices import open_device
from hepcat.sources.frame_source import FrameSource
from hepcat.sources.source import Source, Tally
from hepcat.wire.collect import IndexOptions
from hepcat.wire.media import MediaTable

if TYPE_CHECKING:  # else imported where it is used: most agents have no listener, and stay small without
    from hepcat.pipeline.intake import HepIntake
    from hepcat.pipeline.relay import SipCollector

#: Seconds to read what sockets hold on stop, and to send what waits.
DRAIN_SECONDS: Final = 2.0
SEND_SECONDS: Final = 5.0

#: Settings of [agent] that a reload takes over with the plans, or speaks of by itself.
_RELOADED: Final = frozenset({"profiles", "targets", "plans", "regexps", "custom_headers"})

log = structlog.get_logger("hepcat.agent")


class Agent:
    """One process's capture agent."""

    def __init__(self, settings: Settings, writer: FrameWriter | None = None) -> None:
        """Compile plans and filters. writer: keeps captured frames (`-w`). Raises HepcatError."""
        self.settings = settings
        self.switch = CaptureSwitch()
        self.profiles = prepare(settings.agent)
        _check_listeners(settings)
        self.sinks: dict[str, Sink] = {t.name: make_sink(t, settings.agent) for t in settings.agent.targets}
        self.counters = AgentCounters(list(self.sinks.values()))
        self.workers: list[CaptureWorker] = []
        self.listeners: list[Source] = []
        self.collectors: list[SipCollector] = []
        self.readers: list[tuple[str, Reader]] = []
        self.secrets = _secrets(settings.agent)
        self.writer = writer
        self._planners: list[tuple[str, Planner]] = []
        self._media = _media(settings.agent)
        agent = settings.agent
        self._shedder = (
            Shedder(agent.cpu_limit, agent.shed) if agent.cpu_limit and agent.shed != "none" else None
        )
        self._follower: Any = None

    # -- life

    def open(self) -> None:
        """Open every socket. Raises HepcatError; nothing stays open then."""
        try:
            for profile in self.profiles:
                self._open_profile(profile)
        except BaseException:
            for worker in self.workers:
                worker.source.close()
            for listener in self.listeners:
                listener.close()
            for collector in self.collectors:
                collector.close()
            self.workers.clear()
            self.listeners.clear()
            self.collectors.clear()
            raise

    def open_reader(self, profile: Prepared, name: str) -> Reader:
        """Make a reader for windows that somebody else hands over (files)."""
        tally = AgentTally(name)
        self.counters.add(tally)
        options = IndexOptions(self.settings.extra_headers, self.settings.callid_aleg_header)
        reader = Reader(profile, self._planner(profile, tally), tally, options, self.secrets)
        self.readers.append((profile.name, reader))
        return reader

    def start(self) -> None:
        """Begin to send and to capture."""
        self.start_sinks()
        self.start_keylog()
        for part in self._parts():
            part.start()

    def start_sinks(self) -> None:
        """Begin to send."""
        for sink in self.sinks.values():
            sink.start()

    def start_keylog(self) -> None:
        """Read the key log of TLS, where there is one, and follow it."""
        path = self.settings.agent.tls.keylog
        if path is not None and self.secrets is not None:
            from hepcat.pipeline.keylog import KeyLogThread

            self._follower = KeyLogThread(path, self.secrets)
            self._follower.start()

    def stop(self) -> None:
        """Read what has arrived, send what waits (spool the rest), close."""
        for worker in self.workers:
            worker.stop()
        for listener in self.listeners:
            listener.stop(DRAIN_SECONDS)
        for collector in self.collectors:
            collector.stop()
        for part in self._parts():
            part.join()
        self.stop_sinks()

    def stop_sinks(self) -> None:
        """Let plans end, send what waits for a while, then close."""
        for _, planner in self._planners:
            for end in planner.env.at_end:
                end()
        if self._follower is not None:
            self._follower.stop()
        # All at once: targets that are away must not add up to more than systemd gives a service to end.
        enders = [
            threading.Thread(target=sink.stop, args=(SEND_SECONDS,), name=f"end {name}")
            for name, sink in self.sinks.items()
        ]
        for ender in enders:
            ender.start()
        for ender in enders:
            ender.join()
        if self.writer is not None:
            self.writer.close()

    def reload(self, new: Settings) -> list[str]:
        """Take over plans read anew; log and return what needs a restart. Raises HepcatError, changing
        nothing.
        """
        fresh = {profile.name: profile for profile in prepare(new.agent)}
        running = {profile.name for profile in self.profiles}
        for name in sorted(running & fresh.keys()):
            unknown = sorted(fresh[name].plan.targets - self.sinks.keys())
            if unknown:
                raise HepcatError(
                    f'profile {name}: its plan sends to "{unknown[0]}", a target there was not at the start',
                    "Restart the agent: targets and profiles are taken over at the start, plans on SIGHUP.",
                )
        waiting = fresh.keys() ^ running
        for profile in self.profiles:
            if profile.name in fresh and _but_plan(fresh[profile.name]) != _but_plan(profile):
                waiting = waiting | {profile.name}
        for name, planner in self._planners:
            if name in fresh:
                ends, planner.env.at_end = planner.env.at_end, []
                planner.swap(fresh[name])
                for end in ends:
                    end()
        log.info("capture plans reloaded")
        if waiting:
            log.warning(
                "but for their plans, these profiles change only with a restart", profiles=sorted(waiting)
            )
        new_targets = new.agent.targets != self.settings.agent.targets
        if new_targets:
            log.warning("targets change only with a restart")
        others = sorted(
            name
            for name in type(new.agent).model_fields
            if name not in _RELOADED and getattr(new.agent, name) != getattr(self.settings.agent, name)
        )
        if others:
            log.warning("these settings of [agent] change only with a restart", settings=others)
        return [
            *(f"profile {name}, but for its plan, changes only with a restart" for name in sorted(waiting)),
            *(["targets change only with a restart"] if new_targets else []),
            *(f"agent.{name} changes only with a restart" for name in others),
        ]

    # -- what doors ask for

    def store_ok(self) -> bool:
        """Whether targets take records; one that is away has its counters."""
        return True

    def store_gauges(self) -> Mapping[str, float]:
        """Nothing is stored here."""
        return {}

    def about(self) -> dict[str, Any]:
        """What the agent captures and where it sends."""
        return {
            "profiles": [profile.name for profile in self.profiles],
            "sources": [worker.reader.tally.source for worker in self.workers]
            + [source.url for source in self.listeners]
            + [collector.url for collector in self.collectors],
            "targets": {target.name: list(target.urls) for target in self.settings.agent.targets},
            "shedding": round(1 - self._shedder.keep, 3) if self._shedder is not None else 0,
        }

    # -- parts

    def _parts(self) -> "list[CaptureWorker | Source | SipCollector]":
        return [*self.workers, *self.listeners, *self.collectors]

    def _open_profile(self, profile: Prepared) -> None:
        settings = profile.settings
        if settings.hep:
            from hepcat.pipeline.listeners import open_listener

            for url in settings.hep:
                self.listeners += open_listener(url, self.settings.hep, lambda u: self._intake(profile, u))
        elif settings.collect:
            self._open_collector(profile)
        elif settings.tzsp:
            from hepcat.sources.tzsp import TzspSource

            self._add_worker(TzspSource(settings.tzsp), profile)
        else:
            compiled = profile.filter()
            if compiled is not None and compiled.note:
                log.warning(compiled.note, profile=profile.name)
            for dev in settings.dev:
                for source in open_device(dev, compiled, settings):
                    self._add_worker(source, profile)

    def _add_worker(self, source: FrameSource, profile: Prepared) -> None:
        reader = self.open_reader(profile, f"{profile.name}:{source.name}")
        self.workers.append(CaptureWorker(source, reader, lambda: time.time_ns() // 1000, self.writer))

    def _open_collector(self, profile: Prepared) -> None:
        tally = AgentTally(f"{profile.name}:{profile.settings.collect}")
        self.counters.add(tally)
        planner = self._planner(profile, tally)
        from hepcat.pipeline.relay import SipCollector

        collector = SipCollector(
            profile.settings.collect, planner, tally, self.settings.extra_headers, profile.settings.reply,
            profile.settings.hep_type or 0,
        )  # fmt: skip
        planner.env.replier = collector
        self.collectors.append(collector)

    def _intake(self, profile: Prepared, url: str) -> "tuple[Tally, HepIntake]":
        tally, after = Tally(url), AgentTally(f"{profile.name}:{url}")
        planner = self._planner(profile, after)
        from hepcat.pipeline.intake import HepIntake, LiveOptions
        from hepcat.pipeline.relay import PlanQueue
        from hepcat.pipeline.server import intake_options

        queue: Any = PlanQueue(planner)
        intake = HepIntake(queue, tally, LiveOptions(intake_options(self.settings)))
        self.counters.add_relay(tally, after, intake)
        return tally, intake

    def _planner(self, profile: Prepared, tally: AgentTally) -> Planner:
        env = Environment(
            outlets={name: sink.open_outlet() for name, sink in self.sinks.items()},
            media=self._media,
            regexps=self.settings.agent.regexps,
            isup_correlation=self.settings.agent.isup_correlation,
            log=_plan_log(profile.name),
        )
        planner = Planner(profile, env, tally, self._shedder, self.switch)
        self._planners.append((profile.name, planner))
        return planner


def _check_listeners(settings: Settings) -> None:
    """Raise HepcatError where a tls:// listener has nothing to show."""
    own = settings.hep.tls
    for profile in settings.agent.profiles:
        wanted = profile.enable and any(url.startswith("tls:") for url in profile.hep)
        if wanted and not (own.certificate and own.key):
            raise HepcatError(
                f"profile {profile.name}: a tls:// listener needs a certificate and its key",
                "Name both in [hep.tls].",
            )


def _plan_log(profile: str) -> Any:
    """clog() of a plan: into the agent's log, at the level that the plan names."""
    plan_log = structlog.get_logger("hepcat.plan")
    levels = {"debug": "debug", "info": "info", "notice": "info", "warning": "warning", "warn": "warning"}

    def write(level: str, text: str) -> None:
        getattr(plan_log, levels.get(level.lower(), "error"))(text, profile=profile)

    return write


def _media(agent: AgentSettings) -> MediaTable:
    media = agent.media
    return MediaTable(max_entries=media.entries, timeout_us=int(media.timeout * 1e6), nat=media.nat)


def _secrets(agent: AgentSettings) -> Any:
    """Read the RSA keys, while still root; None where nothing to decrypt with is configured."""
    if agent.tls.keylog is None and not agent.tls.rsa_keys:
        return None
    from hepcat.wire.tls import Secrets

    secrets = Secrets()
    for path in agent.tls.rsa_keys:
        secrets.add_rsa_key(_read(path))
    return secrets


def _but_plan(profile: Prepared) -> object:
    return profile.settings.model_copy(update={"plan": None, "plan_text": None})


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise HepcatError(
            f"cannot read the RSA key {path}: {error.strerror}", "`rsa_keys` names PEM files."
        ) from None
