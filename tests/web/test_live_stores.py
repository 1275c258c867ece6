"""Live results of databases: the page's and those of `hepcat search --follow`, on real servers."""

import json
import select
import subprocess
from pathlib import Path

import pytest

from tests.serve.peers import hep3, invite
from tests.support import HEPCAT, wait_for
from tests.web.test_live import Stream
from tests.whole.backends import Servers, make_backend
from tests.whole.serving import Whole, send

BUSY = b"SIP/2.0 486 Busy Here"


class Followed:
    """`hepcat search --follow` of a store."""

    def __init__(self, whole: Whole, *arguments: str) -> None:
        command = [*HEPCAT, "search", "--follow", "--config", str(whole.config), "--store", "db"]
        self.lines: list[str] = []
        self.process = subprocess.Popen(
            [*command, "--format", "jsonl", *arguments], stdout=subprocess.PIPE, text=True
        )

    def next(self) -> dict[str, object]:
        assert self.process.stdout is not None
        return dict(json.loads(self.process.stdout.readline()))

    def end(self) -> None:
        self.process.terminate()
        self.process.wait(60)
        assert self.process.stdout is not None
        self.process.stdout.close()


@pytest.mark.parametrize("kind", ["mysql", "postgres", "clickhouse"])
def test_what_arrives_is_told_once(kind: str, servers: Servers, tmp_path: Path) -> None:
    backend = make_backend(kind, servers, tmp_path)
    whole = Whole(tmp_path, {"db": backend}, ["db"], linger=0.05)
    whole.environment["HEPCAT_WEB_ENABLED"] = "true"
    whole.run("db", "create")
    with whole.start(), Stream(whole.http, "/api/live?store=db") as calls:
        send(whole.port, hep3(invite("before")))
        calls.seen("before")  # and the follower is there
        of_messages = "/api/live?store=db&of=messages&q=status:486&fields=call_id,payload"
        with Stream(whole.http, of_messages) as messages:
            followed = Followed(whole, "--messages", "--fields", "call_id,method")
            marks = 0

            def it_follows() -> bool:
                """Send marks until the command shows one: what was there when it began counts as seen."""
                nonlocal marks
                marks += 1
                send(whole.port, hep3(invite(f"mark{marks}")))
                assert followed.process.stdout is not None
                return bool(select.select([followed.process.stdout], [], [], 0.5)[0])

            wait_for(it_follows, 60, "the command follows")
            first = str(followed.next()["call_id"])
            assert first.startswith("mark")
            for i in range(30):
                send(whole.port, hep3(invite(f"call{i}")))
            send(whole.port, hep3(invite("call7").replace(b"INVITE sip:bob@example.com SIP/2.0", BUSY)))
            shown: list[str] = []
            while len(shown) < 31:
                call_id = str(followed.next()["call_id"])
                shown += [call_id] if call_id.startswith("call") else []
            assert sorted(shown) == sorted([*(f"call{i}" for i in range(30)), "call7"])
            (told,) = messages.seen("call7", "messages")
            assert told["payload"].startswith(BUSY.decode())
            wait_for(lambda: calls.seen("call7")[-1].get("state") == "busy", what="the call's end")
            assert calls.seen("call7")[-1]["messages"] == 2
            followed.end()
        assert not [value for _, name, value in calls.events if name == "note"]
