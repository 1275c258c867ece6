"""The look of the SVG: colours for light and dark, by outcome and by call.

In: nothing. Out: one style sheet, every rule under `svg.hepcat`, because a notebook puts the picture into
its own page. Colours are written out in each rule: converters that know no CSS variables exist.
"""

from typing import Final

#: Colours of calls: (light, dark).
LEG_COLORS: Final = (
    ("#2563eb", "#7aa7ff"),
    ("#9333ea", "#c79bff"),
    ("#0f766e", "#4fd1c0"),
    ("#b45309", "#f5b255"),
    ("#be185d", "#ff8fc0"),
    ("#4d7c0f", "#a8d86b"),
)
#: Colours of outcomes: (light, dark).
_OUTCOMES: Final = {
    "request": ("#1f4fbf", "#8db4ff"),
    "provisional": ("#0f766e", "#4fd1c0"),
    "success": ("#15803d", "#5fd38a"),
    "redirect": ("#a16207", "#f0c14b"),
    "failure": ("#d1242f", "#ff8078"),
}
_SURFACES: Final = (
    # page, box, box's edge, lifeline, text, muted text, row under the pointer
    ("#ffffff", "#f1f5fb", "#c3cfe0", "#c8d1dd", "#1b2330", "#677489", "#eef3fb"),
    ("#12161d", "#1e2632", "#3a4657", "#3a4452", "#e6ebf2", "#94a1b5", "#1b222d"),
)
_SANS: Final = 'system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans","DejaVu Sans",sans-serif'
_MONO: Final = 'ui-monospace,"SF Mono",Menlo,Consolas,"DejaVu Sans Mono",monospace'


def _colors(dark: int) -> str:
    page, box, edge, life, text, muted, hover = _SURFACES[dark]
    rules = [
        f"text{{fill:{text}}}",
        f".page{{fill:{page}}}",
        f".host rect{{fill:{box};stroke:{edge}}}",
        f".life{{stroke:{life}}}",
        f".sub,.n,.t,.d,.s{{fill:{muted}}}",
        f".label,.s{{stroke:{page}}}",
        f".m:hover .hit{{fill:{hover}}}",
    ]
    named = {f"o-{name}": pair for name, pair in _OUTCOMES.items()}
    named |= {f"l{i}": pair for i, pair in enumerate(LEG_COLORS)}
    for name, pair in named.items():
        color = pair[dark]
        rules.append(f".{name} .w{{stroke:{color}}}")
        rules.append(f".{name} .h,.{name} .label,.dot.{name},tspan.{name}{{fill:{color}}}")
    rules.append(f".m .label.o-failure{{fill:{_OUTCOMES['failure'][dark]}}}")
    return "".join(_scoped(rule) for rule in rules)


def _scoped(rule: str) -> str:
    selectors, brace, body = rule.partition("{")
    return ",".join(f"svg.hepcat {s}" for s in selectors.split(",")) + brace + body


_SHAPES: Final = (
    f"text{{font:13px {_SANS}}}",
    ".call{font-weight:600}",
    ".sub{font-size:12px}",
    ".host rect{stroke-width:1}",
    ".host text{font-weight:600;text-anchor:middle}",
    ".life{stroke-width:1.5}",
    f".t{{font:12px {_MONO}}}",
    f".d{{font:10.5px {_MONO};opacity:.85}}",
    f".n{{font:10.5px {_MONO};text-anchor:end;opacity:.7}}",
    ".label{font-weight:500;paint-order:stroke;stroke-width:4px;stroke-linejoin:round}",
    ".s{font-size:11px;paint-order:stroke;stroke-width:3px;stroke-linejoin:round}",
    ".w{stroke-width:1.7;fill:none}",
    ".re .w{stroke-dasharray:6 4}",
    ".hit{fill:transparent}",
    ".m:hover .w{stroke-width:2.6}",
    ".faint .w,.faint .h,.faint .label{opacity:.5}",
)

#: The whole style sheet. It holds no character that XML would want escaped.
STYLE: Final = (
    "".join(map(_scoped, _SHAPES)) + _colors(0) + "@media (prefers-color-scheme:dark){" + _colors(1) + "}"
)
