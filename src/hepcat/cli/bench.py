"""`hepcat bench`: the load generator, and the measurements of docs/performance.md."""

import json
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    name="bench",
    help="Send made-up traffic; measure hepcat.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

SeedOption = Annotated[int, typer.Option("--seed", help="The same seed sends the same messages.")]
CallsOption = Annotated[
    int, typer.Option("--calls", min=1, max=10_000_000, metavar="N", help="Dialogs that go on at once.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


@app.command("hep")
def hep(
    to: Annotated[
        str, typer.Option("--to", metavar="URL", help="udp://HOST:PORT or tcp://HOST:PORT.")
    ] = "udp://127.0.0.1:9060",
    rate: Annotated[
        float, typer.Option("--rate", min=0, metavar="N", help="Messages a second; 0: as fast as possible.")
    ] = 5000,
    seconds: Annotated[float, typer.Option("--seconds", min=0, metavar="S", help="How long to send.")] = 10,
    calls: CallsOption = 1000,
    messages: Annotated[
        int,
        typer.Option("--messages", min=0, metavar="N", help="Send exactly this many, however long it takes."),
    ] = 0,
    hep_version: Annotated[int, typer.Option("--hep-version", min=1, max=3, help="1, 2 or 3.")] = 3,
    key: Annotated[str, typer.Option("--key", metavar="TEXT", help="Authentication key (HEP 3).")] = "",
    node_id: Annotated[int, typer.Option("--node-id", min=0, max=2**32 - 1, help="Capture agent id.")] = 2001,
    seed: Annotated[
        int | None,
        typer.Option("--seed", help="The same seed sends the same messages. Default: others each time."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Send realistic SIP dialogs as HEP: calls that succeed, fail, are cancelled; registrations; options."""
    import secrets
    import signal

    from hepcat.bench import generator
    from hepcat.bench.traffic import Traffic, Wrap

    wrap: Wrap = "hep1" if hep_version == 1 else "hep2" if hep_version == 2 else "hep3"
    generator.parse_target(to, hep_version)
    if seed is None:
        seed = secrets.randbelow(2**31)  # or a second run would add messages to the calls of the first
    traffic = Traffic(seed=seed, calls=calls, wrap=wrap, key=key, node_id=node_id)
    stopping = False

    def stop(*_: object) -> None:
        nonlocal stopping
        stopping = True

    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, stop)
    sent = generator.send(traffic, to, rate, seconds, messages, hep_version, lambda: stopping)
    if as_json:
        typer.echo(json.dumps(sent.as_dict()))
        return
    typer.echo(
        f"sent {sent.messages:,} messages of {sent.calls:,} dialogs in {sent.seconds:.1f} s: "
        f"{sent.rate:,.0f} a second, {sent.octets / max(1, sent.messages):.0f} octets each"
    )
    if rate and sent.seconds >= 1 and sent.rate < 0.98 * rate:
        typer.echo(f"this machine did not reach the {rate:,.0f} a second that were asked for", err=True)
    if sent.icmp_errors:
        typer.echo(f"nobody listens at {to} (the host said so {sent.icmp_errors:,} times)", err=True)


@app.command("pcap")
def pcap(
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="The file to write.")],
    packets: Annotated[int, typer.Option("--packets", min=1, metavar="N", help="How many.")] = 1_000_000,
    noise: Annotated[
        float,
        typer.Option("--noise", min=0, max=99, metavar="PERCENT", help="Share of packets that are RTP."),
    ] = 0,
    calls: CallsOption = 1000,
    seed: SeedOption = 1,
    as_json: JsonOption = False,
) -> None:
    """Write the same traffic as a capture file (Ethernet, IPv4, UDP)."""
    from hepcat.bench.generator import named
    from hepcat.bench.pcapfile import write_pcap

    counts = write_pcap(out, packets, noise / 100, seed, calls)
    sip = sum(n for (method, _), n in counts.items() if method)
    if as_json:
        typer.echo(json.dumps({"packets": packets, "sip": sip, "methods": named(counts)}))
        return
    typer.echo(f"wrote {packets:,} packets to {out}, {sip:,} of them SIP, {out.stat().st_size:,} octets")


@app.command("sink", hidden=True)
def sink(
    host: Annotated[str, typer.Option("--host")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port")] = 0,
    buffer: Annotated[int, typer.Option("--buffer", help="Receive buffer, octets.")] = 64 << 20,
) -> None:
    """Receive and do nothing: what the server is measured against."""
    from hepcat.bench.sink import run_sink

    run_sink(host, port, buffer)


@app.command("frames", hidden=True)
def frames(
    dev: Annotated[str, typer.Option("--dev", metavar="NAME", help="The interface to send on.")],
    rate: Annotated[float, typer.Option("--rate", min=0, help="Frames a second; 0: all there is.")] = 0,
    packets: Annotated[int, typer.Option("--packets", min=1, metavar="N", help="How many.")] = 200_000,
    calls: Annotated[int, typer.Option("--calls", min=1, help="Calls that are sent again and again.")] = 2000,
    noise: Annotated[int, typer.Option("--noise", min=0, help="RTP, one SIP in so many packets.")] = 0,
) -> None:
    """Send whole calls as Ethernet frames on an interface: the load of the agent's measurements."""
    from hepcat.bench.blast import send_frames
    from hepcat.bench.calls import call_frames, noise_frames

    made = noise_frames(6 * calls, noise) if noise else call_frames(calls)
    typer.echo(json.dumps(send_frames(dev, made, rate, packets)))


@app.command("ring", hidden=True)
def ring(
    dev: Annotated[str, typer.Option("--dev", metavar="NAME", help="The interface to read.")],
    packets: Annotated[
        int, typer.Option("--packets", min=1, metavar="N", help="End after so many.")
    ] = 1_000_000,
) -> None:
    """Read an interface's ring as the agent does, up to the mask of a port filter."""
    from hepcat.bench.reading import time_ring

    timed = time_ring(dev, packets, lambda: typer.echo("{}"))
    typer.echo(json.dumps(timed.as_dict()))


@app.command("random", hidden=True)
def random(
    packets: Annotated[int, typer.Option("--packets", min=1)] = 10_000_000, seed: SeedOption = 1
) -> None:
    """Decode frames of random octets: whatever they are, each is a row or a counted drop."""
    from hepcat.bench.reading import read_random

    typer.echo(json.dumps(read_random(packets, seed).as_dict()))


@app.command("query", hidden=True)
def query(
    data: Annotated[Path, typer.Option("--data")],
    kind: Annotated[str, typer.Option("--kind")],
    value: Annotated[str, typer.Option("--value")] = "",
    since: Annotated[int, typer.Option("--since")] = 0,
    until: Annotated[int, typer.Option("--until")] = 0,
) -> None:
    """Time one query in a process of its own."""
    from hepcat.bench.queries import time_query

    typer.echo(json.dumps(time_query(data, kind, value, since, until)))


@app.command("people", hidden=True)
def people(
    url: Annotated[str, typer.Option("--url", help="The page's address.")],
    who: Annotated[Path, typer.Option("--who", help="JSON: names and passwords of the people.")],
    seconds: Annotated[float, typer.Option("--seconds", help="How long they search.")] = 60,
    think: Annotated[float, typer.Option("--think", help="Seconds between searches, at least.")] = 1,
    think_most: Annotated[float, typer.Option("--think-most", help="And at most.")] = 5,
    fields: Annotated[str, typer.Option("--fields", help="Columns that they ask for.")] = "",
) -> None:
    """Let many people search on the page at once; a line when they begin, a line of what they saw."""
    from hepcat.bench.people import let_people_search

    names = json.loads(who.read_text())
    told = let_people_search(url, names, seconds, (think, think_most), fields, lambda: typer.echo("{}"))
    typer.echo(json.dumps(told.as_dict()))


@app.command("self")
def measure_self(
    quick: Annotated[
        bool, typer.Option("--quick", help="Shorter runs, smaller lakes: a first impression.")
    ] = False,
    full: Annotated[bool, typer.Option("--full", help="Also search among 60 million messages.")] = False,
    only: Annotated[
        list[str] | None, typer.Option("--only", metavar="NAME", help="Only this measurement; repeatable.")
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write every figure there as JSON.")
    ] = None,
    markdown_file: Annotated[
        Path | None, typer.Option("--markdown", metavar="FILE", help="Write the table there as Markdown.")
    ] = None,
    work: Annotated[
        Path | None,
        typer.Option("--work", metavar="DIR", help="Where lakes and captures are made for a while."),
    ] = None,
) -> None:
    """Measure hepcat on this machine: the table of docs/performance.md."""
    import sys
    import tempfile

    from hepcat.bench import report
    from hepcat.bench.measure import Context, run_lines

    def say(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    with tempfile.TemporaryDirectory(prefix="hepcat-bench-", dir=work) as folder:
        rows = run_lines(Context(Path(folder), quick, full, say), only or ())
    flags = [flag for flag, given in (("--quick", quick), ("--full", full)) if given]
    command = " ".join(["hepcat bench self", *flags, *(f"--only {name}" for name in only or ())])
    report.show(rows)
    if json_file:
        json_file.write_text(json.dumps(report.as_json(rows, command), indent=1) + "\n")
    if markdown_file:
        markdown_file.write_text(report.markdown(rows, command))


def register(root: typer.Typer) -> None:
    """Add the command."""
    root.add_typer(app)
