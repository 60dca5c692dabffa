"""Commands that watch what is served: monitor."""

from __future__ import annotations

from typing import Any

import click

from mlops_glue.cli.options import FILE, env_option, json_option
from mlops_glue.errors import UsageError


@click.command()
@click.option("--current", metavar="FILE", type=FILE, help="A table to compare, instead of the prediction log.")
@click.option("--reference", metavar="FILE", type=FILE, help="Compare with this table, instead of a version.")
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
def monitor(reference: str | None, test_alert: bool, demo_drift: bool, resume: bool, **options: Any) -> int:
    """Check served data for drift. Exit 1 when it drifts from what its version was trained on.

    \b
    glue monitor --last 7d
    glue monitor --current new_customers.csv
    glue monitor --reference january.csv --current february.csv
    """
    if reference is not None:
        others = [options.pop(name) for name in ("last", "since", "rows", "version")]
        if options["current"] is None or any([*others, test_alert, demo_drift, resume]):
            hint = f"glue monitor --reference {reference} --current FILE"
            raise UsageError("--reference compares two tables: it goes with --current alone", hint=hint)
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
