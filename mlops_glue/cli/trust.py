"""Commands that show where a model comes from: lineage, reproduce, card, sign, audit."""

from __future__ import annotations

import click

from mlops_glue.cli.options import FILE, calls, env_option, json_option


@click.command()
@click.argument("version", type=int, required=False)
@click.option("--request", metavar="ID", help="Show the lineage of one logged prediction, by request id.")
@click.option("--row", type=click.IntRange(min=0), default=0, help="Row of the request, counted from 0; default 0.")
@click.option("--mermaid", "as_mermaid", is_flag=True, help="Print a Mermaid flowchart.")
@json_option
@env_option
@calls("lineage")
def lineage() -> None:
    """Show what a version was built from, and by whom.

    Default: the champion.

    \b
    glue lineage 7
    glue lineage --request 4f2a-1c
    glue lineage --mermaid > lineage.mmd
    """


@click.command()
@click.argument("version", type=int)
@click.option(
    "--level",
    type=click.Choice(["metrics", "predictions", "bytes"]),
    default="predictions",
    help="Exit with 1 if the rebuild does not reach this level; default predictions.",
)
@click.option("--exact-env", is_flag=True, help="First install the recorded Python and packages with uv.")
@click.option(
    "--push", is_flag=True, help="Push the raw tables to DVC's remote, so that any clone can reproduce the version."
)
@click.option("--output", metavar="FILE", type=FILE, help="Write the in-toto statement to this file.")
@json_option
@env_option
@calls("reproduce")
def reproduce() -> None:
    """Rebuild a version and compare it to the original.

    Uses the recorded code and data; does not change the project. Reports the level reached: bytes (identical model
    file), predictions (equal on the holdout), metrics, or nothing.

    \b
    glue reproduce 3
    glue reproduce 3 --level bytes --exact-env
    glue reproduce 3 --push
    """


@click.command()
@click.argument("version", type=int, required=False)
@click.option(
    "--output", metavar="FILE", type=FILE, help="Write the card to this file; as HTML if the name ends with .html."
)
@env_option
@calls("card")
def card() -> None:
    """Print the model card of a version.

    Default: the champion. The card contains only facts; what nobody has stated stays empty.

    \b
    glue card 7 > README.md
    glue card --output card.html
    """


@click.command()
@click.argument("version", type=int, required=False)
@env_option
@calls("sign")
def sign() -> None:
    """Sign a version, or add a signature.

    Default: the champion. Uses the key of registry.sign, which also signs each new version. The audit record notes
    the signature.

    \b
    glue sign 3
    """


@click.command()
@json_option
@env_option
@calls("audit")
def audit() -> None:
    """Show who moved which alias, and check the record.

    Exits with 1 if an entry, a decision or a signature was changed, or if an alias was moved outside glue.

    \b
    glue audit
    """
