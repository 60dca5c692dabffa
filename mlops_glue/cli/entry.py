"""The `glue` command: its groups of commands, and its exit codes."""

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
from collections.abc import Sequence
from typing import NoReturn

import click

from mlops_glue import errors, telemetry
from mlops_glue.cli import deliver, start, trust, watch, work
from mlops_glue.cli.options import traceback_option
from mlops_glue.errors import UsageError
from mlops_glue.version import __version__

GROUPS: dict[str, tuple[click.Command, ...]] = {
    "Start": (start.init, start.adopt, start.assess),
    "Work": (
        *(work.run, work.tune, work.compare, work.status, work.why),
        *(work.report, work.ui, work.doctor, work.config, work.track, work.upgrade),
    ),
    "Deliver": (
        *(deliver.promote, deliver.rollback, deliver.predict, deliver.explain, deliver.serve),
        *(deliver.package, deliver.materialize, deliver.ci),
    ),
    "Watch": (watch.monitor,),
    "Trust": (trust.lineage, trust.reproduce, trust.card, trust.sign, trust.audit),
}


class Grouped(click.Group):
    """List the commands by group, as in `GROUPS`."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write each group under its title, with all help texts in one column."""
        widest = max(map(len, self.commands))
        for title, commands in GROUPS.items():
            with formatter.section(title):
                rows = [(str(c.name).ljust(widest), c.get_short_help_str(formatter.width)) for c in commands]
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


for _command in (*(command for commands in GROUPS.values() for command in commands), work.stage):
    glue.add_command(traceback_option(hidden=True)(_command))


def _end() -> None:
    """Skip the interpreter's final garbage collection, unless DuckDB is loaded: it would report a leak."""
    if "duckdb" not in sys.modules:
        gc.freeze()


def _exit(code: int, *, is_command: bool) -> NoReturn:
    """Exit; immediately if a thread still waits for a server, because the interpreter would wait for the thread."""
    waiting = sys.modules.get("mlops_glue.waiting")  # imported by all code that waits
    if is_command and waiting is not None and waiting.left_behind:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def _interrupted() -> int:
    from mlops_glue import console

    console.progress("interrupted; completed work is kept")
    return 130


def _pipe_closed(*, traceback: bool) -> int:
    """Exit quietly with the shell's code for SIGPIPE if the reader has closed the pipe (`glue predict - - | head`)."""
    poll = select.poll()
    poll.register(1, 0)  # POLLERR and POLLHUP are reported without a flag
    if any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0)):
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 141
    from mlops_glue import console

    return console.failure(BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE)), traceback=traceback)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run `glue` and exit with the matching code. Tracebacks are shown only with `--traceback`."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    gc.set_threshold(100_000, 50)  # imports create hundreds of thousands of objects, none of them garbage
    atexit.register(_end)
    telemetry.off()
    settings = {"traceback": bool(os.environ.get("GLUE_TRACEBACK"))}
    if threading.current_thread() is threading.main_thread():
        errors.interrupted = False
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # not under nohup
            signal.signal(signal.SIGINT, errors.interrupt)
    try:
        if importlib.util.find_spec("fcntl") is None:
            raise UsageError(
                "glue runs on Linux, macOS and WSL: this system has no fcntl file locks", hint="wsl --install"
            )
        code = glue.main(words, prog_name="glue", standalone_mode=False, obj=settings)
        sys.stdout.flush()
    except (BrokenPipeError, SystemExit) as end:  # click turns BrokenPipeError into SystemExit
        if isinstance(end, SystemExit) and "_GLUE_COMPLETE" in os.environ:  # shell completion has finished
            raise
        code = _pipe_closed(traceback=settings["traceback"])
    except click.ClickException as problem:
        problem.show()
        code = 2
    except (KeyboardInterrupt, click.exceptions.Abort) as stop:
        from mlops_glue import console

        # click treats any EOFError as the end of the user's input
        failed = stop.__cause__ if isinstance(stop.__cause__, EOFError) else None
        code = console.failure(failed, traceback=settings["traceback"]) if failed is not None else _interrupted()
    except Exception as problem:
        from mlops_glue import console

        code = _interrupted() if errors.interrupted else console.failure(problem, traceback=settings["traceback"])
    if (colorama := sys.modules.get("colorama.initialise")) is not None:
        atexit.unregister(colorama.reset_all)  # it writes an escape sequence on exit, even with TERM=dumb
    _exit(code if isinstance(code, int) else 0, is_command=arguments is None)
