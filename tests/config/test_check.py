"""`hepcat check-config` looks into the files that [sipcapture] and [[databases]] name."""

from pathlib import Path

import pytest

from hepcat.config.sipcapture import SipcaptureSettings
from tests.support import ROOT, hepcat

CLASSIC = '[sipcapture]\ncapture_on = 1\nhep_capture_on = 1\nnonsip_hook = "{}"\n'


def test_the_plan_of_nonsip_hook(tmp_path: Path) -> None:
    plan, config = tmp_path / "nonsip.cfg", tmp_path / "hepcat.toml"
    config.write_text(CLASSIC.format(plan))
    assert f"cannot read {plan}" in hepcat("check-config", str(config), check=False).stderr
    plan.write_text("capture[nonsip] {\n  if (msg_chek()) { drop; }\n}\n")
    done = hepcat("check-config", str(config), check=False)
    assert done.returncode == 1
    assert f'{plan}:2:7: there is no function "msg_chek"' in done.stderr
    plan.write_text("capture[nonsip] {\n  drop;\n}\n")
    assert hepcat("check-config", str(config)).stdout.startswith("ok")
    config.write_text(CLASSIC.format("1"))
    assert hepcat("check-config", str(config)).stdout.startswith("ok")


def test_clickhouse_has_tables_of_its_own(tmp_path: Path) -> None:
    config = tmp_path / "hepcat.toml"
    config.write_text(
        'stores = ["ch", "pg"]\n'
        '[[databases]]\nname = "ch"\nurl = "clickhouse://u:secret@h/d"\n'
        '[[databases]]\nname = "pg"\nurl = "postgres://u:secret@h/d"\n'
    )
    lines = hepcat("check-config", str(config)).stdout.splitlines()
    assert "  stores in ch: clickhouse://u:***@h/d" in lines
    assert "  stores in pg: postgres://u:***@h/d, sip_capture" in lines
    assert "searches but" not in "".join(lines)
    config.write_text(config.read_text().replace('["ch", "pg"]', '["ch"]'))
    assert (
        "  searches but does not write to pg: not in `stores`" in hepcat("check-config", str(config)).stdout
    )


@pytest.mark.parametrize("name", SipcaptureSettings.model_fields)
def test_each_parameter_is_explained(name: str) -> None:
    """docs/sipcapture.md says of each parameter what it does here."""
    rows = [line for line in (ROOT / "docs" / "sipcapture.md").read_text().splitlines() if line[:1] == "|"]
    custom = name.startswith("custom_field")
    assert any(f"`{'custom_field1_header' if custom else name}`" in row for row in rows)
