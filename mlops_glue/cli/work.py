"""Commands of daily work: run, tune, compare, status, why, report, ui, doctor, config, track, upgrade, stage."""

from __future__ import annotations

from typing import Any

import click

from mlops_glue.cli.options import FILE, calls, complete_environment, complete_stage, env_option, json_option
from mlops_glue.errors import UsageError


def _pairs(overrides: tuple[str, ...]) -> dict[str, str]:
    """`--set KEY=VALUE`, given several times, by key."""
    pairs = {}
    for item in overrides:
        key, equals, value = item.partition("=")
        if not equals or not key:
            raise UsageError(f"--set {item}: is not KEY=VALUE", hint="--set train.params.max_iter=300")
        pairs[key] = value
    return pairs


@click.command()
@click.option("--force", is_flag=True, help="Run every stage, changed or not.")
@click.option("--refresh", is_flag=True, help="Read the queries of data.sources again.")
@click.option("--until", metavar="STAGE", help="Stop after this stage.", shell_complete=complete_stage)
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Set a key of glue.yaml first.")
@click.option("--no-publish", is_flag=True, help="Leave the registry alone.")
@click.option("--no-promote", is_flag=True, help="Only name a challenger.")
@click.option("--pull", is_flag=True, help="Bring tables and results from DVC's remote instead of making them again.")
@click.option("--push", is_flag=True, help="Send tables and results to DVC's remote.")
@click.option("--subprocess", is_flag=True, help="Run each stage in a process of its own.")
@json_option
@env_option
def run(
    overrides: tuple[str, ...], no_publish: bool, no_promote: bool, as_json: bool, env: str | None, **options: Any
) -> int:
    """Run what changed, then publish and promote it. Exit 1 when a check says no.

    \b
    glue run --set train.params.max_iter=300
    """
    from mlops_glue.commands.run import run
    from mlops_glue.delivery.run import Options

    asked = Options(overrides=_pairs(overrides), publish=not no_publish, promote=not no_promote, **options)
    return run(asked, as_json=as_json, env=env)


@click.command()
@click.option("--trials", type=click.IntRange(min=1), help="How many sets of parameters; default tune.trials, 50.")
@click.option("--timeout", metavar="SPAN", help="Start no trial after so long: 90s, 15m, 2h.")
@click.option(
    "--processes",
    type=click.IntRange(min=1),
    default=1,
    help="That search at once; of Ray: trials.",
)
@click.option("--estimator", metavar="CLASS", help="Another one than that of glue.yaml: lightgbm.LGBMClassifier.")
@click.option("--apply", is_flag=True, help="Write the winner into glue.yaml, where it is better.")
@json_option
@env_option
@calls("tune")
def tune() -> None:
    """Search for better parameters of the estimator. On the training rows alone; it goes on where it was stopped.

    \b
    glue tune --trials 50 --timeout 10m
    glue tune --apply && glue run
    """


@click.command()
@click.argument("what", metavar="[A B ...]", nargs=-1)
@click.option(
    "--output", metavar="FILE", type=FILE, help="Write it there as a page too, with the curves in one picture."
)
@json_option
@env_option
@calls("compare")
def compare() -> None:
    """Show versions side by side. A is the base.

    Each is a version (3), an alias, an MLflow run, a git commit or branch, or a JSON file of metrics. Default the
    champion, and the challenger or the last version; one alone is compared with the champion. Parameters, data, code,
    size, latency, and metrics on the rows of the holdout here that none was trained on.

    \b
    glue compare
    glue compare 3 5 --output compare.html
    glue compare main HEAD scores.json
    """


@click.command()
@json_option
@env_option
@calls("status")
def status() -> None:
    """Show what would run, and what is champion. Also what was refused, and why.

    \b
    glue status --env prod
    """


@click.command()
@click.argument("stage", required=False, shell_complete=complete_stage)
@json_option
@env_option
@calls("status")
def why() -> None:
    """Show why a stage would run; without STAGE, all.

    \b
    glue why
    glue why train
    """


@click.command()
@click.option(
    "--output",
    metavar="FILE",
    type=FILE,
    help="Default reports/index.html, the others beside it; of --pr the standard output.",
)
@click.option("--open", "show", is_flag=True, help="Open the page in a browser.")
@click.option("--pr", is_flag=True, help="Instead: what a change does to data, metrics and contract, as Markdown.")
@click.option("--base", default="origin/main", show_default=True, help="With --pr: the commit to compare with.")
@click.option("--pages", help="With --pr: where a browser finds artifacts/; plots are shown from there.")
@json_option
@env_option
def report(show: bool, pr: bool, base: str, pages: str | None, output: str | None, **options: Any) -> int:
    """Write pages that show the state of the project. With --pr what a change does; exit 1: it should not be merged.

    \b
    glue report --open
    glue report --pr --base origin/main
    """
    if show and (pr or options["as_json"]):
        raise UsageError("--open opens the page, which --pr and --json do not write", hint="glue report --open")
    if not pr:
        from mlops_glue.commands.report import report

        return report(output=output, show=show, **options)
    from mlops_glue.commands.report import report_change

    return report_change(base=base, output=output, pages=pages, **options)


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), default=8010, show_default=True, help="0 takes a free one.")
@click.option("--insecure", is_flag=True, help="Listen where others can ask: nobody needs a key.")
@click.option("--open", "show", is_flag=True, help="Open it in a browser.")
@env_option
@calls("ui")
def ui() -> None:
    """Show the project in a browser, as it is now. Each page loads itself anew; it only reads, on this machine alone.

    \b
    glue ui --open
    glue ui --port 9000
    """


@click.command()
@json_option
@env_option
@calls("doctor")
def doctor() -> None:
    """Check the installation and the project. Connects to each store and server; exit 1 when something is wrong.

    \b
    glue doctor --json
    glue doctor --env prod
    """


@click.command()
@click.argument("action", metavar="show|diff", type=click.Choice(["show", "diff"]))
@click.argument("names", metavar="[ENV ENV]", nargs=-1, shell_complete=complete_environment)
@json_option
@env_option
@calls("config")
def config() -> None:
    """Show each value and where it comes from. Secrets are masked; diff: what differs between environments.

    \b
    glue config show --env prod
    glue config diff dev prod
    """


@click.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@click.option("--metrics", multiple=True, metavar="FILE", type=FILE, help="JSON or YAML; default metrics.json.")
@env_option
@calls("track")
def track() -> None:
    """Run a command of yours as one MLflow run. Its exit code is this one's.

    \b
    glue track -- python train.py --depth 5
    glue track --metrics scores.json -- dvc repro
    """


@click.command()
@click.option("--check", is_flag=True, help="Write nothing; exit 1 when there is something to bring.")
@click.option("--dry-run", is_flag=True, help="Show what would change, as a diff; write nothing.")
@json_option
@calls("upgrade")
def upgrade() -> None:
    """Bring files that glue wrote up to date. Merges this version's templates; your edits stay; exit 1 on a conflict.

    \b
    glue upgrade --dry-run
    glue upgrade
    """


@click.command(hidden=True)
@click.argument("name")
@click.option("--format", "format_version", type=int, default=1)
@calls("stage")
def stage() -> None:
    """One stage: what dvc.yaml calls.

    \b
    glue stage train --format 1
    """
