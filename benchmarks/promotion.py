"""How often the promotion rules are right, by simulation: scores of models whose true ROC AUC is known.

Parts: `once` (one candidate against the champion, by rows, prevalence and true gain), `many` (50 replacements in a row,
each on a fresh holdout), `methods` (the standard errors against the spread of many draws, for each metric), `slices`
(how often a slice refuses a candidate: one that is equal, and one that is worse in one slice alone).

The models' scores are normal in each class and correlate at 0.9, as those of two seeds of one estimator do.
"""

from __future__ import annotations

import argparse
import itertools

import numpy as np
from scipy.special import ndtri

from mlops_glue import paired
from mlops_glue.metrics import METRICS

AUC, SHARE_OF_SKILL = 0.8, 0.01  # of the champion; the default of promote.slack
SLACK = SHARE_OF_SKILL * (AUC - 0.5)
CORRELATION = 0.9


def outcomes(rng: np.random.Generator, areas: list[float], rows: int, prevalence: float) -> list[paired.Outcome]:
    """What models of these true areas make of the same rows."""
    truth = (rng.random(rows) < prevalence).astype(int)
    shared = rng.normal(size=rows)
    found = []
    for area in areas:
        own = rng.normal(size=rows)
        score = 2**0.5 * ndtri(area) * truth + CORRELATION**0.5 * shared + (1 - CORRELATION) ** 0.5 * own
        probability = 1 / (1 + np.exp(1 - score))
        found.append((truth, (probability > 0.5).astype(int), np.column_stack([1 - probability, probability])))
    return found


def difference(mine: paired.Outcome, theirs: paired.Outcome) -> paired.Difference:
    """Of the area under the ROC curve."""
    return paired.difference(METRICS["binary"]["roc_auc"], mine, theirs, seed=0)


def once(trials: int) -> None:
    """The share of candidates that each rule takes."""
    print(f"one candidate, {trials} trials each: share promoted, in %")
    print(f"{'rows':>6} {'prevalence':>10} {'true gain':>9} {'not_worse':>9} {'better':>7}  loss that would be noticed")
    wanted = {
        (5000, 0.0): ("not_worse", ">=", 90),
        (5000, -0.02): ("not_worse", "<=", 5),
        (5000, 0.02): ("better", ">=", 90),
    }
    for rows, prevalence, gain in itertools.product((500, 2000, 5000, 40_000), (0.3, 0.05), (0.0, -0.01, -0.02, 0.02)):
        rng = np.random.default_rng(rows)
        made = (difference(*outcomes(rng, [AUC + gain, AUC], rows, prevalence)) for _ in range(trials))
        found = [(paired.finding(one, SLACK), one.noticeable) for one in made]
        share = {
            "not_worse": 100 * np.mean([what != "worse" for what, _ in found]),
            "better": 100 * np.mean([what == "better" for what, _ in found]),
        }
        notes = []
        if prevalence == 0.3:
            rules = [wanted[rows, gain]] if (rows, gain) in wanted else []
            rules += [("better", "<=", 10)] if (rows, gain) == (5000, 0.0) else []
            for rule, sign, limit in rules:
                met = share[rule] >= limit if sign == ">=" else share[rule] <= limit
                notes.append(f"{rule} wanted {sign} {limit}: {'met' if met else 'MISSED'}")
        noticed = np.median([least for _, least in found])
        print(
            f"{rows:>6} {prevalence:>10} {gain:>+9.3f} {share['not_worse']:>9.0f} {share['better']:>7.0f}"
            f"  {noticed:.4f}  {'; '.join(notes)}"
        )


def many(trials: int, replacements: int = 50, rows: int = 5000) -> None:
    """Replacements in a row: how many are promoted, and what becomes of the true area."""
    print(f"\n{replacements} candidates in a row on {rows:,} fresh rows each, {trials} trials")
    for name, bias, spread in (
        ("neutral", 0.0, 0.002),
        ("each 0.001 worse", -0.001, 0.002),
        ("each 0.003 worse", -0.003, 0.002),
    ):
        for rule in ("champion alone, no slack", "champion and anchor"):
            ends, taken, rng = [], 0, np.random.default_rng(1)
            for _ in range(trials):
                champion = anchor = AUC
                for step in range(1, replacements + 1):
                    candidate = AUC + bias * step + spread * rng.normal()
                    mine, theirs, first = outcomes(rng, [candidate, champion, anchor], rows, 0.3)
                    gain, of_anchor = difference(mine, theirs), difference(mine, first)
                    slack = 0.0 if "alone" in rule else SLACK
                    findings = {paired.finding(gain, slack)} | (
                        {paired.finding(of_anchor, slack)} if "anchor" in rule else set()
                    )
                    if "worse" not in findings:
                        champion, taken = candidate, taken + 1
                        anchor = candidate if of_anchor.low > slack else anchor
                ends.append(champion - AUC)
            share = 100 * taken / trials / replacements
            note = ""
            if name == "neutral" and "anchor" in rule:
                note = f"  wanted a loss <= 0.005: {'met' if np.mean(ends) >= -0.005 else 'MISSED'}"
            print(
                f"{name:>17}, {rule:<25} {share:>4.0f} % promoted, true change {np.mean(ends):+.4f}, "
                f"worst 5 % {np.quantile(ends, 0.05):+.4f}{note}"
            )


def methods(trials: int) -> None:
    """Does the standard error of each metric say how much the difference varies?"""
    print(f"\nstandard errors at 2,000 rows against the spread of {trials} draws")
    for name in ("roc_auc", "log_loss", "brier", "accuracy", "average_precision", "f1"):
        rng = np.random.default_rng(2)
        pairs = [outcomes(rng, [AUC, AUC], 2000, 0.3) for _ in range(trials)]
        found = [paired.difference(METRICS["binary"][name], *pair, seed=0) for pair in pairs]
        spread, stated = np.std([one.value for one in found]), np.mean([one.se for one in found])
        print(f"{name:>17} {found[0].method:<10} stated {stated:.5f}, seen {spread:.5f}: {stated / spread:.2f} x")


def slices(trials: int) -> None:
    """The share of candidates that a slice refuses, in all and by the true gain in one of them."""
    print(f"\nslices without slack, {trials} trials each: share refused, in %")
    for metric, rows, count, prevalence, gain in (
        *itertools.product(("roc_auc", "log_loss", "accuracy"), (50, 250), (20,), (0.3, 0.05), (0.0,)),
        *itertools.product(("roc_auc",), (250, 1000), (5, 20), (0.3,), (-0.02, -0.05, -0.1)),
    ):
        rng, refused = np.random.default_rng(1), 0
        values = {"slice": np.repeat([f"{at:02}" for at in range(count)], rows)}
        for _ in range(trials):
            pairs = [outcomes(rng, [AUC + gain * (at == 0), AUC], rows, prevalence) for at in range(count)]
            mine, theirs = (
                tuple(np.concatenate([pair[which][part] for pair in pairs]) for part in range(3)) for which in (0, 1)
            )
            found = paired.by_slice("binary", METRICS["binary"][metric], values, mine, theirs, seed=0)
            refused += any(one["high"] < 0 for one in found)
        share, note = 100 * refused / trials, ""
        if not gain:
            note = f"  wanted <= 10: {'met' if share <= 10 else 'MISSED'}"
        what = f"{count} of {rows} rows, {prevalence:.0%} positive"
        print(f"{metric:>9} {what:<30} {gain:>+6.2f} in one {share:>4.0f}{note}")


def main() -> None:
    """Run the parts that are named, or all."""
    parts = {"once": once, "many": many, "methods": methods, "slices": slices}
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", choices=[*parts, []], help="default: all")
    parser.add_argument("--trials", type=int, default=200)
    options = parser.parse_args()
    for name in options.parts or parts:
        parts[name](options.trials if name == "once" else max(20, options.trials // 4))


if __name__ == "__main__":
    main()
