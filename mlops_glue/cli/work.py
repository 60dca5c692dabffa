"""Commands of daily work: run, tune, compare, status, why, report, ui, doctor, config, track, upgrade, stage."""

from __future__ import annotations

from typing import Any

import click

from mlops_glue.cli.options import FILE, calls, complete_environment, complete_stage, env_option, json_option
from mlops_glue.errors import UsageError


def _pairs(overrides: tuple[str, ...]) -> dict[str, str]:
    """Parse the values of `--set KEY=VALUE`, by key."""
    pairs = {}
    for item in overrides:
        key, equals, value = item.partition("=")
        if not equals or not key:
            raise UsageError(f"--set {item}: should be KEY=VALUE", hint="--set train.params.max_iter=300")
        pairs[key] = value
    return pairs


@click.command()
@click.option("--force", is_flag=True, help="Run every stage, even if unchanged.")
@click.option("--refresh", is_flag=True, help="Run the queries of data.sources again.")
@click.option("--until", metavar="STAGE", help="Stop after this stage.", shell_complete=complete_stage)
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Set a key in glue.yaml before the run.")
@click.option("--no-publish", is_flag=True, help="Do not publish to the registry.")
@click.option("--no-promote", is_flag=True, help="Set the challenger alias, but do not promote.")
@click.option("--pull", is_flag=True, help="Pull tables and results from DVC's remote instead of computing them.")
@click.option("--push", is_flag=True, help="Push tables and results to DVC's remote.")
@click.option("--subprocess", is_flag=True, help="Run each stage in its own process.")
@json_option
@env_option
def run(
    overrides: tuple[str, ...], no_publish: bool, no_promote: bool, as_json: bool, env: str | None, **options: Any
) -> int:
    """Run changed stages, then publish and promote. Exits with 1 if a check refuses the model.

    \b
    glue run --set train.params.max_iter=300
    """
    from mlops_glue.commands.run import run
    from mlops_glue.delivery.run import Options

    settings = Options(overrides=_pairs(overrides), publish=not no_publish, promote=not no_promote, **options)
    return run(settings, as_json=as_json, env=env)


@click.command()
@click.option(
    "--trials", type=click.IntRange(min=1), help="Number of parameter sets to try; default: tune.trials (50)."
)
@click.option("--timeout", metavar="SPAN", help="Start no trials after this time: 90s, 15m, 2h.")
@click.option(
    "--processes",
    type=click.IntRange(min=1),
    default=1,
    help="Number of parallel processes; with Ray, of parallel trials.",
)
@click.option(
    "--estimator", metavar="CLASS", help="Tune this estimator instead of glue.yaml's: lightgbm.LGBMClassifier."
)
@click.option(
    "--apply", is_flag=True, help="Write the best parameters to glue.yaml if they improve on the current ones."
)
@json_option
@env_option
@calls("tune")
def tune() -> None:
    """Search for better parameters of the estimator. Uses only the training rows; resumes an interrupted search.

    \b
    glue tune --trials 50 --timeout 10m
    glue tune --apply && glue run
    """


@click.command()
@click.argument("what", metavar="[A B ...]", nargs=-1)
@click.option(
    "--output", metavar="FILE", type=FILE, help="Also write a page to this file, with all curves in one chart."
)
@json_option
@env_option
@calls("compare")
def compare() -> None:
    """Show versions side by side. A is the base.

    Each argument is a version (3), an alias, an MLflow run, a git commit or branch, or a JSON file of metrics. Default:
    the champion, and the challenger or the last version. A single argument is compared with the champion. Shows
    parameters, data, code, size, latency, and metrics on the local holdout's rows that no model was trained on.

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
    """Show what would run, and the current champion. Also shows refused versions and the reasons.

    \b
    glue status --env prod
    """


@click.command()
@click.argument("stage", required=False, shell_complete=complete_stage)
@json_option
@env_option
@calls("status")
def why() -> None:
    """Show why a stage would run; default: all stages.

    \b
    glue why
    glue why train
    """


@click.command()
@click.option(
    "--output",
    metavar="FILE",
    type=FILE,
    help="First page; default: reports/index.html, with the others next to it. With --pr: default standard output.",
)
@click.option("--open", "show", is_flag=True, help="Open the page in a browser.")
@click.option("--pr", is_flag=True, help="Show a change's effect on data, metrics and contract instead, as Markdown.")
@click.option("--base", default="origin/main", show_default=True, help="With --pr: the commit to compare with.")
@click.option("--pages", help="With --pr: URL of artifacts/, to show plots from.")
@json_option
@env_option
def report(show: bool, pr: bool, base: str, pages: str | None, output: str | None, **options: Any) -> int:
    """Write pages that show the state of the project.

    With --pr, show the effect of a change; exits with 1 if the change should not be merged.

    \b
    glue report --open
    glue report --pr --base origin/main
    """
    if show and (pr or options["as_json"]):
        raise UsageError("--open needs a page, and --pr and --json do not write one", hint="glue report --open")
    if not pr:
        from mlops_glue.commands.report import report

        return report(output=output, show=show, **options)
    from mlops_glue.commands.report import report_change

    return report_change(base=base, output=output, pages=pages, **options)


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), default=8010, show_default=True, help="0 picks a free port.")
@click.option("--insecure", is_flag=True, help="Allow an address that other machines can reach; requires no key.")
@click.option("--open", "show", is_flag=True, help="Open the page in a browser.")
@env_option
@calls("ui")
def ui() -> None:
    """Show the project in a browser, as it is now. Pages refresh themselves; read-only, and by default local only.

    \b
    glue ui --open
    glue ui --port 9000
    """


@click.command()
@json_option
@env_option
@calls("doctor")
def doctor() -> None:
    """Check the installation and the project. Connects to each store and server; exits with 1 if anything is wrong.

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
    """Show each value and where it comes from. Masks secrets; diff shows the differences between environments.

    \b
    glue config show --env prod
    glue config diff dev prod
    """


@click.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@click.option(
    "--metrics", multiple=True, metavar="FILE", type=FILE, help="Metrics file, JSON or YAML; default: metrics.json."
)
@env_option
@calls("track")
def track() -> None:
    """Run your own command as one MLflow run. Exits with the command's exit code.

    \b
    glue track -- python train.py --depth 5
    glue track --metrics scores.json -- dvc repro
    """


@click.command()
@click.option("--check", is_flag=True, help="Write nothing; exit with 1 if there are updates.")
@click.option("--dry-run", is_flag=True, help="Show the changes as a diff, but write nothing.")
@json_option
@calls("upgrade")
def upgrade() -> None:
    """Update the files that glue wrote. Merges this version's templates with your edits; exits with 1 on a conflict.

    \b
    glue upgrade --dry-run
    glue upgrade
    """


@click.command(hidden=True)
@click.argument("name")
@click.option("--format", "format_version", type=int, default=1)
@calls("stage")
def stage() -> None:
    """Run one stage; called by dvc.yaml.

    \b
    glue stage train --format 1
    """
