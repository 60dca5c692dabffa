"""Every command and option of `glue`; a body is one lazy import and one call."""

from __future__ import annotations

import atexit
import errno
import gc
import importlib.util
import os
import select
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

from mlops_glue import __version__, errors, telemetry
from mlops_glue.errors import UsageError

Decorated = TypeVar("Decorated", bound=Callable[..., Any])

FILE = click.Path(readable=False)  # a shell completes it; the command itself says what is wrong with it


def _complete(kind: str) -> Callable[[click.Context, click.Parameter, str], list[Any]]:
    def names(_: click.Context, __: click.Parameter, begun: str) -> list[Any]:
        from mlops_glue.commands import complete

        return [name for name in getattr(complete, kind)() if name.startswith(begun)]

    return names


env_option = click.option(
    "--env", help="An entry of `environments` in glue.yaml; default GLUE_ENV.", shell_complete=_complete("environments")
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")


def traceback_option(*, hidden: bool = False) -> Callable[[Decorated], Decorated]:
    """`--traceback`, of `glue` and of each of its commands: wherever it stands, `main` finds it in the context."""

    def keep(context: click.Context, _: click.Parameter, given: bool) -> None:
        if given and context.obj is not None:
            context.obj["traceback"] = True

    text = "Show the whole traceback of an error."
    return click.option("--traceback", is_flag=True, expose_value=False, callback=keep, hidden=hidden, help=text)


GROUPS = {
    "Start": ("init", "adopt", "assess"),
    "Work": ("run", "status", "why", "report", "doctor", "track", "upgrade"),
    "Deliver": ("promote", "rollback", "predict", "serve", "package", "materialize", "ci"),
    "Watch": ("monitor",),
}


class Grouped(click.Group):
    """Lists its commands in `GROUPS`."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Each group with its own title, the texts of all in one column."""
        widest = max(map(len, (name for names in GROUPS.values() for name in names)))
        for title, names in GROUPS.items():
            with formatter.section(title):
                rows = [(name.ljust(widest), self.commands[name].get_short_help_str(formatter.width)) for name in names]
                formatter.write_dl(rows)


@click.group(cls=Grouped, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, "-V", "--version", prog_name="glue")
@traceback_option()
def glue() -> None:
    """From a table to a validated, gated, registered model.

    \b
    glue init churn --data customers.csv --target churn
    cd churn && glue run
    """
    from mlops_glue import console

    console.show_logs()


@glue.command()
@click.argument("directory", default=".", type=FILE)
@click.option(
    "--data",
    multiple=True,
    metavar="FILE",
    type=FILE,
    help="A table: csv, csv.gz, parquet or jsonl; again for tables of features.",
)
@click.option("--target", help="The column to predict.")
@click.option("--timestamp", help="The time column, or year,month,day,hour; the holdout is then the latest rows.")
@click.option("--entity", multiple=True, help="The column that identifies whom a row is about; may be given again.")
@click.option(
    "--task", type=click.Choice(["binary", "multiclass", "regression"]), help="Taken from the target if not given."
)
@click.option(
    "--template", type=click.Choice(["fraud"]), help="A project with data of its own; default where no table lies."
)
@click.option("--dry-run", is_flag=True, help="Show what would be written; write nothing.")
def init(
    directory: str,
    data: tuple[str, ...],
    target: str | None,
    template: str | None,
    timestamp: str | None,
    entity: tuple[str, ...],
    task: str | None,
    dry_run: bool,
) -> int:
    """Make a project from a table or a template. Nothing that is there is overwritten.

    \b
    glue init churn --data customers.csv --target churn
    glue init fraud --template fraud
    """
    from mlops_glue.commands.init import init as command

    return command(
        directory, data, target, template=template, timestamp=timestamp, entity=entity, task=task, dry_run=dry_run
    )


@glue.command()
@click.option("--force", is_flag=True, help="Run every stage, changed or not.")
@click.option("--until", metavar="STAGE", help="Stop after this stage.", shell_complete=_complete("stages"))
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Set a key of glue.yaml first.")
@click.option("--no-publish", is_flag=True, help="Leave the registry alone.")
@click.option("--no-promote", is_flag=True, help="Register the result as challenger; the champion stays.")
@click.option("--pull", is_flag=True, help="Bring tables and results from DVC's remote instead of making them again.")
@click.option("--push", is_flag=True, help="Send tables and results to DVC's remote.")
@click.option("--subprocess", is_flag=True, help="Run each stage in a process of its own.")
@json_option
@env_option
def run(
    force: bool,
    until: str | None,
    overrides: tuple[str, ...],
    no_publish: bool,
    no_promote: bool,
    pull: bool,
    push: bool,
    subprocess: bool,
    as_json: bool,
    env: str | None,
) -> int:
    """Run what changed, then publish and promote it. Exit 1 when a check says no.

    \b
    glue run --set train.params.max_iter=300
    """
    from mlops_glue.commands.run import run as command
    from mlops_glue.delivery.run import Options

    pairs = {}
    for item in overrides:
        key, equals, value = item.partition("=")
        if not equals or not key:
            raise UsageError(f"--set {item}: is not KEY=VALUE", hint="--set train.params.max_iter=300")
        pairs[key] = value
    options = Options(
        force=force,
        until=until,
        overrides=pairs,
        publish=not no_publish,
        promote=not no_promote,
        pull=pull,
        push=push,
        subprocess=subprocess,
    )
    return command(options, as_json=as_json, env=env)


@glue.command()
@json_option
@env_option
def status(as_json: bool, env: str | None) -> int:
    """Show what would run, and what is champion. Also what was refused, and why.

    \b
    glue status --env prod
    """
    from mlops_glue.commands.status import status as command

    return command(as_json=as_json, env=env)


@glue.command()
@click.argument("stage", required=False, shell_complete=_complete("stages"))
@json_option
@env_option
def why(stage: str | None, as_json: bool, env: str | None) -> int:
    """Show why a stage would run; without STAGE, all.

    \b
    glue why
    glue why train
    """
    from mlops_glue.commands.status import why as command

    return command(stage, as_json=as_json, env=env)


@glue.command()
@json_option
@env_option
def doctor(as_json: bool, env: str | None) -> int:
    """Check the installation and the project. Exit 1 when something is wrong.

    \b
    glue doctor --json
    """
    from mlops_glue.commands.doctor import doctor as command

    return command(as_json=as_json, env=env)


@glue.command()
@click.argument("path", default=".", type=FILE)
@click.option(
    "--data", metavar="FILE", type=FILE, help="The table to learn from; default the one that the training script reads."
)
@click.option("--target", help="The column to predict; default the one that the training script takes apart.")
@click.option("--task", type=click.Choice(["binary", "multiclass", "regression"]), help="Default: the estimator's.")
@click.option("--model", metavar="NAME/VERSION", help="Only serve this registered model; or NAME@ALIAS.")
@click.option("--tracking", is_flag=True, help="Only track the repository's own commands, by glue track.")
@click.option("--registry", metavar="URI", help="Where it is registered; default MLFLOW_TRACKING_URI, else mlflow.db.")
@click.option("--trust", is_flag=True, help="Load the model even where that runs code of its own: a pickle.")
@click.option("--dry-run", is_flag=True, help="Show what would be written; write nothing.")
@click.option("--yes", is_flag=True, help="Write without asking.")
def adopt(
    path: str,
    data: str | None,
    target: str | None,
    task: str | None,
    model: str | None,
    tracking: bool,
    registry: str | None,
    trust: bool,
    dry_run: bool,
    yes: bool,
) -> int:
    """Bring in an existing repository. Proposes a glue.yaml from what is there; its own files are not touched.

    \b
    glue adopt ../churn --dry-run
    cd ../churn && glue adopt --yes && cd glue && glue run
    glue adopt --model churn/3 && cd glue && glue serve
    """
    ask = None if yes else click.confirm
    if tracking:
        if any((data, target, task, model, registry, trust)):
            raise UsageError("--tracking takes only --dry-run and --yes", hint="glue adopt --tracking")
        from mlops_glue.commands.track import adopt_tracking

        return adopt_tracking(path, dry_run=dry_run, ask=ask)
    if model is not None:
        if target is not None or task is not None:
            raise UsageError("--model brings what it predicts: leave out --target and --task, or --model")
        from mlops_glue.commands.adopt_model import adopt_model

        return adopt_model(path, model, registry=registry, trust=trust, data=data, dry_run=dry_run, ask=ask)
    if registry is not None or trust:
        raise UsageError("--registry and --trust go with --model", hint="glue adopt --model churn/3")
    from mlops_glue.commands.adopt import adopt as command

    return command(path, data, target, task=task, dry_run=dry_run, ask=ask)


@glue.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@click.option(
    "--metrics",
    multiple=True,
    metavar="FILE",
    type=FILE,
    help="Metrics that it writes, JSON or YAML; default metrics.json.",
)
@env_option
def track(command: tuple[str, ...], metrics: tuple[str, ...], env: str | None) -> int:
    """Run a command of yours as one MLflow run. Its exit code is this one's.

    \b
    glue track -- python train.py --depth 5
    glue track --metrics scores.json -- dvc repro
    """
    from mlops_glue.commands.track import track as tracked

    return tracked(command, metrics=metrics, env=env)


@glue.command()
@click.argument("path", default=".", type=FILE)
@click.option("--markdown", is_flag=True, help="Print the result as Markdown.")
@click.option("--write", is_flag=True, help="Write a strategy page too: goals, owners to fill in, measures.")
@click.option("--output", metavar="FILE", type=FILE, help="Write that page there; of --write alone mlops_strategy.md.")
@json_option
def assess(path: str, markdown: bool, write: bool, output: str | None, as_json: bool) -> int:
    """Show what a repository has and lacks for MLOps. Each at file:line, with next steps; runs and changes nothing.

    \b
    glue assess ../other_project
    glue assess --write
    """
    from mlops_glue.commands.assess import assess as command

    page = output or ("mlops_strategy.md" if write else None)
    return command(path, as_json=as_json, markdown=markdown, page=page)


@glue.command()
@click.argument("source", metavar="IN", type=FILE)
@click.argument("target", metavar="OUT", type=FILE)
@click.option(
    "--format", "kind", type=click.Choice(["csv", "jsonl", "parquet"]), help="Of standard input; default csv."
)
@click.option("--version", type=int, help="A model version; default the champion.")
@env_option
def predict(source: str, target: str, kind: str | None, version: int | None, env: str | None) -> int:
    """Score a file or a folder of files. - is standard input, or output.

    \b
    glue predict new_customers.csv scored.parquet
    cat new_customers.csv | glue predict - - > scored.csv
    """
    from mlops_glue.commands.predict import predict as command

    return command(source, target, kind=kind, version=version, env=env)


@glue.command()
@click.option("--force", is_flag=True, help="Refill every view, changed or not.")
@json_option
@env_option
def materialize(force: bool, as_json: bool, env: str | None) -> int:
    """Refresh the champion's features online. Fills the online store without training.

    \b
    glue materialize --env prod
    """
    from mlops_glue.commands.materialize import materialize as command

    return command(force=force, as_json=as_json, env=env)


@glue.command()
@click.argument("version", type=int, required=False)
@click.option("--alias", default="champion", help="Another alias, say challenger: any sound version may have it.")
@json_option
@env_option
def promote(version: int | None, alias: str, as_json: bool, env: str | None) -> int:
    """Make a version champion if the rules allow it. Default the challenger, else the last run's. Exit 1 if refused.

    \b
    glue promote 7
    glue promote 7 --alias challenger
    """
    from mlops_glue.commands.promote import promote as command

    return command(version, alias=alias, as_json=as_json, env=env)


@glue.command()
@click.argument("version", type=int, required=False)
@json_option
@env_option
def rollback(version: int | None, as_json: bool, env: str | None) -> int:
    """Put a former champion back. Default the one before; no run promotes the one that went, unless asked.

    \b
    glue rollback
    """
    from mlops_glue.commands.promote import rollback as command

    return command(version, as_json=as_json, env=env)


@glue.command()
@click.option("--host", help="Address to listen on; default 127.0.0.1, which only this machine reaches.")
@click.option("--port", type=click.IntRange(0, 65535), help="Default 8000; 0 takes a free one.")
@click.option("--workers", type=click.IntRange(1, 256), help="Worker processes; default 1.")
@click.option("--version", type=int, help="A model version; default the champion.")
@click.option("--check", is_flag=True, help="Load the model, score its example, print the contract; exit 1 if not.")
@click.option("--insecure", is_flag=True, help="Take requests from other machines without an API key.")
@click.option("--quiet", is_flag=True, help="No access log.")
@json_option
@env_option
def serve(
    host: str | None,
    port: int | None,
    workers: int | None,
    version: int | None,
    check: bool,
    insecure: bool,
    quiet: bool,
    as_json: bool,
    env: str | None,
) -> int:
    """Serve the champion over HTTP.

    \b
    glue serve
    glue serve --check --json
    """
    from mlops_glue.commands.serve import serve as command

    return command(
        host=host,
        port=port,
        workers=workers,
        version=version,
        check=check,
        insecure=insecure,
        quiet=quiet,
        as_json=as_json,
        env=env,
    )


@glue.command()
@click.option("--current", metavar="FILE", type=FILE, help="A table to compare, instead of the prediction log.")
@click.option(
    "--reference", metavar="FILE", type=FILE, help="What it is compared with, instead of a version: just two tables."
)
@click.option("--last", metavar="7d", help="The window: so many hours, days or weeks (12h, 7d, 4w), up to now.")
@click.option("--since", metavar="TIME", help="The window: from this time (ISO 8601, UTC) up to now.")
@click.option("--rows", type=click.IntRange(min=1), help="The window: the latest so many rows, of whole requests.")
@click.option("--version", type=int, help="Only what this version answered; for FILE, what it is compared with.")
@click.option("--page/--no-page", default=True, help="Draw Evidently's page, monitoring/report.html; default yes.")
@click.option("--test-alert", is_flag=True, help="Only send a test to every channel of monitor.alerts; exit 1 if not.")
@click.option("--demo-drift", is_flag=True, help="Show the whole loop in a scratch copy of the project; two minutes.")
@click.option("--resume", is_flag=True, help="Only let retraining go on, where refused candidates have stopped it.")
@json_option
@env_option
def monitor(
    current: str | None,
    reference: str | None,
    last: str | None,
    since: str | None,
    rows: int | None,
    version: int | None,
    page: bool,
    test_alert: bool,
    demo_drift: bool,
    resume: bool,
    as_json: bool,
    env: str | None,
) -> int:
    """Check served data for drift. Exit 1 when it drifts from what its version was trained on.

    \b
    glue monitor --last 7d
    glue monitor --current new_customers.csv
    glue monitor --reference january.csv --current february.csv
    """
    if reference is not None:
        others = (last, since, rows, version, test_alert or None, demo_drift or None, resume or None)
        if current is None or any(one is not None for one in others):
            raise UsageError(
                "--reference compares two tables: it goes with --current alone",
                hint=f"glue monitor --reference {reference} --current FILE",
            )
        from mlops_glue.commands.monitor_tables import monitor_tables

        return monitor_tables(reference, current, page=page, as_json=as_json, env=env)
    if demo_drift:
        from mlops_glue.commands.demo import demo_drift as show

        return show()
    if resume:
        from mlops_glue.commands import retrain

        return retrain.resume(env)
    if test_alert:
        from mlops_glue.commands import react

        return react.test_alert(env)
    from mlops_glue.commands.monitor import monitor as command

    return command(
        current=current,
        last=last,
        since=since,
        rows=rows,
        version=version,
        page=page,
        as_json=as_json,
        env=env,
    )


@glue.command()
@click.option("--check", is_flag=True, help="Write nothing; exit 1 when a file is not what glue.yaml says.")
@json_option
def ci(check: bool, as_json: bool) -> int:
    """Write GitHub Actions workflows and a Makefile.

    \b
    glue ci
    glue ci --check
    """
    from mlops_glue.commands.ci import ci as command

    return command(check=check, as_json=as_json)


@glue.command()
@click.option("--check", is_flag=True, help="Write nothing; exit 1 when there is something to bring.")
@click.option("--dry-run", is_flag=True, help="Show what would change, as a diff; write nothing.")
@click.option(
    "--adopt-base", is_flag=True, help="Of a project without a record: count what differs from the templates as yours."
)
@json_option
def upgrade(check: bool, dry_run: bool, adopt_base: bool, as_json: bool) -> int:
    """Bring files that glue wrote up to date. Merges this version's templates; your edits stay; exit 1 on a conflict.

    \b
    glue upgrade --dry-run
    glue upgrade
    """
    from mlops_glue.commands.upgrade import upgrade as command

    return command(check=check, dry_run=dry_run, adopt_base=adopt_base, as_json=as_json)


@glue.command()
@click.argument("target", metavar="DIR", type=FILE)
@click.option("--version", type=int, help="A model version; default the champion.")
@click.option("--wheels", is_flag=True, help="With the packages that it needs: no network to install or build.")
@env_option
def package(target: str, version: int | None, wheels: bool, env: str | None) -> int:
    """Write a folder that serves without glue. It needs neither MLflow nor a registry; with a Dockerfile.

    \b
    glue package serving
    python serving --check
    """
    from mlops_glue.commands.package import package as command

    return command(target, version=version, wheels=wheels, env=env)


@glue.command()
@click.option("--output", metavar="FILE", type=FILE, help="Default reports/index.html; of --pr the standard output.")
@click.option("--open", "show", is_flag=True, help="Open the page in a browser.")
@click.option("--pr", is_flag=True, help="Instead: what a change does to data, metrics and contract, as Markdown.")
@click.option("--base", default="origin/main", show_default=True, help="With --pr: the commit to compare with.")
@click.option("--pages", help="With --pr: where a browser finds artifacts/; plots are shown from there.")
@json_option
@env_option
def report(
    output: str | None, show: bool, pr: bool, base: str, pages: str | None, as_json: bool, env: str | None
) -> int:
    """Write a page that shows the state of the project. With --pr what a change does; exit 1: it should not be merged.

    \b
    glue report --open
    glue report --pr --base origin/main
    """
    if show and (pr or as_json):
        raise UsageError("--open opens the page, which --pr and --json do not write", hint="glue report --open")
    if not pr:
        from mlops_glue.report.project import page as command

        return command(output=output, show=show, as_json=as_json, env=env)
    from mlops_glue.report.pull_request import report as of_change

    return of_change(base=base, out=output, pages=pages, as_json=as_json, env=env)


@glue.command(hidden=True)
@click.argument("name")
@click.option("--format", "format_version", type=int, default=1)
def stage(name: str, format_version: int) -> int:
    """One stage: what dvc.yaml calls.

    \b
    glue stage train --format 1
    """
    from mlops_glue.commands.stage import stage as command

    return command(name, format_version)


for _command in glue.commands.values():
    traceback_option(hidden=True)(_command)


def _end() -> None:
    """Spare the interpreter's last look through all of it; DuckDB's binding calls what that does not free a leak."""
    if "duckdb" not in sys.modules:
        gc.freeze()


def _interrupted() -> int:
    from mlops_glue import console

    console.progress("interrupted; what was done is kept")
    return 130


def _pipe_closed(*, show: bool) -> int:
    """Quiet where nobody reads the answer any more, as of `glue predict - - | head`, with a shell's code of SIGPIPE."""
    poll = select.poll()
    poll.register(1, 0)  # says by itself when the reader is gone
    if any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0)):
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 141
    from mlops_glue import console

    return console.ended(BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE)), show=show)


def main(arguments: Sequence[str] | None = None) -> None:
    """The `glue` command: maps every ending to its exit code; no traceback reaches the user unless asked for."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    gc.set_threshold(100_000, 50)  # libraries are imported by the hundred thousand objects, none of them garbage
    atexit.register(_end)
    telemetry.off()
    asked = {"traceback": bool(os.environ.get("GLUE_TRACEBACK"))}
    if threading.current_thread() is threading.main_thread():
        errors.interrupted = False
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # not under nohup
            signal.signal(signal.SIGINT, errors.interrupt)
    try:
        if importlib.util.find_spec("fcntl") is None:
            raise UsageError(
                "glue runs on Linux, macOS and WSL: this system lacks their file locks", hint="wsl --install"
            )
        errors.check_names(words)
        code = glue.main(words, prog_name="glue", standalone_mode=False, obj=asked)
        sys.stdout.flush()
    except (BrokenPipeError, SystemExit) as end:  # click makes the second of the first
        if isinstance(end, SystemExit) and "_GLUE_COMPLETE" in os.environ:  # a shell's completion has ended
            raise
        code = _pipe_closed(show=asked["traceback"])
    except click.ClickException as problem:
        problem.show()
        code = 2
    except (KeyboardInterrupt, click.exceptions.Abort) as stop:
        from mlops_glue import console

        # click takes any EOFError for the end of the user's input
        failed = stop.__cause__ if isinstance(stop.__cause__, EOFError) else None
        code = console.ended(failed, show=asked["traceback"]) if failed is not None else _interrupted()
    except Exception as problem:
        from mlops_glue import console

        code = _interrupted() if errors.interrupted else console.ended(problem, show=asked["traceback"])
    if (colorama := sys.modules.get("colorama.initialise")) is not None:
        atexit.unregister(colorama.reset_all)  # it ends a terminal's output with an escape sequence, TERM=dumb or not
    sys.exit(code if isinstance(code, int) else 0)
