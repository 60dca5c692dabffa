"""`glue adopt --tracking` and `glue track`: a repository's own command as an MLflow run, and nothing else."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.conftest import Glue
from tests.functional.test_adopt import contents

SCRIPT = """\
import json, os, sys
json.dump({"auc": 0.9, "f1": {"macro": 0.7}, "name": "x"}, open("metrics.json", "w"))
json.dump({"rmse": 2}, open("scores.json", "w"))
open("run.txt", "w").write(os.environ["MLFLOW_RUN_ID"])
sys.exit(int(sys.argv[1]))
"""


def test_a_command_is_tracked(tmp_path: Path, glue: Glue, empty_store: Path) -> None:
    from mlflow import MlflowClient

    (tmp_path / "train.py").write_text(SCRIPT)
    (tmp_path / "params.yaml").write_text("train:\n  depth: 3\n")
    (tmp_path / "dvc.yaml").write_text("stages:\n  t:\n    cmd: x\n    metrics: [scores.json: {cache: false}]\n")
    before = contents(tmp_path)
    glue("adopt", "--tracking", "--yes", cwd=tmp_path)
    assert {path: text for path, text in contents(tmp_path).items() if not path.startswith("glue/")} == before
    shutil.copy(empty_store, tmp_path / "glue")
    client = MlflowClient(f"sqlite:///{tmp_path}/glue/mlflow.db")
    for code, status in ((0, "FINISHED"), (3, "FAILED")):
        glue("track", "--", "python", "train.py", str(code), cwd=tmp_path, code=code)
        run = client.get_run((tmp_path / "run.txt").read_text())
        assert run.info.status == status
        assert run.data.params == {"train.depth": "3"}
        assert run.data.metrics == {"auc": 0.9, "f1.macro": 0.7, "rmse": 2.0}
        assert run.data.tags["glue.command"] == f"python train.py {code}"
    assert "hint: glue adopt --tracking" in glue("track", "--", "true", cwd=tmp_path.parent, code=2).stderr
    (tmp_path / "train.py").write_text("")
    done = glue("track", "--metrics", "scores.json", "--", "python", "train.py", cwd=tmp_path)
    assert "--metrics scores.json: the command did not write it" in done.stderr
    assert "no such command" in glue("track", "--", "pyhton", "train.py", cwd=tmp_path, code=2).stderr
    assert "train.py: cannot be run" in glue("track", "--", "./train.py", cwd=tmp_path, code=2).stderr
    assert "data: is required" in glue("run", cwd=tmp_path / "glue", code=2).stderr
    runs = client.search_runs([run.info.experiment_id])
    assert [len(one.data.metrics) for one in runs] == [0, 3, 3]  # what an earlier run measured is not of the last
    for lost in (
        "rm",
        "echo no database >",
    ):  # the store fails while the command runs: its exit code is the one to tell
        kept = (tmp_path / "glue/mlflow.db").read_bytes()
        done = glue("track", "--", "sh", "-c", f"{lost} glue/mlflow.db; exit 7", cwd=tmp_path, code=7)
        assert "is not logged in full: " in done.stderr and "a bug in glue" not in done.stderr
        (tmp_path / "glue/mlflow.db").write_bytes(kept)
