"""The page's process beside a running server: it comes back, ends with its parent, takes settings over."""

import json
import os
import signal
import socket
import ssl
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.serve.peers import hep3, invite
from tests.support import HEPCAT, Server, free_port, need, wait_for


def children(pid: int) -> list[int]:
    """Return the children of a process."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        found += map(int, (task / "children").read_text().split())
    return found


def workers(server: Server) -> list[int]:
    """Return the processes that answer: the children of the server's child, the keeper."""
    assert server.process is not None
    return [worker for keeper in children(server.process.pid) for worker in children(keeper)]


def child(server: Server) -> int:
    """Return the one there is."""
    (only,) = wait_for(lambda: workers(server), 60, "the page's process")
    return int(only)


def get(server: Server, path: str) -> Any:
    with urllib.request.urlopen(f"http://127.0.0.1:{server.http}{path}", timeout=60) as answer:
        text = answer.read().decode()
    return json.loads(text) if path.startswith("/api/") else text


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    config = tmp_path / "hepcat.toml"
    config.write_text("[web]\npage_rows = 10\n")
    with Server(tmp_path, "--config", str(config), page=True) as started:
        yield started


def test_the_page_comes_back_and_capture_goes_on(server: Server) -> None:
    assert server.process is not None
    first = child(server)
    os.kill(first, signal.SIGKILL)
    send(server, "one")
    wait_for(lambda: server.count() == 1, 60, "stored while there was no page")
    wait_for(lambda: workers(server) not in ([], [first]) and server.ready(), 60, "a new child")
    assert get(server, "/api/status")["server"]["pid"] == server.process.pid
    assert "the page's process ended" in server.log.read_text()
    assert server.stop() == 0
    assert not Path(f"/proc/{first}").exists()


def test_it_ends_with_its_parent(server: Server) -> None:
    assert server.process is not None
    pid = child(server)
    server.process.kill()
    server.process.wait()
    wait_for(lambda: not Path(f"/proc/{pid}").exists(), 60, "the child's end")


def test_another_keeper(server: Server) -> None:
    """The worker ends with its keeper, and both are made anew."""
    assert server.process is not None
    worker, (keeper,) = child(server), children(server.process.pid)
    os.kill(keeper, signal.SIGKILL)
    wait_for(lambda: not Path(f"/proc/{worker}").exists(), 60, "the worker's end")
    wait_for(server.ready, 60, "the page")
    assert workers(server) not in ([], [worker])


def test_a_reload_reaches_the_page(server: Server, tmp_path: Path) -> None:
    assert server.process is not None
    first = child(server)
    (tmp_path / "hepcat.toml").write_text("[web]\npage_rows = 20\nopen_metrics = true\n")
    server.process.send_signal(signal.SIGHUP)
    wait_for(lambda: workers(server) not in ([], [first]) and server.ready(), 60, "a new child")
    assert "page's process ended" not in server.log.read_text()
    assert get(server, "/api/calls") is not None
    assert server.stop() == 0
    assert "leak" not in server.log.read_text(), "what a library complains of at the keeper's end"


def test_what_a_server_tells_of_itself(server: Server) -> None:
    send(server, "one", "two")
    wait_for(lambda: server.total("hepcat_stored_total") == 2, 60, "stored")
    assert get(server, "/healthz") == "ok\n"
    assert get(server, "/api/stats")["total"]["received"] == 2
    agents = wait_for(lambda: get(server, "/api/agents")["agents"], 60, "agents")
    assert [(agent["node_id"], agent["node_name"], agent["messages"]) for agent in agents] == [(7, "sbc", 2)]
    samples = wait_for(
        lambda: [s for s in get(server, "/api/samples")["samples"] if s["stored"] == 2], 60, "samples"
    )
    assert samples[-1]["dropped"] == {}


def test_who_switched_is_in_the_log(server: Server) -> None:
    url = f"http://127.0.0.1:{server.http}/api"
    body = b'{"mode": "off"}'
    request = urllib.request.Request(f"{url}/capture", body, {"Content-Type": "application/json"})
    urllib.request.urlopen(request, timeout=60).close()
    urllib.request.urlopen(urllib.request.Request(f"{url}/reload", b""), timeout=60).close()

    def lines() -> list[dict[str, Any]]:
        found = [line for line in server.log.read_text().splitlines() if line.startswith("{")]
        return [line for line in map(json.loads, found) if "by way of the page" in line["event"]]

    switched, reloaded = wait_for(lambda: (found := lines()) and len(found) == 2 and found, 60, "the log")
    assert switched["event"] == "capture switched off by way of the page"
    assert switched["source"] == "all"
    for line in (switched, reloaded):
        assert (line["user"], line["via"], line["peer"]) == ("open", "open", "127.0.0.1")


def test_tls_whose_key_only_root_may_read(tmp_path: Path) -> None:
    need("openssl")
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    certificate, key = tmp_path / "c.pem", tmp_path / "k.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)],
        check=True, capture_output=True,
    )  # fmt: skip
    key.chmod(0o600)
    config = tmp_path / "hepcat.toml"
    config.write_text(f'user = "nobody"\n[web]\ncertificate = "{certificate}"\nkey = "{key}"\n')
    for folder in (tmp_path, *tmp_path.parents[:2]):  # the user has to get through
        folder.chmod(0o755)
    server = Server(tmp_path, "--config", str(config), page=True).start(wait=False)
    context = ssl.create_default_context(cafile=str(certificate))

    def answer() -> str:
        url = f"https://127.0.0.1:{server.http}/healthz"
        with urllib.request.urlopen(url, timeout=20, context=context) as opened:
            return str(opened.read().decode())

    def ready() -> bool:
        try:
            return answer() == "ok\n"
        except OSError:
            return False

    try:
        wait_for(ready, 60, f"https: {server.log.read_text()}")
        assert Path(f"/proc/{child(server)}").owner() == "nobody"
    finally:
        assert server.stop() == 0


def test_no_process_can_be_started(tmp_path: Path) -> None:
    """An interpreter that the server's user may not start: no page, and that is all."""
    closed = tmp_path / "python"
    closed.touch(mode=0o644)
    program = f"import sys; sys.executable = {str(closed)!r}; from hepcat.cli.main import main; main()"
    server = Server(tmp_path, page=True)
    listen = (f"--hep=udp://127.0.0.1:{server.port}", f"--http=127.0.0.1:{server.http}")
    with server.log.open("ab") as log:
        server.process = subprocess.Popen(
            [HEPCAT[0], "-c", program, "serve", "--data", str(server.data), *listen],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    with server:
        wait_for(lambda: "Stop with Ctrl-C" in server.log.read_text(), 60, "the server's start")
        send(server, "one")
        wait_for(lambda: server.count() == 1, 60, "stored without a page")
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", server.http), 5)
        assert server.stop() == 0
    said = server.log.read_text()
    assert f"{closed}: Permission denied" in said
    assert "capture goes on" in said
    assert "Page: " not in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("web", "words"),
    [
        ("certificate = '/no/such.pem'\nkey = '/no/such.key'\n", ["web.certificate", "/no/such.pem"]),
        ("certificate = '/etc/passwd'\nkey = '/etc/passwd'\n", ["cannot be used", "PEM"]),
    ],
)
def test_what_keeps_the_page_from_starting(tmp_path: Path, web: str, words: list[str]) -> None:
    (tmp_path / "hepcat.toml").write_text(f"[web]\n{web}")
    done = refused(
        "--config", str(tmp_path / "hepcat.toml"), f"--http=127.0.0.1:{free_port()}", folder=tmp_path
    )
    assert all(word in done for word in words), done


def test_no_accounts_no_public_address(tmp_path: Path) -> None:
    said = refused(f"--http=0.0.0.0:{free_port()}", folder=tmp_path)
    assert "can be reached by other machines" in said
    assert "hepcat user add" in said


def refused(*arguments: str, folder: Path) -> str:
    done = subprocess.run(
        [*HEPCAT, "serve", "--data", str(folder / "d"), f"--hep=udp://127.0.0.1:{free_port()}", *arguments],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 1, done
    assert "Traceback" not in done.stderr
    return done.stderr


def send(server: Server, *names: str) -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        for name in names:
            sock.sendto(hep3(invite(name), name=b"sbc"), ("127.0.0.1", server.port))
