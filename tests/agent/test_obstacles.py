"""What a dry run finds in the way: rights, ports that are taken, folders that cannot be written to."""

import os
import socket
from pathlib import Path

import pytest

from hepcat.config.settings import Settings
from hepcat.pipeline.obstacles import obstacles
from tests.support import free_port, hepcat

TARGET = {"name": "t", "urls": ("tcp://127.0.0.1:9",)}


def settings(profile: dict[str, object], target: dict[str, object] | None = None, **more: object) -> Settings:
    agent = {"profiles": [{"name": "p", **profile}], "targets": [{**TARGET, **(target or {})}]}
    return Settings.model_validate({"agent": agent, **more})


def test_ports_that_are_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
        udp.bind(("127.0.0.1", 0))
        taken, port = tcp.getsockname()[1], udp.getsockname()[1]
        for profile in (
            {"hep": [f"udp://127.0.0.1:{port}"]},
            {"hep": [f"tcp://127.0.0.1:{taken}"]},
            {"tzsp": f"127.0.0.1:{port}"},
            {"collect": f"127.0.0.1:{port}"},
        ):
            (told,) = obstacles(settings(profile), reading=False)
            assert "cannot listen on" in told
        assert obstacles(settings({"hep": [f"udp://127.0.0.1:{port}"]}), reading=True) == []
        free = {"hep": [f"udp://127.0.0.1:{free_port()}"]}
        (told,) = obstacles(settings(free, http={"listen": f"127.0.0.1:{taken}"}), reading=False)
        assert f"http://127.0.0.1:{taken}" in told


@pytest.mark.skipif(os.geteuid() != 0, reason="takes root, to become another user")
def test_folders_of_another_user(tmp_path: Path) -> None:
    for folder in (tmp_path, *tmp_path.parents):
        if folder != Path("/tmp") and os.stat(folder).st_uid == 0 and folder.is_relative_to("/tmp"):
            os.chmod(folder, 0o755)
    free = {"hep": [f"udp://127.0.0.1:{free_port()}"]}
    spool = {"spool": tmp_path / "made" / "later"}
    (told,) = obstacles(settings(free, spool, user="nobody"), reading=False)
    assert told.startswith("target t: spool: nobody may not write to")
    os.chmod(tmp_path, 0o777)
    assert obstacles(settings(free, spool, user="nobody"), reading=False) == []
    (tmp_path / "file").touch()
    (told,) = obstacles(settings(free, {"spool": tmp_path / "file"}), reading=False)
    assert "is a file, not a folder" in told


def test_a_dry_run_tells_them() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        door = f"127.0.0.1:{taken.getsockname()[1]}"
        done = hepcat("agent", "--dry-run", "--to", "udp://127.0.0.1:9", "--dev", "lo", "--http", door)
    assert f"warning: cannot listen on http://{door}" in done.stdout
