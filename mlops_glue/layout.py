"""The paths of a project, all relative to the project folder."""

from __future__ import annotations

import re
from pathlib import Path

from mlops_glue.errors import UsageError

CONFIG = "glue.yaml"
STATE = ".glue"  # git-ignored, except schema.json and generated.json: lock, logs, the last delivery
SCHEMA = ".glue/schema.json"
GENERATED = ".glue/generated.json"  # the files that glue wrote: the base of glue upgrade's merges
LOCK = ".glue/lock"
DELIVERY = ".glue/delivery.json"
STATEMENTS = ".glue/statements"
AUDIT = ".glue/audit.jsonl"  # outside git
MATERIALIZED = ".glue/materialized.json"
SERVED = ".glue/serve"  # private copies of the bundles that are served
SPOOL = ".glue/serve/log"  # segments of the prediction log, until they are converted to Parquet
RETRAIN_LOCK = ".glue/retrain.lock"
TUNING = ".glue/tune.db"  # the trials of glue tune
TUNING_LOCK = ".glue/tune.lock"
APPENDED = ".glue/appended.parquet"  # the rows of the prediction log that were added to the labels' table
BEFORE = ".glue/before"  # during a retraining: copies of the files that it changes
UNCHANGED = ".glue/unchanged.json"
LAST_RUN = ".glue/last_run.json"  # the outcome and duration of each stage, and of the run
RUNNING = ".glue/running"  # a run's process, its stage and start time; if the process is dead, the run was killed

ADOPTED = "glue"  # folder in an adopted repository for all output of glue

RAW = "data/raw"
ARTIFACTS = "artifacts"
INGESTED = "artifacts/ingest"
TABLE = "artifacts/ingest/table.parquet"  # the labels' table
RESERVED = {"table"}  # names that a source of features cannot have: TABLE is the labels' table
VALIDATION = "artifacts/validation"
FEATURE_TABLES = "artifacts/featurize/tables"  # output of the project's own transform, one Parquet file per table
JOINED = "artifacts/featurize/joined.parquet"  # the labels' table with the features of Feast, raw
FEATURE_LIST = "artifacts/featurize/feature_list.json"
FEATURES = "artifacts/featurize/features.parquet"
COLUMNS = "artifacts/featurize/columns.json"
TRAIN = "artifacts/split/train.parquet"
TEST = "artifacts/split/test.parquet"
FRESH = (
    "artifacts/split/fresh.json"  # with fresh rows: the numbers of fresh rows in total, in training and in the holdout
)
SAMPLED = "artifacts/split/sampled.json"  # with train.rows: the numbers of sampled and of all training rows
LEARNED = "artifacts/train/learned.json"  # with fresh rows: the number of older rows that are left out, and the reason
MODEL = "artifacts/train/model.skops"
REFIT = "artifacts/train/refit.json"  # the largest difference of a prediction between two fits; null: no difference
SCALE = "artifacts/train/scale.json"  # with `train.target`: the scale of the target in the fit, and the reason
METRICS = "artifacts/evaluate/metrics.json"
PLOTS = "artifacts/evaluate/plots"
EVALUATION = "artifacts/evaluate/report"
BUNDLE = "artifacts/bundle"
HOLDOUT = "holdout.json"  # in a bundle: metrics, weights and calibration that the monitor compares with
SAMPLE = "reference.parquet"  # in a bundle: rows that the monitor compares with

REPORT = "reports/index.html"  # git-ignored: output of `glue report`

MONITORING = "monitoring"  # git-ignored: output of `glue monitor`
LATEST = "monitoring/latest.json"
PAGE = "monitoring/report.html"
HISTORY = "monitoring/history.jsonl"  # one line per run
GAUGES = "monitoring/metrics.prom"
LOGGED = re.compile(r"date=(\d{4}-\d\d-\d\d)/[^/]*?v(\d+)-[^/]*\.parquet$")  # in the prediction log: day, version
MONITOR_LOCK = ".glue/monitor.lock"

TRACKING_DB = "mlflow.db"  # MLflow's own default, so that a bare `mlflow ui` opens it
TRACKING_ARTIFACTS = "mlartifacts"

# glue's own columns in the feature tables and in the prediction log
ROW = "glue_row"  # the row's number in the ingested table
SPLIT_COLUMN = "glue_split"
TIMESTAMP_COLUMN = "glue_timestamp"
ENTITY_COLUMN = "glue_entity"
WEIGHT_COLUMN = "glue_weight"
OF_THE_LOG = {f"glue_{name}" for name in ("request_id", "time", "version", "alias", "answered", "caller_id", "file")}
OF_LABELS = {"glue_truth", "glue_label_time"}  # added to rows of the prediction log
OWN_COLUMNS = {
    *(ROW, SPLIT_COLUMN, TIMESTAMP_COLUMN, ENTITY_COLUMN, WEIGHT_COLUMN, "prediction"),
    *OF_THE_LOG,
    *OF_LABELS,
}


def find_root(start: Path | None = None) -> Path:
    """Return the nearest folder at or above `start` with a `glue.yaml`, either directly or in a folder of `glue adopt`.

    Raises:
        UsageError: there is no such folder.
    """
    here = (start or Path.cwd()).resolve()
    for folder in (here, *here.parents):
        for root in (folder, folder / ADOPTED):
            if (root / CONFIG).is_file():
                return root
    raise UsageError(f"no {CONFIG} in {here} or above it", hint="glue init my_project --data table.csv --target column")


def feature_repo() -> Path:
    """Return the default Feast repository: in an installed package, or at the top of a checkout."""
    inside = templates() / "feature_repo"
    return inside if inside.is_dir() else Path(__file__).parents[1] / "feature_repo"


def templates() -> Path:
    """Return the folder of templates: in an installed package, or next to it in a checkout."""
    inside = Path(__file__).with_name("templates")
    return inside if inside.is_dir() else Path(__file__).parents[1] / "templates"
