"""A project in Python: `glue run`, `status`, `compare`, `monitor` and `lineage` as methods."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import weakref
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_glue import config as configs
from mlops_glue import console, files, layout, telemetry
from mlops_glue.api.answer import Answer
from mlops_glue.api.model import Model, Rows, written
from mlops_glue.delivery import describe, fetch
from mlops_glue.delivery import run as runs
from mlops_glue.delivery.lineage import lineage
from mlops_glue.delivery.side_by_side import side_by_side
from mlops_glue.delivery.sides import resolve
from mlops_glue.errors import UsageError
from mlops_glue.monitoring import requests, wording
from mlops_glue.monitoring.run import run as monitor
from mlops_glue.monitoring.window import Window, of_log
from mlops_glue.report import facts
from mlops_glue.report import lineage as lineages
from mlops_glue.report import run as run_report
from mlops_glue.report import side_by_side as comparisons
from mlops_glue.report import status as statuses

if TYPE_CHECKING:
    import pandas as pd


class Project:
    """A folder with a `glue.yaml`, which is read again at each call.

    Attributes:
        root: folder of the project.
        env: environment of `glue.yaml`, or None.
    """

    def __init__(self, path: str | PathLike[str] = ".", env: str | None = None) -> None:
        """Open the project at or above `path`.

        Raises:
            UsageError: there is no project.
            ConfigError: its `glue.yaml` is not valid.
        """
        telemetry.off()
        self.root, self.env = layout.find_root(Path(path)), env or os.environ.get("GLUE_ENV")
        self._config(needs=())

    def _config(self, needs: tuple[str, ...] = configs.A_MODEL) -> configs.Config:
        return configs.load(self.root, self.env, tables=False, needs=needs)

    def load(self, version: int | str = "champion") -> Model:
        """Load a version of the model, by number or alias.

        Raises:
            UsageError: there is no such version.
            DataError: the bundle differs from the registered bundle.
        """
        config = self._config()
        folder = Path(tempfile.mkdtemp(prefix="glue-model-"))
        try:
            number = int(version) if str(version).isdigit() else self._of_alias(config, str(version))
            chosen, bundle = fetch.as_left_or_registered(self.root, config, number, folder / "registered")
            own = folder / "bundle"  # a copy, because a later run overwrites the project's bundle
            shutil.copytree(bundle, own)
            model = Model(config, self.root, chosen, own)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        weakref.finalize(model, shutil.rmtree, folder, ignore_errors=True)
        return model

    def _of_alias(self, config: configs.Config, alias: str) -> int | None:
        """Return the version number of an alias; None for the champion, which has a faster lookup."""
        if alias == "champion":
            return None
        store = fetch.read_only(self.root, config)
        there = store.aliases(config.model_name) if store is not None else {}
        if alias not in there:
            hint = f"use {', '.join(sorted(there))}, or a number" if there else fetch.NOWHERE
            raise UsageError(f"{config.model_name} has no alias {alias!r}", hint=hint)
        return there[alias]

    def run(self, *, set: Mapping[str, Any] | None = None, **options: Any) -> Answer:
        """Do what `glue run` does, and print each stage as it ends.

        Args:
            set: keys of `glue.yaml` to set before the run, such as `{"train.params.max_iter": 300}`; values are text,
                numbers, booleans, None, lists and dicts.
            **options: options of `delivery.run.Options`: `force`, `until`, `publish`, `promote`, `pull`, `push`.

        Returns:
            The record of the run. If the model is refused, the key `refused` lists the reasons.

        Raises:
            GlueError: a stage failed, or a table is not valid.
        """
        overrides = _as_yaml(set or {})
        done = runs.run(self.root, self.env, runs.Options(overrides=overrides, **options), console.stage)
        lines = [f"warning: {line}" for line in describe.warnings(done.evaluation, published=done.delivery is not None)]
        if done.delivery is None or done.evaluation is None:
            return Answer(run_report.record(done, {}), lines)
        parity = files.read_json(self.root / layout.BUNDLE / "parity.json")
        lines += run_report.outcome(done.delivery, done.evaluation, parity)
        return Answer(run_report.record(done, parity), lines, [run_report.metrics(done.evaluation)])

    def status(self) -> Answer:
        """Return what would run and why, the champion, and the outcome of the last run."""
        config = self._config(needs=())
        found = statuses.status(self.root, config)
        return Answer(asdict(found), statuses.lines(found, self.root, config))

    def versions(self) -> pd.DataFrame:
        """Return the newest 20 versions, latest first, with state, metrics, commit and reasons of a refusal.

        Raises:
            GlueError: the registry cannot be read.
        """
        import pandas as pd

        found = facts.registry(self._config(), self.root)
        if found.problem is not None:
            raise UsageError(f"the registry cannot be read: {found.problem}", hint="glue doctor")
        rows = [asdict(version) for version in found.versions]
        names = ["version", "created", "state", "refused", "commit", "dirty", "format"]
        frame = pd.DataFrame([{name: row[name] for name in names} | row["metrics"] for row in rows])
        return frame.set_index("version") if rows else pd.DataFrame(columns=names[1:])

    def compare(self, *what: int | str) -> Answer:
        """Compare versions, runs, commits or files of metrics; by default the last version and the champion.

        Raises:
            GlueError: one of them is not found, or their targets differ.
        """
        config = self._config()
        store = fetch.read_only(self.root, config)
        sides = resolve(config, self.root, store, [str(one) for one in what])
        found = side_by_side(config, self.root, store, sides, draw=True)
        record = files.json_value(comparisons.record(found))
        return Answer(
            record, [*comparisons.headlines(found), *found.problems], comparisons.all_tables(found), found.plot
        )

    def monitor(self, rows: Rows = None, *, last: str | None = None, version: int | None = None) -> Answer:
        """Compare rows, or a window of the prediction log, with the training data of the version.

        Like `glue monitor`, it sends alerts and retrains if `monitor` in `glue.yaml` is configured to.

        Args:
            rows: rows in any form that `Model` accepts; default: a window of the prediction log.
            last: the length of the window, such as `7d`.
            version: check only this version; default: all versions in the window, or for `rows` the champion.

        Raises:
            GlueError: nothing could be compared.
        """
        config, now = self._config(), datetime.now(UTC)
        train = partial(runs.run, on_stage=console.stage)
        with tempfile.TemporaryDirectory() as folder:
            window: Window | Path
            if rows is None:
                window = of_log(config, self.root, now, last=last, since=None, rows=None)
            else:
                window, _ = written(rows, Path(folder, "rows.parquet"))
            found, problems = monitor(
                config, self.root, now, window, version, page=False, on_verdict=lambda _: None, train=train
            )
        lines = [str(problem) for problem in (*found["problems"], *problems)]
        lines += [wording.too_few(found)] if found["verdict"] == "not enough data" else []
        for one in found["versions"]:
            lines.append(wording.of_version(found, one))
            lines += [f"  {line}" for line in wording.details(one)]
        return Answer(found, lines)

    def lineage(self, version: int | None = None, *, request: str | None = None) -> Answer:
        """Return the lineage of a version, by default the champion, or of the version that answered a request.

        Raises:
            GlueError: there is no such version or request.
        """
        config = self._config()
        answered = requests.answered(config, self.root, request, version) if request is not None else None
        number = answered["glue_version"] if answered is not None else version
        store, chosen = fetch.chosen_version(fetch.read_only(self.root, config), self.root, config, number)
        found = lineage(self.root, store, config.model_name, chosen)
        return Answer({**asdict(found), "prediction": answered}, lineages.text(found, answered))

    def __repr__(self) -> str:
        """Return the model, the folder and the environment."""
        where = f", environment {self.env}" if self.env else ""
        return f"{self._config(needs=()).model_name} in {self.root}{where}"


def _as_yaml(values: Mapping[str, Any]) -> dict[str, str]:
    """Convert values to YAML, in JSON's form, which preserves their types.

    Raises:
        UsageError: a value has an unsupported type.
    """
    if not isinstance(values, Mapping):
        raise UsageError(f"set={values!r}: is not a mapping", hint='run(set={"train.seed": 1})')
    found = {}
    for key, value in values.items():
        try:
            found[key] = json.dumps(value, default=lambda scalar: scalar.item(), ensure_ascii=False)
        except (TypeError, ValueError, AttributeError):
            raise UsageError(f"set: {key} is a {type(value).__name__}, which {layout.CONFIG} cannot contain") from None
    return found
