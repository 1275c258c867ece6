"""What has to be right for the page: `hepcat serve` and `hepcat check-config` find the same."""

from pathlib import Path

import pytest

from hepcat.errors import HepcatError
from hepcat.web.accounts import Accounts
from hepcat.web.accounts.starting import check_may_listen
from hepcat.web.checks import check_page
from hepcat.web.listening import read_tls
from tests.accounts.support import PASSWORD, page, settings_in, tls
from tests.support import free_port, hepcat, hepcat_here

pytestmark = pytest.mark.usefixtures("cheap_hashing")
OIDC = '[web.oidc]\nissuer = "https://id.example"\nclient_id = "h"\n'


@pytest.mark.parametrize("address", ["0.0.0.0:9080", "[::]:9080", "192.0.2.1:9080"])
def test_no_start_where_others_reach_it_without_accounts(tmp_path: Path, address: str) -> None:
    settings = settings_in(tmp_path)
    for make, there in (("", True), (" --make-folder", False)):
        with pytest.raises(HepcatError, match="there are no accounts") as error:
            check_may_listen(settings, address)
        assert f"hepcat user add NAME --role admin --data {settings.data}{make}`" in error.value.hint
        if there:
            settings.data.rmdir()
    settings.data.mkdir()
    Accounts(settings).users.add("ada", PASSWORD, "admin")
    assert "in the clear" in check_may_listen(settings, address)[0]


@pytest.mark.parametrize("address", ["127.0.0.1:9080", "[::1]:9080"])
def test_on_loopback_it_starts(tmp_path: Path, address: str) -> None:
    assert check_may_listen(settings_in(tmp_path), address) == []
    assert not (tmp_path / "data" / "accounts.db").exists()
    behind = settings_in(tmp_path, '[web]\npublic_url = "https://sip.example.org"')
    with pytest.raises(HepcatError, match=r"as https://sip\.example\.org"):
        check_may_listen(behind, address)
    local = settings_in(tmp_path, '[web]\npublic_url = "http://hepcat.localhost:9080"')
    assert check_may_listen(local, address) == []


def test_openid_connect_is_accounts_enough(tmp_path: Path) -> None:
    text = f'[web]\npublic_url = "https://x"\n{OIDC}viewers = ["*"]'
    assert check_may_listen(settings_in(tmp_path, text), "0.0.0.0:9080") == []


def test_certificates_that_cannot_be_used(tmp_path: Path, certificates: Path) -> None:
    assert read_tls(settings_in(tmp_path)) is None
    assert read_tls(settings_in(tmp_path, tls(certificates)))
    for text, told in (
        (tls(certificates, key="old.key"), "is not the key of web.certificate"),
        (tls(certificates, key="none.key"), "cannot read"),
        (tls(certificates, certificate="localhost.key"), "cannot be used"),
    ):
        with pytest.raises(HepcatError, match=told):
            read_tls(settings_in(tmp_path, text))


def test_an_expired_certificate_is_told(tmp_path: Path, certificates: Path) -> None:
    """It stops nothing: calls have to be captured all the same."""
    checked = check_page(settings_in(tmp_path, tls(certificates, "old.pem", "old.key")))
    assert "expired on" in checked.notes[0]
    assert checked.tls
    assert not checked.refused


def both_refuse(folder: Path, text: str) -> str:
    """Return what `check-config` and `serve` say of a configuration that has to stop both."""
    settings_in(folder, f'{text}\n[hep]\nlisten = ["udp://127.0.0.1:{free_port()}"]\n')
    file = str(folder / "hepcat.toml")
    checked = hepcat_here("check-config", file, check=False)
    assert checked.returncode == 1
    assert "ok" not in checked.stdout
    started = hepcat("serve", "--config", file, check=False)
    assert started.returncode == 1
    told = checked.stderr.replace(f"hepcat: {file}: ", "").partition(". ")[0]
    assert f"hepcat: {told}\n" in started.stderr
    return told


def test_both_refuse_a_key_of_another_certificate(tmp_path: Path, certificates: Path) -> None:
    told = both_refuse(tmp_path, tls(certificates, key="old.key"))
    assert told == "web.key is not the key of web.certificate"


def test_both_refuse_an_address_of_all_without_accounts(tmp_path: Path) -> None:
    told = both_refuse(tmp_path, '[http]\nlisten = "0.0.0.0:9080"\n')
    assert f"there are no accounts in {tmp_path}/data/accounts.db" in told


def test_all_that_is_wrong_is_told_at_once(tmp_path: Path, certificates: Path) -> None:
    text = '[http]\nlisten = "0.0.0.0:9080"\n' + tls(certificates, certificate="none.pem")
    settings_in(tmp_path, text)
    told = hepcat_here("check-config", str(tmp_path / "hepcat.toml"), check=False).stderr
    assert "there are no accounts" in told
    assert f"web.certificate: cannot read {certificates}/none.pem" in told
    settings_in(tmp_path, tls(certificates, certificate="none.pem") + "enabled = false\n")
    assert hepcat_here("check-config", str(tmp_path / "hepcat.toml")).stdout.startswith("ok")


def test_a_warning_is_no_error(tmp_path: Path, certificates: Path) -> None:
    settings_in(tmp_path, tls(certificates, "old.pem", "old.key"))
    done = hepcat_here("check-config", str(tmp_path / "hepcat.toml"))
    assert done.stdout.startswith("ok")
    assert "warning: " in done.stderr
    assert "expired on" in done.stderr


def test_a_secret_that_is_not_there(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Capture goes on without, so it stops no server; but it is told at the start, not at the first login."""
    secret = tmp_path / "secret"
    settings = settings_in(tmp_path, f'{OIDC}viewers = ["*"]\nclient_secret_file = "{secret}"\n')
    told = hepcat_here("check-config", str(tmp_path / "hepcat.toml"), check=False).stderr
    assert f"web.oidc: cannot read {secret}: No such file" in told
    with page(settings):
        pass
    said = capfd.readouterr()
    assert "nobody can log in with OpenID Connect" in said.out + said.err
    secret.write_text("s3cret\n")
    assert hepcat_here("check-config", str(tmp_path / "hepcat.toml")).stdout.startswith("ok")
    with page(settings):
        pass
    said = capfd.readouterr()
    assert "nobody can log in" not in said.out + said.err


def test_a_provider_that_lets_nobody_in(tmp_path: Path) -> None:
    with pytest.raises(HepcatError, match=r"web\.oidc: give admins or viewers") as error:
        settings_in(tmp_path, OIDC)
    assert "hepcat.toml:2: " in str(error.value)
    settings_in(tmp_path, OIDC + 'admins = ["sip-admins"]\n')
