"""Options and types that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

Decorated = TypeVar("Decorated", bound=Callable[..., Any] | click.Command)

FILE = click.Path(readable=False)  # a shell completes it; the command itself reports what is wrong with it
TASKS = click.Choice(["binary", "multiclass", "regression"])


def completed_from(kind: str) -> Callable[[click.Context, click.Parameter, str], list[Any]]:
    """What a shell completes with: the names that a function of `commands.complete` gives."""

    def complete(_: click.Context, __: click.Parameter, begun: str) -> list[Any]:
        from mlops_glue.commands import complete

        return [name for name in getattr(complete, kind)() if name.startswith(begun)]

    return complete


env_option = click.option(
    "--env",
    help="An entry of `environments` in glue.yaml; default GLUE_ENV.",
    shell_complete=completed_from("environments"),
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
