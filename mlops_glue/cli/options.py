"""Options and types shared by several commands, and shell completion."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import click

Decorated = TypeVar("Decorated", bound=Callable[..., Any] | click.Command)

FILE = click.Path(readable=False)  # enables completion; the command itself checks the path
ESTIMATORS = click.Choice(["default", "lightgbm", "xgboost", "catboost"])
TASKS = click.Choice(["binary", "multiclass", "regression"])


def calls(module: str) -> Callable[[Callable[[], None]], Callable[..., Any]]:
    """Run a command by calling the function of the same name in `mlops_glue.commands`, imported on the call."""

    def decorate(command: Callable[[], None]) -> Callable[..., Any]:
        @functools.wraps(command)
        def call(**options: Any) -> Any:
            return getattr(importlib.import_module(f"mlops_glue.commands.{module}"), command.__name__)(**options)

        return call

    return decorate


def complete_stage(_: click.Context, __: click.Parameter, begun: str) -> list[Any]:
    """Complete the stages of `dvc.yaml`, including the user's own; before the first run, glue's stages."""
    names: Iterable[str] = _keys("dvc.yaml", "stages")
    if not names:
        from mlops_glue.pipeline.stages import NAMES as names  # it imports pydantic
    return [name for name in names if name.startswith(begun)]


def complete_environment(_: click.Context, __: click.Parameter, begun: str) -> list[Any]:
    """Complete the environments of `glue.yaml`."""
    return [name for name in _keys("glue.yaml", "environments") if name.startswith(begun)]


def _keys(file: str, section: str) -> list[str]:
    from mlops_glue import files, layout

    try:
        return [str(name) for name in files.read_yaml(layout.find_root() / file)[section]]
    except Exception:  # an error message would appear in the middle of the user's command line
        return []


env_option = click.option(
    "--env",
    help="Environment in glue.yaml (`environments`); default: $GLUE_ENV.",
    shell_complete=complete_environment,
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
version_option = click.option("--version", type=int, help="Model version; default: the champion.")
dry_run_option = click.option("--dry-run", is_flag=True, help="Show what would be written, but write nothing.")


def traceback_option(*, hidden: bool = False) -> Callable[[Decorated], Decorated]:
    """Add `--traceback` to `glue` or a command; `main` finds it in the context, wherever the user writes it."""

    def keep(context: click.Context, _: click.Parameter, given: bool) -> None:
        if given and context.obj is not None:
            context.obj["traceback"] = True

    text = "Show the full traceback of an error."
    return click.option("--traceback", is_flag=True, expose_value=False, callback=keep, hidden=hidden, help=text)
