"""The access log: JSON for programs, lines for people on a terminal, and nothing in them that a terminal obeys."""

from __future__ import annotations

import json
import re
import time
from typing import Any

import pytest

from mlops_glue.serving.access_log import note_line, request_line

AT = time.mktime((2026, 11, 29, 18, 4, 11, 0, 0, -1))


@pytest.mark.parametrize(
    ("path", "status", "took", "rows", "wanted"),
    [
        ("/predict", 200, 0.003, 12, "POST /predict  200  3.0 ms  12 rows"),
        ("/predict", 200, 0.0123, 1, "POST /predict  200  12 ms  1 row"),
        ("/predict", 422, 1.2, 0, "POST /predict  422  1200 ms"),
        ("/predict", 200, 0.00004, 1000, "POST /predict  200  0.0 ms  1,000 rows"),
        ("/wärme", 404, 0.01, 0, "POST /wärme  404  10 ms"),
        ("/\x1b[2J\r\n\u202e\x9b", 404, 0.01, 0, "POST /�[2J����  404  10 ms"),
    ],
)
def test_a_request(path: str, status: int, took: float, rows: int, wanted: str) -> None:
    answered = (AT, "id1", "POST", json.dumps(path), status, took, rows)
    assert request_line(answered, for_people=True) == f"18:04:11  {wanted}\n"
    read = json.loads(request_line(answered, for_people=False))
    assert read == {
        "time": AT,
        "request_id": "id1",
        "method": "POST",
        "path": path,
        "status": status,
        "ms": pytest.approx(1000 * took, abs=0.001),
        "rows": rows,
    }


@pytest.mark.parametrize(
    ("about", "wanted"),
    [
        ({"taken_over": "champion", "version": 3}, "taken over: champion  version: 3"),
        ({"bug": "KeyError", "at": ["a.py:1 f", "b.py:2 g"]}, "bug: KeyError  at: a.py:1 f; b.py:2 g"),
        ({"not_taken_over": "a\x1b[0m\nb"}, "not taken over: a�[0m�b"),
    ],
)
def test_a_note(about: dict[str, Any], wanted: str) -> None:
    assert note_line(AT, about, for_people=True) == f"18:04:11  {wanted}\n"
    assert json.loads(note_line(AT, about, for_people=False)) == {"time": AT, **about}
    assert re.fullmatch(r"[^\n]*\n", note_line(AT, about, for_people=True))


@pytest.mark.parametrize(("status", "colour"), [(200, "32"), (307, "32"), (404, "33"), (503, "31;1")])
def test_a_status_has_a_colour_where_colour_is_wanted(
    status: int, colour: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.delenv("NO_COLOR", raising=False)
    answered = (AT, "id1", "GET", '"/"', status, 0.01, 0)
    assert f"  \033[{colour}m{status}\033[0m  " in request_line(answered, for_people=True)
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\033" not in request_line(answered, for_people=True)
