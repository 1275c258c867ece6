"""Kamailio's own db_text module reading a folder: it loads the table and says what it found."""

import re
import subprocess
from pathlib import Path

from tests.support import PROGRAM_PATH, free_port, need

CONFIG = """\
debug=2
log_stderror=yes
children=1
disable_tcp=yes
auto_aliases=no
listen=udp:127.0.0.1:{port}
mpath="/usr/lib/x86_64-linux-gnu/kamailio/modules/"
loadmodule "pv.so"
loadmodule "xlog.so"
loadmodule "textops.so"
loadmodule "cfgutils.so"
loadmodule "db_text.so"
loadmodule "sqlops.so"
modparam("sqlops", "sqlcon", "cb=>text://{folder}")
request_route {{ exit; }}
event_route[core:worker-one-init] {{
    $var(result) = sql_query("cb", "select {columns} from {table}", "ra");
    xlog("L_ERR", "rows=$dbr(ra=>rows)=\\n");
    $var(i) = 0;
    while ($var(i) < $dbr(ra=>rows)) {{
        $var(j) = 0;
        while ($var(j) < {count}) {{
            if ($dbr(ra=>[$var(i),$var(j)]) == $null) {{
                xlog("L_ERR", "cell=$var(i),$var(j)=null=\\n");
            }} else {{
                $var(v) = $dbr(ra=>[$var(i),$var(j)]);
                xlog("L_ERR", "cell=$var(i),$var(j)=$(var(v){{s.encode.hexa}})=\\n");
            }}
            $var(j) = $var(j) + 1;
        }}
        $var(i) = $var(i) + 1;
    }}
    xlog("L_ERR", "done=\\n");
}}
"""


def kamailio_reads(folder: Path, table: str, columns: list[str], work: Path) -> list[list[bytes | None]]:
    """Start Kamailio on the folder and return the values it has; fail with its log where it refuses."""
    need("kamailio")
    config = work / "dbtext.cfg"
    config.write_text(
        CONFIG.format(
            port=free_port(), folder=folder, table=table, columns=",".join(columns), count=len(columns)
        )
    )
    arguments = ["kamailio", "-f", str(config), "-DD", "-E", "-m", "64", "-M", "16", "-Y", str(work)]
    log = work / "kamailio.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            arguments, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env={"PATH": PROGRAM_PATH}
        )
        try:
            for _ in range(600):
                if b"done=" in log.read_bytes() or process.poll() is not None:
                    break
                with __import__("contextlib").suppress(subprocess.TimeoutExpired):
                    process.wait(0.1)
        finally:
            process.terminate()
            process.wait(60)
    text = log.read_text(errors="replace")
    match = re.search(r"rows=(\d+)=", text)
    assert match is not None, text[-3000:]
    rows: list[list[bytes | None]] = [[None] * len(columns) for _ in range(int(match[1]))]
    for i, j, value in re.findall(r"cell=(\d+),(\d+)=(null|[0-9a-fA-F]*)=", text):
        rows[int(i)][int(j)] = None if value == "null" else bytes.fromhex(value)
    return rows
