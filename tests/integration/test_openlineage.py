"""The events of a lineage: built by OpenLineage's own classes, and taken by a server or a file."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from openlineage.client.event_v2 import Job, Run, RunEvent, RunState

from mlops_glue.adapters import openlineage as to
from mlops_glue.delivery import openlineage
from mlops_glue.delivery.lineage import Lineage
from mlops_glue.errors import ToolError

MADE = {
    "time": "2026-11-30T06:43:34+00:00",
    "code": {"commit": "1f83557"},
    "environment": {"glue": "0.1.0"},
    "data": [{"path": "data/raw/t.csv", "columns": {"x": "double", "y": "string"}}],
}
STAGES = {
    "ingest": {"deps": {"data/raw/t.csv": "aa"}, "params": {}, "outs": {"artifacts/ingest/table.parquet": "bb"}},
    "package": {"deps": {"artifacts/ingest/table.parquet": "bb"}, "params": {}, "outs": {"artifacts/bundle": "cc.dir"}},
}


def lineage(provenance: Any = MADE) -> Lineage:
    return Lineage(
        model="m",
        version=3,
        created="2026-11-30T06:43:38+00:00",
        run="r",
        fingerprint="f",
        aliases=[],
        provenance=provenance,
        committed=None,
        stages=STAGES,
        features=[],
        bundle={},
        metrics={},
        decisions=[],
        conditions=[],
        moves=[],
    )


EVENTS = openlineage.events(lineage(), "p", "https://example.org/r.git")


def test_each_stage_and_the_registration_start_and_complete() -> None:
    assert [(event["job"]["name"], event["eventType"]) for event in EVENTS] == [
        (f"m.{name}", kind) for name in ("ingest", "package", "register") for kind in ("START", "COMPLETE")
    ]
    for event in EVENTS:  # these classes check ids, times and URIs
        RunEvent(
            eventType=RunState[event["eventType"]],
            eventTime=event["eventTime"],
            run=Run(event["run"]["runId"]),
            job=Job(event["job"]["namespace"], event["job"]["name"]),
            producer=event["producer"],
        )
    ingest = EVENTS[1]
    (source,) = ingest["inputs"]
    assert source["facets"]["version"]["datasetVersion"] == "md5:aa"
    assert source["facets"]["schema"]["fields"] == [{"name": "x", "type": "double"}, {"name": "y", "type": "string"}]
    assert ingest["outputs"][0]["name"] == EVENTS[3]["inputs"][0]["name"]
    assert EVENTS[5]["outputs"][0]["name"] == "models/m"


def test_sent_again_they_are_the_same() -> None:
    assert openlineage.events(lineage(), "p", "https://example.org/r.git") == EVENTS
    assert openlineage.events(lineage(None), "p", None) == []


def test_a_file_gets_a_line_each(tmp_path: Path) -> None:
    to.emit(EVENTS, str(tmp_path / "e.jsonl"))
    assert [json.loads(line) for line in (tmp_path / "e.jsonl").read_text().splitlines()] == EVENTS


@pytest.mark.parametrize("status", [201, 500])
def test_a_server_gets_each(status: int) -> None:
    taken: list[tuple[str, str | None, Any]] = []

    class Server(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            taken.append((self.path, self.headers["Authorization"], json.loads(body)))
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_: Any) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Server)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    url = f"http://127.0.0.1:{server.server_port}"
    try:
        if status == 201:
            to.emit(EVENTS, url, "key")
            assert taken == [("/api/v1/lineage", "Bearer key", event) for event in EVENTS]
        else:
            with pytest.raises(ToolError, match="answered 500"):
                to.emit(EVENTS, url)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    with pytest.raises(ToolError, match="did not answer"):
        to.emit(EVENTS, url)
