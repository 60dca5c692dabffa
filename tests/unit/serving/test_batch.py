"""Whatever goes wrong, each request that waits to be scored is answered."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest

from mlops_glue.serving.batch import Batch, Request
from mlops_glue.serving.fields import Invalid, Rows, problem
from mlops_glue.serving.worker import Worker


def test_what_the_log_cannot_take_leaves_nobody_waiting() -> None:
    served, log = Mock(), Mock()
    served.model.contract.matrices = lambda rows: {"number": np.array(rows.values)}
    served.model.score = lambda inputs: ([1.0] * len(inputs["number"]), None)
    log.write.side_effect = OverflowError("can't serialize")

    async def ask(rows: int) -> None:
        request = Request(Rows([(1.0,)] * rows, bare=False), "id", None)
        with pytest.raises(OverflowError):
            await asyncio.wait_for(Batch(log, Mock()).score(served, request), 5)

    asyncio.run(ask(1))
    asyncio.run(ask(100))


def test_a_request_that_cannot_be_scored_spoils_no_other() -> None:
    """They are scored together: values that the model refuses are told to whom they are of, by that request's rows."""
    served = Mock()

    def matrices(rows: Rows) -> dict[str, Any]:
        if bad := [at for at, (value,) in enumerate(rows.values) if value > 1e300]:
            raise Invalid([problem(bad[0], "x", "is huge")])
        return {"number": np.array(rows.values)}

    served.model.contract.matrices = matrices
    served.model.score = lambda inputs: (inputs["number"][:, 0].tolist(), None)
    batch = Batch(None, Mock())

    async def ask() -> list[Any]:
        requests = [Request(Rows([(1.0,), (value,)], bare=False), "id", None) for value in (2.0, 1e301, 3.0)]
        return await asyncio.gather(*(batch.score(served, one) for one in requests), return_exceptions=True)

    first, refused, last = asyncio.run(ask())
    assert (first, last) == (([1.0, 2.0], None), ([1.0, 3.0], None)) and refused.problems[0]["row"] == 1
    seen = [call.args[0]["number"].tolist() for call in served.unseen.see.call_args_list]
    assert seen == [[[1.0], [2.0]], [[1.0], [3.0]]]


def test_what_a_shadow_sees_is_not_kept() -> None:
    served = Mock()
    served.model.score = lambda inputs: ([1.0], None)

    async def ask(answered: bool) -> Any:
        request = Request(Rows([(1.0,)], bare=True), "id", None, answered)
        return await Batch(None, Mock()).score(served, request)

    assert asyncio.run(ask(False)) == ([1.0], None) and not served.unseen.see.called
    assert asyncio.run(ask(True)) == ([1.0], None) and served.unseen.see.called


def test_what_is_degraded_tells_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`/ready` asks for no key; what another library says may hold a URL."""
    monkeypatch.setenv("STORE_PASSWORD", "S3CRET-of-the-store")
    url = "postgresql://glue:S3CRET@db/x?password=S3CRET"
    (tmp_path / "registry.problem").write_text(f"the registry could not be asked: {url}")
    worker = Mock(settings=Mock(state=tmp_path))
    worker.predictor.store_problem = f"{url} does not answer"
    worker.slots.problems = {"champion": f"{url}: refused"}
    worker.slots.champion.not_found.problems.return_value = []
    worker.batch.problem = url
    told = Worker.degraded(worker)
    assert len(told) == 4 and not any("S3CRET" in one for one in told)
