"""The preprocessing before an estimator: encoding of categories, and imputing and scaling if they are needed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlops_glue.config.training import Train
from mlops_glue.pipeline import free_text
from mlops_glue.pipeline.native import PART, Form
from mlops_glue.pipeline.older_rows import Estimator
from mlops_glue.schema import Schema

if TYPE_CHECKING:
    import pandas as pd

MAX_VALUES = 500  # largest number of values of a category that become columns
ONE_HOT = 32  # a category with at most this many values becomes one column for each value


def preprocessing(
    schema: Schema, estimator: Estimator, features: pd.DataFrame, train: Train, native: Form | None = None
) -> Estimator:
    """Return the preprocessing: one-hot encoding for few values, target or ordinal encoding for many.

    It imputes and scales only if the estimator needs it. Categories in a `native` form come right after the numbers,
    as a number for each value or as text. Columns are addressed by position, so that the ONNX model can take them as
    two matrices.
    """
    import numpy as np
    from sklearn.base import clone
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler, TargetEncoder
    from sklearn.utils import get_tags

    count = len(schema.numeric)
    steps: list[Estimator] = []
    if not get_tags(estimator).input_tags.allow_nan:
        steps.append(SimpleImputer(strategy="median", keep_empty_features=True))
    # a scaler before trees moves rows across thresholds in float32; a search may contain trees
    unscaled = ("sklearn.tree", "sklearn.ensemble", "sklearn.model_selection", "lightgbm", "xgboost", "catboost")
    inside = [estimator, *getattr(estimator, "get_params", dict)().values()]  # inside a calibration or the like
    scaled = not any(type(part).__module__.startswith(unscaled) for part in inside)
    if scaled:
        steps.append(StandardScaler())
    parts: list[tuple[str, Estimator, list[int]]] = []
    if count:
        parts.append(("number", make_pipeline(*steps) if steps else "passthrough", list(range(count))))
    categories = [at for at in range(count, features.shape[1]) if features.columns[at] not in schema.free_text]
    distinct = {at: features.iloc[:, at].nunique() for at in categories}
    own = [at for at, n in distinct.items() if native is not None and n <= native.most]
    if native is not None and own:
        unknown = {"handle_unknown": "use_encoded_value", "unknown_value": np.nan}
        parts.append((PART, "passthrough" if native.as_text else OrdinalEncoder(**unknown, dtype=np.float32), own))
    few = [at for at, n in distinct.items() if n <= ONE_HOT and at not in own]
    many = [at for at, n in distinct.items() if n > ONE_HOT and at not in own]
    one_hot = OneHotEncoder(handle_unknown="ignore", sparse_output=False, dtype=np.float32)
    if few:
        parts.append(("category", clone(one_hot), few))
    if many:
        # set explicitly, as it would treat whole numbers as classes and add a column for each
        kind = "continuous" if schema.task == "regression" else "binary"
        encoder: Estimator = TargetEncoder(target_type=kind, random_state=train.seed)
        if schema.task == "multiclass":  # skl2onnx supports no multiclass TargetEncoder and no infrequent categories
            encoder = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, dtype=np.float32)
            if scaled:  # a linear model cannot use an alphabetical order
                encoder = one_hot.set_params(categories=[_frequent(features.iloc[:, at]) for at in many])
        parts.append(("many_values", encoder, many))
    words = free_text.parts(schema, features, train.words)
    return ColumnTransformer([*parts, *words], **({"sparse_threshold": 0} if words else {}))


def _frequent(values: pd.Series[str]) -> list[str]:
    """Return the values that have enough rows to learn from, in order; other values are encoded as zeros."""
    counts = values.value_counts()
    return sorted(counts[counts >= free_text.MIN_ROWS].index[:MAX_VALUES]) or [counts.index[0]]
