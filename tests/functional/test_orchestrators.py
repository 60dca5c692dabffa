"""What `docs/orchestrators.md` shows is run: the lines of cron by `sh`, the others with each exit code."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

PAGE = (Path(__file__).parents[2] / "docs/orchestrators.md").read_text(encoding="utf-8")
(CRON,) = re.findall(r"```cron\n(.*?)```", PAGE, re.DOTALL)
AIRFLOW, DAGSTER = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
STANDS_IN = '#!/bin/sh\necho "glue $*"; pwd; exit "$CODE"\n'  # with glue's exit codes, which tests of each command meet


class GivenUp(Exception):
    """Not to be tried again."""

    def __init__(self, text: str, *, allow_retries: bool = False) -> None:
        super().__init__(text)
        self.again = allow_retries


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder with `.venv/bin/glue`."""
    command = tmp_path / ".venv/bin/glue"
    command.parent.mkdir(parents=True)
    command.write_text(STANDS_IN)
    command.chmod(0o755)
    return tmp_path


@pytest.mark.parametrize("line", CRON.splitlines())
def test_cron_mails_what_went_wrong_and_nothing_else(line: str, root: Path) -> None:
    command = line.split(maxsplit=5)[5].replace("/srv/churn", str(root))
    words = re.search(r"bin/(glue \w+)", command)
    assert words and "%" not in command and re.fullmatch(r"[\d*]+( [\d*]+){4}", " ".join(line.split()[:5]))

    def mailed(code: int) -> str:
        env = {"CODE": str(code), "HOME": "/", "PATH": "/usr/bin:/bin"}  # as cron has it
        return subprocess.run(["sh", "-c", command], cwd="/", env=env, capture_output=True, text=True).stdout

    assert mailed(0) == ""
    assert mailed(1) == f"{words.group(1)}: exit 1: {words.group(1)}\n{root}\n"
    assert mailed(4).startswith(f"{words.group(1)}: exit 4: ")


@pytest.mark.parametrize("text", [AIRFLOW, DAGSTER], ids=["airflow", "dagster"])
def test_only_what_a_tool_could_not_do_is_tried_again(
    text: str, root: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Its own function, with each command of the file; Airflow and Dagster are too heavy to be here."""
    tree = ast.parse(text.replace("/srv/churn", str(root)))
    (glue,) = (node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "glue")
    places = next(
        node for node in tree.body if isinstance(node, ast.Assign) and "PROJECT" in ast.unparse(node.targets[0])
    )
    commands = {call.args[0].value for call in ast.walk(tree) if isinstance(call, ast.Call) and is_glue(call.func)}
    assert commands == {"run", "monitor"} == set(re.findall(r"bin/glue (\w+)", CRON))

    class Dg:
        Failure = GivenUp

    names: dict[str, Any] = {"subprocess": subprocess, "AirflowFailException": GivenUp, "dg": Dg}
    exec(compile(ast.Module([places, glue], []), "page", "exec"), names)
    for command in commands:
        for code in (0, 1, 2, 3, 4, 130):
            monkeypatch.setenv("CODE", str(code))
            assert outcome(names["glue"], command) == {0: "done", 4: "again", 130: "again"}.get(code, "given up")
            assert capfd.readouterr().out == f"glue {command}\n{root}\n"


def is_glue(function: ast.expr) -> bool:
    """`glue(...)`, or Airflow's `task(glue)(...)`."""
    return ast.unparse(function) in ("glue", "task(glue)")


def outcome(glue: Any, command: str) -> str:
    try:
        glue(command)
    except GivenUp as error:
        return "again" if error.again else "given up"
    except RuntimeError:
        return "again"
    return "done"


def test_its_schedules_are_the_same_three_times() -> None:
    schedules = {" ".join(line.split()[:5]) for line in CRON.splitlines()}
    for text in (AIRFLOW, DAGSTER):
        assert set(re.findall(r'"([\d*]+(?: [\d*]+){4})"', text)) == schedules
