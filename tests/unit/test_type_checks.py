"""Feast's classes check their arguments, though typeguard prepares a method when it is first called."""

from __future__ import annotations

import subprocess
import sys
from datetime import timedelta

import pytest

pytest.importorskip("feast")

from typeguard import TypeCheckError, typechecked

from mlops_glue.adapters.feast.type_checks import prepared_at_first_call

FEAST = """
import typeguard
from mlops_glue.adapters.feast.type_checks import prepared_at_first_call
before = typeguard.typechecked
with prepared_at_first_call():
    import feast
assert typeguard.typechecked is before
assert hasattr(feast.Entity.__init__, "__wrapped__")  # it is the one that waits
entity = feast.Entity(name="customer", join_keys=["id"], value_type=feast.ValueType.INT64)
field = feast.Field(name="x", dtype=feast.types.Int64)
source = feast.FileSource(name="s", path="a.parquet", timestamp_field="at")
assert feast.FeatureView(name="v", entities=[entity], schema=[field], source=source).name == "v"
for wrong in ({"entities": "customer"}, {"ttl": "3 days"}, {"schema": [1]}):
    try:
        feast.FeatureView(name="v", source=source, **{"entities": [entity], "schema": [field], **wrong})
    except typeguard.TypeCheckError as error:
        print(error)
"""


def test_a_definition_of_the_wrong_types_is_told_as_feast_tells_it() -> None:
    done = subprocess.run([sys.executable, "-c", FEAST], capture_output=True, text=True, check=True)
    assert [line.split(" ")[1].strip('"') for line in done.stdout.splitlines() if line.startswith("argument")] == [
        "entities",
        "ttl",
        "schema",
    ], done.stdout


def test_methods_are_checked_and_the_rest_is_as_it_was() -> None:
    import typeguard

    with prepared_at_first_call():

        @typeguard.typechecked
        class Base:
            """Its own words."""

            limit: int = 3

            def __init__(self, wait: timedelta) -> None:
                self.wait = wait

            @property
            def days(self) -> int:
                return self.wait.days

            @classmethod
            def of(cls, days: int) -> Base:
                return cls(timedelta(days=days))

        class Child(Base):
            def __init__(self, wait: timedelta) -> None:
                super().__init__(wait)

        @typeguard.typechecked
        def double(value: int) -> int:
            return 2 * value

    assert typeguard.typechecked is typechecked
    assert (Base.of(2).days, Child(timedelta(1)).days, double(4), Base.__doc__) == (2, 1, 8, "Its own words.")
    for call in (lambda: Base(3), lambda: Child("soon"), lambda: double("x")):  # type: ignore[arg-type]
        with pytest.raises(TypeCheckError, match=r'argument "(wait|value)"'):
            call()
