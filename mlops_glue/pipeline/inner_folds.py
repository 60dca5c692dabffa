"""The folds of a search inside the fit, built like the holdout: with leaking folds a search chooses wrongly."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mlops_glue import layout
from mlops_glue.config import Config
from mlops_glue.errors import ConfigError, DataError
from mlops_glue.pipeline import log_target
from mlops_glue.pipeline.split import folds

if TYPE_CHECKING:
    import pyarrow as pa

Array = np.ndarray[Any, Any]
Estimator = Any  # of scikit-learn, which has no types
DEFAULT_FOLDS = 5  # of scikit-learn, if `cv` is None


def search_in(model: Estimator) -> Estimator | None:
    """Return the search that a model is, or ends with; None if there is none.

    A search is `GridSearchCV` or similar, or a linear model that chooses its own penalty.
    """
    from sklearn.ensemble import VotingClassifier
    from sklearn.linear_model import ElasticNetCV, LassoCV, LogisticRegressionCV
    from sklearn.model_selection import GridSearchCV

    model = log_target.bare(model)
    while hasattr(model, "steps"):
        model = model.steps[-1][1]
    if isinstance(model, VotingClassifier) and len(model.estimators) == 1:
        model = model.estimators[0][1]
    kinds = (GridSearchCV.__base__, LogisticRegressionCV, LassoCV, ElasticNetCV)
    return model if isinstance(model, kinds) else None


def check(model: Estimator) -> None:
    """Check that the search in an unfitted model will keep a fitted model.

    Raises:
        ConfigError: it will not.
    """
    from sklearn.model_selection import GridSearchCV

    search = search_in(model)
    if isinstance(search, GridSearchCV.__base__) and search.refit is False:
        problem = f"{type(search).__name__} with refit=False keeps no model that can predict"
        raise ConfigError([f"{layout.CONFIG} train.estimator: {problem}"], hint="leave refit out, or refit=True")


def described(config: Config, model: Estimator) -> str | None:
    """Return how the folds of an unfitted model are changed, as a sentence; None if they are not."""
    search = search_in(model)
    if search is None or not _are_by_number(search.cv):
        return None
    how = {"time": "predict later rows by earlier ones", "entity": "have whole entities"}.get(config.split.by)
    return how and f"{type(search).__name__}: its {search.cv or DEFAULT_FOLDS} folds {how} (split.by)"


def as_split(config: Config, table: pa.Table, target: Array, search: Estimator) -> Any:
    """Return the `cv` for a search: its own, or the rows of each fold.

    A number of folds is split by `split.by`, at random with `train.seed`. Folds by group use the entities as groups,
    and `TimeSeriesSplit` receives the rows in the order of their time.

    Args:
        config: with `split.by`.
        table: glue's own columns of the rows that the search is fitted on.
        target: of the rows, shape (rows,).
        search: from `search_in`.

    Raises:
        DataError: there are fewer rows or entities than folds, or the rows have no entity.
    """
    from sklearn import model_selection

    cv, name = search.cv, type(search).__name__
    rows = np.arange(len(target))
    if _are_by_number(cv):
        try:
            classes = target.dtype.kind != "f"
            return folds(config, table, target, cv or DEFAULT_FOLDS, config.train.seed, classes=classes)
        except DataError as error:
            raise DataError(f"{name}: {error.message}", hint="use fewer folds, such as cv=2 in the search") from error
    grouped = ("GroupKFold", "StratifiedGroupKFold", "GroupShuffleSplit", "LeaveOneGroupOut", "LeavePGroupsOut")
    if type(cv).__name__ in grouped:
        if layout.ENTITY_COLUMN not in table.column_names:
            problem = f"{name}: {type(cv).__name__} needs groups, and the labels' table has no entity"
            raise DataError(problem, hint="data: {sources: {TABLE: {entity: COLUMN}}}")
        return list(cv.split(rows, target, table.column(layout.ENTITY_COLUMN).to_numpy()))
    if isinstance(cv, model_selection.TimeSeriesSplit) and layout.TIMESTAMP_COLUMN in table.column_names:
        order = np.argsort(table.column(layout.TIMESTAMP_COLUMN).to_numpy(), kind="stable")
        return [(order[before], order[after]) for before, after in cv.split(order)]
    return cv


def _are_by_number(cv: Any) -> bool:
    return cv is None or isinstance(cv, int)
