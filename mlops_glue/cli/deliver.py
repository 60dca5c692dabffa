"""Commands that bring a model to its users: promote, rollback, predict, serve, package, materialize, ci."""

from __future__ import annotations

from typing import Any

import click

from mlops_glue.cli.options import FILE, env_option, json_option, version_option


@click.command()
@click.argument("version", type=int, required=False)
@click.option("--alias", default="champion", help="Another alias, say challenger: any sound version may have it.")
@json_option
@env_option
def promote(**options: Any) -> int:
    """Make a version champion if the rules allow it. Default the challenger, else the last run's. Exit 1 if refused.

    \b
    glue promote 7
    glue promote 7 --alias challenger
    """
    from mlops_glue.commands.promote import promote

    return promote(**options)


@click.command()
@click.argument("to", metavar="[VERSION]", type=int, required=False)
@json_option
@env_option
def rollback(**options: Any) -> int:
    """Put a former champion back. Default the one before; no run promotes the one that went, unless asked.

    \b
    glue rollback
    """
    from mlops_glue.commands.promote import rollback

    return rollback(**options)


@click.command()
@click.argument("source", metavar="IN", type=FILE)
@click.argument("target", metavar="OUT", type=FILE)
@click.option(
    "--format", "kind", type=click.Choice(["csv", "jsonl", "parquet"]), help="Of standard input; default csv."
)
@version_option
@env_option
def predict(**options: Any) -> int:
    """Score a file or a folder of files. - is standard input, or output.

    \b
    glue predict new_customers.csv scored.parquet
    cat new_customers.csv | glue predict - - > scored.csv
    """
    from mlops_glue.commands.predict import predict

    return predict(**options)


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
def serve(**options: Any) -> int:
    """Serve the champion over HTTP.

    \b
    glue serve
    glue serve --check --json
    """
    from mlops_glue.commands.serve import serve

    return serve(**options)


@click.command()
@click.argument("target", metavar="DIR", type=FILE)
@version_option
@click.option("--wheels", is_flag=True, help="With the packages that it needs: no network to install or build.")
@env_option
def package(**options: Any) -> int:
    """Write a folder that serves without glue. It needs neither MLflow nor a registry; with a Dockerfile.

    \b
    glue package serving
    python serving --check
    """
    from mlops_glue.commands.package import package

    return package(**options)


@click.command()
@click.option("--force", is_flag=True, help="Refill every view, changed or not.")
@json_option
@env_option
def materialize(**options: Any) -> int:
    """Refresh the champion's features online. Fills the online store without training.

    \b
    glue materialize --env prod
    """
    from mlops_glue.commands.materialize import materialize

    return materialize(**options)


@click.command()
@click.option("--check", is_flag=True, help="Write nothing; exit 1 when a file is not what glue.yaml says.")
@json_option
def ci(**options: Any) -> int:
    """Write GitHub Actions workflows and a Makefile.

    \b
    glue ci
    glue ci --check
    """
    from mlops_glue.commands.ci import ci

    return ci(**options)
