"""A registry file that is replaced atomically. Feast writes its file in place, and reads an empty file as empty.

registry: {registry_store_type: mlops_glue.adapters.feast.registry.AtomicRegistryStore, path: data/registry.db}
"""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from pathlib import Path

from feast.infra.registry.file import FileRegistryStore
from feast.infra.registry.registry import REGISTRY_SCHEMA_VERSION
from feast.protos.feast.core.Registry_pb2 import Registry
from feast.repo_config import RegistryConfig
from google.protobuf.message import DecodeError

from mlops_glue.errors import DataError
from mlops_glue.files import atomic


class AtomicRegistryStore(FileRegistryStore):
    """Feast's registry file, which is written to a temporary file, synced and renamed."""

    def __init__(self, registry_config: RegistryConfig, repo_path: Path) -> None:
        super().__init__(registry_config, repo_path)
        self.path = repo_path / registry_config.path

    def get_registry_proto(self) -> Registry:
        """Read the file.

        Raises:
            FileNotFoundError: the file does not exist; Feast then creates it.
            DataError: the file is empty or damaged, or another version of Feast wrote another layout.
        """
        if not self.path.exists():
            raise FileNotFoundError(f"{self.path}: the registry does not exist; have you run feast apply?")
        try:
            read: Registry = Registry.FromString(self.path.read_bytes())
        except DecodeError:
            read = Registry()
        # every writer sets a version id
        if not read.version_id or read.registry_schema_version not in ("", REGISTRY_SCHEMA_VERSION):
            raise DataError(
                f"{self.path}: the registry is empty, damaged, or from another version of Feast",
                hint=f"to create it again from the definitions: rm {self.path}, then glue materialize or feast apply",
            )
        return read

    def update_registry_proto(self, registry_proto: Registry) -> None:
        """Write the file."""
        registry_proto.version_id = str(uuid.uuid4())
        registry_proto.last_updated.FromDatetime(datetime.now(UTC))
        with atomic(self.path) as temporary:
            temporary.write_bytes(registry_proto.SerializeToString())
