"""MLflow's model registry: versions, their aliases, tags and files."""

from __future__ import annotations

import hashlib
import re
import tempfile
import uuid
import warnings
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_glue import files, layout
from mlops_glue.adapters.mlflow.logged_model import ModelFiles, log_model
from mlops_glue.adapters.mlflow.runs import NOTE, RunContent, Runs
from mlops_glue.errors import DataError, ToolError

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

BUNDLE_DIGEST = "glue.bundle_sha256"
FINGERPRINT = "glue.fingerprint"
MONITORED = "glue.monitored"  # tag of a version: the last run of the monitor
ENTRY = "glue.audit."  # tags of a version: the entries of the audit record about it, by the beginning of their ids
ATTESTATION = "attestation/bundle.intoto.json"  # artifact of a run
REGISTRY = "glue.registry"  # tag of the registered model: which registry this is, as the audit record calls it
CHAMPIONS = "glue.champions"  # tag of the registered model: a line for each champion
MAX_DESCRIPTION = 5000  # characters that MLflow takes
MAX_CHAMPIONS = 60  # lines in the tag; MLflow takes 5,000 characters


class Store(Runs):
    """The model versions, and the runs, of one tracking server or database.

    Attributes:
        record_move: is called before an alias moves, with the model, the alias, the version that gets it, the one that
            has it, and more fields of `audit.Move` by their names; it returns the id of the entry. With the alias None
            it is called after a version was signed.
        check_bundle: is called with a bundle that was downloaded and its signed statement, and refuses it by DataError.
        trust: classes and functions whose code may run here, by import path.
    """

    record_move: Callable[..., str] | None = None
    check_bundle: Callable[[Path, str | None], None] | None = None
    trust: Sequence[str] = ()

    def find_version(self, model: str, fingerprint: str) -> int | None:
        """The version that a result was registered as, or None."""
        return next((int(v.version) for v in self._versions(model) if v.tags.get(FINGERPRINT) == fingerprint), None)

    def versions(self, model: str) -> list[int]:
        """The numbers of all versions, in order."""
        return sorted(int(found.version) for found in self._versions(model))

    def _versions(self, model: str) -> list[ModelVersion]:
        return list(self.client.search_model_versions(f"name = '{model}'"))

    def overview(self, model: str, most: int) -> tuple[int, list[dict[str, Any]]]:
        """Count the versions, and describe the latest `most` and those with an alias, newest first.

        A description has version, created (ISO 8601, UTC), aliases, tags, metrics and run.
        """
        found = sorted(self._versions(model), key=lambda version: -int(version.version))
        aliases = self.aliases(model) if found else {}
        described = [
            self._described(version, aliases)
            for rank, version in enumerate(found)
            if rank < most or int(version.version) in aliases.values()
        ]
        return len(found), described

    def description(self, model: str, version: int) -> dict[str, Any]:
        """What `overview` says of one version."""
        return self._described(self.client.get_model_version(model, str(version)), self.aliases(model))

    def _described(self, version: ModelVersion, aliases: dict[str, int]) -> dict[str, Any]:
        number = int(version.version)
        return {
            "version": number,
            "created": datetime.fromtimestamp(version.creation_timestamp / 1e3, UTC).isoformat(timespec="seconds"),
            "aliases": sorted(alias for alias, of in aliases.items() if of == number),
            "tags": dict(version.tags),
            "metrics": dict(self.client.get_run(version.run_id).data.metrics) if version.run_id else {},
            "run": version.run_id,
        }

    def aliases(self, model: str) -> dict[str, int]:
        """The version under each alias."""
        return {alias: int(of) for alias, of in self.client.get_registered_model(model).aliases.items()}

    def tags_by_version(self, model: str) -> dict[int, dict[str, str]]:
        """The tags of every version."""
        return {int(version.version): dict(version.tags) for version in self._versions(model)}

    def champion(self, model: str) -> int | None:
        """The version under the alias `champion`, or None."""
        return self.get_alias(model, "champion")

    def get_alias(self, model: str, alias: str) -> int | None:
        """The version under an alias, or None."""
        try:
            return int(self.client.get_model_version_by_alias(model, alias).version)
        except ToolError as error:
            if getattr(error.__cause__, "error_code", None) in ("INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST"):
                return None
            raise

    def set_alias(
        self,
        model: str,
        alias: str,
        version: int,
        event: str = "promote",
        reason: str | None = None,
        evidence: str | None = None,
    ) -> None:
        """Put an alias on a version; another one loses it. The move is recorded first, and the entry is its tag."""
        before = self.get_alias(model, alias)
        if before != version:
            self._record(model, alias, version, before, event=event, reason=reason, evidence=evidence)
        self.client.set_registered_model_alias(model, alias, str(version))

    def remove_alias(self, model: str, alias: str) -> None:
        """Take an alias from the version that has it."""
        self._record(model, alias, None, self.get_alias(model, alias), event="promote")
        self.client.delete_registered_model_alias(model, alias)

    def record_signature(self, model: str, version: int) -> None:
        """Record that a version was signed, and with what."""
        self._record(model, None, version, None, event="sign", evidence=self.signature_digest(model, version))

    def _record(self, model: str, alias: str | None, version: int | None, before: int | None, **more: Any) -> None:
        if self.record_move is None:
            return
        registry = self.get_model_tag(model, REGISTRY)
        if registry is None:
            registry = uuid.uuid4().hex
            self.set_model_tag(model, REGISTRY, registry)
        entry = self.record_move(model, alias, version, before, registry=registry, **more)
        if version is not None:
            self.tag(model, version, {f"{ENTRY}{entry[:12]}": entry})

    def tags(self, model: str, version: int) -> dict[str, str]:
        """The tags of a version."""
        return dict(self.client.get_model_version(model, str(version)).tags)

    def tag(self, model: str, version: int, tags: dict[str, str]) -> None:
        """Set tags of a version."""
        for key, value in tags.items():
            self.client.set_model_version_tag(model, str(version), key, value)

    def untag(self, model: str, version: int, key: str) -> None:
        """Remove a tag of a version, if it has it."""
        if key in self.tags(model, version):
            self.client.delete_model_version_tag(model, str(version), key)

    def get_model_tag(self, model: str, key: str) -> str | None:
        """A tag of the registered model, which all its versions share; None if it is not set."""
        value: str | None = self.client.get_registered_model(model).tags.get(key)
        return value

    def set_model_tag(self, model: str, key: str, value: str) -> None:
        """Set a tag of the registered model."""
        self.client.set_registered_model_tag(model, key, value)

    def champion_history(self, model: str) -> list[tuple[int, str, str]]:
        """The versions that became champion, in order: version, how, and when."""
        lines = [line.split() for line in (self.get_model_tag(model, CHAMPIONS) or "").splitlines()]
        return [(int(line[0]), line[1], line[2]) for line in lines if len(line) == 3 and line[0].isdigit()]

    def record_champion(self, model: str, version: int, how: str, when: str) -> None:
        """Add to the history of champions, which keeps the last sixty."""
        lines = (self.get_model_tag(model, CHAMPIONS) or "").splitlines()
        lines = [*lines[1 - MAX_CHAMPIONS :], f"{version} {how} {when}"]
        self.set_model_tag(model, CHAMPIONS, "\n".join(lines))

    def has_signature(self, model: str, version: int) -> bool:
        """Does the logged model declare its inputs and outputs?"""
        from mlflow.models import get_model_info

        with self.asked():
            return get_model_info(f"models:/{model}/{version}").signature is not None

    def download_artifact(self, model: str, version: int, name: str, into: Path) -> Path:
        """Copy a folder of the version's run into a folder of the caller's."""
        return self._download(self.client.get_model_version(model, str(version)).run_id, name, into)

    def read_artifact(self, model: str, version: int, name: str) -> str | None:
        """A text file of the version's run; None where it has none.

        Raises:
            ToolError: the run's artifacts cannot be read.
        """
        run = self.client.get_model_version(model, str(version)).run_id
        if name not in [file.path for file in self.client.list_artifacts(run)]:
            return None
        with tempfile.TemporaryDirectory() as folder:
            return self._download(run, name, Path(folder)).read_text(encoding="utf-8")

    def write_artifact(self, model: str, version: int, name: str, text: str) -> None:
        """Write a text file among the artifacts of the version's run."""
        self.client.log_text(self.client.get_model_version(model, str(version)).run_id, text, name)

    def _download(self, run: str, name: str, into: Path) -> Path:
        from mlflow.artifacts import download_artifacts

        with self.asked():
            return Path(download_artifacts(run_id=run, artifact_path=name, dst_path=str(into), tracking_uri=self.uri))

    def download_bundle(self, model: str, version: int, into: Path) -> Path:
        """Copy the bundle of a version into a folder of the caller's.

        Raises:
            DataError: the bundle is not the one that was registered, or the project's own store has lost it.
            ToolError: the server does not answer.
        """
        found = self.client.get_model_version(model, str(version))
        try:
            bundle = self._download(found.run_id, "bundle", into)
        except ToolError as error:
            if not self.is_local:
                raise
            where = f"{layout.TRACKING_ARTIFACTS}/{found.run_id}"
            raise DataError(f"{model} v{version}: its bundle cannot be read from {where}") from error
        if found.tags.get(BUNDLE_DIGEST) != files.digest(bundle):
            raise DataError(
                f"{model} v{version}: its bundle is not the one that was registered",
                hint=f"glue reproduce {version} makes it again from its record; glue rollback leaves it",
            )
        if self.check_bundle is not None:
            try:
                self.check_bundle(bundle, self._attestation(found.run_id, into))
            except DataError as error:
                raise DataError(f"{model} v{version}: {error.message}", hint=error.hint) from error
        return bundle

    def attestation(self, model: str, version: int) -> str | None:
        """The signed statement of a version's bundle, as text; None where there is none.

        Raises:
            ToolError: it is not known whether there is one.
        """
        run = self.client.get_model_version(model, str(version)).run_id
        if not self.client.list_artifacts(run, ATTESTATION.partition("/")[0]):
            return None
        with tempfile.TemporaryDirectory() as folder:
            return self._download(run, ATTESTATION, Path(folder)).read_text(encoding="utf-8", errors="replace")

    def signature_digest(self, model: str, version: int) -> str | None:
        """The SHA-256 of that statement."""
        text = self.attestation(model, version)
        return None if text is None else hashlib.sha256(text.encode()).hexdigest()

    def attach(self, model: str, version: int, file: Path, folder: str) -> None:
        """Add a file to a folder of the version's run; one of the same name is replaced."""
        self.client.log_artifact(self.client.get_model_version(model, str(version)).run_id, str(file), folder)

    def _attestation(self, run: str, into: Path) -> str | None:
        try:
            return self._download(run, ATTESTATION, into).read_text(encoding="utf-8")
        except (ToolError, OSError, UnicodeDecodeError):
            return None

    def repair_bundle(self, model: str, version: int, bundle: Path) -> None:
        """Log the bundle of a version again if the store has lost or damaged it; never a different one."""
        try:
            with tempfile.TemporaryDirectory() as folder:
                self.download_bundle(model, version, Path(folder))
        except ToolError:  # the server does not answer: whoever needs the bundle will report that
            return
        except DataError:
            found = self.client.get_model_version(model, str(version))
            if found.tags.get(BUNDLE_DIGEST) == files.digest(bundle):
                self.client.log_artifacts(found.run_id, str(bundle), "bundle")

    def download_model(self, model: str, version: str, into: Path) -> tuple[str, Path]:
        """Copy the logged model of a registered version (a number, or `@alias`) into a folder; its URI and its folder.

        Raises:
            DataError: there is no such version, or it holds no MLmodel.
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
        with self.asked():
            folder = Path(download_artifacts(uri, dst_path=str(into)))
        if not (folder / "MLmodel").is_file():
            raise DataError(f"{uri}: has no MLmodel")
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
    ) -> int:
        """Log one run and register its model, and return the new version; a run that does not get to the end is FAILED.

        `find_version` finds the version by its fingerprint. `describe` makes the description of a name like "churn v3".
        """
        tags = {**content.tags, FINGERPRINT: fingerprint}
        with self.asked(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            name = f"{model} v{max(self.versions(model), default=0) + 1}"
            description = describe(name)[:MAX_DESCRIPTION]
            with self.running(experiment, name, {**tags, NOTE: description}, content.took_s) as run:
                self._log_content(run, content)
                logged = log_model(run, re.sub(r"[.%\"]", "_", model), model_files)  # no name has these characters
                # after the model: logging it asks for the history of each metric of the run
                self._log_metrics(run, content.metrics, logged.model_id)
                made = self._create_version(model, logged.model_uri, run, tags, description, logged.model_id)
                if made != name:  # another machine has registered a version meanwhile
                    self.client.update_run(run, name=made)
            return int(made.rpartition(" v")[2])

    def register(
        self, model: str, *, experiment: str, fingerprint: str, tags: dict[str, str], bundle: Path
    ) -> tuple[int, bool]:
        """Register the bundle of a model that was made elsewhere, unless it is registered already.

        Returns the version that has it, and whether the version is new.
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
        """Create a version, and the registered model if it is the first; the version's name."""
        if not self.client.search_registered_models(f"name = '{model}'"):
            self.client.create_registered_model(model)
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
        """Log a run of the monitor, and return its id; its tags name the version, and a tag of the version names it."""
        own = {"glue.model": model, "glue.model_version": str(version)}
        with self.running(experiment, f"{model} v{version} monitored", {**tags, **own}) as run:
            self._log_metrics(run, metrics)
            for file in artifacts:
                self.client.log_artifact(run, str(file))
        self.client.set_model_version_tag(model, str(version), MONITORED, run)
        return run

    def add_to_description(self, model: str, version: int, line: str) -> None:
        """Add a line to the description of a version, and of its run, on MLflow's page."""
        found = self.client.get_model_version(model, str(version))
        text = with_line(found.description, line)
        if text is not None:
            self.client.update_model_version(model, str(version), text)
        if found.run_id:
            text = with_line(self.client.get_run(found.run_id).data.tags.get(NOTE), line)
            if text is not None:
                self.client.set_tag(found.run_id, NOTE, text)


def with_line(text: str | None, line: str) -> str | None:
    """A description with one more line, like `* 09:00, glue run: **champion**`.

    None if the last line says the same at another time, or if there is no room for another.
    """
    before = text or ""
    last = before.rpartition("\n")[2]
    if last.partition(", ")[2] == line.partition(", ")[2]:
        return None
    paragraph = "\n\n" if before and not last.startswith("* ") else "\n"
    made = f"{before}{paragraph}{line}"
    return made.strip() if len(made) <= MAX_DESCRIPTION else None
