"""Commands that bring a project or a repository in: init, adopt, assess."""

from __future__ import annotations

import sys
from typing import Any

import click

from mlops_glue.cli.options import ESTIMATORS, FILE, TASKS, calls, dry_run_option, json_option
from mlops_glue.errors import UsageError


@click.command()
@click.argument("directory", default=".", type=FILE)
@click.option("--data", multiple=True, metavar="FILE", type=FILE, help="A table; again for tables of features.")
@click.option("--url", help="Of --query: '${NAME}' of a variable with postgresql://…; duckdb:///FILE; duckdb://.")
@click.option("--query", metavar="SQL", help="A table that a SELECT gives: its text, or a file NAME.sql.")
@click.option("--target", help="The column to predict.")
@click.option("--timestamp", help="The time column, or year,month,day,hour; the holdout is then the latest rows.")
@click.option("--entity", multiple=True, help="The column that identifies whom a row is about; may be given again.")
@click.option("--task", type=TASKS, help="Taken from the target if not given.")
@click.option("--estimator", type=ESTIMATORS, help="Whose gradient boosting; default by the table's size.")
@click.option(
    "--text/--no-text", default=True, help="Learn from the words of free text too (default), or leave it out."
)
@click.option("--template", type=click.Choice(["fraud"]), help="A project with data; default where no table is.")
@dry_run_option
@calls("init")
def init() -> None:
    """Make a project from a table, query or template. Nothing that is there is overwritten.

    \b
    glue init churn --data customers.csv --target churn
    glue init churn --data customers.csv --target churn --estimator lightgbm
    glue init churn --url '${DATABASE_URL}' --query churn.sql --target churn
    glue init fraud --template fraud
    """


def _agree(question: str) -> bool:
    if not sys.stdin.isatty():
        raise UsageError("nobody is there to be asked", hint="glue adopt --yes")
    return click.confirm(question)


@click.command()
@click.argument("path", default=".", type=FILE)
@click.option("--data", metavar="FILE", type=FILE, help="The table to learn from; default the script's.")
@click.option("--target", help="The column to predict; default the one that the training script takes apart.")
@click.option("--task", type=TASKS, help="Default: the estimator's.")
@click.option("--model", metavar="NAME/VERSION", help="Only serve this registered model; or NAME@ALIAS.")
@click.option("--tracking", is_flag=True, help="Only track the repository's own commands, by glue track.")
@click.option("--registry", metavar="URI", help="Where it is registered; default MLFLOW_TRACKING_URI, else mlflow.db.")
@click.option("--trust", is_flag=True, help="Load the model even where that runs code of its own: a pickle.")
@dry_run_option
@click.option("--yes", is_flag=True, help="Write without asking.")
def adopt(model: str | None, tracking: bool, yes: bool, dry_run: bool, **options: Any) -> int:
    """Bring in an existing repository. Proposes a glue.yaml from what is there; its own files are not touched.

    \b
    glue adopt ../churn --dry-run
    cd ../churn && glue adopt --yes && cd glue && glue run
    glue adopt --model churn/3 && cd glue && glue serve
    """
    agree = _agree if not (yes or dry_run) else lambda _: not dry_run
    if tracking:
        if model is not None or any(options[name] for name in ("data", "target", "task", "registry", "trust")):
            raise UsageError("--tracking takes only --dry-run and --yes", hint="glue adopt --tracking")
        from mlops_glue.commands.adopt import adopt_tracking

        return adopt_tracking(options["path"], agree=agree)
    if model is not None:
        if options.pop("target") is not None or options.pop("task") is not None:
            raise UsageError("--model brings what it predicts: leave out --target and --task, or --model")
        from mlops_glue.commands.adopt import adopt_model

        return adopt_model(model=model, agree=agree, **options)
    if options.pop("registry") is not None or options.pop("trust"):
        raise UsageError("--registry and --trust go with --model", hint="glue adopt --model churn/3")
    from mlops_glue.commands.adopt import adopt

    return adopt(agree=agree, **options)


@click.command()
@click.argument("path", default=".", type=FILE)
@click.option("--markdown", is_flag=True, help="Print the result as Markdown.")
@click.option("--write", is_flag=True, help="Write a strategy page too: goals, owners to fill in, measures.")
@click.option("--output", metavar="FILE", type=FILE, help="Write that page there; of --write alone mlops_strategy.md.")
@json_option
def assess(write: bool, output: str | None, **options: Any) -> int:
    """Show what a repository has and lacks for MLOps. Each at file:line, with next steps; runs and changes nothing.

    \b
    glue assess ../other_project
    glue assess --write
    """
    from mlops_glue.commands.assess import assess

    return assess(page=output or ("mlops_strategy.md" if write else None), **options)
