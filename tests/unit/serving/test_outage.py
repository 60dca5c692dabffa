"""An outage in the server's log: no bug, no traceback, and no line for each request."""

from __future__ import annotations

from typing import Any

import pytest

from mlops_glue.errors import ToolError
from mlops_glue.serving import outage
from mlops_glue.serving.outage import EVERY_S, Outage


class Log:
    def __init__(self) -> None:
        self.lines: list[dict[str, Any]] = []

    def note(self, **about: Any) -> None:
        self.lines.append(about)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1000.0]
    monkeypatch.setattr(outage.time, "monotonic", lambda: now[0])
    return now


def test_thousands_of_requests_make_a_few_lines_that_count_them(clock: list[float]) -> None:
    log = Log()
    made = Outage(log)  # type: ignore[arg-type]
    cause = ToolError("Redis cannot be reached: ConnectionRefusedError")
    for number in range(1000):
        made.failed(f"r{number}", "the online store cannot be reached", cause)
    first = {"unavailable": "the online store cannot be reached", "because": cause.message}
    assert log.lines == [{"request_id": "r0", **first, "requests": 1}]
    clock[0] += EVERY_S / 2
    made.report()
    assert len(log.lines) == 1
    clock[0] += EVERY_S
    made.report()
    assert log.lines[1:] == [{"request_id": "r999", **first, "requests": 999}]
    clock[0] += 10 * EVERY_S
    made.report()
    assert len(log.lines) == 2  # it is over
    made.failed("a", "x", None)
    made.failed("b", "x", None)
    made.close()
    made.close()
    assert log.lines[2:] == [
        {"request_id": "a", "unavailable": "x", "requests": 1},
        {"request_id": "b", "unavailable": "x", "requests": 1},
    ]


@pytest.mark.parametrize(
    ("cause", "said", "has_place"),
    [
        (ConnectionRefusedError("a value"), "ConnectionRefusedError", False),
        (type("ConnectionError", (Exception,), {})("a value"), "ConnectionError", False),  # as Redis's own
        (type("PoolTimeout", (Exception,), {})("a value"), "PoolTimeout", False),
        (KeyError("a value"), "KeyError", True),  # through Feast it may be a fault of the program
    ],
)
def test_what_may_be_a_fault_of_the_program_has_its_place(cause: Exception, said: str, has_place: bool) -> None:
    log = Log()
    try:
        raise cause
    except Exception as error:
        Outage(log).failed("r", "x", error)  # type: ignore[arg-type]
    (line,) = log.lines
    assert line["because"] == said and ("at" in line) == has_place and "a value" not in str(line)
