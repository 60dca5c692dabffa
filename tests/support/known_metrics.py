"""What scikit-learn makes of each metric: by task and name, of truth, label and probability as `metrics` takes them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sklearn import metrics as m

Known = Callable[[Any, Any, Any], float]


def _classes(q: Any) -> list[int]:
    return list(range(q.shape[1]))


KNOWN: dict[tuple[str, str], Known] = {
    ("binary", "roc_auc"): lambda y, p, q: m.roc_auc_score(y, q[:, 1]),
    ("binary", "average_precision"): lambda y, p, q: m.average_precision_score(y, q[:, 1]),
    ("binary", "f1"): lambda y, p, q: m.f1_score(y, p, zero_division=0),
    ("binary", "precision"): lambda y, p, q: m.precision_score(y, p, zero_division=0),
    ("binary", "recall"): lambda y, p, q: m.recall_score(y, p, zero_division=0),
    ("binary", "accuracy"): lambda y, p, q: m.accuracy_score(y, p),
    ("binary", "log_loss"): lambda y, p, q: m.log_loss(y, q, labels=[0, 1]),
    ("binary", "brier"): lambda y, p, q: m.brier_score_loss(y, q[:, 1], labels=[0, 1], pos_label=1),
    ("multiclass", "log_loss"): lambda y, p, q: m.log_loss(y, q, labels=_classes(q)),
    ("multiclass", "accuracy"): lambda y, p, q: m.accuracy_score(y, p),
    ("multiclass", "balanced_accuracy"): lambda y, p, q: m.balanced_accuracy_score(y, p),
    ("multiclass", "f1_macro"): lambda y, p, q: m.f1_score(y, p, average="macro", zero_division=0),
    ("multiclass", "roc_auc_ovr"): lambda y, p, q: m.roc_auc_score(y, q, multi_class="ovr", labels=_classes(q)),
    ("regression", "r2"): lambda y, p, q: m.r2_score(y, p),
    ("regression", "rmse"): lambda y, p, q: m.root_mean_squared_error(y, p),
    ("regression", "mae"): lambda y, p, q: m.mean_absolute_error(y, p),
    ("regression", "median_absolute_error"): lambda y, p, q: m.median_absolute_error(y, p),
    ("binary", "balanced_accuracy"): lambda y, p, q: m.balanced_accuracy_score(y, p),
    ("binary", "matthews_corrcoef"): lambda y, p, q: m.matthews_corrcoef(y, p),
    ("binary", "cohen_kappa"): lambda y, p, q: m.cohen_kappa_score(y, p),
    ("binary", "jaccard"): lambda y, p, q: m.jaccard_score(y, p, zero_division=0),
    ("binary", "f2"): lambda y, p, q: m.fbeta_score(y, p, beta=2, zero_division=0),
    ("binary", "f0.5"): lambda y, p, q: m.fbeta_score(y, p, beta=0.5, zero_division=0),
    ("multiclass", "matthews_corrcoef"): lambda y, p, q: m.matthews_corrcoef(y, p),
    ("multiclass", "cohen_kappa"): lambda y, p, q: m.cohen_kappa_score(y, p),
    ("multiclass", "precision_macro"): lambda y, p, q: m.precision_score(y, p, average="macro", zero_division=0),
    ("multiclass", "recall_macro"): lambda y, p, q: m.recall_score(y, p, average="macro", zero_division=0),
    ("multiclass", "precision_weighted"): lambda y, p, q: m.precision_score(y, p, average="weighted", zero_division=0),
    ("multiclass", "f1_weighted"): lambda y, p, q: m.f1_score(y, p, average="weighted", zero_division=0),
    ("multiclass", "top_2_accuracy"): lambda y, p, q: m.top_k_accuracy_score(y, q, k=2, labels=_classes(q)),
    ("regression", "mean_absolute_percentage_error"): lambda y, p, q: m.mean_absolute_percentage_error(y, p),
    ("regression", "root_mean_squared_log_error"): lambda y, p, q: m.root_mean_squared_log_error(y, p),
    ("regression", "max_error"): lambda y, p, q: m.max_error(y, p),
    ("regression", "explained_variance"): lambda y, p, q: m.explained_variance_score(y, p),
    ("regression", "mean_poisson_deviance"): lambda y, p, q: m.mean_poisson_deviance(y, p),
    ("regression", "mean_gamma_deviance"): lambda y, p, q: m.mean_gamma_deviance(y, p),
    ("regression", "mean_pinball_loss_0.9"): lambda y, p, q: m.mean_pinball_loss(y, p, alpha=0.9),
}
