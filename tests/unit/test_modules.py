"""Versions of packages, as `importlib.metadata` tells them."""

from __future__ import annotations

from importlib import metadata

import pytest

from mlops_glue import modules


def test_each_package_has_the_version_of_its_metadata() -> None:
    names = {one.metadata["Name"] for one in metadata.distributions()}
    every = {name: metadata.version(name) for name in names}  # a folder of vendored ones may be in the path, too
    assert len(every) > 100 and {name: modules.installed(name) for name in every} == every


@pytest.mark.parametrize("name", ["scikit_learn", "Scikit.Learn", "scikit-learn"])
def test_a_name_is_compared_as_pypi_does(name: str) -> None:
    assert modules.installed(name) == metadata.version("scikit-learn")


def test_what_is_not_installed_has_none_and_a_module_without_metadata_a_stamp() -> None:
    assert modules.installed("no_such_package") is None and modules.installed("") is None
    assert (modules.installed("json") or "").count("-") == 1
