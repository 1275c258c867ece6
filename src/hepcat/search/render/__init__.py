"""A ladder drawn: one module a form, each a function Ladder -> str. All show the same picture."""
