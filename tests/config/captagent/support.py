"""captagent's files, made for a test: a captagent.xml that loads what is given, and the modules' files."""

from pathlib import Path
from xml.sax.saxutils import quoteattr

ETC = Path(__file__).parent / "etc"
Values = dict[str, str]

#: A profile that captures, for tests about something else.
PCAP: Values = {"dev": "any", "capture-plan": "sip.cfg", "filter": "port 5060"}
HEP: Values = {"capture-host": "127.0.0.1", "capture-port": "9060"}


def module_text(module: str, profiles: dict[str, Values], enable: str = "true") -> str:
    """Return a module's file; the settings' first param stands on line 6, one a line."""
    lines = ['<?xml version="1.0"?>', '<document type="captagent_module/xml">', f'<module name="{module}">']
    for name, values in profiles.items():
        lines += [f'<profile name="{name}" enable="{enable}">', "<settings>"]
        lines += [f"<param name={quoteattr(k)} value={quoteattr(v)}/>" for k, v in values.items()]
        lines += ["</settings>", "</profile>"]
    return "\n".join([*lines, "</module>", "</document>"])


def make(
    folder: Path, modules: dict[str, dict[str, Values]] | None = None, core: Values | None = None
) -> Path:
    """Write the files; return captagent.xml. socket_pcap and transport_hep are there unless given."""
    every = {"socket_pcap": {"sip": PCAP}, "transport_hep": {"hepsocket": HEP}, **(modules or {})}
    (folder / "sip.cfg").write_text('capture[sip] { if (parse_sip()) { send_hep("hepsocket"); } drop; }\n')
    for name, profiles in every.items():
        (folder / f"{name}.xml").write_text(module_text(name, profiles))
    lines = ["<document>", '<configuration name="core">', "<settings>"]
    lines += [f"<param name={quoteattr(k)} value={quoteattr(v)}/>" for k, v in (core or {}).items()]
    lines += ["</settings>", "</configuration>", '<configuration name="modules">', "<modules>"]
    lines += [f'<load module="{name}" register="local"/>' for name in every]
    path = folder / "captagent.xml"
    path.write_text("\n".join([*lines, "</modules>", "</configuration>", "</document>"]))
    return path
