"""Check expectations of Great Expectations against a data frame or a Parquet file; if one cannot run, it fails."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_glue import telemetry
from mlops_glue.errors import ConfigError, MissingExtra, ToolError, first_line
from mlops_glue.modules import quiet_import
from mlops_glue.suggest import did_you_mean
from mlops_glue.words import equal_but_for_case

if TYPE_CHECKING:
    import pandas as pd

Expectation = dict[str, dict[str, Any]]  # {type: arguments}

MAX_VALUES = 5  # unexpected values in a message
MAX_PROBLEM, MAX_ERROR = 240, 200  # characters
SEVERITIES = ("critical", "warning", "info")


def load() -> None:
    """Import Great Expectations.

    Raises:
        MissingExtra: it is not installed.
    """
    telemetry.off()
    try:
        with quiet_import():
            import great_expectations  # noqa: F401
    except ImportError as error:
        raise MissingExtra("great-expectations", "validation") from error
    logging.getLogger("great_expectations").setLevel(logging.ERROR)


class Validation:
    """Checks the expectations of a table in one or several runs, which may cover only some of its columns."""

    def __init__(self, expectations: list[Expectation], name: str, where: str = "expectations") -> None:
        """Validate the expectations themselves.

        Args:
            expectations: in the order of the records; the arguments may contain a `severity`: critical, warning or
                info.
            name: the table's name.
            where: the name of the list in an error message.

        Raises:
            MissingExtra: Great Expectations is not installed.
            ConfigError: an expectation does not exist or does not accept its arguments.
        """
        load()
        self._expectations, self._name, self._built = expectations, name, _built(expectations, where)
        self._runs: list[dict[str, Any]] = []
        self._by_position: dict[int, dict[str, Any]] = {}

    def run(self, rows: pd.DataFrame | Path, positions: Sequence[int] | None = None) -> list[int]:
        """Check the expectations at some positions, by default all.

        If an expectation is checked again, the later result replaces the earlier one.

        Args:
            rows: a data frame, or a Parquet file that DuckDB reads.
            positions: positions in the list of expectations; None: all.

        Returns:
            The positions of the expectations that could not run.

        Raises:
            ToolError: Great Expectations failed.
        """
        chosen = [self._built[at] for at in (range(len(self._built)) if positions is None else positions)]
        result = _evaluated(rows, chosen, self._name)
        self._runs.append(result)
        found = {entry["expectation_config"]["meta"]["glue_id"]: entry for entry in result["results"]}
        self._by_position |= found
        return [position for position, entry in found.items() if _errors(entry)]

    def results(self, columns: list[str]) -> tuple[list[dict[str, Any]], dict[str, Any], dict[str, Any]]:
        """Return the validation records, the result and the suite.

        Args:
            columns: the table's columns.

        Returns:
            One record for each expectation in the given order (expectation, kwargs, severity, ran, success, observed),
            and the result and the suite in Great Expectations' format, without times, ids and tracebacks.

        Raises:
            ToolError: Great Expectations did not evaluate all expectations.
        """
        import great_expectations as gx

        given, found = len(self._expectations), self._by_position
        if len(found) != given:
            raise ToolError(f"{self._name}: Great Expectations evaluated {len(found)} of {given} expectations")
        results = [found[position] for position in range(given)]
        records = [_record(each, got, columns) for each, got in zip(self._expectations, results, strict=True)]
        whole = self._runs[0] if len(self._runs) == 1 else self._runs[0] | _summary(records)
        suite = gx.ExpectationSuite(name=self._name, expectations=self._built).to_json_dict()
        return records, whole | {"meta": {}, "results": [_without_run(got) for got in results]}, suite


def validate(
    frame: pd.DataFrame, expectations: list[Expectation], name: str, where: str = "expectations"
) -> tuple[list[dict[str, Any]], dict[str, Any], dict[str, Any]]:
    """Check all expectations against a data frame and return `Validation.results`."""
    validation = Validation(expectations, name, where)
    validation.run(frame)
    return validation.results([*frame.columns])


def _summary(records: list[dict[str, Any]]) -> dict[str, Any]:
    """Return Great Expectations' summary of all expectations."""
    met = sum(record["success"] for record in records)
    statistics = {
        "evaluated_expectations": len(records),
        "successful_expectations": met,
        "unsuccessful_expectations": len(records) - met,
        "success_percent": met / len(records) * 100,  # as Great Expectations rounds it
    }
    return {"success": met == len(records), "statistics": statistics}


def _built(expectations: list[Expectation], where: str) -> list[Any]:
    """Build each expectation here: a suite of Great Expectations would silently drop unknown ones."""
    from great_expectations.expectations.expectation_configuration import ExpectationConfiguration
    from great_expectations.expectations.registry import list_registered_expectation_implementations

    known = sorted(list_registered_expectation_implementations())
    built: list[Any] = []
    problems: list[str] = []
    for position, expectation in enumerate(expectations):
        ((kind, kwargs),) = expectation.items()
        place, severity = f"{where}.{position}", kwargs.get("severity", "critical")
        if kind not in known:
            problems.append(f"{place}: no expectation {kind!r} ({did_you_mean(kind, known)})")
        elif severity not in SEVERITIES:
            problems.append(f"{place}.severity: {severity!r} is not one of {', '.join(SEVERITIES)}")
        else:
            arguments = {key: value for key, value in kwargs.items() if key != "severity"}
            meta = {"glue_id": position}
            try:
                made = ExpectationConfiguration(type=kind, kwargs=arguments, severity=severity, meta=meta)
                built.append(made.to_domain_obj())
            except Exception as error:
                problems.append(f"{place} {kind}: {_refusal(error)[:MAX_PROBLEM]}")
    if problems:
        raise ConfigError(problems)
    return built


def _refusal(error: Exception) -> str:
    """Return why arguments are refused; Great Expectations' pydantic lists the reasons by argument."""
    details = error.errors() if hasattr(error, "errors") else []
    listed = "; ".join(f"{'.'.join(map(str, detail['loc']))}: {detail['msg']}" for detail in details)
    return listed or first_line(error)


def _evaluated(rows: pd.DataFrame | Path, expectations: list[Any], name: str) -> dict[str, Any]:
    """Evaluate expectations and return the result as built-in types."""
    import great_expectations as gx

    suite = gx.ExpectationSuite(name=name, expectations=expectations)
    try:
        with warnings.catch_warnings(), contextlib.ExitStack() as stack:
            warnings.simplefilter("ignore")
            stack.enter_context(contextlib.redirect_stdout(io.StringIO()))
            stack.enter_context(contextlib.redirect_stderr(io.StringIO()))  # some expectations draw a bar regardless
            context = gx.get_context(mode="ephemeral")
            context.variables.progress_bars = {"globally": False}  # type: ignore[assignment]
            if isinstance(rows, Path):
                from mlops_glue.adapters.great_expectations.dialect import VIEW, database

                source = context.data_sources.add_sql("glue", connection_string=stack.enter_context(database(rows)))
                table = source.add_table_asset(name, table_name=VIEW)
                batch = table.add_batch_definition_whole_table("whole").get_batch()
            else:
                asset = context.data_sources.add_pandas("glue").add_dataframe_asset(name)
                definition = asset.add_batch_definition_whole_dataframe("whole")
                batch = definition.get_batch(batch_parameters={"dataframe": _told_apart(rows)})
            result: dict[str, Any] = batch.validate(suite, result_format="BASIC").to_json_dict()
            return result
    except Exception as error:
        raise ToolError(f"Great Expectations: {type(error).__name__}: {str(error)[:MAX_ERROR]}") from error


def _told_apart(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the frame with names that Great Expectations does not confuse: for it, `Age` and `age` are one column."""
    import pandas as pd
    from great_expectations.compatibility.sqlalchemy import quoted_name  # the type of a name that it compares exactly

    if not (twins := equal_but_for_case([*frame.columns])):
        return frame
    names = [quoted_name(name, True) if name in twins else name for name in frame.columns]
    return frame.set_axis(pd.Index(names, dtype=object), axis=1)


def _errors(got: dict[str, Any]) -> list[str]:
    """Return an expectation's errors; Great Expectations stores them flat, or by metric if a metric failed."""
    raised = got.get("exception_info") or {}
    infos = [raised] if "raised_exception" in raised else list(raised.values())
    return [str(info.get("exception_message")) for info in infos if info.get("raised_exception")]


def _without_run(got: dict[str, Any]) -> dict[str, Any]:
    """Return a result without the parts that differ between runs on the same data."""
    config = got["expectation_config"]
    config = {**config, "kwargs": {key: value for key, value in config["kwargs"].items() if key != "batch_id"}}
    errors = _errors(got)
    info = {
        "raised_exception": bool(errors),
        "exception_traceback": None,
        "exception_message": errors[0] if errors else None,
    }
    return {**got, "expectation_config": config, "exception_info": info}


def _record(expectation: Expectation, got: dict[str, Any], columns: list[str]) -> dict[str, Any]:
    ((kind, kwargs),) = expectation.items()
    errors = _errors(got)
    return {
        "expectation": kind,
        "kwargs": {key: value for key, value in kwargs.items() if key != "severity"},
        "severity": kwargs.get("severity", "critical"),
        "ran": not errors,
        "success": bool(got["success"]) and not errors,
        "observed": _failure(errors[0], kwargs, columns) if errors else observed(got.get("result") or {}),
    }


def _failure(error: str, kwargs: dict[str, Any], columns: list[str]) -> str:
    """Return why an expectation could not run, and suggest a column if the name is unknown."""
    missing = next((value for key, value in kwargs.items() if key.startswith("column") and value not in columns), None)
    suggestion = f" ({did_you_mean(missing, columns)})" if isinstance(missing, str) else ""
    return error.splitlines()[0][:MAX_ERROR] + suggestion


def observed(details: dict[str, Any]) -> str:
    """Describe an expectation's finding, from Great Expectations' `result`."""
    if "unexpected_count" in details:
        share = (details.get("unexpected_percent") or 0) / 100
        counts = f"{details['unexpected_count']:,} of {details['element_count']:,} rows unexpected ({share:.2%})"
        values = dict.fromkeys(str(value) for value in details.get("partial_unexpected_list", []) if value is not None)
        return counts + (f", such as {', '.join([*values][:MAX_VALUES])}" if values else "")
    value = details.get("observed_value", "")
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
