"""Options and types that several commands share, and what a shell completes."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import click

Decorated = TypeVar("Decorated", bound=Callable[..., Any] | click.Command)

FILE = click.Path(readable=False)  # a shell completes it; the command itself reports what is wrong with it
ESTIMATORS = click.Choice(["default", "lightgbm", "xgboost", "catboost"])
TASKS = click.Choice(["binary", "multiclass", "regression"])


def calls(module: str) -> Callable[[Callable[[], None]], Callable[..., Any]]:
    """Make the body of a command the function of its name in `mlops_glue.commands`, imported when it is called."""

    def decorate(command: Callable[[], None]) -> Callable[..., Any]:
        @functools.wraps(command)
        def call(**options: Any) -> Any:
            return getattr(importlib.import_module(f"mlops_glue.commands.{module}"), command.__name__)(**options)

        return call

    return decorate


def complete_stage(_: click.Context, __: click.Parameter, begun: str) -> list[Any]:
    """The stages of `dvc.yaml`, with those that the user has added; before the first run glue's own."""
    names: Iterable[str] = _keys("dvc.yaml", "stages")
    if not names:
        from mlops_glue.pipeline.stages import NAMES as names  # it imports pydantic
    return [name for name in names if name.startswith(begun)]


def complete_environment(_: click.Context, __: click.Parameter, begun: str) -> list[Any]:
    """The environments of `glue.yaml`."""
    return [name for name in _keys("glue.yaml", "environments") if name.startswith(begun)]


def _keys(file: str, section: str) -> list[str]:
    from mlops_glue import files, layout

    try:
        return [str(name) for name in files.read_yaml(layout.find_root() / file)[section]]
    except Exception:  # a shell shows whatever is printed amid the user's line
        return []


env_option = click.option(
    "--env",
    help="An entry of `environments` in glue.yaml; default GLUE_ENV.",
    shell_complete=complete_environment,
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
version_option = click.option("--version", type=int, help="A model version; default the champion.")
dry_run_option = click.option("--dry-run", is_flag=True, help="Show what would be written; write nothing.")


def traceback_option(*, hidden: bool = False) -> Callable[[Decorated], Decorated]:
    """`--traceback`, of `glue` and of each of its commands: wherever it stands, `main` finds it in the context."""

    def keep(context: click.Context, _: click.Parameter, given: bool) -> None:
        if given and context.obj is not None:
            context.obj["traceback"] = True

    text = "Show the whole traceback of an error."
    return click.option("--traceback", is_flag=True, expose_value=False, callback=keep, hidden=hidden, help=text)
