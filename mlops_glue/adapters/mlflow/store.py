"""Publish model versions with their files; download, check and repair them."""

from __future__ import annotations

import hashlib
import re
import tempfile
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

from mlops_glue import files, layout
from mlops_glue.adapters.mlflow.logged_model import ModelFiles, log_model
from mlops_glue.adapters.mlflow.registry import BUNDLE_DIGEST, FINGERPRINT, Registry
from mlops_glue.adapters.mlflow.runs import NOTE, RunContent
from mlops_glue.errors import DataError, GlueError, ToolError, Unreachable

MONITORED = "glue.monitored"  # tag of a version: the last run of the monitor
ATTESTATION = "attestation/bundle.intoto.json"  # artifact of a run
BACKUP = "restore MLflow's artifact store from its backup; glue run restores the bundle of its own version"
MAX_DESCRIPTION = 5000  # characters that MLflow accepts


class Store(Registry):
    """The model registry and the files of its versions.

    Attributes:
        check_bundle: is called with each downloaded bundle and its signed statement; raises DataError to refuse it.
        trust: import paths of classes and functions whose code may run here.
    """

    check_bundle: Callable[[Path, str | None], None] | None = None
    trust: Sequence[str] = ()

    def has_signature(self, model: str, version: int) -> bool:
        """Check whether the logged model declares its inputs and outputs."""
        from mlflow.models import get_model_info

        try:
            return self.ask(lambda: get_model_info(f"models:/{model}/{version}").signature) is not None
        except ToolError as error:
            if not isinstance(error, Unreachable):
                raise DataError(f"{model} v{version}: its logged model cannot be read", hint=BACKUP) from error
            raise

    def download_artifact(self, model: str, version: int, name: str, into: Path) -> Path:
        """Copy a folder of the version's run into the folder `into`."""
        return self._download(self.client.get_model_version(model, str(version)).run_id, name, into)

    def read_artifact(self, model: str, version: int, name: str) -> str | None:
        """Return the content of a text file of the version's run; None if the run does not have it.

        Raises:
            ToolError: the run's artifacts cannot be read.
        """
        run = self.client.get_model_version(model, str(version)).run_id
        if not self._has(run, name):
            return None
        with tempfile.TemporaryDirectory() as folder:
            return self._download(run, name, Path(folder)).read_text(encoding="utf-8")

    def write_artifact(self, model: str, version: int, name: str, text: str) -> None:
        """Write a text file among the artifacts of the version's run."""
        self.client.log_text(self.live_run(model, version), text, name)

    def live_run(self, model: str, version: int) -> str:
        """Return the run of a version, which may not be deleted: MLflow would write nothing to it.

        Raises:
            DataError: the run is marked as deleted.
        """
        run = self.client.get_model_version(model, str(version)).run_id
        if self.client.get_run(run).info.lifecycle_stage == "deleted":
            problem = f"{model} v{version}: its run {run} is deleted, so `mlflow gc` would remove its files"
            raise DataError(problem, hint=f"mlflow runs restore --run-id {run}")
        return str(run)

    def _download(self, run: str, name: str, into: Path) -> Path:
        from mlflow.artifacts import download_artifacts

        place = f"{self.client.get_run(run).info.artifact_uri}/{name}"  # with the run's id MLflow would hide the cause
        try:
            return Path(self.ask(lambda: download_artifacts(place, dst_path=str(into), tracking_uri=self.uri)))
        except ToolError as error:
            if isinstance(error, Unreachable) or self._has(run, name):
                raise
            raise DataError(f"{place} does not exist", hint=BACKUP) from error

    def _has(self, run: str, name: str) -> bool:
        folder = name.rpartition("/")[0]
        return name in [file.path for file in self.client.list_artifacts(run, folder or None)]

    def download_bundle(self, model: str, version: int, into: Path) -> Path:
        """Copy the bundle of a version into the folder `into`.

        Raises:
            DataError: the bundle is not the one that was registered, or the project's own store has lost it.
            ToolError: the server does not answer.
        """
        found = self.client.get_model_version(model, str(version))
        try:
            bundle = self._download(found.run_id, "bundle", into)
        except (DataError, ToolError) as error:
            if not self.is_local:
                raise
            where = f"{layout.TRACKING_ARTIFACTS}/{found.run_id}"
            raise DataError(f"{model} v{version}: its bundle cannot be read from {where}", hint=BACKUP) from error
        if found.tags.get(BUNDLE_DIGEST) != files.digest(bundle):
            raise DataError(
                f"{model} v{version}: its bundle is not the one that was registered",
                hint=f"glue reproduce {version} rebuilds it from its record; glue rollback switches to another version",
            )
        if self.check_bundle is not None:
            try:
                self.check_bundle(bundle, self._attestation(found.run_id, into))
            except DataError as error:
                raise DataError(f"{model} v{version}: {error.message}", hint=error.hint) from error
        return bundle

    def attestation(self, model: str, version: int) -> str | None:
        """Return the signed statement of a version's bundle, as text; None if the version is not signed.

        Raises:
            ToolError: the artifacts cannot be read.
        """
        run = self.client.get_model_version(model, str(version)).run_id
        if not self.client.list_artifacts(run, ATTESTATION.partition("/")[0]):
            return None
        with tempfile.TemporaryDirectory() as folder:
            return self._download(run, ATTESTATION, Path(folder)).read_text(encoding="utf-8", errors="replace")

    def signature_digest(self, model: str, version: int) -> str | None:
        """Return the SHA-256 of the version's signed statement; None if the version is not signed."""
        text = self.attestation(model, version)
        return None if text is None else hashlib.sha256(text.encode()).hexdigest()

    def record_signature(self, model: str, version: int) -> None:
        """Record that a version was signed, with the digest of its statement."""
        self._record(model, None, version, None, event="sign", evidence=self.signature_digest(model, version))

    def attach(self, model: str, version: int, file: Path, folder: str) -> None:
        """Add a file to a folder of the version's run; a file with the same name is replaced."""
        self.client.log_artifact(self.client.get_model_version(model, str(version)).run_id, str(file), folder)

    def _attestation(self, run: str, into: Path) -> str | None:
        try:
            return self._download(run, ATTESTATION, into).read_text(encoding="utf-8")
        except (GlueError, OSError, UnicodeDecodeError):
            return None

    def repair_bundle(self, model: str, version: int, bundle: Path) -> None:
        """Log the bundle of a version again if the store has lost or damaged it; never log a different bundle."""
        try:
            with tempfile.TemporaryDirectory() as folder:
                self.download_bundle(model, version, Path(folder))
        except ToolError:  # the server does not answer: the code that needs the bundle will report it
            return
        except DataError:
            found = self.client.get_model_version(model, str(version))
            if found.tags.get(BUNDLE_DIGEST) == files.digest(bundle):
                self.client.log_artifacts(found.run_id, str(bundle), "bundle")

    def download_model(self, model: str, version: str, into: Path) -> tuple[str, Path]:
        """Copy the logged model of a registered version (a number or `@alias`); return its URI and its folder.

        Raises:
            DataError: there is no such version, or it has no MLmodel file.
        """
        from mlflow.artifacts import download_artifacts

        if version.startswith("@"):
            number = self.get_alias(model, version[1:])
            if number is None:
                raise DataError(f"{model} has no alias {version[1:]!r}")
            version = str(number)
        elif int(version) not in (known := self.versions(model)):
            raise DataError(f"{model} has no version {version} (versions: {', '.join(map(str, known)) or 'none'})")
        uri = f"models:/{model}/{version}"
        folder = Path(self.ask(lambda: download_artifacts(uri, dst_path=str(into))))
        if not (folder / "MLmodel").is_file():
            raise DataError(f"{uri}: has no MLmodel file")
        return uri, folder

    def publish(
        self,
        model: str,
        *,
        experiment: str,
        fingerprint: str,
        content: RunContent,
        model_files: ModelFiles,
        describe: Callable[[str], str],
    ) -> tuple[int, bool]:
        """Log one run and register its model; if this fails, the run is marked FAILED.

        `find_version` finds the version by its fingerprint. `describe` returns the description for a name such as
        "churn v3".

        Returns:
            The version with the result, and whether it is new: another machine may have published the same result.
        """
        tags = {**content.tags, FINGERPRINT: fingerprint}
        with self.contact(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            name = f"{model} v{max(self.versions(model), default=0) + 1}"
            description = describe(name)[:MAX_DESCRIPTION]
            with self.running(experiment, name, {**tags, NOTE: description}, content.took_s) as run:
                self._log_content(run, content)
                plain = re.sub(r"[.%\"]", "_", model)  # MLflow does not allow these characters in a name
                logged = self.ask(lambda: log_model(run, plain, model_files))
                # after the model, because logging a model reads the history of each metric of the run
                self._log_metrics(run, content.metrics, logged.model_id)
                made = self._create_version(model, logged.model_uri, run, tags, description, logged.model_id)
                if made != name:  # another machine has registered a version in the meantime
                    self.client.update_run(run, name=made)
            number = int(made.rpartition(" v")[2])
            first = self.find_version(model, fingerprint)
            if first in (None, number):
                return number, True
            self.client.delete_model_version(model, str(number))
            self.client.delete_run(run)
            return first, False

    def register(
        self, model: str, *, experiment: str, fingerprint: str, tags: dict[str, str], bundle: Path
    ) -> tuple[int, bool]:
        """Register the bundle of a model that was built elsewhere, unless it is already registered.

        Returns:
            The version with the bundle, and whether it is new.
        """
        found = self.find_version(model, fingerprint)
        if found is not None:
            return found, False
        tags = {**tags, FINGERPRINT: fingerprint}
        with self.running(experiment, model, tags) as run:
            self.client.log_artifacts(run, str(bundle), "bundle")
        source = f"{self.client.get_run(run).info.artifact_uri}/bundle"
        made = self._create_version(model, source, run, tags, "")
        self.client.update_run(run, name=made)
        return int(made.rpartition(" v")[2]), True

    def _create_version(
        self, model: str, source: str, run: str, tags: dict[str, str], description: str, logged: str | None = None
    ) -> str:
        """Create a version, and for the first version the registered model; return the version's name."""
        if not self.client.search_registered_models(f"name = '{model}'"):
            try:
                self.client.create_registered_model(model)
            except ToolError as error:
                if getattr(error.__cause__, "error_code", None) != "RESOURCE_ALREADY_EXISTS":  # by another machine
                    raise
        made = self.client.create_model_version(model, source, run, tags=tags, description=description, model_id=logged)
        return f"{model} v{made.version}"

    def log_monitoring_run(
        self,
        model: str,
        version: int,
        *,
        experiment: str,
        metrics: dict[str, float],
        tags: dict[str, str],
        artifacts: list[Path],
    ) -> str:
        """Log a run of the monitor and return its id; the run's tags name the version, and a version tag the run."""
        own = {"glue.model": model, "glue.model_version": str(version)}
        with self.running(experiment, f"{model} v{version} monitored", {**tags, **own}) as run:
            self._log_metrics(run, metrics)
            for file in artifacts:
                self.client.log_artifact(run, str(file))
        self.client.set_model_version_tag(model, str(version), MONITORED, run)
        return run

    def add_to_description(self, model: str, version: int, line: str) -> None:
        """Add a line to the descriptions of a version and of its run in MLflow's UI."""
        found = self.client.get_model_version(model, str(version))
        text = with_line(found.description, line)
        if text is not None:
            self.client.update_model_version(model, str(version), text)
        if found.run_id:
            run = self.client.get_run(found.run_id)
            text = with_line(run.data.tags.get(NOTE), line)
            if text is not None and run.info.lifecycle_stage == "active":  # a champion without it can be rolled back
                self.client.set_tag(found.run_id, NOTE, text)


def with_line(text: str | None, line: str) -> str | None:
    """Append a line such as `* 09:00, glue run: **champion**` to a description.

    Returns:
        The new description; None if the last line differs only in its time, or if the description would be too long.
    """
    before = text or ""
    last = before.rpartition("\n")[2]
    if last.partition(", ")[2] == line.partition(", ")[2]:
        return None
    paragraph = "\n\n" if before and not last.startswith("* ") else "\n"
    made = f"{before}{paragraph}{line}"
    return made.strip() if len(made) <= MAX_DESCRIPTION else None
