"""What the fuzz targets of frames and captures share: a kernel's extension beside its plain module."""

import importlib.machinery
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parent.parent
WIRE = ROOT / "src" / "hepcat" / "wire"


def compiled(name: str, needs: tuple[str, ...] = ()) -> ModuleType | None:
    """Load the extension of hepcat.wire.<name>; None where it or one that it needs was not built.

    needs: kernels whose extensions it calls, each before those that call it; they stand in for the plain
    modules while it is loaded.
    """
    loaded: dict[str, ModuleType] = {}
    plain = {f"hepcat.wire.{other}": sys.modules.get(f"hepcat.wire.{other}") for other in needs}
    try:
        for other in (*needs, name):
            module = load_extension(f"hepcat.wire.{other}")
            if module is None:
                return None
            loaded[other] = module
            if other != name:
                sys.modules[f"hepcat.wire.{other}"] = module
    finally:
        for other, module_before in plain.items():
            if module_before is None:
                sys.modules.pop(other, None)
            else:
                sys.modules[other] = module_before
    return loaded[name]


def load_extension(name: str) -> ModuleType | None:
    """Load the extension of a module beside the plain one, without a place in sys.modules."""
    spec = importlib.machinery.PathFinder.find_spec(name, [str(WIRE)])
    if spec is None or not isinstance(spec.loader, importlib.machinery.ExtensionFileLoader):
        return None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
