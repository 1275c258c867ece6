"""What a conversion tells: warnings with file and line, and problems that leave nothing to run.

In: elements and words. Out: `Warning`s for what differs from the original, and one HepcatError with every
problem at once.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from hepcat.errors import HepcatError

Level = Literal["info", "warning"]


@dataclass(frozen=True, slots=True)
class Warning:
    """One parameter (or profile, module) that has another effect than in the original, or none, and why.

    level: "warning" where something that was asked for is not done, or needs a look; "info" where hepcat
    does at least what was asked for.
    """

    file: Path
    line: int
    parameter: str
    message: str
    level: Level = "warning"

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.parameter}: {self.message}"


class Report:
    """Collects what is to be told while files are read."""

    def __init__(self) -> None:
        self.warnings: list[Warning] = []
        self._problems: list[str] = []

    def warn(self, file: Path, line: int, parameter: str, message: str) -> None:
        """Tell that something is not as asked for."""
        self.warnings.append(Warning(file, line, parameter, message))

    def inform(self, file: Path, line: int, parameter: str, message: str) -> None:
        """Tell that something is done otherwise, with nothing lost."""
        self.warnings.append(Warning(file, line, parameter, message, "info"))

    def problem(self, file: Path, line: int, parameter: str, message: str) -> None:
        """Note what cannot be used at all."""
        self._problems.append(f"{file}:{line}: {parameter}: {message}")

    def raise_problems(self) -> None:
        """Raise HepcatError where there were problems."""
        if self._problems:
            raise HepcatError("\n".join(self._problems))
