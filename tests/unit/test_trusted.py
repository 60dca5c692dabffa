"""Code that a model brings: run from what was checked, only where it is trusted, and seen by nothing else."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from mlops_glue import files
from mlops_glue.adapters import skops
from mlops_glue.errors import DataError
from mlops_glue.scoring import Bundle
from mlops_glue.trusted import FILE, Trusted, resolve
from tests.support.models import made, through

STEPS = "from .maths import FACTOR\nimport json, statsmodels.api\n\ndef scale(x):\n    return x * FACTOR\n"


def of(factor: float, top: str = "my_steps") -> Trusted:
    return Trusted([f"{top}.steps.scale"], {f"{top}.steps": STEPS, f"{top}.maths": f"FACTOR = {factor}\n"})


@pytest.fixture(autouse=True)
def no_statsmodels(monkeypatch: pytest.MonkeyPatch) -> None:
    """Imported by the module, as an installed package would be."""
    for name in ("statsmodels", "statsmodels.api"):
        monkeypatch.setitem(sys.modules, name, type(sys)(name))


def bundle_of(folder: Path, factor: float) -> tuple[Any, Bundle]:
    frame, truth, schema = made(["no", "yes"], 0)
    trust = of(factor)
    with trust.importable():
        from my_steps.steps import scale  # type: ignore[import-not-found]  # it is in memory

        model = make_pipeline(FunctionTransformer(scale), LogisticRegression()).fit(frame, truth)
        folder.mkdir()
        skops.save(model, folder / "kept.skops", trust.names)
    return through(folder, model, frame, truth, schema, trust)


def test_versions_with_other_code_each_run_their_own(tmp_path: Path) -> None:
    frame, _, _ = made(None, 0)
    before = set(sys.modules)
    models = [bundle_of(tmp_path / name, factor) for name, factor in (("a", 2.0), ("b", -3.0))]
    for (model, bundle), factor in zip(models, (2.0, -3.0), strict=True):
        assert bundle.form == "skops, runs code: my_steps.steps.scale"
        said, _ = bundle.score({"number": frame.to_numpy(np.float32)})
        assert said.tolist() == model.predict(frame).tolist()
        assert bundle.runs_code == ["my_steps.steps.scale"]
        scale = model.steps[0][1].func
        assert scale(1.0) == factor
    assert not {name for name in set(sys.modules) - before if name.startswith("my_steps")}
    assert len({files.digest(tmp_path / name / "bundle") for name in "ab"}) == 2


def test_what_had_the_name_before_is_back(monkeypatch: pytest.MonkeyPatch) -> None:
    own = type(sys)("my_steps")
    monkeypatch.setitem(sys.modules, "my_steps", own)
    with pytest.raises(KeyError), of(1.0).importable():
        import my_steps.steps

        assert my_steps.steps.scale(2) == 2 and sys.modules["my_steps"] is not own
        raise KeyError
    assert sys.modules["my_steps"] is own and "my_steps.steps" not in sys.modules
    assert not [finder for finder in sys.meta_path if "InMemory" in type(finder).__name__]


def test_nothing_of_it_runs_where_it_is_not_trusted(tmp_path: Path) -> None:
    bundle_of(tmp_path / "a", 2.0)
    folder = tmp_path / "a" / "bundle"
    brought = files.read_json(folder / FILE)
    flag = tmp_path / "ran"
    brought["modules"]["my_steps.maths"] += f"open({str(flag)!r}, 'w')\n"
    files.write_json(folder / FILE, brought)
    for allowed in ((), ("my_steps.steps",), ("my_steps.steps.other", "sklearn.svm.SVC")):
        with pytest.raises(DataError) as refused:
            Bundle(folder, trust=allowed)
        said = "the model runs code of my_steps.steps.scale, which is not trusted here"
        assert refused.value.message == said
        assert "my_steps.steps.scale]} in glue.yaml" in (refused.value.hint or "")
    assert not flag.exists()
    assert Bundle(folder, trust=["my_steps.steps.scale"]).runs_code and flag.exists()
    digest = files.digest(folder)
    files.write_json(folder / FILE, {**brought, "modules": {**brought["modules"], "my_steps.maths": "FACTOR = 1"}})
    with pytest.raises(DataError, match="its digest differs"):
        Bundle(folder, digest=digest, trust=["my_steps.steps.scale"])


@pytest.mark.parametrize("top", ["json", "numpy", "sklearn", "mlops_glue", "builtins"])
def test_a_module_that_would_stand_in_for_another_is_refused(top: str) -> None:
    trust = of(1.0, top)
    with pytest.raises(DataError, match=f"contains a module {top}, but a module of that name is installed"):
        trust.check(trust.names)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"names": ["a.b"]}, None),
        ({"names": []}, "the model has no code"),
        ({"names": "a.b"}, "names"),
        ({"names": ["a.b"], "modules": {"a": 1}}, "modules"),
        ({"names": ["a.b"], "more": 1}, "unexpected keyword"),
        (["a.b"], ""),
    ],
)
def test_the_form_of_what_a_bundle_says_is_checked(content: Any, said: str | None, tmp_path: Path) -> None:
    frame, truth, schema = made(["no", "yes"], 0)
    through(tmp_path, FixedOut(), frame, truth, schema)
    files.write_json(tmp_path / "bundle" / FILE, content)
    with pytest.raises(DataError) as refused:
        Bundle(tmp_path / "bundle", trust=[])
    assert (said is None) == refused.value.message.startswith("the model runs code of a.b")
    assert said is None or (said in refused.value.message and FILE in refused.value.message)


def FixedOut() -> Any:  # kept in skops form
    from sklearn.neighbors import NearestCentroid

    return NearestCentroid()


def test_a_name_is_that_of_the_object() -> None:
    """`catboost.CatBoostClassifier` is defined in `catboost.core`."""
    trust = Trusted(["sklearn.svm._classes.SVC"], {})
    trust.check(["sklearn.svm.SVC"])
    assert resolve("sklearn.svm.SVC") == "sklearn.svm._classes.SVC"
    assert resolve("sklearn.svm.None_") is resolve("no_such.thing") is resolve("SVC") is None
    brought = Trusted(["my_steps.SVC"], {"my_steps": "raise SystemExit"})
    with pytest.raises(DataError, match=r"my_steps\.SVC"):
        brought.check(["my_steps.Other", "sklearn.svm.SVC"])


def test_what_the_modules_need_is_known() -> None:
    assert of(1.0).imports() == {"statsmodels"}
    assert Trusted(["imblearn.pipeline.Pipeline"], {}).imports() == {"imblearn"}
