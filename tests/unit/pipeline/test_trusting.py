"""Own code in an estimator ends in a model that loads elsewhere, or in one line before the fit."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from mlops_glue import files, layout, tables
from mlops_glue.config import Config
from mlops_glue.errors import ConfigError, ToolError
from mlops_glue.pipeline import train, trusting
from mlops_glue.pipeline.execute import isolated
from mlops_glue.schema import Column, Schema

ROWS = 300
STEPS = """
import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, TransformerMixin
from sklearn.linear_model import LogisticRegression
FITS = []

class Clip(TransformerMixin, BaseEstimator):
    def __init__(self, low=0.1):
        self.low = low
    def fit(self, X, y=None):
        FITS.append(len(X))
        self.bounds_ = np.nanquantile(X, [self.low, 1 - self.low], axis=0)
        return self
    def transform(self, X):
        return np.nan_to_num(np.clip(X, *self.bounds_))

class Plain:
    "No class of scikit-learn's: it has fit, predict and predict_proba, and no more."
    def fit(self, X, y):
        self.inner, self.classes_ = LogisticRegression().fit(X, y), np.unique(y)
        return self
    def predict(self, X):
        return self.inner.predict(X)
    def predict_proba(self, X):
        return self.inner.predict_proba(X)

class Remembers(ClassifierMixin, BaseEstimator):
    "What it learns stays in the module, where no loaded model finds it."
    KNOWN = {}
    def fit(self, X, y):
        self.classes_ = np.unique(y)
        Remembers.KNOWN["last"] = self.classes_[-1]
        return self
    def predict(self, X):
        return np.full(len(X), Remembers.KNOWN.get("last", self.classes_[0]))

def double(X):
    return np.nan_to_num(X) * 2
"""
MODEL = """
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
{imports}
def build():
    return {what}
"""

SEARCH = "import own_steps; from sklearn.model_selection import GridSearchCV"


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Path]:
    rng = np.random.default_rng(0)
    values = {name: rng.normal(size=ROWS).astype(np.float32) for name in "ab"}
    y = np.where(values["a"] > 0, "yes", "no").astype(object)
    schema = Schema("binary", "y", [Column(name, "number") for name in "ab"], ["no", "yes"])
    files.write_json(tmp_path / layout.COLUMNS, {"schema": schema.to_dict()})
    tables.write_parquet(tmp_path / layout.TRAIN, pa.table({**values, "target:y": y, layout.ROW: np.arange(ROWS)}))
    (tmp_path / "own_steps.py").write_text(STEPS)
    with isolated(tmp_path, 0):
        yield tmp_path


def config_of(root: Path, what: str, trust: list[str], imports: str = "import own_steps") -> Config:
    (root / "own_model.py").write_text(MODEL.format(what=what, imports=imports))
    return Config.model_validate(
        {
            "glue": 1,
            "project": "p",
            "data": {"sources": {"t": {"path": "t.csv"}}, "labels": {"source": "t", "target": "y"}},
            "train": {"estimator": "own_model:build"},
            "package": {"trust": trust},
        }
    )


def fits() -> list[int]:
    import own_steps  # type: ignore[import-not-found]  # of the project

    return list(own_steps.FITS)


@pytest.mark.parametrize(
    ("what", "trust"),
    [
        ("make_pipeline(own_steps.Clip(), LogisticRegression())", ["own_steps.Clip"]),
        ("make_pipeline(FunctionTransformer(own_steps.double), LogisticRegression())", ["own_steps.double"]),
        (
            "make_pipeline(FunctionTransformer(own_steps.double), own_steps.Clip(), LogisticRegression())",
            ["own_steps.double", "own_steps.Clip"],
        ),
    ],
)
def test_own_code_is_trained_and_kept(project: Path, what: str, trust: list[str]) -> None:
    config = config_of(project, what, trust)
    train.train(config, project)
    model = trusting.load_model(config, project)
    table = tables.read_parquet(project / layout.TRAIN)
    schema = Schema.from_dict(files.read_json(project / layout.COLUMNS)["schema"])
    features, target = train.xy(table, schema)
    assert np.mean(model.predict(features) == target) > 0.9
    held = trusting.within(trusting.trusted(config, project), project / layout.MODEL)
    assert held is not None and held.names == sorted(trust) and list(held.modules) == ["own_steps"]


def test_what_is_not_trusted_is_told_before_the_fit(project: Path) -> None:
    what = "make_pipeline(own_steps.Clip(), FunctionTransformer(own_steps.double), LogisticRegression())"
    with pytest.raises(ConfigError) as refused:
        train.train(config_of(project, what, ["own_steps.double"]), project)
    said = "glue.yaml train.estimator: contains own_steps.Clip, whose code would run wherever the model is loaded"
    assert refused.value.message == said
    assert refused.value.hint == "package: {trust: [own_steps.double, own_steps.Clip]} if you trust it"
    assert fits() == [] and not (project / layout.MODEL).exists()


def test_how_a_search_chooses_is_not_kept(project: Path) -> None:
    """As in the model.py of glue init."""
    search = "GridSearchCV(LogisticRegression(), {'C': [1, 2]}, refit=lambda found: 1, cv=2)"
    train.train(config_of(project, search, [], SEARCH), project)
    assert (project / layout.MODEL).exists()


def test_what_a_search_may_choose_is_looked_at(project: Path) -> None:
    holds = "GridSearchCV(make_pipeline(own_steps.Clip(), LogisticRegression()), {'logisticregression__C': [1]}, cv=2)"
    with pytest.raises(ConfigError, match=r"contains own_steps\.Clip, whose code"):
        train.train(config_of(project, holds, [], SEARCH), project)


def test_a_model_without_own_code_has_none(project: Path) -> None:
    config = config_of(project, "LogisticRegression()", ["own_steps.Clip"])
    train.train(config, project)
    assert trusting.within(trusting.trusted(config, project), project / layout.MODEL) is None


def test_it_is_tried_on_a_few_rows(project: Path) -> None:
    rows = tables.read_parquet(project / layout.TRAIN)
    many = pa.concat_tables([rows] * 20)
    tables.write_parquet(project / layout.TRAIN, many)
    train.train(
        config_of(project, "make_pipeline(own_steps.Clip(), LogisticRegression())", ["own_steps.Clip"]), project
    )
    assert fits()[0] == trusting.SAMPLE_ROWS and many.num_rows in fits()


CASES: dict[str, tuple[str, list[str], str, str, str]] = {
    "a lambda": (
        "make_pipeline(FunctionTransformer(lambda X: X), LogisticRegression())",
        [],
        "import own_steps",
        "cannot be loaded by name",
        "define a function",
    ),
    "what it learns stays elsewhere": (
        "own_steps.Remembers()",
        ["own_steps.Remembers"],
        "import own_steps",
        "predicts differently after it is saved and loaded",
        "attributes of the object",
    ),
    "no class of scikit-learn's": (
        "own_steps.Plain()",
        ["own_steps.Plain"],
        "import own_steps",
        "Plain is not a BaseEstimator of scikit-learn",
        "class Plain(ClassifierMixin, BaseEstimator)",
    ),
    "a name that is not there": (
        "LogisticRegression()",
        ["own_steps.Plane"],
        "import own_steps",
        "no 'Plane' in own_steps (did you mean 'Plain'?)",
        "",
    ),
    "a module that is not there": (
        "LogisticRegression()",
        ["no_such.P"],
        "import own_steps",
        "does not import",
        "module",
    ),
    "by the name of a module that imports it": (
        "make_pipeline(own_more.Clip(), LogisticRegression())",
        ["own_more.Clip"],
        "import own_more",
        "own_more.Clip is own_steps.Clip",
        "package: {trust: [own_steps.Clip]}",
    ),
    "imports its own inside a function": (
        "make_pipeline(own_lazy.Step(), LogisticRegression())",
        ["own_lazy.Step"],
        "import own_lazy",
        "own_lazy, line 6, imports own_steps inside a function",
        "at the top of the module",
    ),
    "reads a file of the project": (
        "make_pipeline(own_file.Step(), LogisticRegression())",
        ["own_file.Step"],
        "import own_file",
        "could not be loaded for serving: NameError",
        "only use its arguments",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_what_could_not_be_loaded_elsewhere_is_told_before_the_fit(project: Path, name: str) -> None:
    what, trust, imports, said, hint = CASES[name]
    step = "class Step(Clip):\n    def transform(self, X):\n        {}\n        return super().transform(X)\n"
    (project / "own_more.py").write_text("from own_steps import Clip\n")
    (project / "own_lazy.py").write_text(f"from own_steps import Clip\n\n\n{step.format('import own_steps as other')}")
    (project / "own_file.py").write_text(
        f"from pathlib import Path\nfrom own_steps import Clip\nPath(__file__).read_text()\n{step.format('pass')}"
    )
    with pytest.raises(ConfigError) as refused:
        train.train(config_of(project, what, trust, imports), project)
    assert said in refused.value.message and "\n" not in refused.value.message
    assert hint in (refused.value.hint or "")
    assert ROWS not in fits() and not (project / layout.MODEL).exists()


@pytest.mark.parametrize("name", ["json", "numpy", "sklearn"])
def test_a_module_of_the_project_has_no_name_of_an_installed_one(project: Path, name: str) -> None:
    """Such as a json.py beside it: what trusts it would run another thing elsewhere."""
    config = config_of(project, "LogisticRegression()", [])
    (project / f"{name}.py").write_text("def other(): ...\n")
    config = config.model_copy(update={"package": config.package.model_copy(update={"trust": [f"{name}.other"]})})
    with pytest.raises(ConfigError) as refused:
        train.train(config, project)
    assert f"package.trust: no 'other' in {name}" in refused.value.message  # the installed one is imported


def test_what_cannot_be_kept_at_all_is_told_before_the_fit(project: Path) -> None:
    config = config_of(project, "make_pipeline(own_steps.Clip(low=(n for n in [1])), LogisticRegression())", [])
    with pytest.raises(ToolError, match=r"^the model cannot be stored in skops format: "):
        train.train(config, project)
    assert fits() == []


def test_the_names_of_packages_are_those_of_their_objects(project: Path) -> None:
    config = config_of(project, "LogisticRegression()", ["sklearn.svm.SVC", "own_steps.Clip"])
    found = trusting.trusted(config, project)
    assert found.names == ["sklearn.svm._classes.SVC", "own_steps.Clip"]
    assert found.imports() >= {"sklearn", "numpy"}


def test_modules_of_a_package_travel_together(project: Path) -> None:
    (project / "parts").mkdir()
    (project / "parts" / "__init__.py").write_text("")
    (project / "parts" / "maths.py").write_text("def half(X):\n    return X / 2\n")
    (project / "parts" / "steps.py").write_text(
        "from .maths import half\n\n\ndef quarter(X):\n    return half(half(X))\n"
    )
    what = "make_pipeline(FunctionTransformer(steps.quarter), LogisticRegression())"
    config = config_of(project, what, ["parts.steps.quarter"], "from parts import steps")
    train.train(config, project)
    found: Any = trusting.within(trusting.trusted(config, project), project / layout.MODEL)
    assert {"parts.maths", "parts.steps"} <= set(found.modules) and "own_model" not in found.modules
