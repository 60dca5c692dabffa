"""Whatever goes wrong, each request that waits to be scored is answered."""

from __future__ import annotations

import asyncio
from unittest.mock import Mock

import numpy as np
import pytest

from mlops_glue.serving.batch import Batch, Request
from mlops_glue.serving.contract import Rows
from mlops_glue.serving.metrics import Counters


def test_what_the_log_cannot_take_leaves_nobody_waiting() -> None:
    served, log = Mock(), Mock()
    served.model.scored = lambda inputs: ([1.0] * len(inputs["number"]), None)
    log.write.side_effect = OverflowError("can't serialize")

    async def ask(rows: int) -> None:
        request = Request(Rows([(1.0,)] * rows, bare=False), {"number": np.ones((rows, 1))}, "id", None)
        with pytest.raises(OverflowError):
            await asyncio.wait_for(Batch(log, Counters(None)).score(served, request), 5)

    asyncio.run(ask(1))
    asyncio.run(ask(100))
