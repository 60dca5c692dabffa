"""The window of the monitor, as it is asked for."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from mlops_glue.errors import UsageError
from mlops_glue.monitoring.window import moment


def test_a_time_is_in_utc_or_refused() -> None:
    wanted = datetime(2026, 11, 25, 10, tzinfo=UTC)
    for text in ("2026-11-25T10:00", "2026-11-25T10:00:00Z", "2026-11-25T12:00+02:00"):
        assert moment(text) == wanted
    for text in ("yesterday", "", "0001-01-01T00:00+14:00"):
        with pytest.raises(UsageError, match="is no time"):
            moment(text)
