"""What `glue init` proposes for a table: expectations, thresholds, the positive class, slices. All can be edited."""

from __future__ import annotations

import math
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from mlops_glue.errors import MissingExtra
from mlops_glue.parsing import as_text, is_text
from mlops_glue.pipeline.free_text import ROWS_OF_A_WORD
from mlops_glue.pipeline.preprocess import ONE_HOT
from mlops_glue.pipeline.profile import Profile
from mlops_glue.pipeline.train import DEFAULT
from mlops_glue.tables import is_number
from mlops_glue.words import TRUE

if TYPE_CHECKING:
    import pyarrow as pa

Expectation = dict[str, dict[str, Any]]
SMALL_ROWS, SMALL_CLASS = 3000, 15  # rows; rows of the rarest class
SMALL_WORK = {"binary": 2_000_000, "multiclass": 2_000_000, "regression": 500_000}  # rows x encoded columns x classes
HUNDREDS = 200  # classes
EARLY_ROWS = 10_000
GENTLE = {"early_stopping": True, "learning_rate": 0.05, "max_iter": 300}
MODEST = {"l2_regularization": 10.0, "max_leaf_nodes": 8, "min_samples_leaf": 5}
MANY = 200  # columns; beyond, Great Expectations would take longer than everything else


def expectations(table: pa.Table, profiles: list[Profile], target: str) -> list[Expectation]:
    """Limits with slack: types, twice the nulls and 5 %, half the range on either side, 5 % unseen categories."""
    out: list[Expectation] = [{"expect_table_row_count_to_be_between": {"min_value": max(table.num_rows // 10, 1)}}]
    used = [p for p in profiles if p.kind is not None or p.name == target]
    if len(used) > MANY:
        out.append({"expect_table_columns_to_match_set": {"column_set": [p.name for p in used], "exact_match": False}})
        used = [p for p in used if p.name == target]
    for p in used:
        column = table.column(p.name)
        share = p.nulls / table.num_rows
        if share < 0.4:
            most = 0.95 if p.nulls == 0 else round(1 - min(2 * share + 0.05, 0.9), 3)
            out.append({"expect_column_values_to_not_be_null": {"column": p.name, "mostly": most}})
        else:
            out.append({"expect_column_to_exist": {"column": p.name}})
        if p.kind == "number":
            out += _range(p.name, column)
        elif p.kind in ("category", "boolean") and p.distinct <= 30 and (values := _values(column)):
            out.append({"expect_column_values_to_be_in_set": {"column": p.name, "value_set": values, "mostly": 0.95}})
    return out


def _values(column: pa.ChunkedArray) -> list[Any]:
    """The distinct values as Great Expectations compares them, sorted; none of what is neither text nor number."""
    import pyarrow as pa

    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if not is_text(column.type) and not is_number(column.type):
        return []
    return sorted(value for value in column.unique().drop_null().to_pylist() if value == value)  # not NaN


def _range(name: str, column: pa.ChunkedArray) -> list[Expectation]:
    import pyarrow.compute as pc

    if not is_number(column.type):
        return []  # text or decimals that hold numbers
    types = sorted(
        {"int64", "float64", {"double": "float64", "float": "float32"}.get(str(column.type), str(column.type))}
    )
    out: list[Expectation] = [{"expect_column_values_to_be_in_type_list": {"column": name, "type_list": types}}]
    finite = column.filter(pc.is_finite(column))
    low, high = (float(v) for v in pc.min_max(finite).as_py().values()) if len(finite) else (0.0, 0.0)
    room = 0.5 * (high - low)
    if 0 < room < float("inf"):
        least = 0.0 if low >= 0 > low - room else _rounded(low - room, room)
        limits = {"min_value": least, "max_value": _rounded(high + room, room)}
        infinite = 1 - len(finite) / max(len(column) - column.null_count, 1)
        mostly = 0.99 if infinite == 0 else round(1 - min(2 * infinite + 0.01, 0.9), 3)
        out.append({"expect_column_values_to_be_between": {"column": name, **limits, "mostly": mostly}})
    return out


def _rounded(value: float, room: float) -> float:
    """To four digits, and one more for each that the range does not change."""
    same = max(0, int(math.log10(abs(value) / room))) if value else 0
    return float(f"{value:.{4 + same}g}")


IN_HOLDOUT = 25  # rows of a class, of which a fifth is some


def thresholds(task: str, target: pa.ChunkedArray) -> list[tuple[str, str, float, str]]:
    """Metric, `min` or `max`, value and reason: limits that the trivial predictor misses.

    None for many classes of which the holdout may lack one, as no area under a curve is defined then: what is worse
    than the trivial predictor is refused in any case.
    """
    if task == "regression":
        return [("r2", "min", 0.05, "0 is what predicting the mean gets")]
    # accuracy would ask the more the rarer the other classes are
    ranked = "roc_auc" if task == "binary" else "roc_auc_ovr"
    rarest = min(target.drop_null().value_counts().field("counts").to_pylist(), default=0)
    return [(ranked, "min", 0.55, "0.5 is what a constant gets")] if task == "binary" or rarest >= IN_HOLDOUT else []


def estimator(table: pa.Table, target: str, task: str) -> tuple[str, dict[str, Any]]:
    """Import path and arguments, where the table is not for `model.py`.

    Gradient boosting; of more than two classes with a penalty on the leaves' values (1 is XGBoost's own default),
    without which rare ones run away; with many classes fewer rounds, since each makes a tree for every one. With
    hundreds a linear model: trees would take minutes, or hundreds of megabytes.

    Up to 10,000 rows, from where on scikit-learn stops early by itself, it takes small steps until it learns no more.
    To stop by, rows of each class are set aside; where rare ones have too few, the trees are small instead. On tables
    of counts with a long tail that took 5 to 30 % off the log loss.
    """
    if task == "regression":
        return DEFAULT[task], {}
    counts = table.column(target).drop_null().value_counts().field("counts").to_pylist()
    if len(counts) > HUNDREDS:
        return "sklearn.linear_model.LogisticRegression", {"max_iter": 200}
    params: dict[str, Any] = {} if task == "binary" else {"l2_regularization": 1.0}
    if sum(counts) <= EARLY_ROWS:
        params |= MODEST if min(counts) < SMALL_CLASS else GENTLE if len(counts) <= 20 else {}
    if len(counts) > 20:
        params["max_iter"] = max(20, 2000 // len(counts))
    return DEFAULT[task], params


BOOSTERS: dict[str, tuple[str, str, dict[str, Any]]] = {  # by library: its names of classifier, regressor, parameters
    "lightgbm": (
        "lightgbm.LGBMClassifier",
        "lightgbm.LGBMRegressor",
        # the same trees on any number of threads; a leaf of LightGBM's is not bound by a depth
        {"deterministic": True, "force_row_wise": True, "subsample_freq": 1, "verbose": -1, "num_leaves": 15},
    ),
    "xgboost": ("xgboost.XGBClassifier", "xgboost.XGBRegressor", {"max_depth": 4}),
    "catboost": ("catboost.CatBoostClassifier", "catboost.CatBoostRegressor", {"depth": 6}),
}
SAMPLED = {"subsample": 0.8, "colsample_bytree": 0.8}


def booster(library: str, table: pa.Table, target: str, task: str) -> tuple[str, dict[str, Any]]:
    """Import path and arguments of a library's gradient boosting: small steps, on parts of rows and columns.

    Of 200 or 300 rounds, of all or of 0.8 of the rows and columns, 200 of 0.8 lost least or nearly so by
    cross-validation on breast cancer, wine and diabetes. CatBoost samples by itself. A class takes a tree each round.

    Raises:
        MissingExtra: it is not installed.
    """
    if find_spec(library) is None:
        raise MissingExtra(library, "boosters")
    classifier, regressor, own = BOOSTERS[library]
    values = table.column(target).drop_null()
    classes = len(values.unique()) if task == "multiclass" else 2
    rounds = 200 if classes <= 20 else max(20, 2000 // classes)
    rate = 0.05 if len(values) <= EARLY_ROWS else 0.1
    names = "iterations" if library == "catboost" else "n_estimators"
    params = {names: rounds, "learning_rate": rate, **({} if library == "catboost" else SAMPLED), **own}
    return (regressor if task == "regression" else classifier), params


def is_small(table: pa.Table, profiles: list[Profile], target: str, task: str) -> bool:
    """Is cross-validating several models worth its time, some seconds, and are the classes big enough for it?"""
    rows, classes = len(table.column(target).drop_null()), 1  # rows without a target are left out
    # a category of few values becomes a column for each of them, one of many a single column
    width = sum(
        p.distinct if p.kind == "category" and p.distinct <= ONE_HOT else 1 for p in profiles if p.kind is not None
    )
    width += sum(rows // ROWS_OF_A_WORD for p in profiles if p.kind == "text")
    if task != "regression":
        counts = table.column(target).drop_null().value_counts().field("counts").to_pylist()
        classes = len(counts)
        if min(counts) < SMALL_CLASS:
            return False
    return rows <= SMALL_ROWS and rows * width * classes <= SMALL_WORK[task]


def positive(values: pa.ChunkedArray, task: str) -> str | None:
    """Binary targets of text: the class that says yes, else the rarer one. Of other types None: the greater it is."""
    if task != "binary" or not is_text(values.type):
        return None
    counts: dict[str, int] = {c["values"]: c["counts"] for c in as_text(values).drop_null().value_counts().to_pylist()}
    return min(sorted(counts, reverse=True), key=lambda label: (label.strip().lower() not in TRUE, counts[label]))


def slices(profiles: list[Profile]) -> list[str]:
    """The first two columns of few categories: where a model that is good on the whole may be bad."""
    return [p.name for p in profiles if p.kind in ("category", "boolean") and p.distinct <= 10][:2]
