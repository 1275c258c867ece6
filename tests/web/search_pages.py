"""The search page in a browser: made-up lakes, and what its tests look at."""

from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.support import hepcat
from tests.web.support import Site, import_lake, open_page

#: A row that is drawn.
ROW = ".grid .line:not([hidden])"


def made_lake(folder: Path, packets: int, calls: int) -> Path:
    """Make a lake of made-up dialogs, the same each time, in June 2025."""
    capture = folder / "made.pcap"
    done = hepcat(
        "bench", "pcap", "--seed=1", "--out", str(capture), f"--packets={packets}", f"--calls={calls}"
    )
    assert done.returncode == 0, done.stderr
    import_lake(folder / "data", [capture])
    capture.unlink()
    return folder / "data"


def search_page(browser: Any, site: Site, query: str = "since=", **options: Any) -> Any:
    """Open the page, wait for rows and for the histogram."""
    page = open_page(browser, f"{site.url}/?{query}", **options)
    settled(page)
    return page


def settled(page: Any) -> None:
    page.wait_for_selector(".histogram .picture")  # the page is built, and has asked
    page.wait_for_selector(".grid:not([aria-busy=true])")
    page.wait_for_selector(".histogram:not(.waiting)")
    page.wait_for_function(
        "document.querySelector('.summary').textContent || !document.querySelector('.instead').hidden"
    )


def asked(page: Any) -> dict[str, str]:
    """Return the parameters of the page's URL."""
    return {
        name: values[0] for name, values in parse_qs(urlsplit(page.url).query, keep_blank_values=True).items()
    }


def column(page: Any, name: str) -> list[str]:
    """Return a column's texts of the rows that are drawn, from the top."""
    cells: list[str] = page.evaluate(
        """(name) => [...document.querySelectorAll('.grid .line:not([hidden])')]
            .sort((a, b) => a.ariaRowIndex - b.ariaRowIndex)
            .map((line) => line.querySelector('.c-' + name).textContent)""",
        name,
    )
    return cells


def module(page: Any, name: str, expression: str) -> Any:
    """Evaluate an expression of `m`, one of the page's modules."""
    return page.evaluate(
        f"async () => {{ const m = await import('/static/js/{name}.js'); return {expression}; }}"
    )


def done(page: Any) -> None:
    """No error reached the console; leave."""
    assert page.faults == [], page.faults
    page.context.close()
