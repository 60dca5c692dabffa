"""How errors are worded, and that they survive a process boundary."""

from __future__ import annotations

import errno
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest

from mlops_glue import errors
from mlops_glue.errors import ConfigError, DataError, GlueError, MissingExtra, brief, combined, first_line


@pytest.mark.parametrize(
    "make",
    [
        lambda: GlueError("a", hint="b"),
        lambda: ConfigError(["glue.yaml:1 a: b", "glue.yaml:2 c: d"], hint="e"),
        lambda: MissingExtra("pandas", "pipeline"),
    ],
)
def test_an_error_is_the_same_in_another_process(make: Callable[[], GlueError]) -> None:
    error = make()
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), str(copy), copy.__dict__) == (type(error), str(error), error.__dict__)


@pytest.mark.parametrize(
    ("error", "line", "short"),
    [
        (ValueError("\n first\nsecond"), "first", "ValueError: first"),
        (KeyError(), "KeyError", "KeyError"),
        (ValueError("x" * 900), "x" * 200, "ValueError: " + "x" * 300),
    ],
)
def test_an_exception_on_one_line(error: Exception, line: str, short: str) -> None:
    assert (first_line(error), brief(error)) == (line, short)


def test_several_errors_are_one() -> None:
    many = combined([DataError(f"t{n}", hint="same") for n in range(12)])
    assert many.message.splitlines() == [*(f"t{n}" for n in range(10)), "and 2 more"] and many.hint == "same"


def test_a_full_disk_and_too_little_memory_have_a_remedy() -> None:
    full = errors.system_error(OSError(errno.ENOSPC, "No space left on device", "/data/t.csv"))
    assert (full.message, full.hint) == ("No space left on device: /data/t.csv", "free some disk space, then try again")
    denied = errors.system_error(PermissionError(errno.EACCES, "Permission denied", "x"))
    assert denied.hint == "check the permissions: ls -ld"
    try:
        raise GlueError("training failed") from MemoryError()
    except GlueError as error:
        found = errors.memory_error(error)
    assert found is not None and found.message == "there is not enough memory (training failed)"


def test_the_lines_of_the_project_are_shown(tmp_path: Path) -> None:
    (tmp_path / "model.py").write_text("def build():\n    raise ValueError('x')\n")
    namespace: dict[str, Callable[[], None]] = {}
    exec(compile((tmp_path / "model.py").read_text(), tmp_path / "model.py", "exec"), namespace)
    with pytest.raises(ValueError, match="x") as caught:
        namespace["build"]()
    assert errors.project_lines(caught.value, tmp_path) == "\n  model.py:2 in build: raise ValueError('x')"


def test_a_line_of_an_endless_recursion_is_shown_once(tmp_path: Path) -> None:
    namespace: dict[str, Callable[[], None]] = {}
    exec(compile("def build():\n    return build()\n", tmp_path / "model.py", "exec"), namespace)
    with pytest.raises(RecursionError) as caught:
        namespace["build"]()
    assert errors.project_lines(caught.value, tmp_path).count("\n") == 1


def test_a_line_of_trusted_code_is_that_of_its_file(tmp_path: Path) -> None:
    """A trusted module runs from memory, as `<steps.clip>`."""
    (tmp_path / "steps").mkdir()
    (tmp_path / "steps" / "clip.py").write_text("def build():\n    raise ValueError('x')\n")
    namespace: dict[str, Callable[[], None]] = {}
    exec(compile((tmp_path / "steps" / "clip.py").read_text(), "<steps.clip>", "exec"), namespace)
    with pytest.raises(ValueError, match="x") as caught:
        namespace["build"]()
    assert errors.project_lines(caught.value, tmp_path) == "\n  steps/clip.py:2 in build: raise ValueError('x')"
