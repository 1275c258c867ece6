"""sipp between two namespaces, and what its own message trace says was sent and received."""

import re
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.agent.hep import Key, key_of
from tests.live.net import Namespace

_HEAD = re.compile(rb"-{40,} \S+ \S+\n\w+ message (?:sent \((\d+) bytes\):|received \[(\d+)\] bytes :)\n\n")

#: Scenarios with a body of many octets: the message is larger than the MTU, or than one segment.
_UAC = """<?xml version="1.0" encoding="ISO-8859-1" ?>
<scenario name="caller">
<send retrans="2000"><![CDATA[

INVITE sip:[service]@[remote_ip]:[remote_port] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
From: "Anna" <sip:anna@example.org>;tag=[pid]a[call_number]
To: <sip:[service]@example.net>
Call-ID: [call_id]
CSeq: 1 INVITE
Contact: <sip:anna@[local_ip]:[local_port];transport=[transport]>
Max-Forwards: 70
{header}Content-Type: application/sdp
Content-Length: [len]

v=0
o=anna 1 1 IN IP[local_ip_type] [local_ip]
s=-
c=IN IP[media_ip_type] [media_ip]
t=0 0
m=audio [media_port] RTP/AVP 0
{body}]]></send>
<recv response="100" optional="true"/>
<recv response="180" optional="true"/>
<recv response="200"/>
<send><![CDATA[

ACK sip:[service]@[remote_ip]:[remote_port] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
From: "Anna" <sip:anna@example.org>;tag=[pid]a[call_number]
To: <sip:[service]@example.net>[peer_tag_param]
Call-ID: [call_id]
CSeq: 1 ACK
Max-Forwards: 70
Content-Length: 0

]]></send>
<send retrans="2000"><![CDATA[

BYE sip:[service]@[remote_ip]:[remote_port] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
From: "Anna" <sip:anna@example.org>;tag=[pid]a[call_number]
To: <sip:[service]@example.net>[peer_tag_param]
Call-ID: [call_id]
CSeq: 2 BYE
Max-Forwards: 70
Content-Length: 0

]]></send>
<recv response="200"/>
</scenario>
"""
_UAS = """<?xml version="1.0" encoding="ISO-8859-1" ?>
<scenario name="callee">
<recv request="INVITE"/>
<send><![CDATA[

SIP/2.0 180 Ringing
[last_Via:]
[last_From:]
[last_To:];tag=[pid]b[call_number]
[last_Call-ID:]
[last_CSeq:]
Contact: <sip:bob@[local_ip]:[local_port];transport=[transport]>
Content-Length: 0

]]></send>
<send retrans="2000"><![CDATA[

SIP/2.0 200 OK
[last_Via:]
[last_From:]
[last_To:];tag=[pid]b[call_number]
[last_Call-ID:]
[last_CSeq:]
Contact: <sip:bob@[local_ip]:[local_port];transport=[transport]>
{header}Content-Type: application/sdp
Content-Length: [len]

v=0
o=bob 1 1 IN IP[local_ip_type] [local_ip]
s=-
c=IN IP[media_ip_type] [media_ip]
t=0 0
m=audio [media_port] RTP/AVP 0
{body}]]></send>
<recv request="ACK"/>
<recv request="BYE"/>
<send><![CDATA[

SIP/2.0 200 OK
[last_Via:]
[last_From:]
[last_To:]
[last_Call-ID:]
[last_CSeq:]
Content-Length: 0

]]></send>
</scenario>
"""


@dataclass(frozen=True, slots=True)
class Load:
    """calls at a rate a second; transport as sipp's -t; body: octets of SDP attributes more; header: octets
    of a header more.
    """

    calls: int = 40
    rate: int = 100
    transport: str = "u1"
    body: int = 0
    header: int = 0


def run(
    caller: Namespace, callee: Namespace, addresses: Sequence[str], load: Load, folder: Path
) -> list[Key]:
    """Make calls from addresses[0] to addresses[1]; return what went over the wire, as the callee saw it."""
    folder.mkdir(exist_ok=True)
    for name, text in (("uac", _UAC), ("uas", _UAS)):
        (folder / f"{name}.xml").write_text(_filled(text, load))
    host = f"[{addresses[1]}]" if ":" in addresses[1] else addresses[1]
    uas = callee.popen(_words("uas", addresses[1], "5060", load, folder), **_quiet(folder, "uas"))
    uac = None
    try:
        _wait_bound(callee, load)
        words = _words("uac", addresses[0], "5062", load, folder)
        uac = caller.popen([*words, "-r", str(load.rate), f"{host}:5060"], **_quiet(folder, "uac"))
        for process in (uac, uas):
            code = process.wait(120)
            assert code == 0, f"sipp: {code}\n{(folder / 'uac.out').read_text()[-2000:]}"
    finally:
        for process in (uac, uas):
            if process is not None and process.poll() is None:
                process.kill()
                process.wait()
    return trace(folder / "uas.log")


def trace(path: Path, received: bool = False) -> list[Key]:
    """Read sipp's message trace. received: only what came in."""
    octets = path.read_bytes()
    found: list[tuple[bool, Key]] = []
    for match in _HEAD.finditer(octets):
        size = int(match[1] or match[2])
        assert len(octets) >= match.end() + size
        found.append((match[2] is not None, key_of(octets[match.end() : match.end() + size])))
    assert len(found) == octets.count(b"\n----------------------------------------------- ") + 1
    return [key for came, key in found if came or not received]


def _filled(text: str, load: Load) -> str:
    line = "a=x-hepcat-filler:" + "0123456789" * 6
    body = "".join(f"{line}{i:04d}\n" for i in range(load.body // (len(line) + 6)))
    header = f"X-Filler: {'abcdefghij' * (load.header // 10)}\n" if load.header else ""
    return text.replace("{body}", body).replace("{header}", header)


def _words(role: str, address: str, port: str, load: Load, folder: Path) -> list[str]:
    trace_words = ["-trace_msg", "-message_file", str(folder / f"{role}.log"), "-message_overwrite", "true"]
    return [
        *("sipp", "-sf", str(folder / f"{role}.xml"), "-i", address, "-p", port, "-t", load.transport),
        *("-m", str(load.calls), "-nostdin", "-timeout", "100", "-max_socket", "2000", *trace_words),
        # What its socket has no room for goes by on the wire, and is not in its trace.
        *("-buff_size", "4000000"),
    ]


def _quiet(folder: Path, role: str) -> dict[str, object]:
    output = (folder / f"{role}.out").open("w")
    return {"stdin": subprocess.DEVNULL, "stdout": output, "stderr": output, "cwd": folder}


def _wait_bound(where: Namespace, load: Load) -> None:
    """Wait until something listens on port 5060 there."""
    kind = "-uln" if load.transport.startswith("u") else "-tln"
    end = time.monotonic() + 60
    while ":5060 " not in where.run("ss", kind):
        assert time.monotonic() < end, "sipp does not listen"
        time.sleep(0.03)
