"""How a repository is judged, as tables: areas, maturity levels, the ML Test Score, and what to do next.

Sources:
    Google Cloud, "MLOps: Continuous delivery and automation pipelines in machine learning", levels 0 to 2:
        https://cloud.google.com/architecture/mlops-continuous-delivery-and-automation-pipelines-in-machine-learning
    Microsoft, "Machine Learning Operations maturity model", levels 0 to 4:
        https://learn.microsoft.com/azure/architecture/ai-ml/guide/mlops-maturity-model
    Breck, Cai, Nielsen, Salib, Sculley, "The ML Test Score: A Rubric for ML Production Readiness and Technical Debt
        Reduction", IEEE Big Data 2017: https://research.google/pubs/pub46555/
The levels' requirements below are the part of those texts that a repository can show.
"""

from __future__ import annotations

from dataclasses import dataclass

GOOGLE = "https://cloud.google.com/architecture/mlops-continuous-delivery-and-automation-pipelines-in-machine-learning"
MICROSOFT = "https://learn.microsoft.com/azure/architecture/ai-ml/guide/mlops-maturity-model"
TEST_SCORE = "Breck et al. 2017, https://research.google/pubs/pub46555/"


@dataclass(frozen=True)
class Check:
    """One thing that a repository does or does not; `any_of` are the signals that show it, best first."""

    name: str
    says: str
    any_of: tuple[str, ...]


AREAS: dict[str, tuple[Check, ...]] = {
    "code": (
        Check("committed", "the code is in git", ("commit",)),
        Check("shared", "others can pull it from a remote", ("remote",)),
        Check("reviewed", "changes are looked at", ("change_request_ci", "owners", "review_template")),
        Check("tested", "it has tests that can fail", ("unit_tests",)),
    ),
    "data": (
        Check("data_versioned", "data has versions", ("data_versioned",)),
        Check("data_shared", "its versions are where others can get them", ("data_remote",)),
        Check("data_traced", "a result says which data it came from", ("data_logged",)),
    ),
    "reproducibility": (
        Check("script", "a model is trained by a script, not in a notebook alone", ("training",)),
        Check("one_command", "one command trains it", ("one_command", "pipeline")),
        Check("pinned", "the versions of packages are pinned", ("pinned",)),
        Check("python", "the Python is named", ("python_version", "container")),
        Check("seeded", "what is random has a seed", ("seeded",)),
    ),
    "pipeline": (
        Check("pipeline", "its stages are code, with what each needs and makes", ("pipeline",)),
        Check("tracked", "each run's metrics are kept", ("tracked", "metrics_kept")),
        Check("parameters", "and its parameters", ("parameters_logged",)),
        Check(
            "retrained", "a schedule or an event trains again", ("schedule:pipeline", "schedule:training", "scheduled")
        ),
    ),
    "models": (
        Check("registered", "models are versions in a registry", ("registered",)),
        Check("promoted", "an alias or stage says which one is served", ("promoted", "loaded_from_registry")),
        Check("central", "runs and models are on a server that the team shares", ("tracking_server",)),
    ),
    "data quality": (
        Check("expectations", "what the data must be is written down", ("expectations",)),
        Check(
            "validated",
            "and checked before each training",
            ("stage:expectations", "change:expectations", "schedule:expectations", "training:expectations"),
        ),
    ),
    "model quality": (
        Check("measured", "a model is measured on rows that it was not trained on", ("measured", "metrics_kept")),
        Check("gate", "one that is not good enough stops", ("gate", "gate_in_tests")),
        Check("slices", "and is looked at by group", ("slices",)),
    ),
    "features": (
        Check("one_preprocessing", "preprocessing is part of the model", ("one_preprocessing",)),
        Check("feature_store", "features are defined once, in a feature store", ("feature_store",)),
        Check("features_served", "and served from it", ("features_served",)),
    ),
    "CI/CD": (
        Check("ci_tests", "tests run on every change", ("change:tests",)),
        Check("ci_trains", "the pipeline runs in CI", ("change:pipeline", "change:training", "schedule:pipeline")),
        Check("delivered", "CI delivers what is served", ("change:deploy", "schedule:deploy", "ci:deploy")),
    ),
    "serving": (
        Check("endpoint", "the model is behind an interface", ("endpoint",)),
        Check("deployable", "which a container or manifest starts", ("container", "manifest")),
        Check("health", "and says whether it is well", ("health",)),
        Check("service_metrics", "requests and times are counted", ("service_metrics",)),
    ),
    "monitoring": (
        Check("drift", "what comes in is compared with what was learned from", ("drift",)),
        Check("performance", "predictions are compared with the truth", ("performance_watched",)),
        Check("watched", "by a schedule", ("schedule:drift", "schedule:monitoring", "alert")),
    ),
}


@dataclass(frozen=True)
class Level:
    """A level of a maturity model, and the checks that it asks for beyond those of the level below."""

    number: int
    name: str
    needs: tuple[str, ...] = ()


LEVELS: dict[str, tuple[Level, ...]] = {
    "Google": (
        Level(0, "manual process"),
        Level(
            1,
            "ML pipeline automation",
            ("script", "pipeline", "tracked", "expectations", "validated", "measured", "gate", "retrained"),
        ),
        Level(
            2,
            "CI/CD pipeline automation",
            ("committed", "tested", "ci_tests", "ci_trains", "delivered", "registered", "feature_store", "drift"),
        ),
    ),
    "Microsoft": (
        Level(0, "no MLOps"),
        Level(1, "DevOps but no MLOps", ("committed", "shared", "tested", "ci_tests")),
        Level(2, "automated training", ("script", "pipeline", "tracked", "registered", "data_versioned", "pinned")),
        Level(3, "automated model deployment", ("delivered", "endpoint", "gate", "data_traced", "central")),
        Level(4, "full MLOps automated operations", ("service_metrics", "drift", "watched", "retrained")),
    ),
}


@dataclass(frozen=True)
class RubricTest:
    """One of the 28 tests. `seen`: signals that show it (all of one group); `repeated`: that it is run by itself.

    Without `seen` a repository cannot show it, and people must be asked.
    """

    number: int
    says: str
    seen: tuple[tuple[str, ...], ...] = ()
    repeated: tuple[str, ...] = ()


TESTED = ("change:tests", "schedule:tests")
TRAINED = ("change:pipeline", "change:training", "schedule:pipeline", "schedule:training", "stage:training")
RUBRIC: dict[str, tuple[RubricTest, ...]] = {
    "data": (
        RubricTest(
            1, "feature expectations are captured in a schema", (("expectations",),), AREAS["data quality"][1].any_of
        ),
        RubricTest(2, "all features are beneficial", (("importances",),), TRAINED),
        RubricTest(3, "no feature's cost is too much"),
        RubricTest(4, "features adhere to meta-level requirements", (("excluded",),), TRAINED),
        RubricTest(5, "the data pipeline has appropriate privacy controls"),
        RubricTest(6, "new features can be added quickly"),
        RubricTest(7, "all input feature code is tested", (("tests_of_features",),), TESTED),
    ),
    "model": (
        RubricTest(
            1,
            "model specs are reviewed and submitted",
            (("commit", "owners"), ("commit", "change_request_ci"), ("commit", "review_template")),
            ("change_request_ci",),
        ),
        RubricTest(2, "offline and online metrics correlate"),
        RubricTest(
            3, "all hyperparameters have been tuned", (("tuned",),), ("stage:tuned", "change:tuned", "schedule:tuned")
        ),
        RubricTest(4, "the impact of model staleness is known"),
        RubricTest(
            5, "a simpler model is not better", (("baseline",),), ("stage:baseline", "change:baseline", "change:tests")
        ),
        RubricTest(
            6, "model quality is sufficient on important data slices", (("slices",),), ("stage:slices", "change:slices")
        ),
        RubricTest(7, "the model is tested for considerations of inclusion", (("inclusion",),), ("stage:inclusion",)),
    ),
    "infrastructure": (
        RubricTest(1, "training is reproducible", (("seeded", "pinned"), ("seeded", "locked")), ("locked",)),
        RubricTest(2, "model specs are unit tested", (("tests_of_training",),), TESTED),
        RubricTest(
            3,
            "the ML pipeline is integration tested",
            (("tests_of_pipeline",), ("change:pipeline",), ("change:training",)),
            ("change:pipeline", "change:training"),
        ),
        RubricTest(
            4,
            "model quality is validated before serving",
            (("gate",), ("gate_in_tests",)),
            ("stage:gate", "change:gate", "schedule:gate"),
        ),
        RubricTest(5, "the model is debuggable"),
        RubricTest(6, "models are canaried before serving", (("canary",),), ("canary",)),
        RubricTest(7, "serving models can be rolled back", (("rollback",), ("promoted", "loaded_from_registry"))),
    ),
    "monitoring": (
        RubricTest(1, "dependency changes result in notification", (("dependency_updates",),), ("dependency_updates",)),
        RubricTest(
            2,
            "data invariants hold for inputs",
            (("inputs_checked",), ("drift", "expectations")),
            ("schedule:drift", "schedule:monitoring", "inputs_checked"),
        ),
        RubricTest(3, "training and serving are not skewed", (("skew",),), ("skew",)),
        RubricTest(
            4,
            "models are not too stale",
            (("schedule:pipeline",), ("schedule:training",), ("scheduled",)),
            ("schedule:pipeline", "schedule:training", "scheduled"),
        ),
        RubricTest(5, "models are numerically stable"),
        RubricTest(6, "computing performance has not regressed", (("service_metrics",), ("benchmarked",)), ("alert",)),
        RubricTest(
            7,
            "prediction quality has not regressed on served data",
            (("performance_watched",),),
            ("schedule:performance_watched", "schedule:monitoring"),
        ),
    ),
}
MEANING: tuple[tuple[float, str], ...] = (  # table II of the paper: up to this score
    (0.0, "more of a research project than a productionized system"),
    (1.0, "not totally untested, but serious holes in reliability are possible"),
    (2.0, "a first pass at basic productionization, more investment may be needed"),
    (3.0, "reasonably tested, more of it may be automated"),
    (5.0, "strong levels of automated testing and monitoring"),
    (7.0, "exceptional levels of automated testing and monitoring"),
)


@dataclass(frozen=True)
class Step:
    """What to do where one of these checks is missing: taken in this order, the first that the repository lacks."""

    missing: tuple[str, ...]
    says: str
    command: str
    measure: str


STEPS: tuple[Step, ...] = (
    Step(
        ("committed",), "Put the code under version control", "glue init --data TABLE --target COLUMN",
        "share of the code that trains the served model that is in git",
    ),
    Step(
        ("script", "one_command", "pipeline"), "Make training a pipeline that one command runs",
        "glue adopt", "time from a fresh clone to the served model's metrics",
    ),
    Step(
        ("data_versioned", "data_traced"), "Give data versions, and let each result say which it came from",
        "glue adopt", "share of model versions that lead back to a data hash",
    ),
    Step(
        ("tracked", "registered", "parameters"), "Track runs, and register what they make",
        "glue run", "share of served models that are registry versions",
    ),
    Step(
        ("expectations", "validated"), "Say what the data must be, and stop the run where it is not",
        "glue adopt", "bad tables that reached a training",
    ),
    Step(
        ("measured", "gate", "promoted"), "Let no model be served that misses a threshold or is worse than the last",
        "glue run", "models that were taken back after release",
    ),
    Step(
        ("tested", "ci_tests", "reviewed", "ci_trains"), "Test every change, and run the pipeline in CI",
        "glue ci", "share of changes that were tested before they were merged",
    ),
    Step(
        ("pinned", "seeded", "python"), "Pin packages and seeds, so that a result can be made again",
        "glue doctor", "share of model versions that can be rebuilt with equal metrics",
    ),
    Step(
        ("endpoint", "health", "service_metrics"), "Serve the champion, typed, with health and metrics",
        "glue serve", "requests answered in time",
    ),
    Step(
        ("drift", "performance", "watched", "retrained"), "Watch what is served for drift, and retrain",
        "glue monitor", "days from drift to a new champion",
    ),
    Step(
        ("delivered", "deployable"), "Deliver from CI, with an approval and a way back",
        "glue ci", "time from merge to served",
    ),
    Step(
        ("feature_store", "features_served"), "Define features once, for training and serving",
        "glue init --data LABELS --data TABLE --entity KEY --timestamp TIME --target COLUMN",
        "features that training and serving compute apart",
    ),
    Step(
        ("slices",), "Look at the model by group", "glue run --set evaluate.slices=[COLUMN]",
        "difference between the best and the worst group",
    ),
)  # fmt: skip
