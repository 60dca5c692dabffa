"""`.glue/delivery.json`: what the last run delivered."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, NotRequired, TypedDict, cast

from mlops_glue import files, layout

if TYPE_CHECKING:
    from mlops_glue.config import Config
    from mlops_glue.delivery.compare import Comparison
    from mlops_glue.delivery.condition import Condition
    from mlops_glue.pipeline.evaluation import Fresh


class Delivery(TypedDict):
    """The result of a run's delivery."""

    fingerprint: str
    model: str
    env: str | None
    version: int
    new: bool  # the run registered the version
    digest: str | None  # of the version's bundle; None: the bundle on disk is different
    champion: int | None  # after the run
    previous: int | None  # before it
    refused: list[str]  # why the version is not champion
    comparison: Comparison | None
    conditions: NotRequired[list[Condition]]  # all that were checked; an older glue's record has none
    same_as: int | None  # the former champion, if the version is the same model
    fresh: Fresh | None
    online: dict[str, str]  # the outcome of each feature view
    kept_in: list[str]  # files that record the content of the online store
    packages: dict[str, str]  # that the model was trained with


def last_delivery(root: Path, config: Config) -> Delivery | None:
    """Read the last delivery; None if there is none, or it was for another model or environment."""
    with contextlib.suppress(OSError, ValueError, LookupError):  # missing, damaged, or from an older glue
        delivery = read(root)
        if (delivery["model"], delivery["env"]) == (config.model_name, config.environment):
            return delivery
    return None


def read(root: Path) -> Delivery:
    """Read the last delivery, for any model and environment."""
    return cast(Delivery, files.read_json(root / layout.DELIVERY))


def write(root: Path, delivery: Delivery) -> None:
    """Write `delivery.json`."""
    files.write_json(root / layout.DELIVERY, delivery)


def note_champion(root: Path, config: Config, champion: int | None) -> None:
    """Update the champion in `delivery.json` after a person moved the alias."""
    delivery = last_delivery(root, config)
    if delivery is not None and delivery["champion"] != champion:
        write(root, {**delivery, "champion": champion})
