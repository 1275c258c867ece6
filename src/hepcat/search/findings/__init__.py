"""What went wrong: rules that read a ladder and say what a person should look at (docs/findings.md)."""

from hepcat.search.findings.finding import ERROR, NOTE, WARNING, Finding, Rule
from hepcat.search.findings.registry import RULES, find

__all__ = ["ERROR", "NOTE", "RULES", "WARNING", "Finding", "Rule", "find"]
