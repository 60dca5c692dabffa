"""Commands that create or adopt a project, or assess a repository: init, adopt, assess."""

from __future__ import annotations

import sys
from typing import Any

import click

from mlops_glue.cli.options import ESTIMATORS, FILE, TASKS, calls, dry_run_option, json_option
from mlops_glue.errors import UsageError


@click.command()
@click.argument("directory", default=".", type=FILE)
@click.option("--data", multiple=True, metavar="FILE", type=FILE, help="A table. Repeat the option for feature tables.")
@click.option("--url", help="Database of --query: '${NAME}' of a postgresql:// URL, duckdb:///FILE or duckdb://.")
@click.option("--query", metavar="SQL", help="A SELECT that returns the table: the SQL, or a file NAME.sql.")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="How long --query may take to return its next rows; default: 600. Also written to glue.yaml.",
)
@click.option("--target", help="The column to predict.")
@click.option("--timestamp", help="The time column, or year,month,day,hour. The holdout is then the latest rows.")
@click.option("--entity", multiple=True, help="A column that identifies the subject of a row. Repeatable.")
@click.option("--task", type=TASKS, help="The task; inferred from the target by default.")
@click.option("--estimator", type=ESTIMATORS, help="Library for gradient boosting; by default chosen by table size.")
@click.option(
    "--text/--no-text", default=True, help="Use the words of free-text columns (default), or leave these columns out."
)
@click.option(
    "--template",
    type=click.Choice(["fraud"]),
    help="Start from a template with its own data; the default if there is no table.",
)
@dry_run_option
@calls("init")
def init() -> None:
    """Create a project from a table, query or template. Never overwrites existing files.

    \b
    glue init churn --data customers.csv --target churn
    glue init churn --data customers.csv --target churn --estimator lightgbm
    glue init churn --url '${DATABASE_URL}' --query churn.sql --target churn
    glue init fraud --template fraud
    """


def _agree(question: str) -> bool:
    if not sys.stdin.isatty():
        raise UsageError("cannot ask for confirmation: standard input is not a terminal", hint="glue adopt --yes")
    return click.confirm(question)


@click.command()
@click.argument("path", default=".", type=FILE)
@click.option("--data", metavar="FILE", type=FILE, help="The training table; default: the training script's.")
@click.option("--target", help="The column to predict; default: the training script's target.")
@click.option("--task", type=TASKS, help="The task; default: the estimator's.")
@click.option("--model", metavar="NAME/VERSION", help="Only serve this registered model (or NAME@ALIAS).")
@click.option("--tracking", is_flag=True, help="Only track the repository's own commands with glue track.")
@click.option("--registry", metavar="URI", help="Registry of --model; default: MLFLOW_TRACKING_URI, else mlflow.db.")
@click.option("--trust", is_flag=True, help="Load the model even if that runs its own code, as a pickle does.")
@dry_run_option
@click.option("--yes", is_flag=True, help="Write without asking for confirmation.")
def adopt(model: str | None, tracking: bool, yes: bool, dry_run: bool, **options: Any) -> int:
    """Adopt an existing repository. Proposes a glue.yaml based on its contents; leaves its own files unchanged.

    \b
    glue adopt ../churn --dry-run
    cd ../churn && glue adopt --yes && cd glue && glue run
    glue adopt --model churn/3 && cd glue && glue serve
    """
    agree = _agree if not (yes or dry_run) else lambda _: not dry_run
    if tracking:
        if model is not None or any(options[name] for name in ("data", "target", "task", "registry", "trust")):
            raise UsageError("--tracking can be combined only with --dry-run and --yes", hint="glue adopt --tracking")
        from mlops_glue.commands.adopt import adopt_tracking

        return adopt_tracking(options["path"], agree=agree)
    if model is not None:
        if options.pop("target") is not None or options.pop("task") is not None:
            raise UsageError("--model cannot be combined with --target and --task: the model defines both")
        from mlops_glue.commands.adopt import adopt_model

        return adopt_model(model=model, agree=agree, **options)
    if options.pop("registry") is not None or options.pop("trust"):
        raise UsageError("--registry and --trust require --model", hint="glue adopt --model churn/3")
    from mlops_glue.commands.adopt import adopt

    return adopt(agree=agree, **options)


@click.command()
@click.argument("path", default=".", type=FILE)
@click.option("--markdown", is_flag=True, help="Print the result as Markdown.")
@click.option("--write", is_flag=True, help="Also write a strategy page: goals, owners to fill in, measures.")
@click.option(
    "--output", metavar="FILE", type=FILE, help="Write the strategy page to this file; default: mlops_strategy.md."
)
@json_option
def assess(write: bool, output: str | None, **options: Any) -> int:
    """Show what a repository has and lacks for MLOps. Cites file:line, lists next steps; runs and changes nothing.

    \b
    glue assess ../other_project
    glue assess --write
    """
    from mlops_glue.commands.assess import assess

    return assess(page=output or ("mlops_strategy.md" if write else None), **options)
