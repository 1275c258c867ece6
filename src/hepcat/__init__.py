"""hepcat: capture SIP from the wire or as HEP, store it, find a call, see what went wrong."""

from typing import TYPE_CHECKING, Any

from hepcat import _pure

_pure.install()

__version__ = "0.1.0"
__all__ = ["__version__", "open", "read_pcap"]

if TYPE_CHECKING:
    from hepcat.search.api import open, read_pcap


def __getattr__(name: str) -> Any:
    """Import the Python API when it is first asked for: `import hepcat` alone stays light."""
    if name in ("open", "read_pcap"):
        from hepcat.search import api

        return getattr(api, name)
    raise AttributeError(f"module 'hepcat' has no attribute {name!r}")
