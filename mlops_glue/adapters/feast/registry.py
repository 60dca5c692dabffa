"""A registry file that is whole or not there. Feast's own is written in place, and loads as no definitions when empty.

registry: {registry_store_type: mlops_glue.adapters.feast.registry.AtomicRegistryStore, path: data/registry.db}
"""

from __future__ import annotations

import uuid
from typing import Any

from feast.infra.registry.file import FileRegistryStore
from feast.infra.registry.registry import REGISTRY_SCHEMA_VERSION
from feast.protos.feast.core.Registry_pb2 import Registry
from feast.utils import _utc_now
from google.protobuf.message import DecodeError

from mlops_glue.errors import DataError
from mlops_glue.files import atomic


class AtomicRegistryStore(FileRegistryStore):
    """Feast's registry file, written beside itself, synced and renamed."""

    def get_registry_proto(self) -> Any:
        """Read the file.

        Raises:
            FileNotFoundError: there is none; Feast makes one then.
            DataError: it is empty or damaged, or of a version of Feast that writes another layout.
        """
        if not self._filepath.exists():
            raise FileNotFoundError(f"{self._filepath}: there is no registry; have you run feast apply?")
        hint = f"the definitions make it anew: rm {self._filepath}, then glue materialize, or feast apply in its folder"
        try:
            read = Registry.FromString(self._filepath.read_bytes())
        except DecodeError as error:
            raise DataError(f"{self._filepath}: the registry is damaged", hint=hint) from error
        if not read.version_id:  # which every writer sets
            raise DataError(f"{self._filepath}: the registry is empty or damaged", hint=hint)
        if read.registry_schema_version not in ("", REGISTRY_SCHEMA_VERSION):
            raise DataError(
                f"{self._filepath}: the registry has layout {read.registry_schema_version!r}, which another version of "
                f"Feast wrote; this one has {REGISTRY_SCHEMA_VERSION!r}",
                hint=hint,
            )
        return read

    def _write_registry(self, registry_proto: Any) -> None:
        registry_proto.version_id = str(uuid.uuid4())
        registry_proto.last_updated.FromDatetime(_utc_now())
        with atomic(self._filepath) as temporary:
            temporary.write_bytes(registry_proto.SerializeToString())
