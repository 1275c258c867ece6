"""ClickHouse over TLS: a real server with a certificate that the test makes."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hepcat.bench.clickhouse import ClickHouse
from hepcat.bench.databases import PASSWORD
from hepcat.bench.measure import Skipped
from hepcat.bench.processes import free_port
from hepcat.errors import HepcatError
from hepcat.search.clickhouse import ClickHouseRemote
from hepcat.search.remote_searcher import RemoteSearcher
from hepcat.stores.clickhouse import admin
from tests.serve.test_tls import make_certificate
from tests.servers import folder_for_data
from tests.stores.clickhouse_support import drained, numbered, open_store, settings_of
from tests.support import hepcat_here, wait_for

_TLS = """<tcp_port_secure>{port}</tcp_port_secure>
  <openSSL><server>
    <certificateFile>{certificate}</certificateFile><privateKeyFile>{key}</privateKeyFile>
    <verificationMode>none</verificationMode><loadDefaultCAFile>true</loadDefaultCAFile>
  </server></openSSL>
"""


class Secure:
    """A server that takes TLS too, and who vouches for it."""

    def __init__(self, folder: Path) -> None:
        self.authority, _, issuer = make_certificate(folder, "authority")
        certificate, key, _ = make_certificate(folder, "server", issuer)
        self.stranger = make_certificate(folder, "stranger")[0]
        place = folder / "clickhouse"
        place.mkdir()
        self.server = ClickHouse(place)
        self.server.configure(1, [self.server.port], [1])
        self.port = free_port()
        tls = _TLS.format(port=self.port, certificate=certificate, key=key)
        file = place / "config.xml"
        file.write_text(file.read_text().replace("<listen_host>", f"{tls}<listen_host>"))

    def url(self, host: str = "localhost", port: int = 0, secure: int = 1, **options: Any) -> str:
        more = "".join(f"&{name}={value}" for name, value in options.items())
        return f"clickhouse://hepcat:{PASSWORD}@{host}:{port or self.port}/hepcat?secure={secure}{more}"


@pytest.fixture(scope="module")
def secure() -> Iterator[Secure]:
    with folder_for_data() as folder:
        made = Secure(folder)
        try:
            made.server.prepare()
        except Skipped as reason:
            pytest.skip(str(reason))
        try:
            yield made
        finally:
            made.server.kill()


def test_made_written_and_searched(secure: Secure, tmp_path: Path) -> None:
    settings = settings_of([], url=secure.url(ca_certs=secure.authority))
    assert {f.found for f in admin.create(settings)} == {"made"}
    assert {f.level for f in admin.check(settings)} == {"ok"}
    store = open_store([], tmp_path, url=secure.url(ca_certs=secure.authority))
    store.append(numbered(0, 70))
    drained(store)
    store.close()
    for url in (secure.url(ca_certs=secure.authority), secure.url("127.0.0.1", verify=0)):
        remote = ClickHouseRemote(settings_of([], url=url))
        assert RemoteSearcher(remote).count("", messages=True) == 60  # 10 are no SIP
        remote.close()


#: What is wrong -> what is said, and what to do.
WRONG: dict[str, tuple[Callable[[Secure], str], str, str]] = {
    "nobody vouches": (lambda s: s.url(), "cannot be trusted", "ca_certs=FILE"),
    "another vouches": (lambda s: s.url(ca_certs=s.stranger), "cannot be trusted", "ca_certs=FILE"),
    "another name": (lambda s: s.url("127.0.0.1", ca_certs=s.authority), "127.0.0.1", "name"),
    "no such file": (lambda s: s.url(ca_certs="/none/ca.pem"), "/none/ca.pem", "ca_certs"),
    "no certificate": (lambda s: s.url(ca_certs=__file__), "test_clickhouse_tls.py", "ca_certs"),
    "TLS at the port without": (lambda s: s.url(port=s.server.port, verify=0), "TLS", "secure"),
    "no TLS at the port with": (lambda s: s.url(secure=0), "TLS", "secure=1"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_what_is_wrong_is_told(secure: Secure, tmp_path: Path, wrong: str) -> None:
    url_of, words, advice = WRONG[wrong]
    url = url_of(secure)
    with pytest.raises(HepcatError) as caught:
        RemoteSearcher(ClickHouseRemote(settings_of([], url=url))).count("")
    assert words in str(caught.value)
    assert advice in f"{caught.value} {caught.value.hint}"
    assert PASSWORD not in f"{caught.value}{caught.value.hint}"
    file = tmp_path / "url"
    file.write_text(url)
    said = hepcat_here("db", "check", "--url-file", str(file), check=False)
    assert said.returncode == 1
    assert words in said.stdout + said.stderr
    store = open_store([], tmp_path, url=url)
    store.append(numbered(100, 1))
    assert words in str(wait_for(lambda: store.counts().trouble, what="trouble"))
    store.close(0)
