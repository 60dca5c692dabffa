"""Optuna: a search for parameters in an SQLite file, which several processes share and which a kill does not harm."""

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

Scores = Callable[[dict[str, Any]], Iterator[float]]  # of each fold, one after the other
STARTUP = 8  # trials at random before the search learns from them, and before one is given up half-way
DIGITS = 4  # of a fraction: more mean nothing, and a reader of glue.yaml has to read them


@dataclass(frozen=True)
class Trial:
    """One set of parameters.

    Attributes:
        number: from 0.
        params: by name.
        value: the mean score over the folds; None where it was given up or failed.
        outcome: complete, pruned or failed.
        why: of a failed one, its error.
        seconds: that it took.
    """

    number: int
    params: dict[str, Any]
    value: float | None
    outcome: str
    why: str | None
    seconds: float


class Study:
    """A search by the tree-structured Parzen estimator (Bergstra et al. 2011), which gives up what the median beats.

    Args:
        file: the SQLite file; it is made where it is not there. One process at a time may make it.
        name: of the search in the file: one of that name goes on.
        maximize: is a higher score better?
        seed: of the sampler; each process has another.

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
        # a search that goes on would draw the first random trials once more
        drawn = seed + len(self._study.get_trials(deepcopy=False))
        self._study.sampler = optuna.samplers.TPESampler(seed=drawn, n_startup_trials=STARTUP)

    def fail_dead(self) -> None:
        """Mark the trials of killed processes; to be called while no other process searches."""
        import optuna

        for trial in self._study.get_trials(deepcopy=False, states=[optuna.trial.TrialState.RUNNING]):
            self._study.tell(trial.number, state=optuna.trial.TrialState.FAIL)

    def trials(self) -> list[Trial]:
        """All that have ended, in order, without those of killed processes."""
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
        """Something of JSON that is found out once in a search."""
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
        """Try parameters until so many trials have ended, of all processes and all times, or the deadline has come.

        Args:
            space: by parameter `{low, high, log}` or `{choices}`.
            scores: gives the score of each fold for parameters; an exception makes the trial a failed one.
            trials: how many there are to be.
            deadline: by `time.monotonic`; a trial that is at work is given up at the end of its fold.
            on_trial: is called when one has ended here.
            at_once: how many are begun, knowing nothing of each other, before the first of them is waited for.
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
        """Take the scores of a trial, until it is given up."""
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
                raise ValueError("the metric is not defined on any fold")
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
    """The mean over the folds, without those on which the metric is not defined; NaN where it is on none."""
    known = [score for score in scores if not math.isnan(score)]
    return math.fsum(known) / len(known) if known else math.nan
