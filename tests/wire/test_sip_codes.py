"""The constants of the SIP index: the enum compiled in is the one of the Python module."""

import re
from pathlib import Path

from hepcat.wire import sip_codes, sip_names

PXD = Path(sip_names.__file__).with_name("sip_codes.pxd")


def test_enum_is_that_of_the_codes() -> None:
    enum = {
        name: int(value) for name, value in re.findall(r"^    ([A-Z_]+) = (-?\d+)$", PXD.read_text(), re.M)
    }
    codes = {
        name: value for name, value in vars(sip_codes).items() if name.isupper() and isinstance(value, int)
    }
    del codes["SLOTS"]
    assert enum == codes


def test_built_in_names_share_no_slot() -> None:
    """So a look-up of a header of ours compares one name."""
    table = sip_names.name_table(("X-CID",), ())
    assert bool((table.next == -1).all())
    assert len({sip_names.fold(name) for name in sip_names.COMPACT.values()}) == len(sip_names.COMPACT)
