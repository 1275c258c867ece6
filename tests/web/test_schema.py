"""The OpenAPI document: complete, true, and nothing that it describes can be brought to fail."""

import json
import re
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hepcat.batch.schema import SIP_COLUMNS
from hepcat.search.calls import CALL_COLUMNS
from hepcat.web import models
from hepcat.web.openapi import KINDS
from hepcat.web.problems import KIND_OF
from tests.support import ROOT, Server, hepcat_here
from tests.web.support import Site, import_lake

#: What the driver of the document sends in 20 seconds, about.
EXAMPLES = 5
SQL = (
    "'; DROP TABLE sip; --",
    '" UNION SELECT 1,2,3 --',
    "1); COPY sip TO '{folder}/stolen.csv'; --",
    "x' OR '1'='1",
    "call_id) FROM sip; ATTACH '{folder}/made.db'; --",
    "start; SELECT read_text('/etc/passwd')",
    "header.\"x' || (SELECT 1) || '\"",
    "$$; INSTALL httpfs; $$",
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Return a server with its page, on a lake with calls: nothing is away, so a 5xx is a fault."""
    folder = tmp_path_factory.mktemp("schema")
    hepcat_here("bench", "pcap", "--out", str(folder / "made.pcap"), "--packets=2000", "--calls=100")
    import_lake(folder / "data", [folder / "made.pcap"])
    # Live results end by themselves, so that they can be asked for as all else.
    with Server(folder, page=True, environment={"HEPCAT_WEB_LIVE_SECONDS": "0.05"}) as started:
        yield started


@pytest.fixture(scope="module")
def site(server: Server) -> Site:
    asking = Site.__new__(Site)
    asking.url = f"http://127.0.0.1:{server.http}"
    return asking


@pytest.fixture(scope="module")
def document(site: Site) -> dict[str, Any]:
    found: dict[str, Any] = site.get("/api/openapi.json")
    return found


def operations(document: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    return [
        (path, method, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]


def test_everything_is_described(document: dict[str, Any]) -> None:
    known = {tag["name"] for tag in document["tags"]}
    for path, method, operation in operations(document):
        name = f"{method} {path}"
        assert operation["summary"], name
        assert operation["description"], name
        assert set(operation["tags"]) <= known, name
        problem = operation["responses"]["400"]["content"]["application/problem+json"]["schema"]
        assert problem == {"$ref": "#/components/schemas/ProblemModel"}, name
        assert "HTTPValidationError" not in json.dumps(operation), name
        for parameter in operation.get("parameters", []):
            assert parameter.get("description"), f"{name} {parameter['name']}"


def test_every_text_and_number_has_a_bound(document: dict[str, Any]) -> None:
    for path, method, operation in operations(document):
        for parameter in operation.get("parameters", []):
            for kind in _kinds(document, parameter["schema"]):
                if kind.get("type") == "string" and "enum" not in kind and "const" not in kind:
                    assert "maxLength" in kind, (method, path, parameter)
                if kind.get("type") in ("integer", "number"):
                    assert {"minimum", "exclusiveMinimum"} & set(kind), (method, path, parameter)
                    assert {"maximum", "exclusiveMaximum"} & set(kind), (method, path, parameter)
                if kind.get("type") == "array":
                    assert "maxItems" in kind, (method, path, parameter)


def _kinds(document: dict[str, Any], schema: dict[str, Any]) -> list[dict[str, Any]]:
    """Return a schema and those within it."""
    if "$ref" in schema:
        return _kinds(document, document["components"]["schemas"][schema["$ref"].rpartition("/")[2]])
    inner = [*schema.get("anyOf", []), *([schema["items"]] if "items" in schema else [])]
    return [schema, *(kind for one in inner for kind in _kinds(document, one))]


def test_rows_have_the_columns_that_there_are(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    assert list(schemas["CallRow"]["properties"]) == [column.name for column in CALL_COLUMNS]
    assert list(schemas["MessageRow"]["properties"]) == [column.name for column in SIP_COLUMNS]


@pytest.mark.parametrize(
    ("path", "parameters", "model"),
    [
        ("/api/calls", {"fields": ",".join(c.name for c in CALL_COLUMNS), "limit": 50}, models.CallRows),
        ("/api/messages", {"fields": ",".join(c.name for c in SIP_COLUMNS), "limit": 50}, models.MessageRows),
        ("/api/messages", {"fields": "header.Via,extra.X", "limit": 5}, models.MessageRows),
        ("/api/histogram", {}, models.Counts),
        ("/api/top", {"by": "status"}, models.Top),
        ("/api/values", {"field": "from"}, models.Values),
        ("/api/parse", {"q": "from:x"}, models.Parsed),
    ],
)
def test_answers_are_as_described(site: Site, path: str, parameters: dict[str, Any], model: Any) -> None:
    answer = site.get(path, **parameters)
    model.model_validate(answer, strict=True)
    assert any(answer.values())


def test_every_kind_of_problem_is_described(document: dict[str, Any]) -> None:
    used: set[str] = set()
    for file in (ROOT / "src" / "hepcat" / "web").rglob("*.py"):
        used |= set(re.findall(r'\bkind="([a-z-]+)"', file.read_text()))
    assert used | set(KIND_OF.values()) == set(KINDS)
    assert [one["kind"] for one in document["x-problem-kinds"]] == list(KINDS)


def test_the_ways_to_be_known(document: dict[str, Any]) -> None:
    schemes = document["components"]["securitySchemes"]
    assert schemes["session"] == {"type": "apiKey", "in": "cookie", "name": "hepcat"}
    assert schemes["token"]["scheme"] == "bearer"


def test_a_wrong_method_is_told_all_right_ones(site: Site) -> None:
    request = urllib.request.Request(f"{site.url}/api/capture", method="PUT")
    with pytest.raises(urllib.error.HTTPError) as raised:
        urllib.request.urlopen(request, timeout=60)
    assert (raised.value.code, raised.value.headers["Allow"]) == (405, "GET, POST")
    assert json.load(raised.value)["detail"] == "PUT is not a method of /api/capture"


def test_no_parameter_takes_sql(site: Site, server: Server, document: dict[str, Any], tmp_path: Path) -> None:
    """SQL in every text of every route changes nothing, and is nowhere a fault."""
    before = site.get("/api/top", by="method")["rows"]
    tried = 0
    for path, method, operation in operations(document):
        if method != "get":
            continue
        texts = [p for p in operation.get("parameters", []) if p["in"] in ("query", "path")]
        needed = {p["name"]: "1" for p in texts if p["required"]}
        for parameter in texts:
            for statement in SQL:
                value = statement.replace("{folder}", str(tmp_path))
                given = {**needed, parameter["name"]: value}
                asked = path.replace(f"{{{parameter['name']}}}", urllib.parse.quote(value, safe=""))
                status = _status(f"{site.url}{asked}?{urllib.parse.urlencode(given)}")
                assert status < 500, (path, parameter["name"], statement, status)
                tried += 1
    assert tried > 300
    assert site.get("/api/top", by="method")["rows"] == before
    assert list(tmp_path.iterdir()) == []
    assert "Traceback" not in server.log.read_text()


def _status(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=60) as answer:
            answer.read()
            return int(answer.status)
    except urllib.error.HTTPError as error:
        is_problem = error.headers["Content-Type"] == "application/problem+json"
        return error.code if is_problem else 599


def test_the_document_holds_against_made_up_requests(site: Site, server: Server, tmp_path: Path) -> None:
    """Schemathesis: examples, borders and random requests of every route; all of its checks."""
    pytest.importorskip("schemathesis")
    config = tmp_path / "schemathesis.toml"
    # What a schema cannot say (a query's language, a time, a cursor) may be refused with 400; too much
    # with 413, a store that cannot with 501.
    config.write_text(
        "[checks.positive_data_acceptance]\n"
        'expected-statuses = ["2xx", "3xx", 400, 401, 403, 404, 409, 413, 421, 429, 501]\n'
    )
    done = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli", f"--config-file={config}", "run"),
            f"{site.url}/api/openapi.json",
            *("--phases=examples,coverage,fuzzing", "--no-color"),
            *(f"--max-examples={EXAMPLES}", "--seed=1", "--checks=all", "--request-timeout=30"),
        ],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=300,
    )
    assert done.returncode == 0, f"{done.stdout[-12_000:]}\n{server.log.read_text()[-3000:]}"
    assert "Traceback" not in server.log.read_text()
