"""Search for parameters with Optuna, in an SQLite file that several processes share and that survives a kill."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_glue.errors import GlueError, MissingExtra, brief

if TYPE_CHECKING:
    import optuna

Scores = Callable[[dict[str, Any]], Iterator[float]]  # returns the score of each fold, one after the other
STARTUP = 8  # random trials before the search learns from them, and before it prunes any
DIGITS = 4  # significant digits of a float: more would not matter, and people read them in glue.yaml


@dataclass(frozen=True)
class Trial:
    """One set of parameters.

    Attributes:
        number: counted from 0.
        params: the parameters by name.
        value: the mean score over the folds; None if the trial was pruned or failed.
        outcome: complete, pruned or failed.
        why: the error of a failed trial.
        seconds: its duration.
    """

    number: int
    params: dict[str, Any]
    value: float | None
    outcome: str
    why: str | None
    seconds: float


class Study:
    """A search with the tree-structured Parzen estimator (Bergstra et al. 2011), which prunes trials below the median.

    Args:
        file: the SQLite file; it is created if it does not exist. Only one process at a time may create it.
        name: name of the search in the file; an existing search with this name continues.
        maximize: whether a higher score is better.
        seed: seed of the sampler; each process needs a different one.

    Raises:
        MissingExtra: Optuna is not installed.
    """

    def __init__(self, file: Path, name: str, *, maximize: bool, seed: int) -> None:
        try:
            import optuna
            import sqlalchemy
        except ImportError as error:
            raise MissingExtra("optuna", "tune") from error
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        logging.getLogger("alembic").setLevel(logging.ERROR)
        url = sqlalchemy.URL.create("sqlite", database=str(file)).render_as_string(hide_password=False)
        self._study: optuna.Study = optuna.create_study(
            study_name=name,
            storage=optuna.storages.RDBStorage(url, engine_kwargs={"connect_args": {"timeout": 60}}),
            load_if_exists=True,
            direction="maximize" if maximize else "minimize",
            pruner=optuna.pruners.MedianPruner(n_startup_trials=STARTUP),
        )
        # with the same seed a search that continues would draw the first random trials again
        drawn = seed + len(self._study.get_trials(deepcopy=False))
        self._study.sampler = optuna.samplers.TPESampler(seed=drawn, n_startup_trials=STARTUP)

    def fail_dead(self) -> None:
        """Mark the trials of killed processes as failed; call this only while no other process searches."""
        import optuna

        for trial in self._study.get_trials(deepcopy=False, states=[optuna.trial.TrialState.RUNNING]):
            self._study.tell(trial.number, state=optuna.trial.TrialState.FAIL)

    def trials(self) -> list[Trial]:
        """Return all finished trials in order, without those of killed processes."""
        outcomes = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed"}
        found = []
        for trial in self._study.get_trials(deepcopy=False):
            outcome, attributes = outcomes.get(trial.state.name), trial.user_attrs
            if outcome is not None and (outcome != "failed" or "why" in attributes):
                value = trial.value if outcome == "complete" else None
                took = trial.duration.total_seconds() if trial.duration is not None else 0.0
                why = attributes.get("why")
                found.append(Trial(trial.number, attributes["params"], value, outcome, why, took))
        return found

    def fact(self, name: str, find: Callable[[], Any]) -> Any:
        """Return a JSON value that `find` computes once per search."""
        if name not in self._study.user_attrs:
            self._study.set_user_attr(name, find())
        return self._study.user_attrs[name]

    def search(
        self,
        space: Mapping[str, Mapping[str, Any]],
        scores: Scores,
        *,
        trials: int,
        deadline: float,
        on_trial: Callable[[], None],
        at_once: int = 1,
    ) -> None:
        """Try parameters until `trials` trials of all processes and runs have ended, or until the deadline.

        Args:
            space: `{low, high, log}` or `{choices}` for each parameter.
            scores: yields the score of each fold for the given parameters; if it raises, the trial fails.
            trials: total number of trials.
            deadline: in the time of `time.monotonic`; a running trial is pruned at the end of its fold.
            on_trial: is called when a trial of this process has ended.
            at_once: number of trials to start, independently of each other, before waiting for the first.
        """
        import optuna

        drawn_from = {name: _distribution(each) for name, each in space.items()}
        is_at_work = optuna.trial.TrialState.RUNNING
        while time.monotonic() < deadline:
            at_work = len(self._study.get_trials(deepcopy=False, states=[is_at_work]))
            begun = []
            for _ in range(min(at_once, trials - len(self.trials()) - at_work)):
                trial = self._study.ask(drawn_from)
                params = {name: _rounded(value) for name, value in trial.params.items()}
                trial.set_user_attr("params", params)
                begun.append((trial, scores(params)))
            if not begun:
                return
            for trial, of in begun:
                self._end(trial, of, deadline)
                on_trial()

    def _end(self, trial: optuna.Trial, scores: Iterator[float], deadline: float) -> None:
        """Read the scores of a trial until it ends or is pruned."""
        from optuna.trial import TrialState

        found: list[float] = []
        state = TrialState.COMPLETE
        try:
            for fold, score in enumerate(scores):
                found.append(score)
                trial.report(mean_score(found), fold)
                if trial.should_prune() or time.monotonic() >= deadline:
                    state = TrialState.PRUNED
                    break
            if math.isnan(mean_score(found)):
                raise ValueError("the metric is undefined on every fold")
        except Exception as error:
            trial.set_user_attr("why", error.message if isinstance(error, GlueError) else brief(error))
            state = TrialState.FAIL
        is_complete = state is TrialState.COMPLETE
        self._study.tell(trial, mean_score(found) if is_complete else None, state=None if is_complete else state)


def _distribution(of: Mapping[str, Any]) -> optuna.distributions.BaseDistribution:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if "choices" in of:
        return CategoricalDistribution(of["choices"])
    low, high = of["low"], of["high"]
    log = of["log"] if of.get("log") is not None else low > 0 and high >= 10 * low
    kind = IntDistribution if isinstance(low, int) and isinstance(high, int) else FloatDistribution
    return kind(low, high, log=log)


def _rounded(value: Any) -> Any:
    return float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value


def mean_score(scores: list[float]) -> float:
    """Return the mean over the folds on which the metric is defined; NaN if there are none."""
    known = [score for score in scores if not math.isnan(score)]
    return math.fsum(known) / len(known) if known else math.nan
