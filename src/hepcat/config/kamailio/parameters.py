"""Which statement of a kamailio.cfg becomes which setting: one table.

(module, parameter) -> (path of the setting, a note where something is to be known). Parameters of other
modules than these, and core parameters that are not in CORE, have no counterpart.
"""

from typing import Final

from hepcat.config.sipcapture import SipcaptureSettings

Target = tuple[tuple[str, ...], str]

_NOTES: Final = {
    "db_url": 'the lake is written to as well; stores = ["sipcapture"] at the top leaves it out',
    "db_insert_mode": "no sender waits for the database here, whatever the mode",
    "topoh_unmask": "addresses are shown as captured",
    "event_callback": "there is no script to call",
    "nonsip_hook": "messages that are not SIP are stored in their own tables",
    "capture_mode": "every message goes to every store: there is no script that names a mode",
}

PARAMETERS: Final[dict[tuple[str, str], Target]] = {
    **{
        ("sipcapture", name): (("sipcapture", name), _NOTES.get(name, ""))
        for name in SipcaptureSettings.model_fields
    },
    ("jsonrpcs", "fifo_name"): (("control", "rpc_fifo"), ""),
    ("jsonrpcs", "fifo_reply_dir"): (("control", "rpc_reply_dir"), ""),
    ("mi_fifo", "fifo_name"): (("control", "mi_fifo"), ""),
    ("mi_fifo", "reply_dir"): (("control", "mi_reply_dir"), ""),
    ("tls", "certificate"): (("hep", "tls", "certificate"), ""),
    ("tls", "private_key"): (("hep", "tls", "key"), ""),
    ("tls", "ca_list"): (("hep", "tls", "client_ca"), "agents must show a certificate of one of these"),
}

#: Parameters of which each modparam adds one value.
REPEATABLE: Final = frozenset({"capture_mode"})

#: Core parameter -> (path of the setting, "" where only a note is to be told).
CORE: Final[dict[str, Target]] = {
    "user": (("user",), ""),
    "uid": (("user",), ""),
    "children": ((), "one thread a socket takes what all children took; see `workers` in [hep]"),
    "fork": ((), "hepcat stays in the foreground; a service manager starts it"),
    "debug": ((), "see `level` in [log]"),
    "log_stderror": ((), "the log always goes to standard error"),
    "log_facility": ((), "the log goes to standard error, where a service manager takes it"),
    "log_name": ((), "the log goes to standard error"),
}

#: Modules without an effect of their own here: the database is named by its URL, the doors by their settings.
SILENT_MODULES: Final = frozenset({"sipcapture", "jsonrpcs", "mi_fifo", "mi_rpc", "ctl", "kex", "pv", "tls"})
