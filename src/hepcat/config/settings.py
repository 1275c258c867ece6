"""Settings: the one typed model of everything that can be configured.

In: plain values (hepcat.config.loader reads them from file, environment and flags). Out: `Settings`,
passed to whoever needs it and never global. What can go wrong: pydantic's ValidationError, which the
loader turns into messages with file and line. Every field has a description: docs/configuration.md
is made of them, and a test holds both to it. Secrets are SecretStr and never printed.
"""

import os
import re
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import (
    Field,
    SecretStr,
    StringConstraints,
    ValidationError,
    field_validator,
    model_validator,
)

from hepcat.config.agent import AgentSettings
from hepcat.config.control import ControlSettings
from hepcat.config.databases import LAKE, DatabaseSettings
from hepcat.config.lake import LakeSettings
from hepcat.config.section import Section
from hepcat.config.sipcapture import SipcaptureSettings
from hepcat.config.values import HepUrl, Listen, Octets, is_loopback, split_hep_url, split_host_port
from hepcat.config.web import WebSettings
from hepcat.errors import HepcatError

#: RFC 3261 section 25.1: a header's name is a token.
_TOKEN: Final = re.compile(r"[A-Za-z0-9\-.!%*_+`'~]+")
HeaderName = Annotated[str, StringConstraints(min_length=1, max_length=128)]


class HepKey(Section):
    """One authentication key (HEP chunk 0x000e) and the agent it stands for."""

    name: str = Field(min_length=1, description="The agent that sends this key; stored as `node_name`.")
    key: SecretStr | None = Field(None, description="The key itself; better kept out of the file.")
    key_file: Path | None = Field(None, description="File whose first line is the key.")
    key_env: str | None = Field(None, description="Environment variable that holds the key.")

    @model_validator(mode="after")
    def _exactly_one(self) -> "HepKey":
        given = [name for name in ("key", "key_file", "key_env") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError("give exactly one of key, key_file and key_env")
        return self

    def read(self) -> bytes:
        """Return the key's octets. Raises HepcatError where its file or variable cannot be read."""
        if self.key is not None:
            value = self.key.get_secret_value()
        elif self.key_file is not None:
            try:
                value = self.key_file.read_text().partition("\n")[0].strip()
            except (OSError, UnicodeDecodeError) as error:
                reason = error.strerror if isinstance(error, OSError) else "not text"
                raise HepcatError(
                    f"HEP key of {self.name}: cannot read {self.key_file}: {reason}",
                    "key_file names a file whose first line is the key, readable by the server's user.",
                ) from None
        else:
            value = os.environ.get(self.key_env or "", "")
        if not value:
            raise HepcatError(
                f"HEP key of {self.name} is empty",
                "Put the key in the file or the variable that the setting names.",
            )
        return value.encode()


class TlsSettings(Section):
    """[hep.tls]: for tls:// listeners."""

    certificate: Path | None = Field(None, description="Certificate with its chain, PEM.")
    key: Path | None = Field(None, description="Private key, PEM, without a pass phrase.")
    client_ca: Path | None = Field(
        None,
        description="CA certificates, PEM. When set, agents must show a certificate of one of them.",
    )
    handshake_timeout: float = Field(
        10.0, gt=0, le=300, description="Seconds an agent may take to finish the TLS handshake."
    )


class HepSettings(Section):
    """[hep]: where agents send to."""

    listen: tuple[HepUrl, ...] = Field(
        ("udp://127.0.0.1:9060", "tcp://127.0.0.1:9060"),
        min_length=1,
        description="What to listen on: udp://, tcp:// or tls://ADDRESS:PORT. IPv6 in brackets.",
    )
    workers: int = Field(1, ge=1, le=64, description="Sockets and threads a UDP listener (SO_REUSEPORT).")
    receive_buffer: Octets = Field(
        32 * 2**20,
        ge=4096,
        description="Receive buffer asked of the kernel for each UDP socket. The kernel grants less where "
        "`net.core.rmem_max` is lower; the log shows what was granted.",
    )
    slots: int = Field(
        2048, ge=16, le=65536, description="Datagrams a UDP worker gathers before it decodes them, at most."
    )
    inflate_bound: int = Field(
        65535, ge=1024, le=65535, description="Most octets that a compressed payload may inflate to."
    )
    max_connections: int = Field(
        1000, ge=1, le=100_000, description="TCP and TLS connections a listener holds at once."
    )
    idle_timeout: float = Field(
        0.0,
        ge=0,
        description="Seconds after which a silent TCP or TLS connection is closed; 0 keeps it (TCP "
        "keep-alive finds dead peers).",
    )
    half_message_timeout: float = Field(
        30.0, gt=0, description="Seconds an agent may leave a TCP or TLS message half sent."
    )
    tls: TlsSettings = Field(default=TlsSettings(), description="TLS of the tls:// listeners.")
    keys: tuple[HepKey, ...] = Field(
        (), description="Authentication keys. With at least one, messages without a known key are dropped."
    )

    @model_validator(mode="after")
    def _consistent(self) -> "HepSettings":
        if len(set(self.listen)) != len(self.listen):
            raise ValueError("listen names the same address twice")
        if any(split_hep_url(url)[0] == "tls" for url in self.listen) and not (
            self.tls.certificate and self.tls.key
        ):
            raise ValueError("a tls:// listener needs certificate and key in [hep.tls]")
        if len({key.name for key in self.keys}) != len(self.keys):
            raise ValueError("two keys have the same name")
        return self


#: Why a port without accounts is not opened to others.
NO_ACCOUNTS: Final = (
    "{} can be reached by other machines, and the HTTP port has no accounts; listen on 127.0.0.1, or set "
    "public = true in [http] where a firewall guards it"
)


class HttpSettings(Section):
    """[http]: the HTTP port."""

    listen: Listen | None = Field(
        None,
        description="ADDRESS:PORT of the page, the API, /metrics and /healthz. Not set: a server has them on "
        "127.0.0.1:9080, an agent, which offers /metrics, /stats, /status, /healthz, has none.",
    )
    public: bool = Field(
        False,
        description="Allow an agent, or a server without the page, to listen where other machines reach it: "
        "there are no accounts then.",
    )

    @property
    def reachable(self) -> bool:
        """Whether other machines can reach it."""
        return self.listen is not None and not is_loopback(split_host_port(self.listen)[0])


class QueueSettings(Section):
    """[queue]: between the sources and the store."""

    memory: Octets = Field(
        256 * 2**20,
        ge=2**20,
        description="Most octets held in memory while the store is slow or away; beyond, drops are counted.",
    )


class LogSettings(Section):
    """[log]: what the server says about itself, on standard error."""

    level: Literal["debug", "info", "warning", "error"] = Field("info", description="The least level shown.")
    format: Literal["auto", "console", "json"] = Field(
        "auto",
        description="console is key=value, json an object a line; auto: console on a terminal, else json.",
    )
    interval: float = Field(60.0, ge=1, description="Seconds between two lines of counters.")


class Settings(Section):
    """Everything that can be configured."""

    data: Path = Field(Path("data"), description="The lake's folder.")
    stores: tuple[str, ...] = Field(
        (LAKE,),
        min_length=1,
        description='Where records go: "lake", and names of [[databases]]. Each has a queue of its own.',
    )
    user: str | None = Field(
        None,
        description="User to become once the sockets are open, when started as root; keeps no capability.",
    )
    extra_headers: tuple[HeaderName, ...] = Field(
        (), max_length=64, description="Further SIP headers to store, in the map column `extra`."
    )
    callid_aleg_header: tuple[HeaderName, ...] = Field(
        ("X-CID",),
        max_length=16,
        description="Headers that hold the other leg's Call-ID; the first wins.",
    )
    aliases: dict[str, str] = Field(
        default_factory=dict, description='Names of hosts in ladders: "10.0.0.1" or "10.0.0.1:5060" = "name".'
    )
    hep: HepSettings = Field(default=HepSettings(), description="HEP listeners.")
    http: HttpSettings = Field(default=HttpSettings(), description="The HTTP port.")
    web: WebSettings = Field(default=WebSettings(), description="The page and the API.")
    queue: QueueSettings = Field(default=QueueSettings(), description="Between source and store.")
    log: LogSettings = Field(default=LogSettings(), description="The server's own log.")
    lake: LakeSettings = Field(default=LakeSettings(), description="The embedded store.")
    databases: tuple[DatabaseSettings, ...] = Field((), description="Databases, by name.")
    sipcapture: SipcaptureSettings | None = Field(None, description="The classic capture server.")
    control: ControlSettings = Field(default=ControlSettings(), description="The doors of control.")
    agent: AgentSettings = Field(default=AgentSettings(), description="The capture agent.")

    @field_validator("extra_headers", "callid_aleg_header")
    @classmethod
    def _header_names(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if not _TOKEN.fullmatch(name):
                raise ValueError(f'"{name}" cannot be a header name (RFC 3261 section 25.1)')
        if len({name.lower() for name in names}) != len(names):
            raise ValueError("the same header twice")
        return names

    @model_validator(mode="before")
    @classmethod
    def _classic(cls, values: Any) -> Any:
        """[sipcapture] brings databases of its own, which `stores` has too unless it is given."""
        table = values.get("sipcapture") if isinstance(values, dict) else None
        if table is None or not isinstance(values.get("databases", ()), list | tuple):
            return values
        try:
            classic = SipcaptureSettings.model_validate(table)
        except ValidationError:
            return values  # its faults are told where it is validated
        given = tuple(values.get("databases", ()))
        more = tuple(made for made in classic.databases() if made not in given)
        stores = values.get("stores") or (LAKE, *(made.name for made in more))
        aleg = tuple(name.strip() for name in classic.callid_aleg_header.split(";") if name.strip())
        aleg = values.get("callid_aleg_header") or aleg
        return {**values, "databases": (*given, *more), "stores": stores, "callid_aleg_header": aleg}

    @model_validator(mode="after")
    def _http(self) -> "Settings":
        if not self.web.enabled and self.http.reachable and not self.http.public:
            raise ValueError(NO_ACCOUNTS.format(self.http.listen))
        return self

    @model_validator(mode="after")
    def _stores(self) -> "Settings":
        names = [database.name for database in self.databases]
        for name in sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f'two [[databases]] have the name "{name}"')
        for name in self.stores:
            if name != LAKE and name not in names:
                known = ", ".join(f'"{known}"' for known in (LAKE, *names))
                raise ValueError(
                    f'stores names "{name}", which is none of {known}: there is no [[databases]] of that name'
                )
        if len(set(self.stores)) != len(self.stores):
            raise ValueError("stores names the same store twice")
        return self

    @field_validator("aliases")
    @classmethod
    def _hosts(cls, aliases: dict[str, str]) -> dict[str, str]:
        for host in aliases:
            text = f"[{host}]" if host.count(":") > 1 and not host.startswith("[") else host
            split_host_port(text, default_port=1)
        return aliases
