"""MLflow: runs, model versions, aliases. The store is made so that no crash and no second process breaks it."""

from __future__ import annotations

import contextlib
import getpass
import json
import logging
import os
import re
import shutil
import sqlite3
import time
import warnings
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from importlib import metadata
from io import StringIO
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from mlops_glue import files, layout, telemetry
from mlops_glue.errors import FULL, DataError, GlueError, MissingExtra, ToolError, causes
from mlops_glue.records import UsedTable
from mlops_glue.secrets import SECRET, redacted

FINGERPRINT = "glue.fingerprint"
MONITORED = "glue.monitored"  # tag of a version: the last run of the monitor
HISTORY = "glue.champions"  # tag of the registered model: a line for each champion
MOST_METRICS = 500  # of a run of the monitor; MLflow takes 1,000 at a time
RETRAINED = "glue.retraining"  # tag of the registered model: when a job asked for it last
ALERTED = "glue.alerts"  # tag of the registered model: which alerts are open
NOTE = "mlflow.note.content"  # tag of a run: its description on MLflow's page
MOST_PARAMS = 100  # MLflow takes as many at a time
MOST_NAME, MOST_VALUE, MOST_SCHEMA, MOST_DESCRIBED = 250, 6000, 65535, 5000  # characters that MLflow takes
KINDS = {  # MLflow's name of a type by the beginning of Arrow's
    **dict.fromkeys(("int", "uint"), "long"),
    **dict.fromkeys(("float", "double", "halffloat", "decimal"), "double"),
    **dict.fromkeys(("timestamp", "date"), "datetime"),
    "bool": "boolean",
}
PROVIDERS = ["CPUExecutionProvider"]
MOST_NOTED = 60  # lines; MLflow takes 5,000 characters
BUNDLE_DIGEST = "glue.bundle_sha256"
MADE_IN = "glue.tracked_by"  # tag of a run that a program made under `glue track`: the run of that command
PROCESS = "glue.process"  # tag of a run: the process that is to end it
OWN_PLACE = "glue.artifacts"  # tag of an experiment whose artifacts lie beside the project's own database: where
OF_RUN = "run_id in (select run_uuid from runs where experiment_id = ?)"
PLACES = (  # columns of MLflow's database that hold absolute places of files, and which rows are of an experiment
    ("runs", "artifact_uri", "experiment_id = ?"),
    ("logged_models", "artifact_location", "experiment_id = ?"),
    ("model_versions", "storage_location", OF_RUN),
    ("model_versions", "source", OF_RUN),
    ("experiments", "artifact_location", "experiment_id = ?"),
    ("experiment_tags", "value", f"key = '{OWN_PLACE}' and experiment_id = ?"),
)


def _quiet() -> None:
    telemetry.off()
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")  # before the second it waits for seconds
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.ERROR)


def scrub(text: str) -> str:
    """An error's first line without credentials in URLs; MLflow's own texts contain them."""
    line = (text.strip() or "unknown error").splitlines()[0]
    # requests quotes the URL, urllib3 the pool, and the reason comes last
    unheard = re.match(r"API request to (\w+://[^/\s]+)/.*Max retries exceeded with url.*?Caused by (.*)", line)
    if unheard is not None:
        server, cause = unheard.groups()
        reasons = re.findall(r"\[(?:Errno|SSL)[^\]]*\] ([^\"'(\[)]+)|([Rr]ead timed out|connect timeout)", cause)
        line = f"{server} does not answer: {''.join(reasons[-1]).strip() if reasons else cause.partition('(')[0]}"
    return redacted(line)[:300]


class Store:
    """One tracking server or database; `uri` None is the project's own `mlflow.db`."""

    def __init__(self, root: Path, uri: str | None, *, create: bool = True) -> None:
        _quiet()
        try:
            import mlflow
        except ImportError as error:
            raise MissingExtra("mlflow", "pipeline") from error
        self._root = root
        self._local = uri is None
        uri = uri or _uri_of(root / layout.TRACKING_DB)
        file = _file_of(uri)
        named = layout.TRACKING_DB if self._local else str(file)
        if file is not None and create:
            _create(file, root / layout.STATE / "mlflow.lock" if self._local else file.with_name(f".{file.name}.lock"))
        elif file is not None and not file.is_file():  # MLflow would make it, and its folder
            raise ToolError(f"{named} is not there")
        if self._local:
            _follow_move(root)
        self._uri = uri
        mlflow.set_tracking_uri(uri)
        mlflow.set_registry_uri(uri)
        _quiet()  # importing mlflow sets its own levels
        try:
            with _told():
                self._client = mlflow.MlflowClient(uri, uri)
        except ToolError as error:
            if file is None:
                raise
            raise ToolError(f"{named}: {error.message}", hint=error.hint or _remedy(file, named)) from error

    def published(self, model: str, fingerprint: str) -> int | None:
        """The version that this result was registered as, or None."""
        with _told():
            for version in self._client.search_model_versions(f"name = '{model}'"):
                if version.tags.get(FINGERPRINT) == fingerprint:
                    return int(version.version)
        return None

    def versions(self, model: str) -> list[int]:
        """The numbers of all versions, in order."""
        with _told():
            return sorted(int(v.version) for v in self._client.search_model_versions(f"name = '{model}'"))

    def champion(self, model: str) -> int | None:
        """The version under the alias `champion`, or None."""
        return self.under(model, "champion")

    def under(self, model: str, alias: str) -> int | None:
        """The version under an alias, or None."""
        from mlflow.exceptions import MlflowException

        with _told():
            try:
                return int(self._client.get_model_version_by_alias(model, alias).version)
            except MlflowException as error:
                if error.error_code in ("INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST"):
                    return None
                raise ToolError(f"MLflow: {scrub(str(error))}") from error

    def set_champion(self, model: str, version: int) -> None:
        """Move the alias."""
        self.set_alias(model, "champion", version)

    def set_alias(self, model: str, alias: str, version: int) -> None:
        """Put an alias on a version; another one loses it."""
        with _told():
            self._client.set_registered_model_alias(model, alias, str(version))

    def remove_alias(self, model: str, alias: str) -> None:
        """Take an alias from whatever version has it."""
        with _told():
            self._client.delete_registered_model_alias(model, alias)

    def tag(self, model: str, version: int, tags: dict[str, str]) -> None:
        """Set tags of a version."""
        with _told():
            for key, value in tags.items():
                self._client.set_model_version_tag(model, str(version), key, value)

    def untag(self, model: str, version: int, key: str) -> None:
        """Remove a tag of a version, where it has it."""
        if key in self.tags(model, version):
            with _told():
                self._client.delete_model_version_tag(model, str(version), key)

    def history(self, model: str) -> list[tuple[int, str, str]]:
        """What `note` was told: versions that became champion, how, and when, in order."""
        with _told():
            kept = self._client.get_registered_model(model).tags.get(HISTORY, "")
        lines = [line.split() for line in kept.splitlines()]
        return [(int(one[0]), one[1], one[2]) for one in lines if len(one) == 3 and one[0].isdigit()]

    def overview(self, model: str, most: int) -> tuple[int, list[dict[str, Any]]]:
        """How many versions there are; and of the latest ones and those with an alias, newest first: version, created
        (ISO 8601, UTC), aliases, tags, metrics and run, each."""
        with _told():
            found = sorted(self._client.search_model_versions(f"name = '{model}'"), key=lambda v: -int(v.version))
            aliases = self._client.get_registered_model(model).aliases if found else {}
            named = set(map(str, aliases.values()))
            return len(found), [
                {
                    "version": int(one.version),
                    "created": datetime.fromtimestamp(one.creation_timestamp / 1e3, UTC).isoformat(timespec="seconds"),
                    "aliases": sorted(alias for alias, version in aliases.items() if str(version) == str(one.version)),
                    "tags": dict(one.tags),
                    "metrics": dict(self._client.get_run(one.run_id).data.metrics) if one.run_id else {},
                    "run": one.run_id,
                }
                for at, one in enumerate(found)
                if at < most or str(one.version) in named
            ]

    def note(self, model: str, version: int, how: str, when: str) -> None:
        """Add to the history of champions."""
        with _told():
            kept = self._client.get_registered_model(model).tags.get(HISTORY, "").splitlines()
            lines = [*kept[1 - MOST_NOTED :], f"{version} {how} {when}"]
            self._client.set_registered_model_tag(model, HISTORY, "\n".join(lines))

    def alerted(self, model: str) -> str | None:
        """What `note_alerted` was told last; None where it was told nothing."""
        return self._noted(model, ALERTED)

    def note_alerted(self, model: str, state: str) -> None:
        """Keep which alerts are open, for the machine that monitors next."""
        self._note(model, ALERTED, state)

    def retraining(self, model: str) -> str | None:
        """What `note_retraining` was told last; None where it was told nothing."""
        return self._noted(model, RETRAINED)

    def note_retraining(self, model: str, state: str) -> None:
        """Keep when a retraining was asked for, for the job that monitors next."""
        self._note(model, RETRAINED, state)

    def _note(self, model: str, key: str, state: str) -> None:
        with _told():
            self._client.set_registered_model_tag(model, key, state)

    def _noted(self, model: str, key: str) -> str | None:
        with _told():
            found: str | None = self._client.get_registered_model(model).tags.get(key)
        return found

    def artifact(self, model: str, version: int, name: str, into: Path) -> Path:
        """Copy a folder of the version's run into a folder of the caller's."""
        with _told():
            return self._downloaded(self._client.get_model_version(model, str(version)).run_id, name, into)

    def _downloaded(self, run: str, name: str, into: Path) -> Path:
        import mlflow

        return Path(
            mlflow.artifacts.download_artifacts(
                run_id=run, artifact_path=name, dst_path=str(into), tracking_uri=self._uri
            )
        )

    def tags(self, model: str, version: int) -> dict[str, str]:
        """The tags of a version."""
        with _told():
            return dict(self._client.get_model_version(model, str(version)).tags)

    def metrics(self, model: str, version: int) -> dict[str, float]:
        """What was measured of a version when it was published."""
        with _told():
            run = self._client.get_model_version(model, str(version)).run_id
            return dict(self._client.get_run(run).data.metrics)

    def has_signature(self, model: str, version: int) -> bool:
        """Does the logged model say what it takes and gives?"""
        from mlflow.models import get_model_info

        with _told():
            return get_model_info(f"models:/{model}/{version}").signature is not None

    def feature_list(self, model: str, version: int) -> dict[str, Any] | None:
        """What of a version's features is in Feast, by its bundle; None where nothing is."""
        import tempfile

        with tempfile.TemporaryDirectory() as folder:
            path = self.bundle(model, version, Path(folder)) / "features.json"
            return files.read_json(path) if path.is_file() else None

    def bundle(self, model: str, version: int, into: Path) -> Path:
        """Copy the bundle of a version into a folder of the caller's.

        Raises:
            DataError: it is not the one that was registered, or the project's own store has lost it.
        """
        with _told():
            found = self._client.get_model_version(model, str(version))
        try:
            with _told():
                got = self._downloaded(found.run_id, "bundle", into)
        except ToolError as error:
            if not self._local:
                raise
            where = f"{layout.TRACKING_ARTIFACTS}/{found.run_id}"
            raise DataError(f"{model} v{version}: its bundle cannot be read from {where}") from error
        if found.tags.get(BUNDLE_DIGEST) != files.digest(got):
            raise DataError(f"{model} v{version}: its bundle is not the one that was registered")
        return got

    def mend(self, model: str, version: int, bundle: Path) -> None:
        """Log the bundle of a version again where the store has lost or damaged it; never another one."""
        import tempfile

        try:
            with tempfile.TemporaryDirectory() as folder:
                self.bundle(model, version, Path(folder))
        except ToolError:  # a server that does not answer now: whoever needs the bundle tells
            return
        except DataError:
            with _told():
                found = self._client.get_model_version(model, str(version))
                if found.tags.get(BUNDLE_DIGEST) == files.digest(bundle):
                    self._client.log_artifacts(found.run_id, str(bundle), "bundle")

    def publish(
        self,
        model: str,
        *,
        experiment: str,
        fingerprint: str,
        estimator: Any,
        trusted: list[str],
        raw: Path,
        code: Path,
        loader: str,
        params: dict[str, Any],
        metrics: dict[str, float],
        tags: dict[str, str],
        tables: list[UsedTable],
        describe: Callable[[str], str],
        took_s: float,
        artifacts: dict[str, list[Path]],
        requirements: list[str],
    ) -> int:
        """Log one run and register its model; a run that does not get to the end is marked FAILED.

        `mlflow.sklearn` loads the estimator, of encoded rows; `mlflow.pyfunc` the bundle, of raw ones.

        Args:
            raw: the bundle.
            code: a folder with what loads it.
            loader: the module of it that does.
            describe: by the name of a version, like "churn v3": its description.
            took_s: how long it took to make it.

        Returns:
            The new version's number.
        """
        import pandas as pd
        from mlflow.entities import Metric, Param
        from mlflow.models import Model

        tags = {**tags, FINGERPRINT: fingerprint}
        with _told(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            named = f"{model} v{max(self.versions(model), default=0) + 1}"
            said = describe(named)[:MOST_DESCRIBED]
            with self._running(experiment, named, {**tags, NOTE: said}, took_s) as run:
                logged_params = [Param(_named(key), _value(key, value)) for key, value in params.items()]
                for at in range(0, len(logged_params), MOST_PARAMS):
                    self._client.log_batch(run, params=logged_params[at : at + MOST_PARAMS])
                self._client.log_inputs(run, [_input(one) for one in tables])
                for folder, paths in artifacts.items():
                    for one in paths:
                        if one.is_dir():
                            self._client.log_artifacts(run, str(one), folder)
                        elif one.is_file():
                            self._client.log_artifact(run, str(one), folder or None)
                logged = Model.log(
                    artifact_path=None,
                    name=re.sub(r"[.%\"]", "_", model),  # nor does MLflow take what no name of a model has
                    run_id=run,
                    flavor=_OfRawRows(raw, code, loader),
                    sk_model=estimator,
                    signature=_signature(files.read_json(raw / "signature.json")),
                    input_example=pd.DataFrame(files.read_json(raw / "input_example.json")),
                    validate_serving_input=False,
                    pip_requirements=requirements,
                    serialization_format="skops",
                    skops_trusted_types=trusted,
                )
                now = int(time.time() * 1000)  # after the model, which asks for the history of each metric there is
                measured = [Metric(key, value, now, 0, logged.model_id) for key, value in metrics.items()]
                self._client.log_batch(run, metrics=measured)
                made = self._registered(model, logged.model_uri, run, tags, said, logged.model_id)
                if made != named:  # another machine has registered one meanwhile
                    self._client.update_run(run, name=made)
            return int(made.rpartition(" v")[2])

    def _registered(
        self, model: str, source: str, run: str, tags: dict[str, str], description: str, logged: str | None = None
    ) -> str:
        """Make a version; its name."""
        if not self._client.search_registered_models(f"name = '{model}'"):
            self._client.create_registered_model(model)
        made = self._client.create_model_version(
            model, source, run, tags=tags, description=description, model_id=logged
        )
        return f"{model} v{made.version}"

    @contextlib.contextmanager
    def _running(self, experiment: str, name: str, tags: dict[str, str], took_s: float = 0.0) -> Iterator[str]:
        """A run, by its id; it is FAILED where the block does not end well."""
        ended = int(time.time() * 1000)
        run = self._begun(experiment, name, tags, ended - int(took_s * 1000))
        try:
            yield run
        except BaseException:
            with contextlib.suppress(Exception):  # the first error counts
                self._client.set_terminated(run, "FAILED")
            raise
        self._client.set_terminated(run, "FINISHED", ended if took_s else None)

    def _begun(self, experiment: str, name: str, tags: dict[str, str], at_ms: int | None = None) -> str:
        """Begin a run of an experiment, and make that where it is not there; the run's id."""
        own = {"mlflow.user": _user(), "mlflow.source.type": "LOCAL", PROCESS: _process()}
        run = self._client.create_run(self._experiment(experiment), at_ms, {**own, **tags}, name)
        return str(run.info.run_id)

    def add_to_description(self, model: str, version: int, line: str) -> None:
        """Add a line to what MLflow's page says of a version and of its run; what it says already stays as it is."""
        with _told():
            found = self._client.get_model_version(model, str(version))
            text = _with_line(found.description, line)
            if text is not None:
                self._client.update_model_version(model, str(version), text)
            note = self._client.get_run(found.run_id).data.tags.get(NOTE) if found.run_id else None
            text = _with_line(note, line)
            if found.run_id and text is not None:
                self._client.set_tag(found.run_id, NOTE, text)

    def register(
        self, model: str, *, experiment: str, fingerprint: str, tags: dict[str, str], bundle: Path
    ) -> tuple[int, bool]:
        """The version that has a bundle of a model that was made elsewhere, and whether it is new."""
        found = self.published(model, fingerprint)
        if found is not None:
            return found, False
        tags = {**tags, FINGERPRINT: fingerprint}
        with _told():
            with self._running(experiment, model, tags) as run:
                self._client.log_artifacts(run, str(bundle), "bundle")
            where = f"{self._client.get_run(run).info.artifact_uri}/bundle"
            made = self._registered(model, where, run, tags, "")
            self._client.update_run(run, name=made)
            return int(made.rpartition(" v")[2]), True

    def monitored(
        self,
        model: str,
        version: int,
        *,
        experiment: str,
        metrics: dict[str, float],
        tags: dict[str, str],
        files: list[Path],
    ) -> str:
        """Log a run of the monitor, tied to the version by its tags and the version's.

        Returns:
            The run's id.
        """
        from mlflow.entities import Metric

        with _told():
            own = {"glue.model": model, "glue.model_version": str(version)}
            with self._running(experiment, f"{model} v{version} monitored", {**tags, **own}) as run:
                named, now = {_named(name): value for name, value in metrics.items()}, int(time.time() * 1000)
                measured = [Metric(name, value, now, 0) for name, value in named.items()]
                self._client.log_batch(run, metrics=measured[:MOST_METRICS])
                for file in files:
                    self._client.log_artifact(run, str(file))
            self._client.set_model_version_tag(model, str(version), MONITORED, run)
            return run

    def _experiment(self, name: str) -> str:
        """Make it where it is not there, and log to it; its id."""
        import mlflow

        if self._client.get_experiment_by_name(name) is None:
            where = (self._root / layout.TRACKING_ARTIFACTS).as_uri() if self._local else None
            self._client.create_experiment(name, artifact_location=where, tags={OWN_PLACE: where} if where else None)
        return str(mlflow.set_experiment(name).experiment_id)

    def begin(self, experiment: str, tags: dict[str, str]) -> tuple[str, dict[str, str]]:
        """A run for what another program does: its id, and the variables that tell MLflow there where to log.

        MLFLOW_RUN_ID is none of them: with it, `set_experiment` and a second process that logs fail.
        """
        with _told():
            run = self._begun(experiment, tags["mlflow.source.name"][:MOST_NAME], tags)
        where = {"MLFLOW_TRACKING_URI": self._uri, "MLFLOW_REGISTRY_URI": self._uri}
        context = json.dumps({MADE_IN: run})  # tags of every run that the program starts
        return run, {**where, "MLFLOW_EXPERIMENT_NAME": experiment, "MLFLOW_RUN_CONTEXT": context}

    def end(self, run: str, status: str, params: dict[str, str], metrics: dict[str, float], files: list[Path]) -> None:
        """Log to that run, and end it; what the program logged under the same name in its one run goes before."""
        from mlflow.entities import Metric, Param

        with _told():
            there = self._adopted(run, status)
            now = int(time.time() * 1000)
            given = {_named(key): _value(key, value) for key, value in params.items()} | there.params
            new = [Param(key, value) for key, value in given.items()]
            numbers = {_named(k): v for k, v in metrics.items()} | there.metrics
            measured = [Metric(k, v, now, 0) for k, v in numbers.items()]
            for at in range(0, len(new), MOST_PARAMS):
                self._client.log_batch(run, params=new[at : at + MOST_PARAMS])
            self._client.log_batch(run, metrics=measured[:MOST_METRICS])
            for file in files:
                self._client.log_artifact(run, str(file))
            self._client.set_terminated(run, status)

    def _adopted(self, run: str, status: str) -> Any:
        """Runs that the program started become children of this one; what is in the one at their top, if it is one."""
        from mlflow.entities import RunData

        experiments = [one.experiment_id for one in self._client.search_experiments()]
        made = self._client.search_runs(experiments, f"tags.`{MADE_IN}` = '{run}'")
        top = [one for one in made if "mlflow.parentRunId" not in one.data.tags]
        for one in top:
            self._client.set_tag(one.info.run_id, "mlflow.parentRunId", run)
        for one in made if status != "FINISHED" else ():  # its process is no more
            if one.info.status == "RUNNING":
                self._client.set_terminated(one.info.run_id, status)
        return top[0].data if len(top) == 1 else RunData()

    def logged(self, model: str, version: str, into: Path) -> tuple[str, Path]:
        """Copy what `log_model` made of a registered version, by its number or `@alias`; its URI and the folder.

        Raises:
            DataError: there is no such version, or it holds no MLmodel.
        """
        import mlflow

        if version.startswith("@"):
            number = self.under(model, version[1:])
            if number is None:
                raise DataError(f"{model} has no alias {version[1:]!r}")
            version = str(number)
        elif int(version) not in (there := self.versions(model)):
            raise DataError(f"{model} has no version {version} (versions: {', '.join(map(str, there)) or 'none'})")
        uri = f"models:/{model}/{version}"
        with _told():
            folder = Path(mlflow.artifacts.download_artifacts(uri, dst_path=str(into)))
        if not (folder / "MLmodel").is_file():
            raise DataError(f"{uri}: has no MLmodel")
        return uri, folder

    def dead_runs(self, experiment: str) -> list[str]:
        """The ids of runs that are RUNNING and whose process, on this machine and seen from here, is no more.

        A run that glue did not begin, or that another machine, another container or a system before the last start of
        this one began, is none: nobody can tell from here whether its process lives.
        """
        with _told():
            found = self._client.get_experiment_by_name(experiment)
            if found is None:
                return []
            running = self._client.search_runs([found.experiment_id], "attributes.status = 'RUNNING'")
        return [run.info.run_id for run in running if _is_dead(run.data.tags.get(PROCESS, ""))]

    def end_dead_runs(self, experiment: str) -> None:
        """A killed process leaves its run RUNNING for ever; such runs become KILLED."""
        for run in self.dead_runs(experiment):
            with _told():
                self._client.set_terminated(run, "KILLED")


class _OfRawRows:
    """scikit-learn's flavour of MLflow with another `python_function`: what `Model.log` calls to write a model."""

    __name__ = "mlflow.sklearn"

    def __init__(self, bundle: Path, code: Path, loader: str) -> None:
        self._bundle, self._code, self._loader = bundle, code, loader

    def save_model(self, path: str, mlflow_model: Any, *, validate_serving_input: bool = False, **how: Any) -> None:
        """As `Model.log` asks for it; the flag is of `Model.log` itself."""
        import mlflow

        mlflow.sklearn.save_model(path=path, mlflow_model=mlflow_model, **how)
        for file in ("schema.json", "model.onnx"):  # a model in skops form is there already
            if (self._bundle / file).is_file():
                shutil.copy(self._bundle / file, path)
        shutil.copytree(self._code, Path(path) / "code")
        flavour = mlflow_model.flavors["python_function"]
        flavour |= {"loader_module": self._loader, "code": "code"}
        for key in ("model_path", "predict_fn"):  # of scikit-learn's
            flavour.pop(key, None)
        if (self._bundle / "model.onnx").is_file():  # what `mlflow.onnx.load_model` looks for
            onnx = metadata.version("onnx")
            mlflow_model.add_flavor("onnx", onnx_version=onnx, data="model.onnx", providers=PROVIDERS)
        mlflow_model.save(str(Path(path) / "MLmodel"))


def _signature(told: dict[str, Any]) -> Any:
    """Names, and which are required; a column may have any type: the encoding takes 3 for 3.0 and "yes" for true."""
    from mlflow.models import ModelSignature
    from mlflow.types.schema import AnyType, ColSpec, Schema

    inputs = [ColSpec(AnyType(), one["name"], required=one["required"]) for one in told["inputs"]]
    outputs = [ColSpec(one["type"], one["name"], required=one["required"]) for one in told["outputs"]]
    return ModelSignature(Schema(inputs), Schema(outputs))


def _input(table: UsedTable) -> Any:
    """A table as MLflow keeps it, made of what is known: nothing is read for it."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    columns = [{"name": name, "type": _kind(kind), "required": True} for name, kind in table.columns.items()]
    schema = json.dumps({"mlflow_colspec": columns})
    kept = Dataset(
        name=table.name,
        digest=table.md5[:36],
        source_type="local",
        source=json.dumps({"uri": table.path}),
        schema=schema if len(schema) <= MOST_SCHEMA else None,
        profile=json.dumps({"num_rows": table.rows, "num_elements": table.rows * len(columns)}),
    )
    return DatasetInput(kept, [InputTag("mlflow.data.context", table.use)])


def _kind(arrow: str) -> str:
    """MLflow's name of a type of Arrow's."""
    for start, kind in KINDS.items():
        if arrow.startswith(start):
            return kind
    return "string"


def _value(name: str, value: Any) -> str:
    """A parameter as MLflow takes it, without what is secret."""
    hidden = isinstance(value, str) and SECRET.search(name) is not None
    return "***" if hidden else redacted(str(value))[:MOST_VALUE]


def _with_line(text: str | None, line: str) -> str | None:
    """A description with one more line; None where it has it already, but for the time, or has no room for it."""
    before = text or ""
    if before.rpartition("\n")[2].partition(", ")[2] == line.partition(", ")[2]:
        return None
    made = f"{before}\n\n{line}" if before and not before.rpartition("\n")[2].startswith("* ") else f"{before}\n{line}"
    return made.strip() if len(made) <= MOST_DESCRIBED else None


def _user() -> str:
    with contextlib.suppress(KeyError, OSError):  # a process id that the system has no name for
        return getpass.getuser()
    return "unknown"


def _process(pid: int | None = None) -> str:
    """What names a process for as long as the system runs: boot, namespace of process ids, id and start; Linux alone.

    The id alone names another process on another machine, in another container, and here once it is used again. Empty
    where the process is not there, or the system does not tell.
    """
    pid = os.getpid() if pid is None else pid
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        space = os.readlink("/proc/self/ns/pid")  # noqa: PTH115 - it is no path
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] == "Z" else f"{boot} {space} {pid} {fields[19]}"  # a zombie has ended


def _is_dead(process: str) -> bool:
    """Was it a process of this system as it is seen from here, and is no more?"""
    here = " ".join(_process().split()[:2])
    found = re.fullmatch(rf"{re.escape(here)} (\d+) \d+", process) if here else None
    return found is not None and _process(int(found[1])) != process


def _named(name: str) -> str:
    """As MLflow takes it for a name of a metric."""
    return re.sub(r"[^\w .:-]", "_", name)[:MOST_NAME]


def load_sklearn(folder: Path) -> Any:
    """By MLflow's own loader, which runs any code that is in the model; for what a person trusts, never to serve."""
    import mlflow

    with _told():
        return mlflow.sklearn.load_model(str(folder))


def example_rows(folder: Path) -> Any:
    """The input example of a logged model as a data frame; None where it has none."""
    import pandas as pd
    from mlflow.models import Model

    with _told():
        rows = Model.load(str(folder)).load_input_example(str(folder))
    if rows is None or isinstance(rows, pd.DataFrame):
        return rows
    return pd.DataFrame(rows).rename(columns=lambda at: f"x{at}")


@contextlib.contextmanager
def _told() -> Iterator[None]:
    """MLflow's exceptions as one scrubbed line; what it prints goes nowhere."""
    try:
        with contextlib.redirect_stdout(StringIO()), contextlib.redirect_stderr(StringIO()):
            yield
    except GlueError:
        raise
    except Exception as error:
        hint = "make room, then again" if any(map(_is_full, causes(error))) else None
        said = "the disk is full: " if hint else ""
        raise ToolError(f"MLflow: {said}{type(error).__name__}: {scrub(str(error))}", hint=hint) from error


def _is_full(error: BaseException) -> bool:
    """Does the system, or SQLite, say that there is no room?"""
    return (isinstance(error, OSError) and error.errno in FULL) or "disk is full" in str(error)


def _file_of(uri: str) -> Path | None:
    """The file of a database of SQLite's; None of any other, and of one in memory."""
    found = re.fullmatch(r"sqlite(?:\+\w+)?:///([^?]+)(?:\?.*)?", uri)
    return None if found is None or found[1] == ":memory:" else Path(unquote(found[1]))


def _uri_of(file: Path) -> str:
    return f"sqlite:///{quote(file.absolute().as_posix())}"


def _remedy(file: Path, named: str) -> str:
    """What to type where MLflow cannot use a database of SQLite's."""
    without = f"mv {named} {named}.broken; glue run"
    try:
        with contextlib.closing(sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True)) as store:
            tables = {name for (name,) in store.execute("select name from sqlite_master")}
            kept = tables & {"runs", "registered_models"}
            used = any(store.execute(f"select 1 from {name} limit 1").fetchone() for name in kept)  # noqa: S608
    except sqlite3.Error as error:
        if "locked" in str(error):
            return "another program holds it: again when that has ended"
        return f"restore {named} from a backup, or without its history: {without}"
    if not used:  # its making was broken off
        return f"it holds no run and no model; if no program is making it now: {without}"
    return f"restore {named} from a backup, or without its history: {without}"


def _follow_move(root: Path) -> None:
    """Let the project's own database name the artifacts beside it, where the folder was moved or copied: MLflow keeps
    absolute places, and would look for the old files, and write the new ones, where the project was.

    Only of experiments that glue made here, and whose place nobody has changed since.
    """
    here = (root / layout.TRACKING_ARTIFACTS).absolute()
    if not here.is_dir():
        return
    with (
        contextlib.suppress(sqlite3.Error),  # no database, of another MLflow, or read-only: MLflow itself tells of it
        contextlib.closing(sqlite3.connect(root / layout.TRACKING_DB)) as store,
        store,
    ):
        own = (
            "select e.experiment_id, t.value from experiments e join experiment_tags t using (experiment_id) "
            "where t.key = ? and t.value = e.artifact_location and t.value <> ?"
        )
        for experiment, old in store.execute(own, (OWN_PLACE, here.as_uri())).fetchall():
            for table, column, which in PLACES:
                where = f"substr({column} || '/', 1, ?) = ? and {which}"
                store.execute(
                    f"update {table} set {column} = ? || substr({column}, ?) where {where}",  # noqa: S608
                    (here.as_uri(), len(old) + 1, len(old) + 1, f"{old}/", experiment),
                )


def _create(path: Path, lock: Path) -> None:
    """Make the SQLite store beside its place and put it there whole, under a lock: MLflow's own creation is neither
    concurrent- nor crash-safe. Where another program makes one meanwhile, that stays."""
    from filelock import FileLock

    if _is_made(path):
        return
    lock.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(lock, timeout=300):
        if _is_made(path):
            return
        for old in path.parent.glob(f".{path.name}.*.tmp*"):
            old.unlink()
        temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        from mlflow import MlflowClient
        from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

        with _told():
            uri = _uri_of(temporary)
            MlflowClient(uri, uri).search_experiments(max_results=1)
            engines = getattr(SqlAlchemyStore, "_db_uri_sql_alchemy_engine_map", {})
            if uri in engines:
                engines.pop(uri).dispose()
        handle = os.open(temporary, os.O_RDONLY)
        os.fsync(handle)
        os.close(handle)
        if path.is_file() and not _is_made(path):  # an empty file
            temporary.replace(path)
        else:
            with contextlib.suppress(FileExistsError):
                path.hardlink_to(temporary)
            temporary.unlink()


def _is_made(path: Path) -> bool:
    return path.is_file() and path.stat().st_size > 0
