"""Scripts and notebooks as syntax trees: one piece that is no Python does not take the others with it."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest

from mlops_glue import source
from mlops_glue.assessment.tree import Tree


def notebook(*cells: str, **more: object) -> bytes:
    """A notebook of those code cells."""
    made = [{"cell_type": "code", "metadata": {}, "outputs": [], "source": c.splitlines(keepends=True)} for c in cells]
    return json.dumps({"cells": made, "metadata": {}, "nbformat": 4, "nbformat_minor": 5, **more}).encode()


@pytest.mark.parametrize(
    ("cell", "left"),
    [
        ("%%bash\nls | wc -l\necho 'x", []),
        ("%%sql\nSELECT * FROM t", []),
        ("%%time\nb = 2", ["b = 2"]),
        ("!pip install a \\\n   b \\\n   c\nb = 2", ["b = 2"]),
        ("%matplotlib inline\nfiles = !ls\nb = 2", ["files = None", "b = 2"]),
        ("if True:\n    !ls\nb?\n?b", ["if True:\n    pass"]),
        ("x = ('%s'\n% b)", ["x = '%s' % b"]),  # a line of Python that begins as a magic does
        ("", []),
    ],
)  # fmt: skip
def test_a_cell_of_another_language_leaves_the_rest(cell: str, left: list[str]) -> None:
    found = source.read("a.ipynb", notebook("a = 1", cell, "last = 3"))
    assert found is not None and found.skipped == []
    code = [ast.unparse(node) for node in found.tree.body if not isinstance(node, ast.Pass)]
    assert code == ["a = 1", *left, "last = 3"]
    assert found.lines[found.tree.body[-1].lineno - 1] == "last = 3"


def test_a_cell_that_is_no_python_is_skipped_and_named() -> None:
    found = source.read("a.ipynb", notebook("a = 1", "exec 'x' in y\nraise E, 'm'", "b = (", "c = 3"))
    assert found is not None
    assert found.skipped == ["cell 2", "cell 3"]
    assert ast.unparse(found.tree) == "a = 1\nc = 3"


def test_other_shapes_of_notebooks() -> None:
    for text in (b"{", b"[]", b'{"cells": 3}', b'{"a": 1}', notebook("x", metadata={"kernelspec": {"language": "R"}})):
        assert source.read("a.ipynb", text) is None


def test_plots_do_not_hide_a_notebook(tmp_path: Path) -> None:
    text = notebook("a = 1", plots="x" * (2 << 20))
    (tmp_path / "a.ipynb").write_bytes(text)
    (tmp_path / "a.py").write_bytes(b"#" * (2 << 20))
    tree = Tree(tmp_path)
    assert tree.text("a.ipynb") == text
    assert tree.text("a.py") is None and tree.left_out == 1
