"""`glue.yaml` as frozen data, checked in full before any tool is imported.

`load` reads it: `parse` turns the text into values with line numbers, `edit` applies `--set`, and `validate` builds a
`models.Config` and runs `checks`, which compares the sections. Problems are reported together as
`glue.yaml:LINE section.key: what is wrong (hint)`.

Secrets come only from `${NAME}` references. `resolve` replaces them at the moment of use, never while loading, so a
loaded config contains none.
"""

from mlops_glue.config.checks import registry_of, url_problem
from mlops_glue.config.data import Source
from mlops_glue.config.edit import dumped, one_line, overridden
from mlops_glue.config.effective import Value, differences, effective
from mlops_glue.config.environments import in_environment
from mlops_glue.config.evaluating import ChosenThreshold, Cost, OwnMetric, Threshold
from mlops_glue.config.fields import WINDOW, Section, span
from mlops_glue.config.load import A_MODEL, ANYTHING, load, located, only_does, validate
from mlops_glue.config.models import KINDS, PLACES, Config, Features, Stores, Tracking, json_schema, path_of
from mlops_glue.config.monitoring import Alerts, Drift, LabelTable, Monitor, Performance, Retrain, Webhook
from mlops_glue.config.parse import parse, refuse_conflict_markers
from mlops_glue.config.references import references, remote_url, resolve, tracking_uri
from mlops_glue.config.serving import PredictionLog, Serve
