"""A real SIP proxy that traces to hepcat: Debian's kamailio with siptrace, and sipp placing calls."""

import contextlib
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from tests.support import PROGRAM_PATH, free_port, has_socket, program, wait_for

CONFIG = """#!KAMAILIO
debug=1
log_stderror=yes
fork=yes
children=2
auto_aliases=no
listen=udp:127.0.0.1:{proxy}
mpath="/usr/lib/x86_64-linux-gnu/kamailio/modules/"
loadmodule "kex.so"
loadmodule "ctl.so"
loadmodule "pv.so"
loadmodule "tm.so"
loadmodule "sl.so"
loadmodule "rr.so"
loadmodule "maxfwd.so"
loadmodule "textops.so"
loadmodule "siputils.so"
loadmodule "siptrace.so"
modparam("ctl", "binrpc", "unix:{folder}/ctl")
modparam("siptrace", "trace_on", 1)
modparam("siptrace", "trace_to_database", 0)
modparam("siptrace", "trace_mode", 1)
modparam("siptrace", "duplicate_uri", "sip:127.0.0.1:{hep}")
modparam("siptrace", "hep_mode_on", 1)
modparam("siptrace", "hep_version", {version})
modparam("siptrace", "hep_capture_id", 2001)
request_route {{
  if (!mf_process_maxfwd_header("10")) {{ sl_send_reply("483", "Too Many Hops"); exit; }}
  if (is_method("INVITE") && !has_totag()) record_route();
  if (loose_route()) {{ t_relay(); exit; }}
  if (is_method("CANCEL")) {{ if (t_check_trans()) t_relay(); exit; }}
  if (is_method("ACK")) {{ t_relay(); exit; }}
  $ru = "sip:" + $rU + "@127.0.0.1:{callee}";
  t_relay();
}}
"""


class Proxy:
    """kamailio between a caller and a callee; every message it sees goes out as HEP."""

    def __init__(self, folder: Path, hep: int, version: int) -> None:
        self.folder, self.hep, self.version = folder, hep, version
        self.port, self.caller, self.callee = free_port(), free_port(), free_port()

    @contextlib.contextmanager
    def running(self) -> Iterator["Proxy"]:
        """Run the proxy for the length of the block."""
        config = self.folder / "kamailio.cfg"
        names = {"proxy": self.port, "callee": self.callee, "hep": self.hep, "version": self.version}
        config.write_text(CONFIG.format(folder=self.folder, **names))
        arguments = ["kamailio", "-f", str(config), "-DD", "-E", "-m", "32", "-M", "4"]
        with program(arguments, self.folder / "kamailio.log"):
            wait_for(self.statistics, 60, "kamailio's statistics")
            yield self

    def statistics(self) -> dict[str, int]:
        """Return the proxy's own counters; empty while it starts."""
        done = subprocess.run(
            ["kamcmd", "-s", f"unix:{self.folder}/ctl", "stats.get_statistics", "all"],
            capture_output=True,
            text=True,
            env={"PATH": PROGRAM_PATH},
        )
        pairs = (line.split(" = ") for line in done.stdout.splitlines() if " = " in line)
        return {name: int(value) for name, value in pairs}

    def place_calls(self, calls: int) -> None:
        """Let sipp place calls through the proxy and wait until all of them have ended well."""
        answer = ["sipp", "-sn", "uas", "-i", "127.0.0.1", "-p", str(self.callee), "-nostdin"]
        place = ["sipp", "-sn", "uac", "-i", "127.0.0.1", "-p", str(self.caller), "-nostdin"]
        to = ["-m", str(calls), "-r", "50", "-d", "50", "-rsa", f"127.0.0.1:{self.port}"]
        with program(answer, self.folder / "uas.log", cwd=self.folder) as callee:
            wait_for(lambda: has_socket(callee.pid, "udp"), what="the callee")
            with program([*place, *to, f"127.0.0.1:{self.callee}"], self.folder / "uac.log") as caller:
                assert caller.wait(120) == 0, "sipp: some call failed"
            time.sleep(0.3)
