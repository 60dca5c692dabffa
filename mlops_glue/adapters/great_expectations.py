"""Great Expectations: a list of expectations against a frame. Nothing that did not run counts as passed."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import io
import logging
import sys
import warnings
from types import ModuleType
from typing import Any

from mlops_glue import telemetry
from mlops_glue.errors import ConfigError, MissingExtra, ToolError, first_line
from mlops_glue.modules import gc_paused, imports_blocked
from mlops_glue.suggest import did_you_mean

SHOWN = 5  # unexpected values
SEVERITIES = ("critical", "warning", "info")
LATE = ("altair", "scipy.stats")  # a third of the import, and few expectations ask anything of them
# what it does without where it is not there, and does not need for frames: a fifth of the import
DATABASES = ("azure", "boto3", "botocore", "google.cloud", "psycopg2", "pyodbc", "pyspark", "snowflake", "sqlalchemy")


class _Late(ModuleType):
    """Stands for a module until something is asked of it."""

    def __getattr__(self, name: str) -> Any:
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        return getattr(importlib.import_module(self.__name__), name)


def imported() -> None:
    """Import Great Expectations, in a process that is for nothing else."""
    telemetry.off()
    for name in LATE:
        with contextlib.suppress(ImportError):
            parent, _, child = name.rpartition(".")
            if name not in sys.modules and importlib.util.find_spec(name) is not None:
                sys.modules[name] = _Late(name)
                if parent:
                    setattr(sys.modules[parent], child, sys.modules[name])
    silent = contextlib.redirect_stdout(io.StringIO())
    with contextlib.suppress(ImportError), silent, gc_paused(), imports_blocked(*DATABASES):  # `validate` tells
        importlib.import_module("great_expectations")


def validate(
    frame: Any, wanted: list[dict[str, dict[str, Any]]], name: str
) -> tuple[list[dict[str, Any]], dict[str, Any], dict[str, Any]]:
    """Hold a frame against expectations.

    Args:
        frame: a pandas frame.
        wanted: one `{expectation: kwargs}` each; `severity` among the arguments is critical (default), warning or info.
        name: the table's name.

    Returns:
        One record for each expectation in the order given (expectation, kwargs, severity, ran, success, observed), and
        the result and the suite as Great Expectations writes them, without times, ids and tracebacks.

    Raises:
        ConfigError: an expectation does not exist or does not take its arguments.
        ToolError: Great Expectations evaluated fewer than were given.
    """
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # pandas-on-spark parts print at import
            import great_expectations as gx
            from great_expectations.expectations.expectation_configuration import ExpectationConfiguration
            from great_expectations.expectations.registry import list_registered_expectation_implementations
    except ImportError as error:
        raise MissingExtra("great-expectations", "validation") from error
    logging.getLogger("great_expectations").setLevel(logging.ERROR)
    built, problems = [], []
    for at, one in enumerate(wanted):
        ((kind, kwargs),) = one.items()
        where = f"glue.yaml validation.{name}.{at}"
        if kind not in list_registered_expectation_implementations():
            known = sorted(list_registered_expectation_implementations())
            problems.append(f"{where}: no expectation {kind!r} ({did_you_mean(kind, known)})")
            continue
        severity = kwargs.get("severity", "critical")
        if severity not in SEVERITIES:
            problems.append(f"{where}.severity: {severity!r} is none of {', '.join(SEVERITIES)}")
            continue
        try:
            given = {key: value for key, value in kwargs.items() if key != "severity"}
            made = ExpectationConfiguration(type=kind, kwargs=given, severity=severity, meta={"glue_id": at})
            built.append(made.to_domain_obj())
        except Exception as error:  # pydantic v1's inside GX, which list what is wrong by argument
            wrong = error.errors() if hasattr(error, "errors") else []
            said = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in wrong)
            problems.append(f"{where} {kind}: {(said or first_line(error))[:240]}")
    if problems:
        raise ConfigError(problems)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            context = gx.get_context(mode="ephemeral")
            context.variables.progress_bars = {"globally": False}  # type: ignore[assignment]
            definition = (
                context.data_sources.add_pandas("glue")
                .add_dataframe_asset(name)
                .add_batch_definition_whole_dataframe("whole")
            )
            suite = gx.ExpectationSuite(name=name, expectations=built)
            batch = definition.get_batch(batch_parameters={"dataframe": frame})
            result = batch.validate(suite, result_format="BASIC").to_json_dict()
    except Exception as error:
        raise ToolError(f"Great Expectations: {type(error).__name__}: {str(error)[:200]}") from error
    suite_json = suite.to_json_dict()
    by_id = {r["expectation_config"]["meta"]["glue_id"]: r for r in result["results"]}
    if len(by_id) != len(wanted):
        raise ToolError(f"{name}: {len(wanted)} expectations were given and {len(by_id)} evaluated")
    records = [_record(one, by_id[at], [*frame.columns]) for at, one in enumerate(wanted)]
    result |= {"meta": {}, "results": [_lasting(by_id[at]) for at in range(len(wanted))]}
    return records, result, suite_json


def _lasting(got: dict[str, Any]) -> dict[str, Any]:
    """A result without what differs from one run to the next on the same data."""
    config = got["expectation_config"]
    config = {**config, "kwargs": {k: v for k, v in config["kwargs"].items() if k != "batch_id"}}
    raised = got.get("exception_info") or {}
    infos = [raised] if "raised_exception" in raised else list(raised.values())
    said = [i.get("exception_message") for i in infos if i.get("raised_exception")]
    info = {"raised_exception": bool(said), "exception_traceback": None, "exception_message": next(iter(said), None)}
    return {**got, "expectation_config": config, "exception_info": info}


def some_unexpected(details: dict[str, Any]) -> str:
    """The first few distinct values that an expectation did not expect, by the `result` of Great Expectations."""
    values = dict.fromkeys(str(one) for one in details.get("partial_unexpected_list", []) if one is not None)
    return ", ".join([*values][:SHOWN])


def _record(wanted: dict[str, dict[str, Any]], got: dict[str, Any], columns: list[str]) -> dict[str, Any]:
    ((kind, kwargs),) = wanted.items()
    raised = got.get("exception_info") or {}
    # flat, or keyed by metric id when a metric failed
    infos = [raised] if "raised_exception" in raised else list(raised.values())
    errors = [str(i.get("exception_message")) for i in infos if i.get("raised_exception")]
    details = got.get("result") or {}
    if errors:
        lost = next((one for key, one in kwargs.items() if key.startswith("column") and one not in columns), None)
        near = f" ({did_you_mean(lost, columns)})" if isinstance(lost, str) else ""
        observed = errors[0].splitlines()[0][:200] + near
    elif "unexpected_count" in details:
        share = (details.get("unexpected_percent") or 0) / 100
        observed = f"{details['unexpected_count']:,} of {details['element_count']:,} rows unexpected ({share:.2%})"
        some = some_unexpected(details)
        observed += f", such as {some}" if some else ""
    else:
        found = details.get("observed_value", "")
        observed = ", ".join(map(str, found)) if isinstance(found, list) else str(found)
    return {
        "expectation": kind,
        "kwargs": {key: value for key, value in kwargs.items() if key != "severity"},
        "severity": kwargs.get("severity", "critical"),
        "ran": not errors,
        "success": bool(got["success"]) and not errors,
        "observed": observed,
    }
