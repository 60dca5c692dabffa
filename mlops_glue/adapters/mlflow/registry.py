"""MLflow's model registry: versions, their aliases and tags."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from mlops_glue.adapters.mlflow.runs import Runs
from mlops_glue.errors import ToolError

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

BUNDLE_DIGEST = "glue.bundle_sha256"
FINGERPRINT = "glue.fingerprint"
ENTRY = "glue.audit."  # tags of a version: its entries in the audit record, by the beginning of their ids
REGISTRY = "glue.registry"  # tag of the registered model: the registry's id in the audit record
CHAMPIONS = "glue.champions"  # tag of the registered model: one line per champion
TRIES = 5  # attempts to write a tag that other machines write too
MAX_CHAMPIONS = 60  # lines in the tag; MLflow accepts 5,000 characters


class Registry(Runs):
    """The model versions and the runs of one tracking server or database.

    Attributes:
        record_move: is called before an alias moves, with the model, the alias, the new version, the old version and
            further fields of `audit.Move` as keyword arguments; it returns the id of the entry. After a version was
            signed, it is called with the alias None.
        recorded: is called after the champion has moved, with the model and the registry's id; it returns the version
            of the latest such entry, including entries of other machines.
    """

    record_move: Callable[..., str] | None = None
    recorded: Callable[[str, str | None], int | None] | None = None

    def find_version(self, model: str, fingerprint: str) -> int | None:
        """Return the version that a result was registered as, or None."""
        found = [int(v.version) for v in self._versions(model) if v.tags.get(FINGERPRINT) == fingerprint]
        return min(found, default=None)

    def versions(self, model: str) -> list[int]:
        """Return the numbers of all versions, in ascending order."""
        return sorted(int(found.version) for found in self._versions(model))

    def _versions(self, model: str) -> list[ModelVersion]:
        return list(self.client.search_model_versions(f"name = '{model}'"))

    def overview(self, model: str, most: int) -> tuple[int, list[dict[str, Any]]]:
        """Count the versions, and describe the latest `most` versions and all versions with an alias, newest first.

        A description contains version, created (ISO 8601, UTC), aliases, tags, metrics and run.
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
        """Return the description that `overview` gives of one version."""
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
        """Return the version of each alias."""
        return {alias: int(of) for alias, of in self.client.get_registered_model(model).aliases.items()}

    def tags_by_version(self, model: str) -> dict[int, dict[str, str]]:
        """Return the tags of every version."""
        return {int(version.version): dict(version.tags) for version in self._versions(model)}

    def champion(self, model: str) -> int | None:
        """Return the version with the alias `champion`, or None."""
        return self.get_alias(model, "champion")

    def get_alias(self, model: str, alias: str) -> int | None:
        """Return the version with an alias, or None."""
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
        """Move an alias to a version. The move is recorded first, and the version is tagged with the entry."""
        before = self.get_alias(model, alias)
        if before != version:
            self._record(model, alias, version, before, event=event, reason=reason, evidence=evidence)
        self.client.set_registered_model_alias(model, alias, str(version))
        if alias == "champion" and self.recorded is not None:
            last = self.recorded(model, self.get_model_tag(model, REGISTRY))
            if last not in (None, version):  # another machine moved it in the meantime: the latest entry wins
                self.client.set_registered_model_alias(model, alias, str(last))

    def remove_alias(self, model: str, alias: str) -> None:
        """Remove an alias from its version."""
        self._record(model, alias, None, self.get_alias(model, alias), event="promote")
        self.client.delete_registered_model_alias(model, alias)

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
        """Return the tags of a version."""
        return dict(self.client.get_model_version(model, str(version)).tags)

    def tag(self, model: str, version: int, tags: dict[str, str]) -> None:
        """Set tags on a version."""
        for key, value in tags.items():
            self.client.set_model_version_tag(model, str(version), key, value)

    def untag(self, model: str, version: int, key: str) -> None:
        """Remove a tag from a version if it is set."""
        if key in self.tags(model, version):
            self.client.delete_model_version_tag(model, str(version), key)

    def get_model_tag(self, model: str, key: str) -> str | None:
        """Return a tag of the registered model, which all its versions share; None if it is not set."""
        value: str | None = self.client.get_registered_model(model).tags.get(key)
        return value

    def model_tags_of(self, model: str) -> dict[str, str]:
        """Return the tags of the registered model; empty if there is no such model yet."""
        try:
            return dict(self.client.get_registered_model(model).tags)
        except ToolError as error:
            if getattr(error.__cause__, "error_code", None) == "RESOURCE_DOES_NOT_EXIST":
                return {}
            raise

    def remove_model_tag(self, model: str, key: str) -> None:
        """Remove a tag from the registered model if it is set."""
        if key in self.model_tags_of(model):
            self.client.delete_registered_model_tag(model, key)

    def set_model_tag(self, model: str, key: str, value: str) -> None:
        """Set a tag on the registered model."""
        self.client.set_registered_model_tag(model, key, value)

    def champion_history(self, model: str) -> list[tuple[int, str, str]]:
        """Return the versions that became champion, in order: version, how, and when."""
        lines = [line.split() for line in (self.get_model_tag(model, CHAMPIONS) or "").splitlines()]
        return [(int(line[0]), line[1], line[2]) for line in lines if len(line) == 3 and line[0].isdigit()]

    def record_champion(self, model: str, version: int, how: str, when: str) -> None:
        """Add a version to the history of champions, which keeps the latest 60."""
        made = f"{version} {how} {when}"
        for _ in range(TRIES):  # another machine may overwrite it
            lines = (self.get_model_tag(model, CHAMPIONS) or "").splitlines()
            if made in lines:
                return
            self.set_model_tag(model, CHAMPIONS, "\n".join([*lines[1 - MAX_CHAMPIONS :], made]))
