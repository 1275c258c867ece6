"""The doors that the settings name: opened while still root, closed and removed at a clean stop.

In: [control], what they lead to, who the server is going to be. Out: doors that answer. What can go wrong:
HepcatError when they are opened; no door stays open then.
"""

import os
from pathlib import Path
from typing import Protocol

from hepcat.config.control import ControlSettings
from hepcat.control.address import SOCKET_NAME
from hepcat.control.fifo import Fifo, Owner
from hepcat.control.methods import Control
from hepcat.control.mi_fifo import mi_door
from hepcat.control.rpc_fifo import rpc_door
from hepcat.control.socket_door import SocketDoor
from hepcat.pipeline.privileges import look_up


class Door(Protocol):
    """A way in."""

    def start(self) -> None:
        """Begin to answer."""

    def stop(self) -> None:
        """Stop answering, remove what was made."""


class Doors:
    """All of them but HTTP."""

    def __init__(self, settings: ControlSettings, control: Control, user: str | None) -> None:
        """user: whom the server is going to be, None where it stays who it is."""
        self._settings = settings
        self._control = control
        self._owner = Owner()
        if user is not None and os.geteuid() == 0:
            entry = look_up(user)
            self._owner = Owner(entry.pw_uid, entry.pw_gid)
        self._doors: list[Door] = []

    def open(self) -> None:
        """Open the doors that the settings name. Raises HepcatError."""
        settings = self._settings
        try:
            if settings.mi_fifo is not None:
                fifo = Fifo(settings.mi_fifo, settings.socket_mode, self._owner)
                self._doors.append(mi_door(fifo, settings.mi_reply_dir, self._control))
            if settings.rpc_fifo is not None:
                fifo = Fifo(settings.rpc_fifo, settings.socket_mode, self._owner)
                self._doors.append(rpc_door(fifo, settings.rpc_reply_dir, self._control))
            if settings.socket is not None:
                self._open_socket(settings.socket)
        except BaseException:
            self.stop()
            raise

    def open_in(self, folder: Path) -> None:
        """Open the socket in the lake's folder, where the settings name none. Raises HepcatError.

        Called as the user that the server runs as: to whom the folder belongs.
        """
        if self._settings.socket is None:
            try:
                self._open_socket(folder / SOCKET_NAME)
            except BaseException:
                self.stop()
                raise

    def start(self) -> None:
        """Begin to answer."""
        for door in self._doors:
            door.start()

    def stop(self) -> None:
        """Stop answering, remove what was made. Idempotent."""
        while self._doors:
            self._doors.pop().stop()

    def _open_socket(self, path: Path) -> None:
        owner = self._owner if os.geteuid() == 0 else Owner()
        self._doors.append(SocketDoor(path, self._settings.socket_mode, owner, self._control))
