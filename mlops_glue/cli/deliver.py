"""Commands that deliver a model: promote, rollback, predict, explain, serve, package, materialize, ci."""

from __future__ import annotations

import click

from mlops_glue.cli.options import FILE, calls, env_option, json_option, version_option


@click.command()
@click.argument("version", type=int, required=False)
@click.option(
    "--alias",
    default="champion",
    help="Move another alias, such as challenger. Any version with an intact bundle may have it.",
)
@click.option("--reason", metavar="TEXT", help="Reason, stored in the audit record.")
@click.option(
    "--approve",
    is_flag=True,
    help="Approve another user's version (promote.approval). In GitHub Actions, reviewers approve instead.",
)
@click.option("--force", is_flag=True, help="Promote a version that the rules refuse; requires --reason.")
@click.option("--accept-contract-change", is_flag=True, help="Promote even though this breaks the champion's callers.")
@json_option
@env_option
@calls("promote")
def promote() -> None:
    """Make a version champion if the rules allow it.

    Default: the challenger, else the last run's version. Exits with 1 if the version is refused.

    \b
    glue promote 7
    glue promote 7 --alias challenger
    """


@click.command()
@click.argument("to", metavar="[VERSION]", type=int, required=False)
@click.option("--reason", metavar="TEXT", help="Reason, stored in the audit record.")
@json_option
@env_option
@calls("promote")
def rollback() -> None:
    """Restore a former champion.

    Default: the previous champion. Runs do not promote a version again after its rollback; `glue promote` does.

    \b
    glue rollback
    """


@click.command()
@click.argument("source", metavar="IN", type=FILE)
@click.argument("target", metavar="OUT", type=FILE)
@click.option("--format", "kind", type=click.Choice(["csv", "jsonl", "parquet"]), help="Format of standard input.")
@version_option
@env_option
@calls("predict")
def predict() -> None:
    """Score a file or a folder of files. Use - for standard input or output.

    \b
    glue predict new_customers.csv scored.parquet
    cat new_customers.csv | glue predict - - > scored.csv
    """


@click.command()
@click.argument("source", metavar="[IN]", type=FILE, required=False)
@click.argument("target", metavar="[OUT]", type=FILE, required=False)
@version_option
@json_option
@env_option
@calls("predict")
def explain() -> None:
    """Show how much each column adds to the prediction. For each row of a file; default: the holdout's average.

    \b
    glue explain
    glue explain new_customers.csv explained.csv
    """


@click.command()
@click.option("--host", help="Address to listen on; default 127.0.0.1 (this machine only).")
@click.option("--port", type=click.IntRange(0, 65535), help="Port to listen on; default 8000; 0 picks a free port.")
@click.option("--workers", type=click.IntRange(1, 256), help="Number of worker processes; default 1.")
@version_option
@click.option(
    "--check", is_flag=True, help="Load the model, score its example, print the contract. Exit with 1 on failure."
)
@click.option("--insecure", is_flag=True, help="Accept requests from other machines without an API key.")
@click.option("--quiet", is_flag=True, help="Disable the access log.")
@click.option("--folder", type=FILE, help="Serve a folder written by `glue package`; requires no project.")
@click.option("--online-store", type=FILE, help="With --folder: file of the online feature store.")
@click.option("--state", type=FILE, help="With --folder: persistent folder for log entries until they are shipped.")
@json_option
@env_option
@calls("serve")
def serve() -> None:
    """Serve the champion over HTTP.

    \b
    glue serve
    glue serve --check --json
    """


@click.command()
@click.argument("target", metavar="DIR", type=FILE)
@version_option
@click.option("--wheels", is_flag=True, help="Include the required packages, to install or build without a network.")
@env_option
@calls("package")
def package() -> None:
    """Write a folder that serves without glue. Includes a Dockerfile; requires neither MLflow nor a registry.

    \b
    glue package serving
    python serving --check
    """


@click.command()
@click.option("--force", is_flag=True, help="Refill every view, even if unchanged.")
@json_option
@env_option
@calls("materialize")
def materialize() -> None:
    """Refresh the champion's online features. Fills the online store without training.

    \b
    glue materialize --env prod
    """


@click.command()
@click.option(
    "--for",
    "service",
    type=click.Choice(["github", "gitlab"]),
    help="CI service; stored as ci.service in glue.yaml.",
)
@click.option("--check", is_flag=True, help="Write nothing; exit with 1 if a file does not match glue.yaml.")
@json_option
@calls("ci")
def ci() -> None:
    """Write CI jobs (GitHub, GitLab) and a Makefile.

    \b
    glue ci
    glue ci --for gitlab
    glue ci --check
    """
