"""What the site's pages generate when they are built, so that it is never another than the code: keys, metrics, rooms.

Questions that a newcomer has (`questions.toml`) must be answered by the site's own search, else the build fails.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from mlops_glue import config, metrics
from mlops_glue.cli import glue

ROOT = Path(__file__).parents[2]
ROW, GAP, CHARACTER = 30, 6, 8.4  # pixels of the picture of the rooms: a layer, between two, a letter


def on_config(config: Any) -> Any:
    """Refuse an option without a help text.

    Raises:
        ValueError: names it.
    """
    for name, command in glue.commands.items():
        for option in command.params:
            if isinstance(option, click.Option) and not option.hidden and not command.hidden and not option.help:
                raise ValueError(f"glue {name} {option.opts[0]} has no help text")
    return config


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Fill the places that a page leaves for what is generated."""
    made = {"keys": keys, "metrics": all_metrics, "options": options, "rooms": rooms}
    for place, make in made.items():
        if f"<!-- {place} -->" in markdown:
            markdown = markdown.replace(f"<!-- {place} -->", "\n".join(make()))
    return markdown


def on_post_build(config: Any, **_: Any) -> None:
    """Refuse a page that loads anything from elsewhere: the site reads, and searches, without a network.

    Raises:
        ValueError: names it.
    """
    for page in Path(config["site_dir"]).rglob("*.html"):
        found = re.search(r"""(?:\bsrc=|rel="stylesheet"[^>]*href=)["'](?:https?:)?//[^"']*""", page.read_text("utf-8"))
        if found:
            raise ValueError(f"{page.name} needs a network: {found[0]}")


def options() -> Iterator[str]:
    """What `--help` prints of each command."""
    for name, command in glue.commands.items():
        if not command.hidden:
            text = command.get_help(click.Context(command, info_name=f"glue {name}", max_content_width=100))
            yield from (f"## glue {name}", "", "```text", text, "```", "")


def keys() -> Iterator[str]:
    """Every key of `glue.yaml`: a table for each section."""
    schema = json.loads(config.json_schema())
    top = {key: about for key, about in schema["properties"].items() if "$ref" not in about}
    yield from _section("The top level", "", top, schema)
    for key, about in schema["properties"].items():
        if "$ref" in about:
            section = _definition(about, schema)
            yield from _section(f"{key}", section.get("description", ""), section["properties"], schema)
    done = {_name(about) for about in schema["properties"].values() if "$ref" in about}
    for name, section in schema["$defs"].items():
        if name not in done and "properties" in section:
            yield from _section(name, section.get("description", ""), section["properties"], schema)


def _section(title: str, text: str, properties: dict[str, Any], schema: dict[str, Any]) -> Iterator[str]:
    yield from ("", f"## {title}", "", text, "", "| key | type | default | |", "|---|---|---|---|")
    for key, about in properties.items():
        meaning = about.get("description") or _definition(about, schema).get("description", "")
        default = json.dumps(about["default"], ensure_ascii=False) if "default" in about else ""
        default = "" if len(default) > 40 or default == "null" else f"`{default}`" if default else "**required**"
        cells = (f"`{key}`", _type(about), default if "$ref" not in about else "", meaning)
        yield "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


def _type(about: dict[str, Any]) -> str:
    if "$ref" in about:
        return f"[{_name(about)}](#{_name(about).lower()})"
    if "enum" in about or "const" in about:
        return ", ".join(f"`{value}`" for value in about.get("enum", [about.get("const")]))
    if "anyOf" in about:
        return " or ".join(dict.fromkeys(_type(one) for one in about["anyOf"] if one.get("type") != "null"))
    kind = str(about.get("type", "any"))
    if kind == "array":
        return f"list of {_type(about.get('items', {}))}"
    if kind == "object" and isinstance(about.get("additionalProperties"), dict):
        return f"by name: {_type(about['additionalProperties'])}"
    return kind


def _name(about: dict[str, Any]) -> str:
    return str(about["$ref"].rpartition("/")[2])


def _definition(about: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = schema["$defs"][_name(about)] if "$ref" in about else {}
    return found


def all_metrics() -> Iterator[str]:
    """Every metric, with its tasks."""
    found: dict[str, tuple[list[str], bool]] = {}
    for of in (metrics.METRICS, metrics.MORE):
        for task, known in of.items():
            for name, metric in known.items():
                found.setdefault(name, ([], metric.higher_is_better))[0].append(task)
    for task, families in metrics.FAMILIES.items():
        for family in families:
            metric = metrics.find(task, family.example)
            assert metric is not None
            found.setdefault(family.example, ([], metric.higher_is_better))[0].append(task)
    yield from ("| metric | tasks | better |", "|---|---|---|")
    for name, (tasks, higher) in sorted(found.items()):
        yield f"| `{name}` | {', '.join(tasks)} | {'higher' if higher else 'lower'} |"


def rooms() -> Iterator[str]:
    """The layers of the package, of import-linter's contract, as a picture."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    layers = [
        [name.strip().removeprefix("mlops_glue.") for name in layer.split("|")]
        for layer in next(contract for contract in contracts if contract["name"] == "Layers")["layers"]
    ]
    height = len(layers) * (ROW + GAP)
    label = "The rooms of the package in layers, from the command line above to secrets and suggestions below"
    yield f'<svg viewBox="0 0 760 {height}" role="img" aria-label="{label}" class="rooms">'
    for number, names in enumerate(layers):
        widths = [len(name) * CHARACTER + 26 for name in names]
        x, y = (760 - sum(widths) - 10 * (len(names) - 1)) / 2, number * (ROW + GAP)
        for name, width in zip(names, widths, strict=True):
            package = (ROOT / "mlops_glue" / name).is_dir()
            border = ' stroke="currentColor" stroke-width="1.5"' if package else ""
            yield (
                f'<rect x="{x:.0f}" y="{y + 1}" width="{width:.0f}" height="{ROW - 2}" rx="4" '
                f'fill="currentColor" fill-opacity="{0.10 if package else 0.05}"{border}/>'
                f'<text x="{x + width / 2:.0f}" y="{y + ROW * 0.66:.0f}" text-anchor="middle" font-family="monospace" '
                f'font-size="14" fill="currentColor">{name}{"/" if package else ""}</text>'
            )
            x += width + 10
    yield "</svg>"
