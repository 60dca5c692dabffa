"""MLflow's experiments and runs."""

from __future__ import annotations

import contextlib
import getpass
import json
import re
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_glue import layout, processes
from mlops_glue.adapters.mlflow.connection import Connection
from mlops_glue.adapters.mlflow.database import PLACE_TAG
from mlops_glue.errors import ToolError
from mlops_glue.records import UsedTable
from mlops_glue.secrets import SECRET, redacted

if TYPE_CHECKING:
    from mlflow.entities import DatasetInput, RunData

MAX_METRICS = 500  # per run; MLflow accepts 1,000 in one call
MAX_PARAMS = 100  # MLflow's limit for one call
MAX_NAME, MAX_VALUE, MAX_SCHEMA = 250, 6000, 65535  # characters that MLflow accepts
NOTE = "mlflow.note.content"  # tag of a run: its description in MLflow's UI
TRACKED_BY = "glue.tracked_by"  # tag of a run that a program started under `glue track`: the run of that command
TREE = "glue.tree_of"  # tag of runs that belong together: the subject they were logged for
PROCESS = "glue.process"  # tag of a run: the process that will end it
KINDS = {  # MLflow's type name by the prefix of Arrow's type name
    **dict.fromkeys(("int", "uint"), "long"),
    **dict.fromkeys(("float", "double", "halffloat", "decimal"), "double"),
    **dict.fromkeys(("timestamp", "date"), "datetime"),
    "bool": "boolean",
}


@dataclass(frozen=True)
class Logged:
    """The parameters, metrics and tags of a run."""

    params: dict[str, Any]
    metrics: dict[str, float]
    tags: dict[str, str]


@dataclass(frozen=True)
class RunContent:
    """The content of a training run."""

    params: dict[str, Any]
    metrics: dict[str, float]
    tags: dict[str, str]
    tables: list[UsedTable]
    artifacts: dict[str, list[Path]]  # files and folders to copy, by folder of the run's artifacts
    took_s: float  # how long the training took


class Runs(Connection):
    """The runs of one tracking server or database."""

    def start_run(self, experiment: str, tags: dict[str, str]) -> tuple[str, dict[str, str]]:
        """Start a run for another program; return its id and the environment variables for MLflow in that program.

        MLFLOW_RUN_ID is not among them: it would make `set_experiment` and a second logging process fail.
        """
        run = self._create_run(experiment, tags["mlflow.source.name"][:MAX_NAME], tags)
        where = {"MLFLOW_TRACKING_URI": self.uri, "MLFLOW_REGISTRY_URI": self.uri}
        context = json.dumps({TRACKED_BY: run})  # tags of every run that the program starts
        return run, {**where, "MLFLOW_EXPERIMENT_NAME": experiment, "MLFLOW_RUN_CONTEXT": context}

    def end_run(
        self, run: str, status: str, params: dict[str, str], metrics: dict[str, float], artifacts: list[Path]
    ) -> None:
        """Log to a run of `start_run`, and end it.

        If the program logged exactly one run itself, that run's parameters and metrics override those given here.
        """
        own = self._adopt_children(run, status)
        self._log_params(run, _clean(params) | own.params)
        self._log_metrics(run, metrics | own.metrics)
        for file in artifacts:
            self.client.log_artifact(run, str(file))
        self.client.set_terminated(run, status)

    def _adopt_children(self, run: str, status: str) -> RunData:
        """Make the program's runs children of this run; if only one of them has no parent, return its data."""
        from mlflow.entities import RunData

        experiments = [experiment.experiment_id for experiment in self.client.search_experiments()]
        made = self.client.search_runs(experiments, f"tags.`{TRACKED_BY}` = '{run}'")
        top = [child for child in made if "mlflow.parentRunId" not in child.data.tags]
        for child in top:
            self.client.set_tag(child.info.run_id, "mlflow.parentRunId", run)
        for child in made if status != "FINISHED" else ():  # their process no longer exists
            if child.info.status == "RUNNING":
                self.client.set_terminated(child.info.run_id, status)
        return top[0].data if len(top) == 1 else RunData()

    def log_tree(self, experiment: str, name: str, of: str, top: Logged, below: Mapping[str, Logged]) -> str:
        """Log a run with named child runs, and return its id.

        If a tree was logged for the same subject `of` before, add only the missing child runs and the new metrics.
        """
        where = self._experiment(experiment)
        found = self.client.search_runs([where], f"tags.`{TREE}` = '{of}'")
        run = next((r.info.run_id for r in found if "mlflow.parentRunId" not in r.data.tags), None)
        if run is None:
            run = self._create_run(experiment, name, {TREE: of, "mlflow.source.name": "glue"})
        for key, value in top.tags.items():
            self.client.set_tag(run, key, value)
        there = {r.info.run_name for r in found}
        for child, logged in below.items():
            if child in there:
                continue
            own = {TREE: of, "mlflow.parentRunId": run, **logged.tags}
            self._log_and_end(self._create_run(experiment, child, own), logged)
        self._log_and_end(run, top)
        return str(run)

    def logged(self, run: str) -> Logged | None:
        """Return the parameters, metrics and tags of a run; None if there is no such run."""
        try:
            data = self.client.get_run(run).data
        except ToolError as error:
            if getattr(error.__cause__, "error_code", None) == "RESOURCE_DOES_NOT_EXIST":
                return None
            raise
        return Logged(dict(data.params), dict(data.metrics), dict(data.tags))

    def run_ids(self, experiment: str) -> list[str]:
        """Return the ids of the latest thousand runs of an experiment, newest first."""
        found = self.client.get_experiment_by_name(experiment)
        return [run.info.run_id for run in self.client.search_runs([found.experiment_id])] if found else []

    def _log_and_end(self, run: str, logged: Logged) -> None:
        self._log_params(run, _clean(logged.params))
        self._log_metrics(run, logged.metrics)
        self.client.set_terminated(run)

    def dead_runs(self, experiment: str) -> list[str]:
        """Return the ids of runs that are RUNNING although their process on this machine has ended.

        Runs that glue did not start are left out. So are runs of another machine, another container or an earlier boot,
        because it cannot be known here whether their process is alive.
        """
        found = self.client.get_experiment_by_name(experiment)
        if found is None:
            return []
        running = self.client.search_runs([found.experiment_id], "attributes.status = 'RUNNING'")
        return [run.info.run_id for run in running if processes.has_ended(run.data.tags.get(PROCESS, ""))]

    def end_dead_runs(self, experiment: str) -> None:
        """Mark dead runs as KILLED: otherwise the run of a killed process would stay RUNNING forever."""
        for run in self.dead_runs(experiment):
            self.client.set_terminated(run, "KILLED")

    @contextlib.contextmanager
    def running(self, experiment: str, name: str, tags: dict[str, str], took_s: float = 0.0) -> Iterator[str]:
        """Start a run and yield its id; it is marked FAILED if the block raises. Its start is `took_s` in the past."""
        ended = int(time.time() * 1000)
        run = self._create_run(experiment, name, tags, ended - int(took_s * 1000))
        try:
            yield run
        except BaseException:
            with contextlib.suppress(Exception):  # report the first error
                self.client.set_terminated(run, "FAILED")
            raise
        self.client.set_terminated(run, "FINISHED", ended if took_s else None)

    def _create_run(self, experiment: str, name: str, tags: dict[str, str], start_ms: int | None = None) -> str:
        own = {"mlflow.user": _user(), "mlflow.source.type": "LOCAL", PROCESS: processes.identity()}
        run = self.client.create_run(self._experiment(experiment), start_ms, {**own, **tags}, name)
        return str(run.info.run_id)

    def _experiment(self, name: str) -> str:
        """Return the id of an experiment, create it if it is missing, and make it MLflow's current experiment."""
        import mlflow

        if self.client.get_experiment_by_name(name) is None:
            where = (self.root / layout.TRACKING_ARTIFACTS).as_uri() if self.is_local else None
            self.client.create_experiment(name, artifact_location=where, tags={PLACE_TAG: where} if where else None)
        return str(self.ask(lambda: mlflow.set_experiment(name)).experiment_id)

    def try_artifacts(self, experiment: str) -> str:
        """Write and remove a small file in an experiment's artifact location, and return that location.

        Raises:
            ToolError: the artifact store refuses the file.
        """
        from mlflow.artifacts import list_artifacts
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        known = self.client.get_experiment_by_name(experiment) or self.client.get_experiment("0")
        where = f"{known.artifact_location}/glue-doctor-{uuid.uuid4().hex}"
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "probe"
            file.write_bytes(b"glue doctor")

            def work() -> None:
                store = get_artifact_repository(where)
                store.log_artifact(str(file))
                list_artifacts(artifact_uri=where)
                store.delete_artifacts()

            self.ask(work)
        return str(known.artifact_location)

    def _log_content(self, run: str, content: RunContent) -> None:
        """Log everything except the metrics."""
        self._log_params(run, _clean(content.params))
        self.client.log_inputs(run, [_dataset_input(table) for table in content.tables])
        for folder, paths in content.artifacts.items():
            for path in paths:
                if path.is_dir():
                    self.client.log_artifacts(run, str(path), folder)
                elif path.is_file():
                    self.client.log_artifact(run, str(path), folder or None)

    def _log_params(self, run: str, params: Mapping[str, str]) -> None:
        from mlflow.entities import Param

        made = [Param(key, value) for key, value in params.items()]
        for start in range(0, len(made), MAX_PARAMS):
            self.client.log_batch(run, params=made[start : start + MAX_PARAMS])

    def _log_metrics(self, run: str, metrics: Mapping[str, float], model: str | None = None) -> None:
        """Log metrics to a run and, if its id is given, to a logged model."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        named = {_metric_name(key): value for key, value in metrics.items()}
        made = [Metric(key, value, now, 0, model) for key, value in named.items()]
        self.client.log_batch(run, metrics=made[:MAX_METRICS])


def _dataset_input(table: UsedTable) -> DatasetInput:
    """Describe a table for MLflow from its record, without reading the file."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    columns = [{"name": name, "type": _kind(kind), "required": True} for name, kind in table.columns.items()]
    schema = json.dumps({"mlflow_colspec": columns})
    dataset = Dataset(
        name=table.name,
        digest=table.md5[:36],
        source_type="local",
        source=json.dumps({"uri": table.path}),
        schema=schema if len(schema) <= MAX_SCHEMA else None,
        profile=json.dumps({"num_rows": table.rows, "num_elements": table.rows * len(columns)}),
    )
    return DatasetInput(dataset, [InputTag("mlflow.data.context", table.use)])


def _kind(arrow: str) -> str:
    """Return MLflow's name of an Arrow type."""
    return next((kind for start, kind in KINDS.items() if arrow.startswith(start)), "string")


def _clean(params: Mapping[str, Any]) -> dict[str, str]:
    return {_metric_name(name): param_value(name, value) for name, value in params.items()}


def param_value(name: str, value: Any) -> str:
    """Format a parameter for MLflow, without secrets."""
    is_secret = isinstance(value, str) and SECRET.search(name) is not None
    return "***" if is_secret else redacted(str(value))[:MAX_VALUE]


def _metric_name(name: str) -> str:
    """Replace the characters that MLflow does not allow in a name."""
    return re.sub(r"[^\w .:-]", "_", name)[:MAX_NAME]


def _user() -> str:
    with contextlib.suppress(KeyError, OSError):  # the system has no name for this user id
        return getpass.getuser()
    return "unknown"
