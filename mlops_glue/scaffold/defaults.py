"""The proposals of `glue init` for a table: expectations, thresholds, positive class, slices. All can be edited."""

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
MANY = 200  # columns; with more, Great Expectations would take longer than everything else


def expectations(table: pa.Table, profiles: list[Profile], target: str) -> list[Expectation]:
    """Return limits with slack: types, twice the nulls plus 5 %, half the range on each side, 5 % unseen categories."""
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
    """Return the sorted distinct values as Great Expectations compares them; [] unless they are text or numbers."""
    import pyarrow as pa

    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if not is_text(column.type) and not is_number(column.type):
        return []
    return sorted(value for value in column.unique().drop_null().to_pylist() if value == value)  # not NaN


def _range(name: str, column: pa.ChunkedArray) -> list[Expectation]:
    import pyarrow.compute as pc

    if not is_number(column.type):
        return []  # text or decimals that contain numbers
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
    """Round to four digits, plus one for each leading digit that the range does not change."""
    same = max(0, int(math.log10(abs(value) / room))) if value else 0
    return float(f"{value:.{4 + same}g}")


IN_HOLDOUT = 25  # rows of a class, so that a fifth of them is a few


def thresholds(task: str, target: pa.ChunkedArray) -> list[tuple[str, str, float, str]]:
    """Return metric, `min` or `max`, value and reason of limits that the trivial predictor misses.

    With several classes there is no limit if the holdout may lack one of them, as the area under a curve is then
    undefined. A model that is worse than the trivial predictor is refused in any case.
    """
    if task == "regression":
        return [("r2", "min", 0.05, "predicting the mean scores 0")]
    # the rarer the other classes, the higher a limit on accuracy would have to be
    ranked = "roc_auc" if task == "binary" else "roc_auc_ovr"
    rarest = min(target.drop_null().value_counts().field("counts").to_pylist(), default=0)
    return [(ranked, "min", 0.55, "a constant scores 0.5")] if task == "binary" or rarest >= IN_HOLDOUT else []


def estimator(table: pa.Table, target: str, task: str) -> tuple[str, dict[str, Any]]:
    """Return the estimator's import path and arguments, for a table that gets no `model.py`.

    It is gradient boosting. With more than two classes it has a penalty on the leaf values (1, XGBoost's default), as
    scores of rare classes diverge without it. With many classes it has fewer rounds, since each round builds a tree
    for every class. With hundreds of classes it is a linear model: trees would take minutes, or hundreds of megabytes.

    Above 10,000 rows scikit-learn stops early by default. With fewer rows, it takes small steps and also stops early.
    Early stopping sets aside rows of each class; if a rare class has too few rows, the trees are small instead. On
    tables with a long tail of class counts this reduced the log loss by 5 to 30 %.
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


BOOSTERS: dict[str, tuple[str, str, dict[str, Any]]] = {  # by library: classifier, regressor, parameters
    "lightgbm": (
        "lightgbm.LGBMClassifier",
        "lightgbm.LGBMRegressor",
        # the same trees on any number of threads; LightGBM limits the number of leaves, not the depth
        {"deterministic": True, "force_row_wise": True, "subsample_freq": 1, "verbose": -1, "num_leaves": 15},
    ),
    "xgboost": ("xgboost.XGBClassifier", "xgboost.XGBRegressor", {"max_depth": 4}),
    "catboost": ("catboost.CatBoostClassifier", "catboost.CatBoostRegressor", {"depth": 6}),
}
SAMPLED = {"subsample": 0.8, "colsample_bytree": 0.8}


def booster(library: str, table: pa.Table, target: str, task: str) -> tuple[str, dict[str, Any]]:
    """Return import path and arguments of a library's gradient boosting: small steps, on samples of rows and columns.

    200 and 300 rounds were compared, with all and with 0.8 of the rows and columns: 200 rounds with 0.8 had the lowest
    or nearly the lowest cross-validated loss on breast cancer, wine and diabetes. CatBoost has its own sampling. Each
    round builds one tree per class.

    Raises:
        MissingExtra: the library is not installed.
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
    """Return whether cross-validating several models takes only seconds, and the classes are big enough for it."""
    rows, classes = len(table.column(target).drop_null()), 1  # rows without a target are left out
    # a category with few values becomes one column for each value; a category with many becomes a single column
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
    """Return the positive class of a binary text target: the class that means yes, else the rarer class.

    For other types return None: the greater value is the positive class.
    """
    if task != "binary" or not is_text(values.type):
        return None
    counts: dict[str, int] = {c["values"]: c["counts"] for c in as_text(values).drop_null().value_counts().to_pylist()}
    return min(sorted(counts, reverse=True), key=lambda label: (label.strip().lower() not in TRUE, counts[label]))


def slices(profiles: list[Profile]) -> list[str]:
    """Return the first two columns with few categories; a model that is good overall may be bad in one of them."""
    return [p.name for p in profiles if p.kind in ("category", "boolean") and p.distinct <= 10][:2]
