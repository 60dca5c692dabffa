"""The estimator of this project, in plain scikit-learn; `train.params` in glue.yaml are the arguments of `build`.

On a small table no kind of model is always best, so the search compares two on the training rows: a linear model, and
a stack of a linear model, a support vector machine and gradient boosting. It chooses the linear model unless the stack
is better by more than one standard error (the rule of Breiman et al. 1984). Above a few thousand rows, gradient
boosting alone is as good and much faster: `estimator: sklearn.ensemble.HistGradientBoostingClassifier`.

glue encodes the columns by kind before they reach this estimator; nulls arrive as NaN.
"""

import numpy as np
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import HistGradientBoostingClassifier, StackingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC


def build(max_iter=100, learning_rate=0.1, max_leaf_nodes=31, min_samples_leaf=20, random_state=None):
    """Return a search over the two models; glue keeps the model that it chooses."""
    vectors = CalibratedClassifierCV(SVC(C=10, random_state=random_state), cv=3, ensemble=False)
    boosting = HistGradientBoostingClassifier(
        max_iter=max_iter,
        learning_rate=learning_rate,
        max_leaf_nodes=max_leaf_nodes,
        min_samples_leaf=min_samples_leaf,
        random_state=random_state,
    )
    stack = StackingClassifier(
        [("linear", linear()), ("vectors", without_nulls(StandardScaler(), vectors)), ("boosting", boosting)],
        LogisticRegression(max_iter=2000),
        cv=StratifiedKFold(3, shuffle=True, random_state=random_state),
    )
    return GridSearchCV(
        Pipeline([("model", linear())]),
        {"model": [linear(), stack]},
        scoring="neg_log_loss",
        cv=5,  # glue builds these folds by split.by in glue.yaml
        refit=simplest_good_enough,
    )


def linear():
    return without_nulls(StandardScaler(), LogisticRegression(max_iter=2000))


def without_nulls(*steps):
    fill = SimpleImputer(strategy="median", keep_empty_features=True)
    return Pipeline([("fill", fill), *((type(step).__name__, step) for step in steps)])


def simplest_good_enough(results):
    """Return 0, the linear model, unless the stack is better by more than one standard error of its mean; then 1."""
    linear_scores, stack_scores = np.transpose([of_fold for key, of_fold in results.items() if key.startswith("split")])
    # a score is NaN if a fold lacks a class or the stack does not fit
    known = np.isfinite(linear_scores) & np.isfinite(stack_scores)
    if not known.any():
        return 1  # fitting the stack then raises the error
    margin = stack_scores[known].std() / known.sum() ** 0.5
    return int(linear_scores[known].mean() < stack_scores[known].mean() - margin)
