"""Who becomes champion, who does not and why, and which rows a comparison leaves out."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.metrics import roc_auc_score

from mlops_glue import bootstrap, files, layout, tables
from mlops_glue.adapters import skops
from mlops_glue.config import Config
from mlops_glue.delivery import audit, compare, conditions, history, provenance, shadow, skew, trial
from mlops_glue.delivery.complete import with_features
from mlops_glue.delivery.condition import former, of_comparison, of_fresh, of_parity, refusals
from mlops_glue.delivery.conditions import becomes_anchor
from mlops_glue.delivery.fetch import chosen_version
from mlops_glue.delivery.history import Verdict, champions, decisions
from mlops_glue.delivery.promote import Reason, check_alias, move, promote, rollback, set_alias
from mlops_glue.delivery.rows import Rows, identities
from mlops_glue.errors import DataError, ToolError, UsageError
from mlops_glue.records import FeatureList, FeatureView
from mlops_glue.schema import Column, Schema


def order(value: float | None, low: float | None, high: float | None) -> dict[str, Any]:
    return {"rows": 128, "value": value, "low": low, "high": high}


GOOD = order(0.8, 0.7, 0.9)


@pytest.mark.parametrize(
    "candidate, champion, by_person, said",
    [
        (GOOD, GOOD, False, []),
        (GOOD, None, False, []),
        (GOOD, order(0.45, 0.4, 0.5), False, []),  # the boundary is no reverse
        (GOOD, order(0.45, 0.4, 0.4999), False, ["seem to be reversed"]),
        (GOOD, order(0.45, 0.4, 0.4999), True, []),  # a person has looked
        (GOOD, order(None, None, None), False, []),
        (order(0.55, 0.5, 0.6), GOOD, False, ["0.5500, not clearly better than chance"]),
        (order(0.55, 0.5001, 0.6), GOOD, False, []),
        (order(0.55, 0.5, 0.6), GOOD, True, ["not clearly better"]),
        (order(None, None, None), GOOD, False, ["is undefined"]),
        (order(0.4, 0.3, 0.45), order(0.1, 0.05, 0.2), False, ["not clearly better", "seem to be reversed"]),
    ],
)
def test_what_fresh_rows_say(candidate: Any, champion: Any, by_person: bool, said: list[str]) -> None:
    found = refusals(of_fresh(candidate, champion, 7, by_person=by_person))
    assert len(found) == len(said) and all(word in line for word, line in zip(said, found, strict=True))
    assert all("glue promote 7" in line for line in found if "seem to be reversed" in line)


def test_which_former_champions_a_run_does_not_promote() -> None:
    why = "v1 was champion before v2 replaced it; to promote it again: glue promote 1"
    assert former(1, {}, [1, 2], 2, "champion") == why
    assert former(1, {}, [1, 2], 2, "challenger") is None is former(3, {}, [1, 2], 2, "champion")
    assert former(1, {}, [1], None, "champion") is None  # nobody is champion now
    for alias in ("champion", "challenger"):
        assert "was rolled back at noon" in str(former(1, {"glue.rolled_back": "noon"}, [], 2, alias))


def test_the_order_of_numbers_is_spearmans() -> None:
    from scipy.stats import spearmanr

    rng = np.random.default_rng(0)
    truth, said = rng.integers(0, 20, 200).astype(float), rng.normal(size=200)
    told = bootstrap.ranking("regression", (truth, said, None), 0)
    assert told["value"] == pytest.approx((1 + spearmanr(truth, said).statistic) / 2) and told["rows"] == 200
    assert told["low"] < told["value"] < told["high"]
    assert bootstrap.ranking("regression", (truth, truth * 3 + 100, None), 0)["value"] == 1  # another level
    assert bootstrap.ranking("regression", (truth, -truth, None), 0)["value"] == pytest.approx(0)
    assert np.isnan(bootstrap.ranking("regression", (truth, np.ones(200), None), 0)["value"])


def table(**columns: Any) -> pa.Table:
    made = {"n": [1, 2, 2, 2], "word": ["a", "b", "b", "b"], "yes": [True, None, None, None]}
    return pa.table({**made, "at": [datetime(2026, 1, 1)] * 4, **columns})


def test_a_row_is_the_same_after_others_were_added() -> None:
    """Also where a null in a new row makes numbers of another type; equal rows are different rows."""
    old = table()
    more = {"n": [1, 2, 2, 2, None], "word": ["a", "b", "b", "b", None], "yes": [True, None, None, None, False]}
    longer = pa.table({**more, "at": pa.array([datetime(2026, 1, 1)] * 5, pa.timestamp("us"))})
    longer = longer.set_column(0, "n", longer["n"].cast(pa.float64()))
    assert identities(longer)[:4].tolist() == identities(old).tolist()
    assert len(set(identities(longer).tolist())) == 5


def test_which_rows_were_seen(tmp_path: Path) -> None:
    old = table()
    Rows(old.column_names, identities(old), np.array([True, False, True, False])).write(tmp_path / "r.parquet")
    rows = Rows.read(tmp_path / "r.parquet")
    assert rows.columns == old.column_names and rows.trained.tolist() == [True, False, True, False]
    assert rows.seen(old).tolist() == [True, False, True, False]  # type: ignore[union-attr]
    assert rows.seen(old.append_column("new", pa.array([1, 2, 3, 4]))).tolist() == [True, False, True, False]  # type: ignore[union-attr]
    assert rows.seen(table(word=["z", "b", "b", "b"])).tolist() == [False, False, True, False]  # type: ignore[union-attr]
    assert rows.seen(old.drop(["word"])) is None  # it is not known
    assert rows.begin(old) and rows.begin(pa.concat_tables([old, old]))
    assert not rows.begin(old.slice(0, 3)) and not rows.begin(old.slice(1)) and not rows.begin(old.drop(["n"]))


ROWS = 200
LABELS = ["yes", "no"]  # the positive class is the first: the order of probabilities is another than that of metrics
NOW = "glue.verdict."


class Registry:
    """A registry in memory: what the store of MLflow does, without its second for each test."""

    trust: tuple[str, ...] = ()

    def __init__(self, folder: Path) -> None:
        self.folder, self.aliases, self.noted = folder, dict[str, int](), list[tuple[int, str, str]]()
        self.of: dict[int, dict[str, str]] = {1: {}, 2: {}, 3: {}}
        self.unsigned: set[int] = set()
        self.reasons: list[str | None] = []
        self.model_tags: dict[str, str] = {}
        self.lines: list[tuple[int, str]] = []

    def add_to_description(self, model: str, version: int, line: str) -> None:
        assert model == "p"
        self.lines.append((version, line))

    def versions(self, model: str) -> list[int]:
        assert model == "p"
        return list(self.of)

    def champion(self, model: str) -> int | None:
        return self.get_alias(model, "champion")

    def get_alias(self, model: str, alias: str) -> int | None:
        assert model == "p"
        return self.aliases.get(alias)

    def set_alias(self, model: str, alias: str, version: int, *why: Any, **more: Any) -> None:
        assert model == "p"
        self.aliases[alias] = version
        self.reasons.append(more.get("reason"))

    def get_model_tag(self, model: str, key: str) -> str | None:
        return self.model_tags.get(key)

    def set_model_tag(self, model: str, key: str, value: str) -> None:
        self.model_tags[key] = value

    def model_tags_of(self, model: str) -> dict[str, str]:
        return dict(self.model_tags)

    def remove_model_tag(self, model: str, key: str) -> None:
        self.model_tags.pop(key, None)

    def remove_alias(self, model: str, alias: str) -> None:
        assert model == "p"
        del self.aliases[alias]

    def tags(self, model: str, version: int) -> dict[str, str]:
        assert model == "p"
        return dict(self.of[version])

    def tag(self, model: str, version: int, tags: dict[str, str]) -> None:
        assert model == "p"
        self.of[version] |= tags

    def untag(self, model: str, version: int, key: str) -> None:
        assert model == "p"
        self.of[version].pop(key, None)

    def champion_history(self, model: str) -> list[tuple[int, str, str]]:
        assert model == "p"
        return list(self.noted)

    def record_champion(self, model: str, version: int, how: str, when: str) -> None:
        assert model == "p" and datetime.fromisoformat(when).utcoffset() == timedelta(0)
        self.noted.append((version, how, when))

    def has_signature(self, model: str, version: int) -> bool:
        assert model == "p"
        return version not in self.unsigned

    def download_artifact(self, model: str, version: int, name: str, into: Path) -> Path:
        assert model == "p"
        if not (self.folder / f"{version}" / name).is_dir():
            raise ToolError(f"v{version} has no {name}")
        return Path(shutil.copytree(self.folder / f"{version}" / name, into / name))

    def read_artifact(self, model: str, version: int, name: str) -> str | None:
        path = self.folder / f"{version}" / name
        return path.read_text() if path.is_file() else None

    def write_artifact(self, model: str, version: int, name: str, text: str) -> None:
        files.write_text(self.folder / f"{version}" / name, text)

    def live_run(self, model: str, version: int) -> str:
        return f"run of v{version}"

    def download_bundle(self, model: str, version: int, into: Path) -> Path:
        found = self.download_artifact(model, version, "bundle", into)
        if self.of[version].get("glue.bundle_sha256") != files.digest(found):
            raise DataError(f"{model} v{version}: its bundle is another")
        return found


@pytest.fixture(scope="module")
def models() -> dict[str, Any]:
    """A table, and models by the column that each looks at: `x` tells most of the target, `z` less."""
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(0)
    frame = {name: rng.normal(size=ROWS).astype(np.float32) for name in "xz"}
    yes = 2 * frame["x"] + frame["z"] + rng.normal(size=ROWS) > 0
    y = np.where(yes, "yes", "no").astype(object)
    made = {}
    for name, weights in (("x", [1, 0]), ("z", [0, 1]), ("-z", [0, -1])):
        data = pd.DataFrame(frame) * weights
        made[name] = LogisticRegression().fit(data.to_numpy(), y)
    return {"table": pa.table({**frame, "y": pa.array(y)}), **made}


class Project:
    """A project after `package`, with a registry; its candidate is version 2."""

    def __init__(self, root: Path, models: dict[str, Any]) -> None:
        self.root, self.store, self.models = root, Registry(root / "registry"), models
        tables.write_parquet(root / layout.TABLE, models["table"])
        self.holdout = np.arange(ROWS - 1, 39, -2)  # 80 rows, in no order of the table
        target = models["table"].column("y").take(pa.array(self.holdout))
        tables.write_parquet(root / layout.TEST, pa.table({layout.ROW: self.holdout, "target:y": target}))
        files.write_text(root / "dvc.lock", f"stages: {{split: {{outs: [{{path: {layout.TEST}, md5: of-test}}]}}}}\n")
        self.report: dict[str, Any] = {
            "task": "binary",
            "metrics": {"roc_auc": {"value": 0.9, "trivial": 0.5}},
            "thresholds": [],
        }
        self.options: dict[str, Any] = {}
        self.bundle(root / layout.BUNDLE, "x")
        self.register(2, root / layout.BUNDLE)

    def bundle(self, folder: Path, model: str, **of_schema: Any) -> Path:
        folder.mkdir(parents=True)
        skops.save(self.models[model], folder / "model.skops")
        columns = [Column("x", "number"), Column("z", "number")]
        made = Schema(**{"task": "binary", "target": "y", "columns": columns, "labels": ["no", "yes"]} | of_schema)
        files.write_json(folder / "schema.json", made.to_dict())
        files.write_json(folder / "parity.json", {"faithful": True, "format": "skops", "reason": ""})
        return folder

    def register(self, version: int, bundle: Path, *, tried: bool = True) -> None:
        shutil.copytree(bundle, self.store.folder / f"{version}/bundle", dirs_exist_ok=True)
        digest = files.digest(bundle)
        self.store.of[version] |= {"glue.bundle_sha256": digest, "glue.holdout_md5": "of-test"}
        if tried:
            trial.known(self.root, digest)

    def other(self, version: int, model: str, **of_schema: Any) -> None:
        """Another version in the registry."""
        self.register(version, self.bundle(self.root / f"other/{version}", model, **of_schema))
        self.evaluated(self.store.folder / f"{version}/evaluation")

    def evaluated(self, folder: Path, **more: Any) -> None:
        files.write_json(folder / "evaluation.json", self.report | more)

    def config(self) -> Config:
        source = {"path": "t.csv"}
        made = {"data": {"sources": {"t": source}, "labels": {"source": "t", "target": "y"}}, "train": {"seed": 5}}
        return Config.model_validate({"glue": 1, "project": "p", **made, **self.options})

    def promote(self, version: int = 2, *, by_person: bool = False, **how: Any) -> Verdict:
        self.evaluated(self.root / layout.EVALUATION)
        reason = Reason() if by_person else None
        return promote(self.config(), self.root, self.store, version, by_person=reason, **how)  # type: ignore[arg-type]

    def verdict(self, version: int = 2) -> dict[str, Any]:
        """The last decision that was written down."""
        found: dict[str, Any] = decisions(self.store.of[version])[-1]
        return found


@pytest.fixture
def project(tmp_path: Path, models: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.setattr(compare, "CALLS", compare.FEWEST_CALLS)  # a latency is measured in each test, and read in one
    return Project(tmp_path, models)


def champion_of(project: Project, model: str = "z", version: int = 1, **of_schema: Any) -> Project:
    project.other(version, model, **of_schema)
    project.store.aliases["champion"] = version
    return project


def plain(verdict: Verdict) -> Verdict:
    """Without its conditions."""
    return replace(verdict, conditions=[])


def test_without_a_champion_the_candidate_is_champion(project: Project) -> None:
    project.store.aliases["challenger"] = 2
    assert plain(project.promote()) == Verdict(2, 2, None, [], None)
    assert project.store.aliases == {"champion": 2}  # and challenger no more
    assert [one[:2] for one in project.store.noted] == [(2, "promote")]
    said = project.verdict()
    said.pop("conditions_sha256")
    assert abs(datetime.fromisoformat(said.pop("time")) - datetime.now(UTC)) < timedelta(minutes=10)
    assert said == {"alias": "champion", "by": "run", "champion": None, "refused": [], "compared": None}


@pytest.mark.parametrize(
    ("maker", "approvers", "said"),
    [
        ("ada", ["bob"], None),
        ("ada", ["ada", "bob"], None),
        ("ada", ["ada"], "approval: ada made v2 and cannot approve it"),
        ("ada", ["Ada"], "approval: Ada made v2 and cannot approve it"),
        (
            "ada",
            [],
            "approval: this run had no reviewers (set them in the repository: Settings, Environments, live, Required ",
        ),
        (
            "ada",
            ToolError("GitHub answered 403", hint="permissions: {actions: read}"),
            "approval: GitHub answered 403 (p",
        ),
        (None, ["bob"], "approval: the maker of v2 is not recorded"),
    ],
)
def test_somebody_else_approves(
    project: Project, monkeypatch: pytest.MonkeyPatch, maker: str | None, approvers: Any, said: str | None
) -> None:
    def asked(root: Path, environment: str) -> list[str]:
        assert (root, environment) == (project.root, "live")
        if isinstance(approvers, Exception):
            raise approvers
        return list(approvers)

    monkeypatch.setattr(audit, "approvers", asked)
    project.options = {"promote": {"approval": "required"}, "ci": {"environment": "live"}}
    project.evaluated(project.root / layout.EVALUATION)
    project.store.of[2] |= {provenance.MAKER: maker} if maker else {}
    project.evaluated(project.store.folder / "2/evaluation")
    (refused,) = project.promote().refused
    assert refused == "approval: someone other than its maker must approve v2: glue promote 2 --approve"
    (refused,) = project.promote(by_person=True).refused  # not by a person either, without --approve
    made = promote(project.config(), project.root, project.store, 2, by_person=Reason("so", approves=True))  # type: ignore[arg-type]
    assert (made.champion == 2) == (said is None)
    assert [line[: len(said or "")] for line in made.refused] == ([said] if said else [])


def test_a_better_candidate_takes_the_place_of_the_champion(project: Project) -> None:
    champion_of(project)
    found = project.promote()
    assert (found.version, found.champion, found.previous, found.refused) == (2, 2, 1, [])
    assert project.store.aliases == {"champion": 2}
    assert [one[:2] for one in project.store.noted] == [
        (1, "promote"),
        (2, "promote"),
    ]  # who was it by other means, too
    table = project.models["table"].take(pa.array(project.holdout))
    yes = np.array(table.column("y").to_pylist()) == "yes"
    scores = [
        project.models[name].predict_proba(table.select(["x", "z"]).to_pandas().to_numpy())[:, 1] for name in ("x", "z")
    ]

    def area(at: Any, score: Any) -> float:
        """The share of pairs in the right order, which is the area under the curve where no two scores are equal."""
        drawn, positive = score[at], yes[at]
        return float((drawn[positive][:, None] > drawn[~positive]).mean())

    said = found.comparison
    assert said is not None and said["candidate"] == pytest.approx(roc_auc_score(yes, scores[0]))
    assert said["champion"] == pytest.approx(roc_auc_score(yes, scores[1]))
    gain = said["candidate"] - said["champion"]
    again, draws = np.random.default_rng(5), []
    for _ in range(500):  # DeLong's interval is about that of a bootstrap of the same rows of both
        at = again.integers(0, 80, 80)
        draws.append(area(at, scores[0]) - area(at, scores[1]))
    assert (said["low"], said["high"]) == pytest.approx(tuple(np.quantile(draws, [0.05, 0.95])), abs=0.03)
    assert said["gain"] == pytest.approx(gain) and said["low"] < gain < said["high"]
    assert {key: said[key] for key in ("version", "metric", "confidence", "rows", "method", "seen", "order")} == {
        **{"version": 1, "metric": "roc_auc", "confidence": 0.9, "rows": 80, "method": "DeLong"},
        **{"seen": None, "order": None},
    }
    assert said["finding"] == "better"
    assert project.verdict()["compared"] == json.loads(json.dumps(said)) and project.verdict()["champion"] == 1


def test_a_worse_candidate_is_refused_and_the_champion_stays(project: Project) -> None:
    project.options = {"promote": {"metric": "log_loss", "confidence": 0.5}}
    shutil.rmtree(project.root / layout.BUNDLE)
    project.register(2, project.bundle(project.root / layout.BUNDLE, "-z"))
    champion_of(project, "x")
    found = project.promote()
    said = found.comparison
    assert said is not None and said["confidence"] == 0.5 and said["metric"] == "log_loss"
    assert said["gain"] == pytest.approx(said["champion"] - said["candidate"])  # of a loss, less is better
    assert said["low"] < said["gain"] < said["high"] < 0 and said["finding"] == "worse"
    scores = f"log_loss {said['candidate']:.4f}, champion v1 {said['champion']:.4f} on the same holdout"
    assert plain(found) == Verdict(2, 1, 1, [f"{scores}: the candidate is worse"], said)
    assert project.store.aliases == {"champion": 1}
    assert project.verdict()["refused"] == found.refused and not project.store.noted


COMPARED: Any = {
    "metric": "f1",
    "candidate": 0.5,
    "champion": 0.6,
    "version": 1,
    "low": -0.2,
    "high": 0.1,
    "slack": 0.01,
}


@pytest.mark.parametrize(
    ("finding", "rule", "refused"),
    [
        ("better", "not_worse", ""),
        ("better", "better", ""),
        ("no difference shown", "not_worse", ""),
        ("no difference shown", "better", "no difference shown, but promote.rule requires a better model"),
        ("worse", "not_worse", "the candidate is worse"),
        ("worse", "better", "the candidate is worse"),
    ],
)
def test_what_each_rule_takes(finding: str, rule: str, refused: str) -> None:
    found = of_comparison("champion", COMPARED | {"finding": finding}, rule, "champion v1")
    assert (found["value"], found["limit"]) == ((0.1, -0.01) if rule == "not_worse" else (-0.2, 0.0))
    assert refusals([found]) == ([f"f1 0.5000, champion v1 0.6000 on the same holdout: {refused}"] if refused else [])


def test_a_candidate_is_held_against_the_anchor_too(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """The champion may be a little worse than the one before, and the candidate a little worse than that."""
    assert becomes_anchor(None)
    assert becomes_anchor({"low": 0.02, "slack": 0.01})  # type: ignore[typeddict-item]
    assert not becomes_anchor({"low": 0.005, "slack": 0.01})  # type: ignore[typeddict-item]
    assert not becomes_anchor({"low": 0.02, "slack": 0.01, "anchor": {"low": -0.1, "slack": 0.01}})  # type: ignore[typeddict-item]
    champion_of(project)
    project.store.model_tags["glue.anchor"] = "3"
    real = conditions.compare

    project.other(3, "z")

    def compared(candidate: Any, version: int, other: Any) -> Any:
        pair = real(candidate, 1, other)
        more = {"version": version, "finding": "worse" if version == 3 else "no difference shown"}
        return replace(pair, comparison=pair.comparison | more)

    monkeypatch.setattr(conditions, "compare", compared)
    found = project.promote()
    assert found.champion == 1 and found.comparison is not None and found.comparison["anchor"]["version"] == 3
    (line,) = found.refused
    assert "champion v3" in line and line.endswith("the candidate is worse than the anchor")
    project.store.model_tags["glue.anchor"] = "1"  # the champion itself
    assert project.promote().champion == 2


@pytest.mark.parametrize("how", ["deleted", "damaged"])
def test_without_its_anchor_a_run_is_refused_and_a_person_sets_a_new_one(project: Project, how: str) -> None:
    champion_of(project)
    project.other(3, "z")
    project.store.model_tags["glue.anchor"] = "3"
    if how == "deleted":
        del project.store.of[3]
        why = "is no longer in the registry"
    else:
        (project.store.folder / "3/bundle/schema.json").write_text("{}")
        why = "cannot be loaded: p v3: its bundle is another"
    said = f"anchor v3, which no champion may be worse than, {why}; to make v2 the anchor: glue promote 2"
    assert project.promote().refused == [said] and project.store.model_tags["glue.anchor"] == "3"
    found = project.promote(by_person=True)
    told = condition_of(found, "anchor")
    assert (told["holds"], told["value"], told["detail"]) == (None, "gone", said)
    assert found.champion == 2 and project.store.model_tags["glue.anchor"] == "2"


def test_an_anchor_that_does_not_come_now_is_no_anchor_that_is_gone(project: Project) -> None:
    champion_of(project)
    project.store.model_tags["glue.anchor"] = "3"
    for by_person in (False, True):  # the registry has no artifact of it: it does not answer
        assert project.promote(by_person=by_person).refused == ["anchor v3 cannot be loaded: v3 has no bundle"]
    assert project.store.model_tags["glue.anchor"] == "3"
    project.other(3, "z", labels=["no", "maybe", "yes"])
    told = condition_of(project.promote(), "anchor")
    assert told["holds"] is None and told["detail"].startswith("not compared with anchor v3: it predicts binary")


def test_the_champion_itself_is_asked_nothing(project: Project) -> None:
    project.store.aliases["champion"] = 2
    before = project.store.tags("p", 2)
    assert project.promote() == Verdict(2, 2, 2, [], None) and project.store.tags("p", 2) == before


def test_every_reason_is_named(project: Project) -> None:
    """Of the report, of the bundle and of the registry, in this order."""
    champion_of(project, labels=["no", "maybe", "yes"])
    project.report |= {
        "thresholds": [
            {"metric": "roc_auc", "value": 0.81239, "min": 0.9, "max": None, "met": False},
            {"metric": "brier", "value": 0.2, "min": None, "max": 0.1, "met": False},
            {"metric": "f1", "value": None, "min": 0.0, "max": None, "met": False},
            {"metric": "recall", "value": 0.7, "min": 0.5, "max": None, "met": True},
        ],
        "metrics": {"roc_auc": {"value": 0.4, "trivial": 0.5}},
        "fresh": {"order": order(0.55, 0.5, 0.6)},
    }
    said = {"faithful": False, "format": "onnx", "reason": "another label"}
    files.write_json(project.root / layout.BUNDLE / "parity.json", said)
    project.store.unsigned.add(2)
    project.store.noted = [(2, "promote", "then"), (1, "promote", "then")]
    assert project.promote().refused == [
        "roc_auc 0.8124 misses threshold min 0.9",
        "brier 0.2000 misses threshold max 0.1",
        "f1 is undefined on this holdout, so threshold min 0.0 is not met",
        "parity: another label",
        "signature: the version has no model signature",
        "bundle: its digest differs from the registered digest",
        "v2 was champion before v1 replaced it; to promote it again: glue promote 2",
        "roc_auc 0.4000 is worse than the trivial predictor's 0.5000 "
        "(to accept it, set promote: {worse_than_trivial: accept})",
        "champion v1 could not be scored on this holdout: it predicts binary ['no', 'maybe', 'yes']",
        "contract: breaks callers: labels ['no', 'maybe', 'yes'] -> ['no', 'yes']; "
        "to accept it: glue promote 2 --accept-contract-change",
        "fresh rows: v2's ranking of the 128 held-out rows scores 0.5500, not clearly better than chance (0.5)",
    ]
    project.options = {"promote": {"worse_than_trivial": "accept"}}
    assert not any("trivial" in line for line in project.promote().refused)


@pytest.mark.parametrize(
    "parity, refused",
    [
        ({"faithful": False, "format": "skops", "reason": "r"}, []),  # it is kept in the other form
        ({"faithful": True, "format": "onnx", "reason": ""}, []),
        ({"faithful": False, "format": "onnx", "reason": "r"}, ["parity: r"]),
    ],
)
def test_what_is_kept_in_onnx_is_faithful(parity: dict[str, Any], refused: list[str]) -> None:
    assert refusals([of_parity(parity)]) == refused


def test_a_challenger_is_what_could_be_champion(project: Project) -> None:
    champion_of(project)
    found = project.promote(alias="challenger")
    assert (found.champion, found.previous, found.refused) == (1, 1, []) and found.comparison is not None
    assert project.store.aliases == {"champion": 1, "challenger": 2} and project.verdict()["alias"] == "challenger"
    assert not project.store.noted


def test_what_was_rolled_back_is_taken_anew_by_a_person_alone(project: Project) -> None:
    champion_of(project)
    project.store.of[2]["glue.rolled_back"] = "noon"
    assert project.promote().refused == ["v2 was rolled back at noon; to promote it again: glue promote 2"]
    assert project.verdict()["by"] == "run" and project.store.aliases == {"champion": 1}
    assert project.promote(by_person=True).champion == 2
    assert project.verdict()["by"] == "promote" and "glue.rolled_back" not in project.store.of[2]


@pytest.mark.parametrize(
    "change, said",
    [
        ({}, None),
        (
            {"glue.holdout_md5": "other"},
            "no branch has a commit with its dvc.lock; to promote it without a comparison: "
            "glue promote 3 --force --reason 'why'",
        ),
    ],
)
def test_another_version_is_judged_by_its_own_report_and_on_its_own_holdout(
    project: Project, change: dict[str, str], said: str | None
) -> None:
    champion_of(project)
    project.report["thresholds"] = [{"metric": "f1", "value": 0.1, "min": 0.2, "max": None, "met": False}]
    project.other(3, "x")
    project.report["thresholds"] = []  # the project's own
    assert project.store.of[3]["glue.bundle_sha256"] == project.store.of[2]["glue.bundle_sha256"]
    files.write_json(
        project.root / layout.BUNDLE / "parity.json", {"faithful": False, "format": "skops", "reason": "new"}
    )
    project.store.of[3] |= change
    found = project.promote(3, by_person=True)
    assert found.refused[0] == "f1 0.1000 misses threshold min 0.2" and (found.comparison is None) == (said is not None)
    assert found.refused[1:] == ([f"holdout: the current holdout is not that of v3 ({said})"] if said else [])


@pytest.mark.parametrize("alias", ["", " ", "a b", "ä/b", "latest", "Latest", "v3", "V03", "x" * 256, "a\n"])
def test_an_alias_that_mlflow_refuses_is_refused_before_a_move_is_recorded(alias: str) -> None:
    from mlflow.exceptions import MlflowException
    from mlflow.utils import validation

    if alias != "a\n":  # MLflow accepts it, by mistake
        with pytest.raises(MlflowException):
            validation._validate_model_alias_name(alias)
            validation._validate_model_alias_name_reserved(alias)
    with pytest.raises(UsageError, match="MLflow accepts letters"):
        check_alias(alias)


def test_an_alias_in_other_letters_is_not_another_alias() -> None:
    """A registry on MySQL does not distinguish them, so it would move `champion` without a check."""
    for alias in ("Champion", "CHALLENGER"):
        with pytest.raises(UsageError) as caught:
            check_alias(alias)
        assert caught.value.hint == f"--alias {alias.lower()}"
    for alias in ("champion", "challenger", "prod", "Prod_2-eu", "größe", "v3a", "latest2"):
        check_alias(alias)


def test_a_reason_of_blanks_is_none_and_the_reason_of_every_alias_is_recorded(project: Project) -> None:
    from mlops_glue.commands.promote import promote as command

    for blanks in (None, "", " \n"):
        with pytest.raises(UsageError, match="--force needs a reason"):
            command(2, force=True, reason=blanks)
    for option in ("approve", "force", "accept_contract_change"):
        with pytest.raises(UsageError, match=f"--{option.replace('_', '-')} is for the conditions of champion; prod"):
            command(2, alias="prod", reason="why", **{option: True})  # type: ignore[arg-type]
    set_alias(project.root, project.config(), project.store, 2, "prod", "for the pilot")  # type: ignore[arg-type]
    assert project.store.aliases["prod"] == 2 and project.store.reasons == ["for the pilot"]


def test_the_holdout_is_restored_from_the_commit_with_its_results(project: Project) -> None:
    """A run is committed after it ran, so the commit of its code may have the holdout of an older version."""

    def git(*words: str) -> str:
        command = ["git", "-c", "user.name=a", "-c", "user.email=a@example.org", *words]
        return subprocess.run(command, cwd=project.root, check=True, capture_output=True, text=True).stdout

    git("init", "-q", ".")
    project.other(3, "z")
    project.store.of[3] |= {"glue.holdout_md5": "its own"}
    for lock in ("the code of v3\n", "the results of v3\n"):
        files.write_text(project.root / "dvc.lock", lock)
        git("add", "dvc.lock")
        git("commit", "-qm", lock)
        project.store.of[3].setdefault("mlflow.source.git.commit", git("rev-parse", "HEAD").strip())
    project.store.write_artifact("p", 3, "dvc.lock", lock)
    files.write_text(project.root / "dvc.lock", "stages: {}\n")
    (refused,) = project.promote(3, by_person=True).refused
    assert refused.endswith(f"(to restore it: git checkout {git('rev-parse', 'HEAD')[:12]} && dvc checkout)")


@pytest.mark.parametrize(
    ("gone", "how"), [(True, "is no longer in the registry"), (False, "has lost the alias champion")]
)
def test_a_champion_that_somebody_deleted_is_named(
    project: Project, caplog: pytest.LogCaptureFixture, gone: bool, how: str
) -> None:
    champion_of(project)
    project.store.noted.append((1, "promote", "2026-01-01T00:00:00+00:00"))
    project.promote()
    assert "the last champion" not in caplog.text  # v1 was there
    del project.store.aliases["champion"]
    if gone:
        del project.store.of[2]
    project.other(3, "x")
    project.promote(3, by_person=True)
    assert f"warning: v2, the last champion, {how}: v3 is compared with no champion" in caplog.text
    project.store.aliases.clear()
    project.store.noted.append((3, "promote", "2026-01-01T00:00:00+00:00"))
    with pytest.raises(UsageError, match="p has no champion: v3, the last champion, has lost the alias") as caught:
        chosen_version(project.store, project.root, project.config(), None)  # type: ignore[arg-type]
    assert caught.value.hint.startswith("glue rollback; --version 3, or glue promote 3")  # type: ignore[union-attr]


def test_a_holdout_that_is_not_here_is_another(project: Project) -> None:
    project.other(3, "z")
    (project.root / layout.TEST).unlink()
    assert "holdout: the current holdout is not that of v3" in project.promote(3, by_person=True).refused[0]
    (project.root / "dvc.lock").unlink()
    del project.store.of[3]["glue.holdout_md5"]
    assert "holdout: the current holdout is not that of v3" in project.promote(3, by_person=True).refused[0]


def test_what_is_here_needs_no_holdout_of_the_registry(project: Project) -> None:
    """The version that the project made last, named by a person: its report and holdout are those of the project."""
    project.store.of[2]["glue.holdout_md5"] = "other"
    assert project.promote(by_person=True).champion == 2


def trained_on(project: Project, rows: Any) -> None:
    """Version 1 says that it was trained on these rows of the table."""
    table, trained = project.models["table"], np.zeros(ROWS, bool)
    trained[rows] = True
    made = Rows(table.column_names, identities(table), trained)
    made.write(project.store.folder / "1/split/rows.parquet")
    project.store.of[1]["glue.rows"] = str(ROWS)


@pytest.mark.parametrize("kept", [80, 50, 20, 19, 0])
def test_rows_that_the_champion_was_trained_on_are_left_out_of_the_comparison(project: Project, kept: int) -> None:
    champion_of(project)
    seen = project.holdout[kept:]
    trained_on(project, [*range(38), *seen])
    found = project.promote()
    if kept >= 20:
        said = found.comparison
        assert said is not None and (said["rows"], said["seen"]) == (kept, 80 - kept)
        table = project.models["table"].take(pa.array(project.holdout[:kept]))
        share = project.models["z"].predict_proba(table.select(["x", "z"]).to_pandas().to_numpy())[:, 1]
        assert said["champion"] == pytest.approx(roc_auc_score(np.array(table.column("y").to_pylist()) == "yes", share))
        return
    assert found.comparison is None and found.champion == 1
    assert found.refused == [
        f"champion v1 was trained on {80 - kept} of the 80 rows of this holdout, "
        f"and the other {kept} are too few for a comparison; to promote without a comparison: glue promote 2"
    ]
    asked = project.promote(by_person=True)
    assert (asked.champion, asked.refused, asked.comparison) == (2, [], None)


def test_few_rows_of_which_none_was_seen_are_compared_on(project: Project) -> None:
    champion_of(project)
    few = project.holdout[:12]
    target = project.models["table"].column("y").take(pa.array(few))
    tables.write_parquet(project.root / layout.TEST, pa.table({layout.ROW: few, "target:y": target}))
    trained_on(project, range(38))
    said = project.promote().comparison
    assert said is not None and (said["rows"], said["seen"]) == (12, 0)


def test_what_the_champion_says_of_fresh_rows_counts(project: Project) -> None:
    """It puts them in the reverse order: what was known is turned round."""
    champion_of(project, "-z")
    project.options = {"split": {"fresh_after": [40]}}
    project.report["fresh"] = {"order": order(0.9, 0.8, 0.95)}
    found = project.promote()
    assert found.comparison is not None and found.comparison["order"]["high"] < 0.5
    assert found.comparison["order"]["rows"] == 80
    assert found.comparison["order"]["value"] == pytest.approx(found.comparison["champion"])
    assert len(found.refused) == 1 and "seem to be reversed" in found.refused[0]
    assert project.promote(by_person=True).champion == 2


def test_a_champion_that_takes_another_column_could_not_be_scored(project: Project) -> None:
    champion_of(project, columns=[Column("x", "number"), Column("w", "number")])
    assert project.promote().refused == [
        "champion v1 could not be scored on this holdout: holdout: column 'w' is missing (there are: 'x', 'z', 'y')",
        "contract: breaks callers: w is no longer accepted; to accept it: glue promote 2 --accept-contract-change",
    ]


def test_a_champion_is_compared_with_the_features_that_it_alone_takes(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlops_glue import features

    bundle = project.bundle(project.root / "w", "z", columns=[Column("x", "number"), Column("w", "number")])
    files.write_json(bundle / "features.json", replace(FEATURED, columns={"w": "v:x"}).to_dict())
    project.register(1, bundle)
    project.store.aliases["champion"] = 1
    project.options = {
        "data": {"sources": {"t": {"path": "t.csv", "timestamp": "at"}}, "labels": {"source": "t", "target": "y"}}
    }
    at = pa.array([datetime(2026, 1, 1)] * ROWS)
    tables.write_parquet(project.root / layout.TABLE, project.models["table"].append_column("at", at))

    def looked_up(config: Config, root: Path, taken: FeatureList, rows: pa.Table, *_: Any, **how: Any) -> pa.Table:
        assert root == project.root and taken.columns == {"w": "v:x"} and config.project == "p"
        return rows.append_column("w", rows.column("z"))

    monkeypatch.setattr(features, "with_features", looked_up)
    found = project.promote().comparison
    table = project.models["table"].take(pa.array(project.holdout))
    share = project.models["z"].predict_proba(table.select(["x", "z"]).to_pandas().to_numpy())[:, 1]
    yes = np.array(table.column("y").to_pylist()) == "yes"
    assert found is not None and found["champion"] == pytest.approx(roc_auc_score(yes, share))


def test_a_champion_that_does_not_answer_is_no_reason_to_pass(project: Project) -> None:
    champion_of(project)
    shutil.rmtree(project.store.folder / "1/bundle")
    shutil.copytree(project.root / "other/1", project.store.folder / "1/bundle")
    (project.store.folder / "1/bundle/signature.json").write_text("{}")
    assert project.promote().refused == [
        "champion v1 could not be scored on this holdout: p v1: its bundle is another",
    ]


FEATURED = FeatureList(["v:x"], [FeatureView("v", {"id": "id"}, {"x": "number"}, 0.0, "", of="v")], {"x": "v:x"})


@pytest.mark.parametrize(
    "found, refused, tag",
    [
        ((20, 80, []), [], "0 differences in 20 of the 80 holdout rows"),
        ((0, 80, []), ["skew: no holdout row has all its keys, so none could be replayed"], None),
        ((20, 1080, ["a", "b", "c"]), ["a; b; c"], "3 differences in 20 of the 1,080 holdout rows"),
        ((20, 80, list("abcde")), ["a; b; c; and 2 more"], "5 differences in 20 of"),
        (DataError("down"), ["skew: the replay through the online store could not run: down"], None),
    ],
)
def test_what_is_served_otherwise_than_it_was_trained_on_is_refused(
    project: Project, found: Any, refused: list[str], tag: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def replay(config: Config, root: Path, features: FeatureList) -> Any:
        assert root == project.root and config.project == "p" and features == FEATURED
        if isinstance(found, Exception):
            raise found
        return found

    monkeypatch.setattr(skew, "replay", replay)
    files.write_json(project.root / layout.BUNDLE / "features.json", FEATURED.to_dict())
    project.register(2, project.root / layout.BUNDLE)
    assert project.promote().refused == refused
    said = project.store.of[2].get("glue.skew")
    assert said == tag or (said is not None and tag is not None and said.startswith(tag))
    assert project.store.champion("p") == (None if refused else 2)


def test_a_rollback_puts_the_champion_of_before_back_and_marks_the_one_that_goes(project: Project) -> None:
    champion_of(project)
    project.promote()
    assert champions(project.store, "p") == [1, 2]  # type: ignore[arg-type]
    assert project.store.model_tags["glue.anchor"] == "2"
    assert rollback(project.store, "p") == (1, 2)  # type: ignore[arg-type]
    assert project.store.model_tags["glue.anchor"] == "1"
    assert project.store.aliases == {"champion": 1} and champions(project.store, "p") == [1]  # type: ignore[arg-type]
    assert [one[:2] for one in project.store.noted] == [(1, "promote"), (2, "promote"), (1, "rollback")]
    at = datetime.fromisoformat(project.store.of[2]["glue.rolled_back"])
    assert abs(at - datetime.now(UTC)) < timedelta(minutes=10) and at.microsecond == 0
    assert "glue.rolled_back" not in project.store.of[1]


def test_a_result_stays_rolled_back_when_its_version_is_deleted(project: Project) -> None:
    champion_of(project)
    project.store.of[2]["glue.fingerprint"] = "f2"
    project.promote()
    rollback(project.store, "p")  # type: ignore[arg-type]
    when = project.store.of[2]["glue.rolled_back"]
    assert history.rolled_back_before(project.store, "p", "f1") == {}  # type: ignore[arg-type]
    again = history.rolled_back_before(project.store, "p", "f2")  # type: ignore[arg-type]
    assert again == {"glue.rolled_back": f"{when} as v2"}
    project.store.of[3] = {**project.store.of.pop(2), **again}
    project.register(3, project.root / layout.BUNDLE)
    assert project.promote(3).refused == [f"v3 was rolled back at {when} as v2; to promote it again: glue promote 3"]
    project.evaluated(project.store.folder / "3/evaluation")
    assert project.promote(3, by_person=True).champion == 3
    assert history.rolled_back_before(project.store, "p", "f2") == {}  # type: ignore[arg-type]


def test_a_rollback_to_a_version_that_was_deleted_says_what_is_left(project: Project) -> None:
    project.other(1, "z")
    project.store.noted = [(1, "promote", "then"), (3, "promote", "then"), (2, "promote", "then")]
    project.store.aliases["champion"] = 2
    del project.store.of[3]
    with pytest.raises(UsageError, match="p v3 was champion, but is no longer in the registry") as error:
        rollback(project.store, "p")  # type: ignore[arg-type]
    assert error.value.hint == "glue rollback 1" and project.store.aliases == {"champion": 2}
    assert "glue.rolled_back" not in project.store.of[2]
    del project.store.of[1]
    with pytest.raises(UsageError, match="v3 was champion, but is no longer") as error:
        rollback(project.store, "p")  # type: ignore[arg-type]
    assert error.value.hint == "glue promote VERSION"


def test_a_rollback_in_a_registry_that_was_emptied_says_so(project: Project) -> None:
    project.store.of.clear()
    with pytest.raises(UsageError, match="p has no version yet"):
        rollback(project.store, "p")  # type: ignore[arg-type]


def test_a_rollback_to_a_bundle_that_is_another_moves_nothing(project: Project) -> None:
    champion_of(project)
    project.promote()
    (project.store.folder / "1/bundle/signature.json").write_text("{}")
    with pytest.raises(DataError, match="p v1: its bundle is another"):
        rollback(project.store, "p")  # type: ignore[arg-type]
    assert project.store.aliases == {"champion": 2} and "glue.rolled_back" not in project.store.of[2]


def test_a_rollback_goes_to_the_version_that_is_named(project: Project) -> None:
    project.other(3, "z")
    project.store.noted = [(3, "promote", "then"), (1, "promote", "then"), (2, "promote", "then")]
    assert rollback(project.store, "p", 3) == (3, None)  # type: ignore[arg-type]
    assert project.store.aliases == {"champion": 3} and "glue.rolled_back" not in project.store.of[2]


def test_a_move_keeps_another_challenger_and_notes_who_was_champion_once(project: Project) -> None:
    project.store.aliases = {"champion": 1, "challenger": 3}
    for version in (2, 1):
        move(project.store, "p", version, Reason())  # type: ignore[arg-type]
    assert project.store.aliases == {"champion": 1, "challenger": 3}
    assert [one[:2] for one in project.store.noted] == [(1, "promote"), (2, "promote"), (1, "promote")]


def test_a_rollback_after_the_champion_was_deleted_restores_the_last_one_left(project: Project) -> None:
    line = [1, 2, 3]
    assert history.rollback_target("p", line, None, None, {1, 2, 4}) == 2
    assert history.rollback_target("p", line, None, None, {1, 2, 3}) == 3  # only its alias was removed
    for now, there, hint in ((3, {1, 3}, "glue rollback 1"), (None, {4}, "glue promote VERSION")):
        with pytest.raises(UsageError, match="is no longer in the registry") as error:
            history.rollback_target("p", line, now, None, there)
        assert error.value.hint == hint
    project.store.noted.append((1, "promote", "2026-01-01T00:00:00+00:00"))
    for gone, hint in ((False, "glue rollback; --version 3"), (True, "--version 3")):
        if gone:
            del project.store.of[1]
        with pytest.raises(UsageError, match="v1, the last champion") as error:
            chosen_version(project.store, project.root, project.config(), None)  # type: ignore[arg-type]
        assert str(error.value.hint).startswith(hint)


def test_features_that_only_the_champion_takes_are_looked_up_as_they_are_defined_now(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rows have `x` from elsewhere too, which gives way; their time is that of the rows."""
    from mlops_glue import features

    when = pa.array([f"{1 + n % 28:02}/02/2026" for n in range(4)])
    raw = pa.table({"id": [1, 2, 3, 4], "x": [9.0] * 4, "at": when})
    project.options = {
        "data": {
            "sources": {"t": {"path": "t.csv", "timestamp": "at", "entity": "id"}},
            "labels": {"source": "t", "target": "y"},
        }
    }

    class Champion:
        features: Any = replace(FEATURED, columns={"x": "v:x", "w": "v:w"}, day_first=True)
        schema = Schema("binary", "y", [], decimal=",")

        def lacks(self, table: pa.Table) -> bool:
            return not {"x", "w"} <= set(table.column_names)

    def looked_up(*given: Any, **how: Any) -> Any:
        config, root, taken, rows, at = given
        assert config.project == "p" and root == project.root and taken is Champion.features
        assert rows.equals(raw.drop(["x"])) and how == {"as_defined_now": True, "decimal": ","}
        assert at.astype("datetime64[D]").astype(str).tolist() == [f"2026-02-{day:02}" for day in range(1, 5)]
        return "featured"

    monkeypatch.setattr(features, "with_features", looked_up)
    one = Champion()
    assert with_features(project.config(), project.root, one, raw, "holdout", as_defined_now=True) == "featured"  # type: ignore[arg-type]
    has_all = raw.append_column("w", pa.array([0] * 4))
    assert with_features(project.config(), project.root, one, has_all, "holdout", as_defined_now=True) is has_all  # type: ignore[arg-type]
    one.features = None
    assert with_features(project.config(), project.root, one, raw, "holdout", as_defined_now=True) is raw  # type: ignore[arg-type]


def condition_of(verdict: Verdict, name: str) -> dict[str, Any]:
    (found,) = [dict(one) for one in verdict.conditions if one["name"] == name]
    return found


def test_every_condition_is_kept_with_the_version(project: Project) -> None:
    champion_of(project)
    project.promote(alias="challenger")
    found = project.promote()
    (first, second) = json.loads((project.store.folder / "2/promotion.json").read_text())
    assert (first["alias"], second["alias"], second["reason"]) == ("challenger", "champion", None)
    assert second["conditions_sha256"] == history.digest(second["conditions"])
    assert second["conditions"] == json.loads(json.dumps(found.conditions)) and second["compared"] == found.comparison
    holds = {one["name"]: one["holds"] for one in found.conditions}
    assert holds == {
        **dict.fromkeys(["signature", "bundle", "not superseded", "trivial predictor", "champion", "contract"], True),
        **dict.fromkeys(["validation", "thresholds", "parity", "leak", "skew", "anchor", "slices"], None),
        **dict.fromkeys(["latency", "shadow"], None),
    }
    assert all(one["detail"] for one in found.conditions if one["holds"] is None)  # it says why


def test_what_a_person_forces_is_kept_for_ever(project: Project) -> None:
    champion_of(project)
    project.store.unsigned.add(2)
    assert project.promote(by_person=True).champion == 1
    project.evaluated(project.root / layout.EVALUATION)
    forced = Reason("the audit asks for it", forces=True)
    promote(project.config(), project.root, project.store, 2, by_person=forced)  # type: ignore[arg-type]
    said = project.verdict()
    assert said["forced"] == "the audit asks for it" and said["refused"] == [
        "signature: the version has no model signature"
    ]
    assert project.store.lines[-1][1].endswith(
        "**champion**, forced (the audit asks for it) over: signature: the version has no model signature"
    )
    kept = json.loads((project.store.folder / "2/promotion.json").read_text())
    assert [one.get("forced") for one in kept] == [None, "the audit asks for it"]


def test_a_changed_contract_waits_for_a_person(project: Project) -> None:
    champion_of(project)
    shutil.rmtree(project.root / layout.BUNDLE)
    strict = [Column("x", "number", nullable=False), Column("z", "number")]
    project.register(2, project.bundle(project.root / layout.BUNDLE, "x", columns=strict))
    command = "to accept it: glue promote 2 --accept-contract-change"
    assert project.promote(alias="challenger").refused == []  # it answers nobody
    for by_person in (False, True):
        said = project.promote(by_person=by_person).refused
        assert f"contract: breaks callers: x is now required; {command}" in said
    project.evaluated(project.root / layout.EVALUATION)
    accepts = Reason(accepts_contract=True)
    found = promote(project.config(), project.root, project.store, 2, by_person=accepts)  # type: ignore[arg-type]
    assert "accepted by --accept-contract-change" in condition_of(found, "contract")["detail"]
    assert not any("contract" in line for line in found.refused)


def test_other_labels_are_a_changed_contract_that_a_person_may_accept(project: Project) -> None:
    champion_of(project, labels=["no", "maybe", "yes"])
    assert len(project.promote().refused) == 2
    accepts = Reason(accepts_contract=True)
    found = promote(project.config(), project.root, project.store, 2, by_person=accepts)  # type: ignore[arg-type]
    assert found.champion == 2 and "it predicts binary" in condition_of(found, "champion")["detail"]


def test_a_slice_that_falls_refuses(project: Project) -> None:
    """The candidate is as good on the whole, and worse where it counts."""
    rng = np.random.default_rng(1)
    town = rng.choice(["Aa", "Be"], ROWS)
    part = pa.array(np.where(project.models["table"].column("x").to_numpy() > 0, town, town))
    tables.write_parquet(project.root / layout.TABLE, project.models["table"].append_column("town", part))
    holdout = np.arange(ROWS)
    target = project.models["table"].column("y").take(pa.array(holdout))
    tables.write_parquet(project.root / layout.TEST, pa.table({layout.ROW: holdout, "target:y": target}))
    project.options = {"evaluate": {"slices": ["town"]}, "promote": {"metric": "roc_auc"}}
    champion_of(project)
    assert condition_of(project.promote(alias="challenger"), "slices")["holds"] is True
    shutil.rmtree(project.root / layout.BUNDLE)
    project.register(2, project.bundle(project.root / layout.BUNDLE, "-z"))
    found = project.promote()
    said = condition_of(found, "slices")
    assert said["holds"] is False and said["detail"] in found.refused
    assert said["detail"].startswith("slices: roc_auc is worse in town = ") and "widened for 2 slices" in said["detail"]
    assert said["value"] < said["limit"] < 0


@pytest.mark.parametrize(("limit", "holds"), [(None, None), (1e-6, False), (1e6, True)])
def test_a_model_that_is_slow_is_refused_where_there_is_a_limit(
    project: Project, limit: float | None, holds: bool | None
) -> None:
    project.options = {"promote": {"max_latency_ms": limit}}
    champion_of(project)
    found = project.promote(alias="challenger")
    said = condition_of(found, "latency")
    assert said["holds"] is holds and 0 < said["value"] < 1000 and "champion v1" in said["detail"]
    assert (said["detail"] in found.refused) == (holds is False)


@pytest.mark.parametrize(
    ("limit", "answer", "holds", "said"),
    [
        (None, (0.1, 50), None, "10.00% of the labels differ from champion v1's on 50 rows"),
        (0.05, (0.1, 50), False, "10.00% of the labels differ"),
        (0.1, (0.1, 50), True, "limit 0.1"),
        (0.05, (1.0, 19), None, "too few"),
        (None, ToolError("away"), None, "cannot be read: away"),
        (0.05, ToolError("away"), False, "cannot be read: away"),
    ],
)
def test_a_shadow_that_says_something_else_is_refused_where_there_is_a_limit(
    project: Project, limit: float | None, answer: Any, holds: bool | None, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def agreement(config: Config, root: Path, champion: int, version: int, *, labels: bool) -> Any:
        assert (champion, version, labels, root) == (1, 2, True, project.root)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(shadow, "agreement", agreement)
    champion_of(project)
    project.options = {"promote": {"max_disagreement": limit}}
    assert "serve.shadow" in condition_of(project.promote(alias="challenger"), "shadow")["detail"]
    project.options["serve"] = {"shadow": "challenger", "prediction_log": "log"}
    found = condition_of(project.promote(alias="challenger"), "shadow")
    assert found["holds"] is holds and said in found["detail"]
