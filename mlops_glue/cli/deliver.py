"""Commands that bring a model to its users: promote, rollback, predict, explain, serve, package, materialize, ci."""

from __future__ import annotations

import click

from mlops_glue.cli.options import FILE, calls, env_option, json_option, version_option


@click.command()
@click.argument("version", type=int, required=False)
@click.option("--alias", default="champion", help="Another alias, say challenger: any sound version may have it.")
@click.option("--reason", metavar="TEXT", help="Why; the audit record keeps it.")
@click.option(
    "--approve",
    is_flag=True,
    help="Approve what somebody else has made, for promote.approval; in GitHub Actions its reviewers do.",
)
@click.option("--force", is_flag=True, help="Promote what the rules refuse; needs --reason.")
@click.option("--accept-contract-change", is_flag=True, help="Callers of the champion break, and you know it.")
@json_option
@env_option
@calls("promote")
def promote() -> None:
    """Make a version champion if the rules allow it. Default the challenger, else the last run's. Exit 1 if refused.

    \b
    glue promote 7
    glue promote 7 --alias challenger
    """


@click.command()
@click.argument("to", metavar="[VERSION]", type=int, required=False)
@click.option("--reason", metavar="TEXT", help="Why; the audit record keeps it.")
@json_option
@env_option
@calls("promote")
def rollback() -> None:
    """Put a former champion back. Default the one before; no run promotes the one that went, unless asked.

    \b
    glue rollback
    """


@click.command()
@click.argument("source", metavar="IN", type=FILE)
@click.argument("target", metavar="OUT", type=FILE)
@click.option("--format", "kind", type=click.Choice(["csv", "jsonl", "parquet"]), help="Of standard input.")
@version_option
@env_option
@calls("predict")
def predict() -> None:
    """Score a file or a folder of files. - is standard input, or output.

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
    """Show what each column adds to the answer. Of each row of a file; without one on average of the holdout.

    \b
    glue explain
    glue explain new_customers.csv explained.csv
    """


@click.command()
@click.option("--host", help="Address to listen on; default 127.0.0.1, which only this machine reaches.")
@click.option("--port", type=click.IntRange(0, 65535), help="Default 8000; 0 takes a free one.")
@click.option("--workers", type=click.IntRange(1, 256), help="Worker processes; default 1.")
@version_option
@click.option("--check", is_flag=True, help="Load the model, score its example, print the contract; exit 1 if not.")
@click.option("--insecure", is_flag=True, help="Take requests from other machines without an API key.")
@click.option("--quiet", is_flag=True, help="No access log.")
@click.option("--folder", type=FILE, help="Serve what `glue package` wrote there; no project is needed.")
@click.option("--online-store", type=FILE, help="With --folder: the file with the features.")
@click.option("--state", type=FILE, help="With --folder: a folder that stays, for the log until it is shipped.")
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
@click.option("--wheels", is_flag=True, help="With the packages that it needs: no network to install or build.")
@env_option
@calls("package")
def package() -> None:
    """Write a folder that serves without glue. It needs neither MLflow nor a registry; with a Dockerfile.

    \b
    glue package serving
    python serving --check
    """


@click.command()
@click.option("--force", is_flag=True, help="Refill every view, changed or not.")
@json_option
@env_option
@calls("materialize")
def materialize() -> None:
    """Refresh the champion's features online. Fills the online store without training.

    \b
    glue materialize --env prod
    """


@click.command()
@click.option(
    "--for",
    "service",
    type=click.Choice(["github", "gitlab"]),
    help="Where the jobs run; written to ci.service of glue.yaml.",
)
@click.option("--check", is_flag=True, help="Write nothing; exit 1 when a file is not what glue.yaml says.")
@json_option
@calls("ci")
def ci() -> None:
    """Write jobs for GitHub or GitLab, and a Makefile.

    \b
    glue ci
    glue ci --for gitlab
    glue ci --check
    """
