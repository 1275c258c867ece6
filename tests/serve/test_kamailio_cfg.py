"""Who runs `hepcat serve --kamailio-cfg FILE` searches, looks and switches with the same file."""

import json
import urllib.request
from pathlib import Path

from tests.support import HEPCAT, Server, free_port, hepcat, hepcat_here, program, wait_for
from tests.whole.sender import INVITE, hep3
from tests.whole.serving import send

CALLS = ("one", "two", "three")


def configured(folder: Path) -> Path:
    path = folder / "kamailio.cfg"
    path.write_text(
        'loadmodule "sipcapture.so"\n'
        f'modparam("sipcapture", "db_url", "sqlite:///{folder}/calls.db")\n'
        'modparam("sipcapture", "capture_on", 1)\n'
        'modparam("sipcapture", "hep_capture_on", 1)\n'
        "route { exit; }\n"
    )
    return path


def test_one_file_for_all_commands(tmp_path: Path) -> None:
    file = configured(tmp_path)
    there = ("--kamailio-cfg", str(file), "--store", "sipcapture")
    hepcat("db", "create", *there)
    with Server(tmp_path, "--kamailio-cfg", str(file)) as server:
        send(server.port, *(hep3(INVITE.format(i).encode()) for i in CALLS))

        def found() -> bool:
            return int(hepcat_here("search", "--count", *there).stdout) == len(CALLS)

        wait_for(found, what="all calls in the database")
        said = hepcat_here("ctl", "status", "--kamailio-cfg", str(file), "--data", str(server.data)).stdout
        assert "sipcapture" in said
        for command in (("stats",), ("capture", "status"), ("agents",), ("reload",)):
            hepcat_here("ctl", *command, "--kamailio-cfg", str(file), "--data", str(server.data))
    assert "INVITE" in hepcat_here("flow", "two", *there).stdout
    copy = tmp_path / "two.txt"
    hepcat_here("export", "call_id:two", "--output", str(copy), *there)
    assert "Call-ID: two" in copy.read_text()
    assert "ok" in hepcat_here("db", "check", *there).stdout
    hepcat_here("db", "upgrade", "--dry-run", *there)
    port = free_port()
    arguments = (*there, "--data", str(server.data), "--listen", f"127.0.0.1:{port}")
    with program([*HEPCAT, "web", *arguments], tmp_path / "web.log"):

        def calls() -> list[str]:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/calls", timeout=60) as answer:
                    return sorted(row["call_id"] for row in json.load(answer)["calls"])
            except OSError:
                return []

        assert wait_for(calls, what="the page") == sorted(CALLS)


def test_a_file_that_is_wrong_is_told(tmp_path: Path) -> None:
    file = configured(tmp_path)
    file.write_text(file.read_text().replace("hep_capture_on", "hep_capture_no"))
    for command in (("search",), ("flow", "x"), ("export",), ("web",), ("ctl", "status"), ("db", "check")):
        done = hepcat_here(*command, "--kamailio-cfg", str(file), check=False)
        assert done.returncode != 0
        assert f"{file}:4" in done.stderr, command
        assert 'did you mean "hep_capture_on"' in done.stderr
