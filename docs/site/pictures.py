"""`make pictures`: the pictures of the README and the site, of a real run: the terminal as SVG, the report as PNG.

Needs Chromium (Debian: apt-get install chromium). Each is made for light and for dark, and has less than 200 kB.
"""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import palmerpenguins
from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text

PICTURES = Path(__file__).parents[1] / "pictures"
MOST = 200_000  # bytes
WIDTH = 84  # characters of the terminal
WINDOW = "1180,1000"  # pixels of the report's picture

LIGHT = TerminalTheme(  # background, text, then black, red, green, yellow, blue, magenta, cyan, white
    (255, 255, 255),
    (31, 35, 40),
    [
        *((36, 41, 47), (207, 34, 46), (17, 99, 41), (122, 79, 0)),
        *((9, 105, 218), (130, 80, 223), (27, 124, 131), (110, 119, 129)),
    ],
)
DARK = TerminalTheme(
    (13, 17, 23),
    (230, 237, 243),
    [
        *((139, 148, 158), (255, 123, 114), (63, 185, 80), (210, 153, 34)),
        *((88, 166, 255), (188, 140, 255), (57, 197, 207), (177, 186, 196)),
    ],
)
# rich's own has a font of a content delivery network, which an image in a page may not load
SVG = """<svg class="rich-terminal" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{
  font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace;
  font-size: {char_height}px; line-height: {line_height}px;
}}
.{unique_id}-title {{ font-size: 18px; font-weight: bold; font-family: sans-serif; }}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}" />
</clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""


def main() -> None:
    """Make a project of the Palmer penguins, run it, and take the pictures.

    Raises:
        SystemExit: there is no Chromium, or a picture is too large.
    """
    chromium = shutil.which("chromium") or shutil.which("google-chrome") or sys.exit("there is no Chromium")
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        palmerpenguins.load_penguins().to_csv(folder / "penguins.csv", index=False)
        words = "glue init penguins --data penguins.csv --target species"
        typed(words, folder)
        project = folder / "penguins"
        named = ["git", "-c", "user.name=Ada", "-c", "user.email=ada@example.org"]
        subprocess.run([*named, "add", "."], cwd=project, check=True)
        subprocess.run([*named, "commit", "-qm", "penguins"], cwd=project, check=True)
        lines = f"$ {words}\n$ cd penguins && glue run\n{typed('glue run', project)}"
        for name, theme in (("light", LIGHT), ("dark", DARK)):
            (PICTURES / f"run-{name}.svg").write_text(terminal(lines, theme), encoding="utf-8")
        typed("glue report", project)
        for name, scheme in (("light", 1), ("dark", 0)):
            picture = PICTURES / f"report-{name}.png"
            page = (project / "reports/index.html").as_uri()
            options = [
                f"--window-size={WINDOW}",
                f"--blink-settings=preferredColorScheme={scheme}",
                "--hide-scrollbars",
            ]
            command = [
                chromium,
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                *options,
                f"--screenshot={picture}",
                page,
            ]
            subprocess.run(command, check=True, capture_output=True)
    for picture in PICTURES.iterdir():
        if picture.stat().st_size > MOST:
            sys.exit(f"{picture} has {picture.stat().st_size:,} bytes, more than {MOST:,}")


def typed(words: str, folder: Path) -> str:
    """What a terminal shows of a command, with its colours."""
    env = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    env |= {"FORCE_COLOR": "1", "COLUMNS": str(WIDTH), "TERM": "xterm-256color"}
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    return subprocess.run(words.split(), cwd=folder, env=env, check=True, text=True, **streams).stdout


def terminal(output: str, theme: TerminalTheme) -> str:
    """The picture of a terminal."""
    console = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True)
    console.print(Text.from_ansi(output.rstrip()), soft_wrap=False)
    return console.export_svg(title="glue run", theme=theme, code_format=SVG, unique_id="glue")


if __name__ == "__main__":
    main()
