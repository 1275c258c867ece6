"""Errors for people: what happened, where, and what to do. The faces print them; never a traceback."""


class HepcatError(Exception):
    """Something the user can act on. `str(error)` is the whole message; `hint` says what to do."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint
