"""Commands that answer where a model comes from: lineage, reproduce, card, sign, audit."""

from __future__ import annotations

import click

from mlops_glue.cli.options import FILE, calls, env_option, json_option


@click.command()
@click.argument("version", type=int, required=False)
@click.option("--request", metavar="ID", help="Of one answered prediction, by its request id in the log.")
@click.option("--row", type=click.IntRange(min=0), default=0, help="Which row of that request; default the first, 0.")
@click.option("--mermaid", "as_mermaid", is_flag=True, help="Print a Mermaid flowchart.")
@json_option
@env_option
@calls("lineage")
def lineage() -> None:
    """Show what a version was made of, and by whom.

    Default the champion.

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
    help="Exit 1 where the rebuild is less alike; default predictions.",
)
@click.option("--exact-env", is_flag=True, help="Build the recorded Python and packages with uv first.")
@click.option("--push", is_flag=True, help="Send its raw tables to DVC's remote, so that any clone can do the same.")
@click.option("--output", metavar="FILE", type=FILE, help="Write the in-toto statement there.")
@json_option
@env_option
@calls("reproduce")
def reproduce() -> None:
    """Make a version again, and compare the two.

    From its recorded code and data; the project stays as it is. The level that is reached: bytes (the model's file is
    equal), predictions (equal on the holdout), metrics, or nothing.

    \b
    glue reproduce 3
    glue reproduce 3 --level bytes --exact-env
    glue reproduce 3 --push
    """


@click.command()
@click.argument("version", type=int, required=False)
@click.option("--output", metavar="FILE", type=FILE, help="Write it there: HTML where the name ends with .html.")
@env_option
@calls("card")
def card() -> None:
    """Print the model card of a version.

    Default the champion. It has facts alone: what nobody stated is empty.

    \b
    glue card 7 > README.md
    glue card --output card.html
    """


@click.command()
@click.argument("version", type=int, required=False)
@env_option
@calls("sign")
def sign() -> None:
    """Sign a version that has no signature, or add one.

    Default the champion. By the key of registry.sign, which signs each new version anyhow; the audit record says so.

    \b
    glue sign 3
    """


@click.command()
@json_option
@env_option
@calls("audit")
def audit() -> None:
    """Show who moved which alias, and check the record.

    Exit 1 where an entry, a decision or a signature was changed, or an alias moved outside glue.

    \b
    glue audit
    """
