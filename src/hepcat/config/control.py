"""[control]: the doors through which a running hepcat is asked and switched."""

from pathlib import Path

from pydantic import Field

from hepcat.config.section import Section


class ControlSettings(Section):
    """Every door that is configured; what each can be asked is in control/methods.py."""

    socket: Path | None = Field(
        None,
        description="Unix socket of `hepcat ctl` (JSON-RPC 2.0). Not set: hepcat.sock in the lake's folder.",
    )
    socket_mode: int = Field(0o660, ge=0, le=0o777, description="Permissions of the socket and of the FIFOs.")
    mi_fifo: Path | None = Field(
        None,
        description="FIFO that takes the MI commands of `kamctl fifo` (of OpenSER and Kamailio 3).",
    )
    mi_reply_dir: Path = Field(
        Path("/tmp"), description="Folder of the FIFOs that MI commands are answered on."
    )
    rpc_fifo: Path | None = Field(
        None, description="FIFO that takes the JSON-RPC documents of `kamctl rpc` (today's Kamailio)."
    )
    rpc_reply_dir: Path = Field(
        Path("/tmp"), description="Folder of the FIFOs that JSON-RPC documents are answered on."
    )
