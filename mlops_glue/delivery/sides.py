"""The arguments of `glue compare`: the version, run or file that each refers to, and its records."""

from __future__ import annotations

import math
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

from mlops_glue import files
from mlops_glue.adapters import git
from mlops_glue.adapters.git.code import Code
from mlops_glue.adapters.mlflow import FINGERPRINT
from mlops_glue.delivery import provenance
from mlops_glue.delivery.promote import CHALLENGER, EVALUATION
from mlops_glue.delivery.record import last_delivery
from mlops_glue.delivery.tracked_run import flatten
from mlops_glue.errors import GlueError, UsageError, first_line
from mlops_glue.pipeline import evaluation as evaluations
from mlops_glue.pipeline.evaluation import Evaluation
from mlops_glue.pipeline.fingerprint import of_lock
from mlops_glue.suggest import did_you_mean

if TYPE_CHECKING:
    from mlops_glue.adapters.mlflow import Store
    from mlops_glue.config import Config

SHORT = 8  # digits of a run or a commit
OF_DATA = "data."  # parameters of a run: the MD5 of a table
LIKE = 'a metrics file contains, for example, {"roc_auc": 0.91}'
FILES = (".json", ".yaml", ".yml")


class Recorded(TypedDict):
    """A recorded metric; None if it is undefined, or has no interval."""

    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Side:
    """A model, run or file to compare. Unknown values are None, or empty.

    Attributes:
        name: its name in all tables.
        given: the arguments that refer to it.
        version: its version number.
        run: the id of its MLflow run.
        created: when the version was registered, in ISO 8601, UTC.
        aliases: the version's aliases.
        commit: the commit of its code.
        dirty: whether its code had uncommitted changes.
        params: the parameters of its run, except the data's hashes.
        metrics: by name, as recorded at training.
        data: the rows and the MD5 of each table.
        holdout: the rows and the MD5 of the holdout that `metrics` were measured on.
        code: the code as it ran.
        evaluation: the complete evaluation.
        left_out: the entries of a file that are not numbers.
    """

    name: str
    given: list[str]
    version: int | None = None
    run: str | None = None
    created: str | None = None
    aliases: list[str] = field(default_factory=list)
    commit: str | None = None
    dirty: bool | None = None
    params: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, Recorded] = field(default_factory=dict)
    data: dict[str, dict[str, Any]] = field(default_factory=dict)
    holdout: dict[str, Any] = field(default_factory=dict)
    code: Code | None = None
    evaluation: Evaluation | None = None
    left_out: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Place:
    """The place to look up arguments: the project, its registry (None: there is none yet), and its versions."""

    config: Config
    root: Path
    store: Store | None
    tags: Mapping[int, Mapping[str, str]]  # by version

    @property
    def model(self) -> str:
        """The registered model."""
        return self.config.model_name


def resolve(config: Config, root: Path, store: Store | None, words: Sequence[str]) -> list[Side]:
    """Resolve the arguments to distinct sides, the base first.

    A number or an alias is a version; 32 hexadecimal digits are a run; a name that ends in .json or .yaml is a metrics
    file; anything else is a git commit, which refers to the version with its `dvc.lock`, or else to all versions from
    its code. Without arguments: the champion, and the challenger or the last version. A single argument is compared
    with the champion.

    Raises:
        UsageError: an argument cannot be resolved, or there is nothing to compare with.
        GlueError: the registry does not answer.
    """
    tags = store.tags_by_version(config.model_name) if store is not None else {}
    place = Place(config, root, store, tags)
    found: dict[str, list[str]] = {}  # the words for each thing
    for word in words:
        for thing in stands_for(place, word):
            found.setdefault(thing, []).append(word)
    if not found:
        found = {thing: [] for thing in _unasked(place)}
    elif len(found) == 1:
        found = {_champion(place, words, next(iter(found))): [], **found}
    return [_side(place, thing, given) for thing, given in found.items()]


def stands_for(place: Place, word: str) -> list[str]:
    """Resolve an argument to `v3`, the complete id of a run, or the path of a file.

    Raises:
        UsageError: the argument cannot be resolved.
    """
    number = re.fullmatch(r"v?(\d{1,9})", word)
    if number is not None and int(number[1]) in place.tags:
        return [f"v{int(number[1])}"]
    if re.fullmatch(r"[0-9a-f]{32}", word):
        return [_run(place, word)]
    if word.lower().endswith(FILES):
        path = Path(word)
        if not path.is_file():
            near = sorted(p.name for p in path.parent.glob("*") if p.name.lower().endswith(FILES))
            raise UsageError(f"{word}: no such file", hint=did_you_mean(path.name, near))
        return [word]
    if number is None or len(word) > 6:  # a commit may consist only of digits
        aliased = place.store.get_alias(place.model, word) if place.store is not None and place.tags else None
        if aliased is not None:
            return [f"v{aliased}"]
        if (commit := git.commit_hash(place.root, word)) is not None:
            return _of_commit(place, word, commit)
    raise _unknown(place, word, is_number=number is not None)


def _unknown(place: Place, word: str, *, is_number: bool) -> UsageError:
    """Return the error for an argument that cannot be resolved."""
    if is_number and not place.tags:
        return UsageError(f"{word}: {place.model} has no version yet", hint="glue run")
    if is_number:
        versions = [str(one) for one in sorted(place.tags)]
        return UsageError(f"{word}: {place.model} has no such version", hint=did_you_mean("", versions))
    if Path(word).is_file():
        return UsageError(f"{word}: not a metrics file, which must end in {', '.join(FILES)}", hint=LIKE)
    store = place.store if place.tags else None
    aliases = [name for name in ("champion", CHALLENGER) if store is not None and store.get_alias(place.model, name)]
    known = [name for name in (*aliases, *git.names(place.root)) if name != word]
    return UsageError(f"{word}: not a version, run, file or commit", hint=did_you_mean(word, known))


def _run(place: Place, run: str) -> str:
    """Return the version that a run produced, or else the run."""
    store = place.store
    if store is None or (logged := store.logged(run)) is None:
        there = store.run_ids(place.config.project) if store is not None else []
        raise UsageError(f"{run}: the registry has no such run", hint=did_you_mean(run, there))
    mark = logged.tags.get(FINGERPRINT)
    made = [version for version, tags in place.tags.items() if mark is not None and tags.get(FINGERPRINT) == mark]
    return f"v{made[0]}" if made else run


def _of_commit(place: Place, word: str, commit: str) -> list[str]:
    """Return the version that is committed there, or else the versions from its code, in order."""
    text = git.show(place.root, commit, "dvc.lock")
    mark = _fingerprint(text) if text else None
    committed = [version for version, tags in place.tags.items() if mark and tags.get(FINGERPRINT) == mark]
    made = [version for version, tags in place.tags.items() if tags.get("mlflow.source.git.commit") == commit]
    if not committed and not made:
        others = sorted({tags.get("mlflow.source.git.commit", "")[:SHORT] for tags in place.tags.values()} - {""})
        why = "no version was trained from this commit, and its dvc.lock belongs to no version"
        raise UsageError(f"{word} ({commit[:SHORT]}): {why}", hint=did_you_mean("", others))
    return [f"v{version}" for version in committed or sorted(made)]


def _fingerprint(lock: str) -> str | None:
    """Return the fingerprint of a `dvc.lock`; None if the file is broken."""
    from ruamel.yaml.error import YAMLError

    try:
        stages = files.parse_yaml(lock)["stages"]
        return of_lock(stages)
    except (YAMLError, KeyError, TypeError, AttributeError):
        return None


def _unasked(place: Place) -> list[str]:
    """Return the champion, and the challenger or else the last version that is not champion."""
    if place.store is None or not place.tags:
        raise UsageError(f"{place.model} has no version yet", hint="glue run")
    champion = place.store.champion(place.model)
    challenger = place.store.get_alias(place.model, CHALLENGER)
    last = last_delivery(place.root, place.config)
    order = [challenger, last["version"] if last else None, *sorted(place.tags, reverse=True)]
    others = [one for one in dict.fromkeys(order) if one in place.tags and one != champion]
    base = champion if champion is not None else others.pop() if len(others) > 1 else None
    if base is None or not others:
        why = f"{place.model} has only one version, so there is nothing to compare it with"
        raise UsageError(why, hint="glue run, once something has changed")
    return [f"v{base}", f"v{others[0]}"]


def _champion(place: Place, words: Sequence[str], alone: str) -> str:
    """Return the champion, to compare a single argument with."""
    others = [str(version) for version in sorted(place.tags) if f"v{version}" != alone]
    hint = f"glue compare {alone} {others[-1]}" if others else "glue run, once something has changed"
    if len(words) > 1:
        raise UsageError(f"{' and '.join(words)}: both are {alone}, so there is nothing to compare", hint=hint)
    champion = place.store.champion(place.model) if place.store is not None and place.tags else None
    if champion is None or alone == f"v{champion}":
        why = "is the champion itself" if champion is not None else f"{place.model} has no champion"
        raise UsageError(f"{alone}: {why}, so there is nothing to compare it with", hint=hint)
    return f"v{champion}"


def _side(place: Place, thing: str, given: list[str]) -> Side:
    """Read the records of a resolved argument."""
    if thing.lower().endswith(FILES):
        numbers, left_out = _numbers(Path(thing))
        return Side(thing, given, metrics={name: _plain(value) for name, value in numbers.items()}, left_out=left_out)
    assert place.store is not None
    if not thing.startswith("v"):
        return _of_run(place.store, thing, given)
    return _of_version(place, place.store, int(thing[1:]), given)


def _numbers(file: Path) -> tuple[dict[str, float], list[str]]:
    """Read the numbers in a file, by dotted name, and the names of other values.

    Raises:
        UsageError: the file has no numbers, or cannot be read.
    """
    from ruamel.yaml.error import YAMLError

    try:
        leaves = {".".join(key): value for key, value in flatten(files.read_yaml(file)).items()}
    except (YAMLError, OSError, ValueError) as error:
        raise UsageError(f"{file}: cannot be read: {first_line(error)}", hint=LIKE) from None
    found = {
        name: float(value)
        for name, value in leaves.items()
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    }
    if not found:
        raise UsageError(f"{file}: contains no metrics (names with numbers)", hint=LIKE)
    return found, [name for name in leaves if name not in found]


def _plain(value: float) -> Recorded:
    return {"value": value, "low": None, "high": None}


def _of_run(store: Store, run: str, given: list[str]) -> Side:
    logged = store.logged(run)
    assert logged is not None  # `stands_for` has seen it
    commit, dirty = logged.tags.get("mlflow.source.git.commit"), logged.tags.get("glue.git_dirty")
    return Side(
        f"run {run[:SHORT]}",
        given,
        run=run,
        commit=commit,
        dirty=None if dirty is None else dirty == "true",
        params={name: value for name, value in logged.params.items() if not name.startswith(OF_DATA)},
        metrics={name: _plain(value) for name, value in logged.metrics.items()},
        data=_tables(logged.params),
        code=Code(commit, "", b"") if commit else None,
    )


def _tables(params: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Return the MD5 of each table from a run's parameters."""
    named = {name.removeprefix(OF_DATA): value for name, value in params.items() if name.startswith(OF_DATA)}
    return {name: {"rows": None, "md5": md5} for name, md5 in named.items()}


def _of_version(place: Place, store: Store, version: int, given: list[str]) -> Side:
    entry = store.description(place.model, version)
    tags = entry["tags"]
    params = logged.params if entry["run"] and (logged := store.logged(entry["run"])) is not None else {}
    with tempfile.TemporaryDirectory() as folder:
        made = provenance.of_version(store, place.model, version, Path(folder))
        try:
            report = evaluations.read(store.download_artifact(place.model, version, EVALUATION, Path(folder)))
        except (GlueError, OSError):  # an imported model has none
            report = None
    scores = {} if report is None else {name: _score(score) for name, score in report["metrics"].items()}
    data, code, dirty = _tables(params), None, tags.get("glue.git_dirty")
    if made is not None:
        record, patch = made
        data = {table.name: {"rows": table.rows, "md5": table.md5} for table in record.data}
        code = Code(record.code["commit"], record.code["tree"], patch, record.code["changed"])
    return Side(
        f"v{version}",
        given,
        version=version,
        run=entry["run"],
        created=entry["created"],
        aliases=entry["aliases"],
        commit=tags.get("mlflow.source.git.commit"),
        dirty=None if dirty is None else dirty == "true",
        params={name: value for name, value in params.items() if not name.startswith(OF_DATA)},
        metrics=scores or {name: _plain(value) for name, value in entry["metrics"].items()},
        data=data,
        holdout={"rows": report["rows"] if report else None, "md5": tags.get("glue.holdout_md5")},
        code=code,
        evaluation=report,
    )


def _score(score: Mapping[str, Any]) -> Recorded:
    return {"value": score["value"], "low": score["low"], "high": score["high"]}
