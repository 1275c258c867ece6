"""The command `hepcat db`: where the database comes from, what is printed, exit codes."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from hepcat.cli.main import main
from hepcat.config.databases import SCHEMES
from tests import support
from tests.stores.db.conftest import Database
from tests.stores.db.original import original

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def hepcat(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """Run the command line within this process, which takes a tenth of the time."""

    def run(*arguments: str, check: bool = True) -> "subprocess.CompletedProcess[str]":
        monkeypatch.setattr(sys, "argv", ["hepcat", *arguments])
        monkeypatch.chdir(tmp_path)
        monkeypatch.delenv("HEPCAT_CONFIG", raising=False)
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        code = ended.value.code
        assert isinstance(code, int | None)
        done = subprocess.CompletedProcess(arguments, code or 0, *capsys.readouterr())
        assert done.returncode == 0 or not check, done.stdout + done.stderr
        return done

    return run


def test_the_program_itself(tmp_path: Path) -> None:
    done = support.hepcat("db", "create", f"sqlite:///{tmp_path}/sip.db")
    assert done.stdout.startswith("ok    table sip_capture: made\n")


def test_create_check_upgrade_of_a_new_sqlite_file(hepcat: Run, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/sip.db"
    assert "is missing" not in hepcat("db", "create", url).stdout
    again = hepcat("db", "create", url).stdout
    assert again.count("was there") == 5
    checked = hepcat("db", "check", url)
    assert checked.stdout.splitlines()[1].startswith("ok    table sip_capture: has all columns")
    assert "has all columns and indexes" in hepcat("db", "upgrade", url).stdout


def test_a_dry_run_prints_sql_alone_on_standard_output(
    hepcat: Run, maria_db: Database, tmp_path: Path
) -> None:
    file = tmp_path / "url"
    file.write_text(maria_db.url + "\n")
    done = hepcat("db", "create", "--url-file", str(file), "--dry-run")
    maria_db.run(done.stdout)
    assert "would be made" in done.stderr
    assert "secret" not in done.stdout + done.stderr
    assert hepcat("db", "check", "--url-file", str(file)).returncode == 0
    maria_db.run("DROP TABLE sip_capture")
    maria_db.run(original())
    upgraded = hepcat("db", "upgrade", "--url-file", str(file), "--widen", "--dry-run")
    assert "MODIFY COLUMN `msg` MEDIUMBLOB" in upgraded.stdout
    maria_db.run(upgraded.stdout)
    assert "warn" not in hepcat("db", "check", "--url-file", str(file)).stdout


def test_stores_of_a_configuration(hepcat: Run, tmp_path: Path) -> None:
    config = tmp_path / "hepcat.toml"
    tables = [
        f'[[databases]]\nname = "{name}"\nurl = "sqlite:///{tmp_path}/{name}.db"\n' for name in ("one", "two")
    ]
    config.write_text("\n".join(tables))
    hepcat("db", "create", "--config", str(config), "--store", "one")
    assert (tmp_path / "one.db").exists()
    assert not (tmp_path / "two.db").exists()
    both = hepcat("db", "create", "--config", str(config)).stdout
    assert both.index("-- one: sqlite") < both.index("-- two: sqlite")
    assert (tmp_path / "two.db").exists()
    unknown = hepcat("db", "check", "--config", str(config), "--store", "three", check=False)
    assert unknown.returncode == 1
    assert unknown.stderr == ('hepcat: no database "three" in the configuration\n  There are: one, two.\n')


def test_the_database_of_a_classic_configuration(hepcat: Run, tmp_path: Path) -> None:
    config = tmp_path / "hepcat.toml"
    config.write_text(f'[sipcapture]\ndb_url = "sqlite:///{tmp_path}/k.db"\ntable_name = "calls"\n')
    assert "table calls: made" in hepcat("db", "create", "-c", str(config)).stdout


def test_exit_code_says_whether_something_does_not_work(hepcat: Run, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/sip.db"
    hepcat("db", "create", url)
    config = tmp_path / "hepcat.toml"
    config.write_text(f'[[databases]]\nname = "lite"\nurl = "{url}"\ntable_name = "other"\n')
    done = hepcat("db", "check", "-c", str(config), check=False)
    assert done.returncode == 1
    assert "bad   table other: is missing\n      Make it: hepcat db create --store lite" in done.stdout
    assert hepcat("db", "upgrade", "-c", str(config), check=False).returncode == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["oracle://x/y"], '"oracle://" is no URL of a database'),
        (["mysql://u:geheim@127.0.0.1:1/x"], "the database is away"),
        (["mysql://u:geheim@127.0.0.1:1"], "names no database"),
        (["sqlite:////nowhere/at/all.db"], "/nowhere/at/all.db"),
        (["--url-file", "/nowhere/url"], "cannot read /nowhere/url"),
        (["sqlite:///x", "--store", "one"], "exclude each other"),
        ([], "no database in the configuration"),
    ],
)
def test_each_mistake_has_one_message(hepcat: Run, arguments: list[str], words: str) -> None:
    done = hepcat("db", "check", *arguments, check=False)
    assert done.returncode == 1
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert "geheim" not in done.stderr
    assert len(done.stderr.splitlines()) == 2


def test_wrong_password_and_no_such_database(hepcat: Run, server_db: Database) -> None:
    wrong = hepcat("db", "check", server_db.url.replace("secret", "geheim"), check=False)
    assert wrong.returncode == 1
    assert "password" in wrong.stderr
    assert "geheim" not in wrong.stderr
    missing = hepcat("db", "create", server_db.url + "x", check=False)
    assert missing.returncode == 1
    assert len(missing.stderr.splitlines()) == 2


def test_every_kind_of_store_has_an_administration() -> None:
    import importlib

    from hepcat.cli import db

    for kind in set(SCHEMES.values()):
        module = importlib.import_module(db.ADMINS.get(kind, "hepcat.stores.sql.check"))
        assert callable(module.create)
        assert callable(module.upgrade)
        assert callable(module.check)
