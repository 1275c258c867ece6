"""`hepcat agent`: capture on this machine, filter by plan, send on as HEP.

In: flags, a configuration file or captagent's own files. Out: exit code 0, 1 (the message says why) or 2
(wrong use). What is heavy is imported within the functions: `hepcat --help` loads this module.
"""

import os
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hepcat.cli.common import ConfigOption
from hepcat.errors import HepcatError

if TYPE_CHECKING:
    from hepcat.config.settings import Settings
    from hepcat.pipeline.agent import Agent

CaptagentOption = Annotated[
    Path | None,
    typer.Option(
        "--captagent", metavar="FILE", help="Read captagent's files: its captagent.xml.", readable=False
    ),
]
DevOption = Annotated[
    list[str] | None,
    typer.Option("--dev", "-i", metavar="NAME", help='Interface to capture on; repeatable. Default: "any".'),
]
ToOption = Annotated[
    list[str] | None,
    typer.Option(
        "--to", metavar="URL", help="Send HEP there: udp://HOST:PORT, tcp:// or tls://; repeatable."
    ),
]
FilterOption = Annotated[
    str | None,
    typer.Option("--filter", metavar="EXPR", help='libpcap filter; else "portrange 5060-5091".'),
]
PlanOption = Annotated[
    Path | None,
    typer.Option(
        "--plan", metavar="FILE", help="Capture plan; default: SIP, RTCP and reports.", readable=False
    ),
]
ReadOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--read",
        "-r",
        metavar="FILE",
        help='Read capture files, not interfaces; "-": standard input; repeatable.',
        readable=False,
    ),
]
WriteOption = Annotated[
    Path | None,
    typer.Option(
        "--write", "-w", metavar="FILE", help="Also keep the frames; name with %Y%m%d-%H%M%S.", readable=False
    ),
]

HttpOption = Annotated[
    str | None,
    typer.Option("--http", metavar="ADDRESS:PORT", help="Serve /metrics, /stats, /status, /healthz there."),
]


def agent(
    config: ConfigOption = None,
    captagent: CaptagentOption = None,
    dev: DevOption = None,
    to: ToOption = None,
    filter: FilterOption = None,
    plan: PlanOption = None,
    read: ReadOption = None,
    realtime: Annotated[
        bool, typer.Option("--realtime", help="Read files at the pace at which they were recorded.")
    ] = False,
    write: WriteOption = None,
    rotate_size: Annotated[
        str, typer.Option("--rotate-size", metavar="SIZE", help='A new -w file after so much, "100MiB".')
    ] = "0",
    rotate_seconds: Annotated[
        float, typer.Option("--rotate-seconds", min=0, metavar="SECONDS", help="A new -w file after so long.")
    ] = 0.0,
    gzip: Annotated[bool, typer.Option("--gzip", help="Compress the -w files.")] = False,
    rtcp: Annotated[bool, typer.Option("--rtcp/--no-rtcp", help="Without a configuration: RTCP too.")] = True,
    keylog: Annotated[
        Path | None,
        typer.Option(
            "--keylog", metavar="FILE", help="Decrypt TLS with this key log (SSLKEYLOGFILE).", readable=False
        ),
    ] = None,
    node_id: Annotated[
        int | None, typer.Option("--node-id", metavar="N", help="Capture id to send (HEP chunk 0x000c).")
    ] = None,
    user: Annotated[
        str | None, typer.Option("--user", metavar="NAME", help="User to become once the sockets are open.")
    ] = None,
    cpu: Annotated[str | None, typer.Option("--cpu", metavar="LIST", help='CPUs to run on, "0,2".')] = None,
    cpu_limit: Annotated[
        int | None,
        typer.Option("--cpu-limit", metavar="PERCENT", help="CPU ceiling of one core; above, load is shed."),
    ] = None,
    shed: Annotated[
        str | None,
        typer.Option(
            "--shed", metavar="WHAT", help="What is shed: calls, media, responses, registrations or none."
        ),
    ] = None,
    http: HttpOption = None,
    seconds: Annotated[
        float, typer.Option("--seconds", min=0, metavar="N", help="Stop after so long; 0: never.")
    ] = 0.0,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check everything, say what would be done, capture nothing.")
    ] = False,
) -> None:
    """Capture SIP and RTCP on interfaces or from files, run it through capture plans, send it as HEP."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # its threads would only cost memory
    from hepcat.pipeline.lean import import_structlog

    import_structlog()
    from hepcat.config.values import parse_octets
    from hepcat.control.running import RunOptions, run_agent

    flags: dict[str, Any] = {
        "http.listen": http,
        "user": user,
        "agent.node_id": node_id,
        "agent.cpu": _cpus(cpu),
        "agent.cpu_limit": cpu_limit,
        "agent.shed": shed,
        "agent.tls.keylog": str(keylog) if keylog else None,
    }
    quick = _Quick(dev, to, filter, plan, rtcp, bool(read))

    def settings() -> "Settings":
        return quick.complete(_load(config, captagent, flags, dry_run))

    try:
        size = parse_octets(rotate_size)
    except ValueError as error:
        raise HepcatError(f"--rotate-size: {error}") from None
    if write is None and (gzip or size or rotate_seconds):
        raise HepcatError(
            "--gzip, --rotate-size and --rotate-seconds are about -w files, and there is no -w",
            "Name them: -w 'sip-%Y%m%d-%H%M%S.pcap'",
        )
    first = settings()
    files = tuple(Path("/dev/stdin") if str(path) == "-" else path for path in read or ())
    for path in files:
        _check_file(path, write)
    if dry_run:
        _dry_run(first, files)
        return
    options = RunOptions(files, realtime, write, size, rotate_seconds, gzip, seconds)
    sys.exit(run_agent(first, options, settings, _banner))


#: Octets of the ring of the RTCP profile.
_RTCP_RING = 2**21


class _Quick:
    """What the flags ask for where no file does: one target, a profile for SIP and one for RTCP."""

    def __init__(
        self,
        dev: list[str] | None,
        to: list[str] | None,
        filter: str | None,
        plan: Path | None,
        rtcp: bool,
        reading: bool,
    ) -> None:
        self._dev, self._to, self._filter, self._plan = dev, to, filter, plan
        self._rtcp = rtcp
        self._reading = reading

    def complete(self, settings: "Settings") -> "Settings":
        """Return the settings with what the flags say. Raises HepcatError where nothing is sent anywhere."""
        from pydantic import ValidationError

        document = settings.agent.model_dump()
        if self._to:
            document["targets"] = [
                *(t for t in document["targets"] if t["name"] != "hepsocket"),
                {"name": "hepsocket", "urls": tuple(self._to)},
            ]
        if not document["profiles"]:
            document["profiles"] = self._profiles()
        else:
            changes = {
                "dev": tuple(self._dev) if self._dev else None,
                "filter": self._filter,
                "plan": self._plan,
            }
            if self._plan is not None:
                for profile in document["profiles"]:
                    profile["plan_text"] = None
            for profile in document["profiles"]:
                profile.update({name: value for name, value in changes.items() if value is not None})
        if not document["targets"]:
            raise HepcatError(
                "nothing to send to",
                "Name a HEP collector with --to udp://HOST:9060, or targets in the configuration.",
            )
        try:
            agent = type(settings.agent).model_validate(document)
        except ValidationError as error:
            problem = error.errors()[0]
            raise HepcatError(str(problem["msg"]).removeprefix("Value error, ")) from None
        return settings.model_copy(update={"agent": agent})

    def _profiles(self) -> list[dict[str, Any]]:
        common: dict[str, Any] = {"dev": tuple(self._dev or ("any",))}
        filter = self._filter
        if filter is None:
            # A file was made on purpose: everything in it is wanted. An interface carries more than SIP.
            filter = "" if self._reading else "portrange 5060-5091"
        sip = {**common, "name": "sip", "filter": filter, "plan": self._plan}
        if not self._rtcp or self._plan is not None or (self._reading and self._filter is None):
            return [sip]
        # RTCP is short and rare: with a ring as large as that of SIP the agent would take 12 MiB more.
        rtcp = {"name": "rtcp", "filter": "udp", "capture_filter": ("rtcp",), "ring_buffer": _RTCP_RING}
        return [sip, {**common, **rtcp}]


def _load(config: Path | None, captagent: Path | None, flags: dict[str, Any], dry_run: bool) -> "Settings":
    from hepcat.config.loader import load_settings, unknown_variables

    if config is not None and captagent is not None:
        raise HepcatError("--config and --captagent exclude each other", "`hepcat convert` joins them.")
    settings = load_settings(config, flags)
    for name, near in unknown_variables(os.environ):
        typer.echo(f"warning: the variable {name} sets nothing; did you mean {near}?", err=True)
    if captagent is None:
        return settings
    from hepcat.config.captagent.reader import read_captagent

    converted = read_captagent(captagent)
    quiet = 0
    for warning in converted.warnings:
        if warning.level == "warning" or dry_run:
            typer.echo(f"{warning.level}: {warning}", err=True)
        else:
            quiet += 1
    if quiet:
        typer.echo(
            f"{quiet} parameters are taken otherwise, and nothing is lost by it: --dry-run lists them",
            err=True,
        )
    given = {name.partition(".")[2]: value for name, value in flags.items() if name.startswith("agent.")}
    changes = {name: value for name, value in given.items() if value is not None and "." not in name}
    if settings.agent.tls.keylog is not None:
        tls = converted.settings.tls.model_copy(update={"keylog": settings.agent.tls.keylog})
        changes["tls"] = tls
    return settings.model_copy(update={"agent": converted.settings.model_copy(update=changes)})


def _cpus(text: str | None) -> list[int] | None:
    if text is None:
        return None
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise HepcatError(f'--cpu: "{text}" is no list of numbers', 'Write "0,2".') from None


def _check_file(path: Path, write: Path | None) -> None:
    """Raise HepcatError where a capture file cannot be one, before anything of the others is sent."""
    from hepcat.sources.capture_file import FileSource

    if write is not None and write.exists() and path.exists() and write.samefile(path):
        raise HepcatError(f"-w {write} would write over the file that is read", "Give it another name.")
    if path.is_file() or path.is_dir() or not path.exists():  # a pipe can be opened but once
        FileSource(path).close()


def _check_devices(settings: "Settings") -> None:
    """Raise HepcatError where a profile names an interface that is not there."""
    from hepcat.sources.packet_socket import no_interface

    there = {"any", *(name for _, name in socket.if_nameindex())}
    for profile in settings.agent.profiles:
        if profile.enable and not (profile.hep or profile.tzsp or profile.collect):
            for dev in profile.dev:
                if dev not in there:
                    raise no_interface(dev)


def _dry_run(settings: "Settings", files: tuple[Path, ...]) -> None:
    """Say what would be captured and where it would go. Raises HepcatError as the run would."""
    from hepcat.pipeline.agent import Agent
    from hepcat.pipeline.effects import effect_warnings
    from hepcat.pipeline.logs import setup_logs
    from hepcat.pipeline.obstacles import obstacles

    setup_logs(settings.log)
    made = Agent(settings)
    for profile in made.profiles:
        own = profile.settings
        where = (
            ", ".join(map(str, files)) or ", ".join(own.hep) or own.tzsp or own.collect or ", ".join(own.dev)
        )
        typer.echo(f"profile {profile.name}: {where}")
        if profile.expression:
            compiled = profile.filter("raw" if own.dev == ("any",) else "ethernet")
            size = f" ({len(compiled.instructions)} BPF instructions)" if compiled is not None else ""
            typer.echo(f"  filter: {profile.expression}{size}")
        typer.echo(f"  plan: {own.plan or ('given in the configuration' if own.plan_text else 'built-in')}")
        typer.echo(f"  functions: {', '.join(sorted(profile.plan.functions))}")
        for warning in profile.warnings:
            typer.echo(f"  warning: {warning}")
    for target in settings.agent.targets:
        typer.echo(f"target {target.name}: {target.kind} to {', '.join(target.urls) or target.path}")
    for warning in effect_warnings(settings.agent):
        typer.echo(f"  warning: {warning}")
    if not files:
        _check_devices(settings)
    for warning in obstacles(settings, bool(files)):
        typer.echo(f"warning: {warning}")
    typer.echo("ok: nothing was captured (--dry-run)")


def _banner(agent: "Agent") -> None:
    from hepcat import __version__

    print(f"hepcat {__version__} agent is capturing")
    for worker in agent.workers:
        print(f"  {worker.reader.tally.source}")
    for url in (*(part.url for part in agent.listeners), *(part.url for part in agent.collectors)):
        print(f"  {url}")
    print("and sending to")
    for target in agent.settings.agent.targets:
        print(f"  {target.name}: {', '.join(target.urls) or target.path}")
    print("Stop with Ctrl-C; read the capture plans again with kill -HUP.", flush=True)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(agent)
