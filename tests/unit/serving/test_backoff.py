"""The pause before the next attempt doubles with each failure, up to a limit, and begins anew after a success."""

from __future__ import annotations

import time

import pytest

from mlops_glue.serving.backoff import Backoff


def test_the_pause_doubles_up_to_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    backoff = Backoff(1.0, 5.0)
    assert backoff.is_due and not backoff.failed
    pauses = []
    for _ in range(5):
        backoff.fail()
        pauses.append(backoff.pause_s)
    assert pauses == [1.0, 2.0, 4.0, 5.0, 5.0] and backoff.failed and not backoff.is_due
    now[0] += 4.9
    assert not backoff.is_due
    now[0] += 0.1
    assert backoff.is_due
    backoff.succeed()
    assert backoff.is_due and not backoff.failed
    backoff.fail()
    assert backoff.pause_s == 1.0
