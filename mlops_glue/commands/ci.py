"""`glue ci`: the workflows of GitHub Actions, and a Makefile with the same commands, from `glue.yaml`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from mlops_glue import __version__, console, io, layout
from mlops_glue import config as configs
from mlops_glue.adapters import dvc, git
from mlops_glue.commands import generated
from mlops_glue.errors import ConfigError, UsageError

MARK = "# Made by `glue ci`"  # the first line of a file that is glue's to write again
WORKFLOWS = ("test", "train", "deploy", "monitor")
EXTRA_OF = {"s3": "s3", "gs": "gcs", "azure": "azure"}  # by the scheme of the remote
CLOUD_OF = {"aws": "s3", "gcp": "gcs", "azure": "azure"}


def ci(*, check: bool = False, as_json: bool = False) -> int:
    """Write what is missing or stale, or only tell it. Returns 1 where `check` finds something."""
    root = layout.find_root()
    config = configs.load(root, "", tables=False)
    top = git.top(root)
    if top is None:
        raise UsageError(f"{root} is in no git repository, and workflows belong to one", hint="git init")
    made = files(config, root, top)
    part = generated.recorded(root).get("ci")
    bases = part.files if part is not None else {}
    outcomes = {
        path.relative_to(top).as_posix(): _outcome(path, text, bases.get(relative(path, root)))
        for path, text in made.items()
    }
    if not check:
        _write(made, outcomes, top)
        texts = {relative(path, root): text for path, text in made.items()}
        written = [p for p in made if outcomes[p.relative_to(top).as_posix()] in ("written", "unchanged")]
        generated.remember(root, "ci", {}, texts, [relative(path, root) for path in written])
    if not (root / config.ci.requirements).is_file():
        outcomes[(root / config.ci.requirements).relative_to(top).as_posix()] = "missing"
    stale = [path for path, outcome in outcomes.items() if outcome in ("missing", "stale", "left over", "to merge")]
    if as_json:
        console.result_json({"files": outcomes})
    else:
        _tell(root, config, outcomes)
    return 1 if check and stale else 0


def files(config: configs.Config, root: Path, top: Path) -> dict[Path, str | None]:
    """The text of each file by path; None where the config asks for no such file."""
    chosen = configs.in_environment(config, config.ci.env)
    values = _values(config, chosen, root, top)
    folder = layout.templates() / "ci"

    def text(file: str) -> str:
        return io.render(folder / file, {**values, "name": file.removesuffix(".yml")}, ("<<", ">>"))

    asked = {"test": True, "train": values["tracked"], "deploy": values["tracked"]}
    asked["monitor"] = values["tracked"] and config.ci.schedule is not None
    workflows = top / ".github" / "workflows"
    return {
        **{workflows / f"{values['prefix']}{n}.yml": text(f"{n}.yml") if asked[n] else None for n in WORKFLOWS},
        top / ".github" / "dependabot.yml": text("dependabot.yml"),
        root / "Makefile": text("Makefile"),
        root / "requirements.in": text("requirements.in"),
    }


def _values(config: configs.Config, chosen: configs.Config, root: Path, top: Path) -> dict[str, Any]:
    """What the templates take."""
    remote = config.data.remote is not None or dvc.has_remote(root)
    lacking = [s.path for s in config.data.sources.values() if not remote and not git.tracks(root, s.path)]
    if lacking:
        raise ConfigError(
            [f"{layout.CONFIG} data.remote: is not set, and git does not have {lacking[0]}: no job would find it"],
            hint="data: {remote: ${DVC_REMOTE_URL}}, or: dvc remote add --default NAME URL",
        )
    learnt = config.model_dump(include={"data", "features"})  # of no environment: a pull request sees no server
    store = root / config.features.repo / "feature_store.yaml"
    of_feast = configs.references(store.read_text(encoding="utf-8")) if store.is_file() else []
    for_data = {*configs.references(learnt), *of_feast, *config.ci.secrets}
    # no job serves, so none needs the keys of those who ask
    used = configs.references(chosen.model_dump(exclude={"environments": True, "ci": True, "serve": {"api_keys"}}))
    folder = "" if root == top else f"{root.relative_to(top).as_posix()}/"
    return {
        **config.ci.model_dump(exclude={"secrets"}),
        "actions": _actions(),
        "registry": _registry(config.ci.image),
        "data_secrets": sorted(for_data),
        "secrets": sorted({*for_data, *used}),
        "tracked": chosen.tracking.uri is not None,
        "remote": remote,
        "folder": folder,
        "prefix": folder.replace("/", "-"),
        "project": config.project,
        "extras": _extras(config, chosen),
        "version": __version__,
    }


def _actions() -> dict[str, str]:
    """What stands after `uses:` for each action, by its name: the commit, which nobody can move, and the version."""
    lines = (layout.templates() / "ci" / "actions.txt").read_text(encoding="utf-8").splitlines()
    rows = [line.split() for line in lines if not line.startswith("#")]
    return {name: f"{name}@{commit} # {version}" for name, version, commit in rows}


def _registry(image: str | None) -> str | None:
    """Whose login the image's registry takes."""
    host = (image or "").partition("/")[0]
    ends = {"ghcr.io": "ghcr", ".amazonaws.com": "aws", ".pkg.dev": "gcp", ".gcr.io": "gcp", ".azurecr.io": "azure"}
    return next((kind for end, kind in ends.items() if host.endswith(end)), None)


def _extras(config: configs.Config, chosen: configs.Config) -> list[str]:
    """The extras of glue that the jobs need."""
    found = {"pipeline", "serving"} | ({"validation"} if config.validation else set())
    found |= {"monitoring"} if config.ci.schedule is not None else set()
    scheme = (config.data.remote or "").partition("://")[0]
    found |= {EXTRA_OF[scheme]} if scheme in EXTRA_OF else {CLOUD_OF[config.ci.cloud]} if config.ci.cloud else set()
    if config.features.use:
        found.add("features")
        kind = str((chosen.features.online_store or {}).get("type", ""))
        found |= {kind} & {"redis", "postgres"}
    if chosen.tracking.uri is not None:  # jobs monitor
        found |= {"monitoring"} | ({"alerts"} if config.monitor.alerts.channels else set())
        found |= {"postgres"} if config.monitor.labels is not None and config.monitor.labels.url else set()
    return sorted(found)


def relative(path: Path, root: Path) -> str:
    """A path as the record has it: from the project folder, above which the workflows may be."""
    return Path(os.path.relpath(path, root)).as_posix()


def _outcome(path: Path, text: str | None, base: str | None) -> str:
    """What a file is, against what it should be and what was written (None: not known)."""
    if not path.is_file():
        return "missing" if text is not None else "not asked for"
    there = path.read_text(encoding="utf-8", errors="replace")
    if there == text:
        return "unchanged"
    if not there.startswith(MARK):
        return "yours"
    if base is not None and there != base:
        return "edited" if text == base else "to merge"
    return "stale" if text is not None else "left over"


def _write(made: dict[Path, str | None], outcomes: dict[str, str], top: Path) -> None:
    for path, text in made.items():
        name = path.relative_to(top).as_posix()
        if outcomes[name] == "left over":
            path.unlink()
            outcomes[name] = "removed"
        elif outcomes[name] in ("missing", "stale") and text is not None:
            io.write_text(path, text)
            outcomes[name] = "written"


def _tell(root: Path, config: configs.Config, outcomes: dict[str, str]) -> None:
    for path, outcome in outcomes.items():
        if outcome != "not asked for":
            console.result(f"{outcome:<9} {path}")
    if "to merge" in outcomes.values():
        console.progress("what you edited is not written over: glue upgrade merges it")
    if not (root / config.ci.requirements).is_file():
        console.progress(f"{config.ci.requirements} is what the jobs install: make lock, then commit it")
    log = configs.in_environment(config, config.ci.env).serve.prediction_log or ""
    if config.ci.schedule and "://" not in log:
        console.progress("monitor.yml reads serve.prediction_log; a folder of one machine no job sees: give it a URL")
    if any(path.endswith("train.yml") and outcome == "not asked for" for path, outcome in outcomes.items()):
        where = f"environments.{config.ci.env}.tracking.uri" if config.ci.env else "tracking.uri"
        console.progress(
            f"no train.yml, deploy.yml, monitor.yml: {where} is not set, and a job's own registry ends with its machine"
        )
