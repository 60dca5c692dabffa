"""A config with an environment over it is that of one file with the merged values, or is refused in the same words."""

from __future__ import annotations

import pickle
import random
import re
from collections.abc import Iterator
from copy import deepcopy
from io import StringIO
from pathlib import Path
from typing import Any, get_args, get_origin

import pytest
from pydantic import BaseModel
from ruamel.yaml import YAML

from mlops_glue import config as configs
from mlops_glue.config import Config
from mlops_glue.errors import ConfigError

WHOLE = [place for place in configs.PLACES if place in configs.Config.model_fields]
ALLOWED = {name: type(configs.Config.model_fields[name].default) for name in WHOLE} | {"features": configs.Stores}
BASE: dict[str, Any] = {
    "glue": 1,
    "project": "p",
    "data": {
        "sources": {"t": {"path": "t.csv", "entity": "who", "timestamp": "at"}},
        "labels": {"source": "t", "target": "y", "task": "binary"},
    },
    "train": {"estimator": "a.B"},
    "evaluate": {"metrics": ["roc_auc", "f1"]},
}
NEEDED: dict[tuple[str, ...], dict[str, Any]] = {  # what a section cannot be without
    ("serve", "canary"): {"share": 0.25},
    ("monitor", "labels"): {"path": "labels.csv", "id": "glue_request_id"},
}
POOL: tuple[Any, ...] = (
    *(None, True, False, -1, 0, 1, 2, 500, 70000, 0.0, 0.25, 0.5, 1.0, 1.5, 3.5, "", "x", "champion", "other", "7d"),
    *("90s", "4w", "${KEY}", "s3://bucket/place", "refuse", "allow", "serve", "equal", "reread", "f1", "ray"),
    *("glue_caller_id", "who", [], ["x"], ["${KEY}"], ["who"], ["retrain"], ["https://example.org"], {}),
    *(
        {"type": "redis"},
        {"type": "sqlite", "path": "a"},
        {"registry_type": "sql", "path": "p"},
        {"path": "b"},
        [{"url": "https://h/x"}],
        [{"url": "ftp://h"}],
    ),
)


def leaves(model: type[BaseModel], at: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Every option of a section, at any depth."""
    for name, field in model.model_fields.items():
        inner = (
            [field.annotation]
            if get_origin(field.annotation) is list
            else [field.annotation, *get_args(field.annotation)]
        )
        sections = [one for one in inner if isinstance(one, type) and issubclass(one, configs.Section)]
        if sections:
            yield from leaves(sections[0], (*at, name))
        else:
            yield (*at, name)


LEAVES = [leaf for name, model in ALLOWED.items() for leaf in leaves(model, (name,))]


def put(tree: dict[str, Any], leaf: tuple[str, ...], value: Any, *, whole: bool = True) -> None:
    for depth in range(1, len(leaf)):
        here = leaf[:depth]
        new = NEEDED.get(here, {}) if whole else {}
        tree = tree.setdefault(leaf[depth - 1], dict(new))
    tree[leaf[-1]] = value


def merged(below: Any, above: Any) -> Any:
    """What the documentation says: key by key; a store of another type as a whole."""
    if not (isinstance(below, dict) and isinstance(above, dict)):
        return above
    if any(kind in above and above[kind] != below.get(kind) for kind in ("type", "registry_type")):
        return above
    return {key: merged(below.get(key), above[key]) if key in above else below[key] for key in {**below, **above}}


def text_of(tree: dict[str, Any]) -> str:
    out = StringIO()
    yaml = YAML()
    yaml.representer.ignore_aliases = lambda _: True
    yaml.dump(tree, out)
    return out.getvalue()


def outcome(tree: dict[str, Any], env: str) -> tuple[Any, list[str]]:
    """As a file of YAML."""
    try:
        found = configs.load(Path("/nowhere"), env, text=text_of(tree), tables=False)
    except ConfigError as error:
        return None, error.problems
    return found.model_dump(exclude={"environments"}), []


def alone(tree: dict[str, Any]) -> tuple[Any, list[str]]:
    """As one file, without the slow way through YAML."""
    found, problems = configs.validate(deepcopy(tree), Path("/nowhere"), tables=False)
    if problems or found is None:
        return None, [f"{'.'.join(map(str, loc))}: {what}" for loc, what in problems]
    return found.model_dump(exclude={"environments"}), []


def said(problems: list[str]) -> set[str]:
    return {re.sub(r"^glue.yaml:\d+ (environments\.prod\.)?", "", one) for one in problems}


def check(base: dict[str, Any], over: dict[str, Any]) -> bool:
    """Both ways; was it taken?"""
    in_two = {**base, "environments": {"prod": over}}
    one, problems = alone(merged(base, over))
    two, again = outcome(in_two, "prod")
    assert (one is None) == (two is None), (base, over, problems, again)
    assert one == two, (base, over)
    assert said(problems) == said(again), (base, over)
    lines = text_of(in_two).splitlines()
    for problem in again:
        number, place = re.match(r"glue.yaml:(\d+) ([^:]+):", problem).groups()  # type: ignore[union-attr]
        keys = [part for part in place.split(".") if not part.isdigit()]
        node: Any = in_two
        depth = 0
        for key in keys:
            if not isinstance(node, dict) or key not in node:
                break
            node, depth = node[key], depth + 1
        line = lines[int(number) - 1].strip()
        assert line.partition(":")[0] == keys[depth - 1] or (line.startswith("- ") and place[-1].isdigit()), problem
        assert place.startswith("environments.prod."), problem
    return one is not None


@pytest.fixture(scope="module")
def valid() -> dict[tuple[str, ...], list[Any]]:
    """By option: the values that it takes where nothing else is given."""
    found: dict[tuple[str, ...], list[Any]] = {}
    for leaf in LEAVES:
        for value in POOL:
            tree = merged(BASE, {})
            tree = {**tree, leaf[0]: {}}
            put(tree, leaf, value)
            if alone(tree)[0] is not None:
                found.setdefault(leaf, []).append(value)
    return found


def test_every_option_is_known(valid: dict[tuple[str, ...], list[Any]]) -> None:
    """Each has a value that it takes, so that what follows looks at each; alone it does the same as in one file."""
    lone = {("monitor", "labels", key) for key in ("url", "query", "row", "entity", "timestamp")}
    assert set(LEAVES) - set(valid) <= lone | {("monitor", "on_alert")}, set(LEAVES) - set(valid)
    assert len(LEAVES) >= 59
    taken = 0
    for leaf in LEAVES:
        values = (
            valid.get(leaf, [])[:1]
            + valid.get(leaf, [])[-1:]
            + [one for one in POOL if one not in valid.get(leaf, [])][1::30]
        )
        for value in values:
            over: dict[str, Any] = {}
            put(over, leaf, value)
            taken += check(BASE, over)
    assert taken > 50


@pytest.mark.parametrize("seed", range(150))
def test_an_environment_is_as_one_file(seed: int, valid: dict[tuple[str, ...], list[Any]]) -> None:
    rng = random.Random(seed)
    base: dict[str, Any] = {}
    for leaf in rng.sample(sorted(valid), rng.randint(1, 8)):
        before = merged(base, {})
        put(base, leaf, rng.choice(valid[leaf]))
        if alone({**BASE, **base})[0] is None:  # it does not go with another one
            base = before
    over: dict[str, Any] = {}
    near = [leaf for leaf in LEAVES if any(leaf[:2] == (k, n) for k, v in base.items() for n in v)]
    for leaf in rng.sample(LEAVES, rng.randint(0, 2)) + rng.sample(near, min(len(near), 2)):
        wild = rng.random() < 0.15
        put(over, leaf, rng.choice(POOL if wild else valid.get(leaf, POOL)), whole=rng.random() < 0.5)
    check({**BASE, **base}, over)


def test_what_is_learned_is_the_same_everywhere() -> None:
    for name, field in Config.model_fields.items():
        if name in ALLOWED or name in ("data", "registry"):  # of whose keys some are places
            continue
        value = BASE.get(name, {})
        tree = {**BASE, "environments": {"prod": {name: value}}}
        lines = text_of(tree).splitlines()
        problems = outcome(tree, "")[1]
        at = 1 + max(n for n, line in enumerate(lines) if line.strip().startswith(f"{name}:"))
        reason = "must be the same in every environment; only where things live may differ"
        assert f"glue.yaml:{at} environments.prod.{name}: {reason}" in problems, (field, problems)
    of_features = [("features", key) for key in ("transform", "use", "repo", "number", "unmatched")]
    for name, key in [*of_features, ("registry", "model"), ("data", "labels")]:
        problems = outcome({**BASE, "environments": {"prod": {name: {key: "x"}}}}, "")[1]
        assert [one.partition(" ")[2].partition(":")[0] for one in problems] == [f"environments.prod.{name}.{key}"]
        assert "must be the same in every environment" in problems[0]
    (problem,) = outcome({**BASE, "environments": {"prod": {"serve": {"pord": 1}}}}, "")[1]
    assert problem.endswith("environments.prod.serve.pord: unknown key (did you mean 'port'?)")


def test_a_config_with_an_environment_can_be_sent_to_another_process() -> None:
    tree = {"tracking": {"uri": "http://127.0.0.1"}, "serve": {"log": {"keep_days": 3}}, "monitor": {"drift": {}}}
    config = Config.model_validate({**BASE, "environments": {"prod": tree}})
    assert pickle.loads(pickle.dumps(config)) == config
