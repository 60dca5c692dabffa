"""Commands that monitor a served model: monitor."""

from __future__ import annotations

from typing import Any

import click

from mlops_glue.cli.options import FILE, env_option, json_option
from mlops_glue.errors import UsageError


@click.command()
@click.option("--current", metavar="FILE", type=FILE, help="Check this table instead of the prediction log.")
@click.option(
    "--reference", metavar="FILE", type=FILE, help="Compare with this table instead of a version's training data."
)
@click.option("--last", metavar="7d", help="Window: the last hours, days or weeks (12h, 7d, 4w).")
@click.option("--since", metavar="TIME", help="Window: from this time (ISO 8601, UTC) until now.")
@click.option(
    "--rows", metavar="N", type=click.IntRange(min=1), help="Window: the latest N rows, in complete requests."
)
@click.option(
    "--version", type=int, help="Check only this version's answers; with --current, compare with this version."
)
@click.option(
    "--page/--no-page", default=True, help="Write Evidently's page, monitoring/report.html (default), or not."
)
@click.option(
    "--test-alert",
    is_flag=True,
    help="Only send a test alert to every channel of monitor.alerts; exit with 1 if one fails.",
)
@click.option(
    "--demo-drift", is_flag=True, help="Demonstrate the whole loop in a scratch copy of the project; takes two minutes."
)
@click.option("--resume", is_flag=True, help="Only resume retraining after refused candidates stopped it.")
@json_option
@env_option
def monitor(reference: str | None, test_alert: bool, demo_drift: bool, resume: bool, **options: Any) -> int:
    """Check served data for drift. Exits with 1 if the data drifts from its version's training data.

    \b
    glue monitor --last 7d
    glue monitor --current new_customers.csv
    glue monitor --reference january.csv --current february.csv
    """
    if reference is not None:
        others = [options.pop(name) for name in ("last", "since", "rows", "version")]
        if options["current"] is None or any([*others, test_alert, demo_drift, resume]):
            hint = f"glue monitor --reference {reference} --current FILE"
            raise UsageError("--reference compares two tables: combine it only with --current", hint=hint)
        from mlops_glue.commands.monitor_tables import monitor_tables

        return monitor_tables(reference, **options)
    from mlops_glue.commands import monitor as command

    if demo_drift:
        from mlops_glue.commands import demo

        return demo.demo_drift()
    if resume:
        return command.resume(options["env"])
    if test_alert:
        return command.test_alert(options["env"])
    return command.monitor(**options)
