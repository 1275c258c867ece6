"""[[databases]]: the stores beyond the lake. One table of the configuration each.

In: what stands in the TOML file. Out: one frozen, checked model a database. The URL can hold a password: it
is a SecretStr, is never printed, and may come from a file or a variable instead. Nothing here connects.
"""

import os
import re
from pathlib import Path
from typing import Final, Literal

from pydantic import Field, SecretStr, field_validator, model_validator

from hepcat.config.section import Section
from hepcat.config.values import Octets
from hepcat.errors import HepcatError

#: What a URL may begin with -> the kind of store. The classic names are those of Kamailio's db_url.
SCHEMES: Final[dict[str, str]] = {
    "mysql": "mysql",
    "mariadb": "mysql",
    "postgres": "postgres",
    "postgresql": "postgres",
    "sqlite": "sqlite",
    "unixodbc": "odbc",
    "odbc": "odbc",
    "text": "dbtext",
    "dbtext": "dbtext",
    "clickhouse": "clickhouse",
}
#: The name of the embedded store, which is none of these.
LAKE: Final = "lake"
_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}")


class DatabaseSettings(Section):
    """One store beyond the lake. `stores` at the top of the configuration says which are written to."""

    name: str = Field(description="What `stores` and `--store` call it; also the folder of its spool.")
    url: SecretStr | None = Field(
        None,
        description="mysql://USER:PASSWORD@HOST:PORT/DATABASE, postgres://..., sqlite:///FILE, "
        "unixodbc://DSN, text:///FOLDER (Kamailio's dbtext) or clickhouse://HOST:PORT,HOST:PORT/DATABASE?cluster=NAME.",
    )
    url_file: Path | None = Field(None, description="File whose first line is the URL.")
    url_env: str | None = Field(None, description="Environment variable that holds the URL.")
    table_name: str = Field(
        "sip_capture",
        description="The table of SIP messages; `a|b` are several, and each goes through strftime with the "
        "UTC time of the message (`sip_capture_%Y%m%d`).",
    )
    mt_mode: Literal["rand", "round_robin", "hash"] = Field(
        "rand", description="Which of several tables a message goes to."
    )
    hash_source: Literal["call_id", "from_user", "to_user"] = Field(
        "call_id", description='What `mt_mode = "hash"` takes the crc32 of.'
    )
    capture_node: str = Field(
        "homer01",
        max_length=100,
        description="Name in column `node`, followed by a colon and the agent's id.",
    )
    capture_bad_msgs: bool = Field(
        True, description="Also store messages whose From, To or Contact cannot be read."
    )
    custom_fields: tuple[str, str, str] = Field(
        ("Mac", "IP", "Port"), description="Headers of the columns custom_field1 to custom_field3."
    )
    insert_retries: int = Field(
        0, ge=0, le=500, description="How often a batch that the database refused is tried again."
    )
    insert_retry_timeout: float = Field(
        60.0, ge=0, le=300, description="Seconds after the first refusal within which a batch is tried again."
    )
    connections: int = Field(
        1, ge=1, le=16, description="Connections that write. With more than one, batches overtake each other."
    )
    rows: int = Field(5_000, ge=1, le=100_000, description="Records of one transaction at most.")
    linger: float = Field(
        0.2, ge=0, le=60, description="Seconds that records wait for others to share their transaction."
    )
    spool: Octets = Field(
        4 * 2**30, ge=2**20, description="Most octets on disk that wait while the database is away."
    )
    retention_days: int | None = Field(
        None, ge=1, le=36_500, description="Days that are kept; older ones are dropped. Not set: all."
    )
    query_seconds: float = Field(
        120.0, gt=0, le=86_400, description="Seconds that one statement of a search may take."
    )
    partitions_ahead: int = Field(
        7, ge=1, le=366, description="Daily partitions that are made ahead of time."
    )

    @field_validator("name")
    @classmethod
    def _named(cls, name: str) -> str:
        if not _NAME.fullmatch(name) or name == LAKE:
            raise ValueError(
                f'"{name}" cannot be a store\'s name: a letter, then letters, digits, _ . or -; not "{LAKE}"'
            )
        return name

    @model_validator(mode="after")
    def _exactly_one(self) -> "DatabaseSettings":
        given = [name for name in ("url", "url_file", "url_env") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError("give exactly one of url, url_file and url_env")
        if self.url is not None:
            kind_of(self.url.get_secret_value())
        return self

    def read(self) -> str:
        """Return the URL. Raises HepcatError where its file or variable cannot be read, or is no URL."""
        if self.url is not None:
            return self.url.get_secret_value()
        if self.url_file is not None:
            try:
                text = self.url_file.read_text().partition("\n")[0].strip()
            except (OSError, UnicodeDecodeError) as error:
                reason = error.strerror if isinstance(error, OSError) else "not text"
                raise HepcatError(
                    f"database {self.name}: cannot read {self.url_file}: {reason}",
                    "url_file names a file whose first line is the URL, readable by the server's user.",
                ) from None
        else:
            text = os.environ.get(self.url_env or "", "")
        try:
            kind_of(text)
        except ValueError as error:
            raise HepcatError(
                f"database {self.name}: {error}", f"Correct {self.url_file or self.url_env}."
            ) from None
        return text


def kind_of(url: str) -> str:
    """Return the kind of store of a URL: mysql, postgres, sqlite, odbc, dbtext, clickhouse.

    Raises ValueError, which never shows more of the URL than its scheme.
    """
    scheme, separator, _ = url.partition("://")
    if not separator or scheme.lower() not in SCHEMES:
        found = f'"{scheme}://"' if separator else "what stands there"
        raise ValueError(
            f"{found} is no URL of a database; it begins with one of {', '.join(f'{s}://' for s in SCHEMES)}"
        )
    return SCHEMES[scheme.lower()]


def safe_url(url: str) -> str:
    """Return a URL for people: without the password, also where somebody wrote it among the options.

    As the readers of URLs do, it takes a login to end at the last @, whatever else is in it.
    """
    url = re.sub(r"(://[^:]*):.*@", r"\1:***@", url, flags=re.DOTALL)
    return re.sub(r"([?&;](?:password|passwd|pwd)=)[^&;]*", r"\1***", url, flags=re.IGNORECASE)
