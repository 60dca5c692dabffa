"""Every path of a project by name; all are relative to the project folder."""

from __future__ import annotations

import re
from pathlib import Path

from mlops_glue.errors import UsageError

CONFIG = "glue.yaml"
STATE = ".glue"  # git-ignored but for schema.json and generated.json: lock, logs, what was delivered
SCHEMA = ".glue/schema.json"
GENERATED = ".glue/generated.json"  # what glue wrote: the base of glue upgrade's merges
LOCK = ".glue/lock"
DELIVERY = ".glue/delivery.json"
STATEMENTS = ".glue/statements"
AUDIT = ".glue/audit.jsonl"  # outside git
MATERIALIZED = ".glue/materialized.json"
SERVED = ".glue/serve"  # private copies of the bundles that are served
SPOOL = ".glue/serve/log"  # segments of the prediction log, until they are Parquet
RETRAIN_LOCK = ".glue/retrain.lock"
TUNING = ".glue/tune.db"  # the trials of glue tune
TUNING_LOCK = ".glue/tune.lock"
APPENDED = ".glue/appended.parquet"  # the rows of the prediction log that the labels' table has
BEFORE = ".glue/before"  # during a retraining: the files that it changes, as they were
UNCHANGED = ".glue/unchanged.json"
LAST_RUN = ".glue/last_run.json"  # the outcome of each stage, how long it took, and how the run ended
RUNNING = ".glue/running"  # a run's process, and its stage with when it began; of a dead process: the run was killed

ADOPTED = "glue"  # folder of an adopted repository that holds all that glue writes

RAW = "data/raw"
ARTIFACTS = "artifacts"
INGESTED = "artifacts/ingest"
TABLE = "artifacts/ingest/table.parquet"  # the labels'
RESERVED = {"table"}  # names that no source of features can have: TABLE is the labels'
VALIDATION = "artifacts/validation"
FEATURE_TABLES = "artifacts/featurize/tables"  # results of the project's own transform, a Parquet file each
JOINED = "artifacts/featurize/joined.parquet"  # the labels' table with the features of Feast, raw
FEATURE_LIST = "artifacts/featurize/feature_list.json"
FEATURES = "artifacts/featurize/features.parquet"
COLUMNS = "artifacts/featurize/columns.json"
TRAIN = "artifacts/split/train.parquet"
TEST = "artifacts/split/test.parquet"
FRESH = "artifacts/split/fresh.json"  # with fresh rows: how many there are, are trained on, and are held out
SAMPLED = "artifacts/split/sampled.json"  # with train.rows: how many rows are trained on, and of how many
LEARNED = "artifacts/train/learned.json"  # with fresh rows: how many older ones are left out, and what says so
MODEL = "artifacts/train/model.skops"
REFIT = "artifacts/train/refit.json"  # the largest difference of a prediction between two fits; null: none was seen
SCALE = "artifacts/train/scale.json"  # with `train.target`: on which scale the target is learned, and why
METRICS = "artifacts/evaluate/metrics.json"
PLOTS = "artifacts/evaluate/plots"
EVALUATION = "artifacts/evaluate/report"
BUNDLE = "artifacts/bundle"
HOLDOUT = "holdout.json"  # in a bundle: metrics, weights and calibration that the monitor holds a window against
SAMPLE = "reference.parquet"  # in a bundle: rows that the monitor compares with

REPORT = "reports/index.html"  # git-ignored: what `glue report` writes

MONITORING = "monitoring"  # git-ignored: what `glue monitor` found
LATEST = "monitoring/latest.json"
PAGE = "monitoring/report.html"
HISTORY = "monitoring/history.jsonl"  # a line for each run
GAUGES = "monitoring/metrics.prom"
LOGGED = re.compile(r"date=(\d{4}-\d\d-\d\d)/[^/]*?v(\d+)-[^/]*\.parquet$")  # in the prediction log: day, version
MONITOR_LOCK = ".glue/monitor.lock"

TRACKING_DB = "mlflow.db"  # MLflow's own default, so that a bare `mlflow ui` opens it
TRACKING_ARTIFACTS = "mlartifacts"

# glue's own columns in the feature tables
ROW = "glue_row"  # the row's number in the ingested table
SPLIT_COLUMN = "glue_split"
TIMESTAMP_COLUMN = "glue_timestamp"
ENTITY_COLUMN = "glue_entity"
WEIGHT_COLUMN = "glue_weight"
OWN_COLUMNS = {ROW, SPLIT_COLUMN, TIMESTAMP_COLUMN, ENTITY_COLUMN, WEIGHT_COLUMN, "prediction"}


def find_root(start: Path | None = None) -> Path:
    """The nearest folder at or above `start` that holds a `glue.yaml`, by itself or in what `glue adopt` made in it.

    Raises:
        UsageError: there is none.
    """
    here = (start or Path.cwd()).resolve()
    for folder in (here, *here.parents):
        for root in (folder, folder / ADOPTED):
            if (root / CONFIG).is_file():
                return root
    raise UsageError(f"no {CONFIG} in {here} or above it", hint="glue init my_project --data table.csv --target column")


def feature_repo() -> Path:
    """The default Feast repository: in the package when installed, at the top of a checkout."""
    inside = templates() / "feature_repo"
    return inside if inside.is_dir() else Path(__file__).parents[1] / "feature_repo"


def templates() -> Path:
    """The folder of templates: in the package when installed, next to it in a checkout."""
    inside = Path(__file__).with_name("templates")
    return inside if inside.is_dir() else Path(__file__).parents[1] / "templates"
