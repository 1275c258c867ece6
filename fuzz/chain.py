"""Load the extensions of kernels that build on each other, beside their plain modules."""

import importlib.machinery
import importlib.util
import sys
from types import ModuleType

from both import WIRE


def compiled_chain(*names: str) -> ModuleType | None:
    """Load the extensions of hepcat.wire.<names> in this order; return the last, None where one is missing.

    While they are loaded they stand in for the plain modules, which are put back afterwards.
    """
    plain = {name: sys.modules.get(f"hepcat.wire.{name}") for name in names}
    module = None
    try:
        for name in names:
            full = f"hepcat.wire.{name}"
            spec = importlib.machinery.PathFinder.find_spec(full, [str(WIRE)])
            if spec is None or not isinstance(spec.loader, importlib.machinery.ExtensionFileLoader):
                return None
            module = importlib.util.module_from_spec(spec)
            sys.modules[full] = module
            spec.loader.exec_module(module)
    finally:
        for name, before in plain.items():
            sys.modules.pop(f"hepcat.wire.{name}", None)
            if before is not None:
                sys.modules[f"hepcat.wire.{name}"] = before
    return module
