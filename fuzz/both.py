"""What the fuzz targets of frames and captures share: a kernel's extension beside its plain module."""

import importlib.machinery
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parent.parent
WIRE = ROOT / "src" / "hepcat" / "wire"


def compiled(name: str, needs: tuple[str, ...] = ()) -> ModuleType | None:
    """Load the extension of hepcat.wire.<name>; None where it was not built.

    needs: kernels whose extensions it calls; they stand in for the plain modules while it is loaded.
    """
    others = {f"hepcat.wire.{other}": compiled(other) for other in needs}
    spec = importlib.machinery.PathFinder.find_spec(f"hepcat.wire.{name}", [str(WIRE)])
    if None in others.values() or spec is None:
        return None
    if not isinstance(spec.loader, importlib.machinery.ExtensionFileLoader):
        return None
    plain = {other: sys.modules.get(other) for other in others}
    sys.modules.update({other: module for other, module in others.items() if module is not None})
    try:
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    finally:
        for other, module_before in plain.items():
            if module_before is None:
                del sys.modules[other]
            else:
                sys.modules[other] = module_before
    return module
