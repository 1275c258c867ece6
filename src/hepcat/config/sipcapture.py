"""[sipcapture]: the parameters of Kamailio's sipcapture module, by their own names and defaults.

In: the table of the configuration, or the modparam lines of a kamailio.cfg. Out: one frozen, checked model.
The defaults are the module's: nothing is captured until `capture_on` and one of the modes say so.
"""

import ipaddress
import re
from typing import Any, Final, Literal

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator

from hepcat.config.databases import DatabaseSettings, kind_of
from hepcat.config.section import Section

#: The store that db_url makes; those of capture_mode have the modes' names.
STORE: Final = "sipcapture"

_LISTEN: Final = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([^:\[\]]*))(?::(\d{1,5})(?:-(\d{1,5}))?)?")


class SipcaptureSettings(Section):
    """The classic capture server. Flags are 0 or 1, as in modparam lines; true and false do as well."""

    db_url: SecretStr | None = Field(
        None, description="The database, as in Kamailio; not set or empty: the stores of `stores` alone."
    )
    table_name: str = Field("sip_capture", description="As `table_name` of [[databases]].")
    mt_mode: Literal["rand", "round_robin", "hash"] = Field(
        "rand", description="As `mt_mode` of [[databases]]."
    )
    hash_source: Literal["call_id", "from_user", "to_user"] = Field(
        "call_id", description="As `hash_source` of [[databases]]."
    )
    capture_mode: tuple[SecretStr, ...] = Field(
        (),
        description="Further databases by name: "
        "`name=>db_url=URL;table_name=NAMES;mt_mode=MODE;hash_source=SOURCE`.",
    )
    db_insert_mode: int = Field(
        0, ge=0, le=2, description="Taken as it is: here no sender ever waits for the database."
    )
    capture_on: bool = Field(False, description="Whether capture is on at the start.")
    hep_capture_on: bool = Field(False, description="Take HEP on the listeners of [hep].")
    raw_ipip_capture_on: bool = Field(False, description="Take IP-in-IP copies on a raw socket.")
    raw_moni_capture_on: bool = Field(False, description="Capture frames of a monitoring or mirroring port.")
    raw_socket_listen: str = Field(
        "",
        description="ADDRESS, ADDRESS:PORT or ADDRESS:PORT-PORT: the address of the raw socket (IPIP), and "
        "the ports of which the source or the destination has to be one.",
    )
    raw_interface: str = Field("", description="The interface that the raw socket is bound to.")
    raw_sock_children: int = Field(1, ge=1, le=64, description="Workers of the raw socket.")
    promiscuous_on: bool = Field(False, description="Promiscuous mode of raw_interface while capturing.")
    promiscious_on: bool = Field(False, description="The same, as version 3.2 spelled it.")
    raw_moni_bpf_on: bool = Field(False, description="Let the kernel apply the filter of ports.")
    capture_node: str = Field("homer01", max_length=100, description="As `capture_node` of [[databases]].")
    insert_retries: int = Field(0, ge=0, le=500, description="As `insert_retries` of [[databases]].")
    insert_retry_timeout: float = Field(
        60.0, ge=0, le=300, description="As `insert_retry_timeout` of [[databases]]."
    )
    callid_aleg_header: str = Field("X-CID", description="Headers of the other leg's Call-ID, `;` between.")
    capture_bad_msgs: bool = Field(False, description="As `capture_bad_msgs` of [[databases]].")
    nonsip_hook: int | str = Field(
        0,
        description="What becomes of messages that are not SIP: 0 or 1, they are stored; else the file of a "
        "capture plan, which decides (`drop` drops).",
    )
    topoh_unmask: bool = Field(False, description="Has no counterpart: addresses are shown as captured.")
    event_callback: str = Field("", description="Has no counterpart: there is no script to call.")
    custom_field1_header: str = Field("Mac", description="Header of column custom_field1.")
    custom_field2_header: str = Field("IP", description="Header of column custom_field2.")
    custom_field3_header: str = Field("Port", description="Header of column custom_field3.")

    @field_validator("db_url")
    @classmethod
    def _url(cls, url: SecretStr | None) -> SecretStr | None:
        if url is None or not url.get_secret_value():
            return None
        kind_of(url.get_secret_value())
        return url

    @field_validator("capture_mode")
    @classmethod
    def _modes(cls, modes: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        names = [_parse_mode(mode)["name"] for mode in modes]
        for name in names:
            if name == STORE or names.count(name) > 1:
                raise ValueError(f'"{name}" is taken; each capture mode needs a name of its own')
        return modes

    @model_validator(mode="after")
    def _consistent(self) -> "SipcaptureSettings":
        if self.raw_ipip_capture_on and self.raw_moni_capture_on:
            raise ValueError(
                "raw_ipip_capture_on and raw_moni_capture_on exclude each other: only one mode of the raw "
                "socket can be on; run a second hepcat for the other one"
            )
        address, low, _ = split_raw_listen(self.raw_socket_listen)
        if self.raw_ipip_capture_on and address:
            try:
                ipaddress.ip_address(address)
            except ValueError:
                raise ValueError(
                    f'raw_socket_listen: "{address}" is no IP address; name an address of this host, or '
                    'leave it out (":5060")'
                ) from None
        if self.raw_moni_capture_on and not low:
            raise ValueError(
                "raw_moni_capture_on needs a port or a range in raw_socket_listen, such as "
                '"10.0.0.0:5060-5090" (the address has no meaning there)'
            )
        return self

    def databases(self) -> tuple[DatabaseSettings, ...]:
        """Return the databases that db_url and capture_mode name, in this order."""
        shared: dict[str, Any] = {
            "capture_node": self.capture_node,
            "capture_bad_msgs": self.capture_bad_msgs,
            "custom_fields": (
                self.custom_field1_header, self.custom_field2_header, self.custom_field3_header
            ),
            "insert_retries": self.insert_retries,
            "insert_retry_timeout": self.insert_retry_timeout,
        }  # fmt: skip
        own = {"table_name": self.table_name, "mt_mode": self.mt_mode, "hash_source": self.hash_source}
        made = [DatabaseSettings(name=STORE, url=self.db_url, **own, **shared)] if self.db_url else []
        return (
            *made,
            *(DatabaseSettings(**{**own, **shared, **_parse_mode(mode)}) for mode in self.capture_mode),
        )


_MODE_KEYS: Final = {
    "db_url": "url",
    "table_name": "table_name",
    "mt_mode": "mt_mode",
    "hash_source": "hash_source",
}


def _parse_mode(mode: SecretStr) -> dict[str, Any]:
    """Return the settings of "name=>db_url=URL;table_name=NAMES;...". Raises ValueError, without the URL."""
    name, arrow, rest = mode.get_secret_value().partition("=>")
    if not arrow:
        raise ValueError("a capture mode is written name=>db_url=URL;table_name=NAMES")
    values: dict[str, Any] = {"name": name.strip()}
    for part in filter(None, (piece.strip() for piece in rest.split(";"))):
        key, _, value = part.partition("=")
        if key.strip() not in _MODE_KEYS:  # it is not shown: a password with a `;` in it ends up here
            raise ValueError(
                f'capture mode "{name.strip()}": between the `;` stand only {"=, ".join(_MODE_KEYS)}='
            )
        values[_MODE_KEYS[key.strip()]] = value.strip()
    if not values.get("url"):
        raise ValueError(f'capture mode "{name.strip()}": write name=>db_url=URL;table_name=NAMES')
    try:
        DatabaseSettings(**values)
    except ValidationError as error:
        why = str(error.errors()[0]["msg"]).removeprefix("Value error, ")
        raise ValueError(f'capture mode "{name.strip()}": {why}') from None
    return values


def split_raw_listen(text: str) -> tuple[str, int, int]:
    """Return (address or "", low port, high port) of raw_socket_listen; 0, 0 where it names no port.

    Raises ValueError.
    """
    match = _LISTEN.fullmatch(text.strip())
    if match is None:
        raise ValueError(f'"{text}" is not ADDRESS, ADDRESS:PORT or ADDRESS:PORT-PORT (IPv6 in brackets)')
    low = int(match[3] or 0)
    high = int(match[4] or low)
    if match[3] is not None and not 1 <= low <= high <= 65535:
        raise ValueError(f'the ports of "{text}" are not in order, or not in 1..65535')
    return match[1] or match[2] or "", low, high
