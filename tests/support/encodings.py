"""Random tables, and every form that their rows can be written in."""

from __future__ import annotations

import csv
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mlops_glue import config as configs
from mlops_glue import files, layout, streaming
from mlops_glue.encoding import encode, matrices
from mlops_glue.pipeline.featurize import featurize
from mlops_glue.pipeline.ingest import ingest
from mlops_glue.schema import Schema

Row = dict[str, Any]


def row_of(r: random.Random, how: dict[str, str]) -> Row:
    low = {"zeros": 0, "long": 10**19, "words": 0}[how["code"]]
    code = r.choice(WORDS) if how["code"] == "words" else f"{low + r.randrange(12):05d}"
    year = r.choice([1, 1899, 1969, 1970, 2024, 2024, 9999])
    date = (year, r.randrange(1, 13), r.randrange(1, 29), r.randrange(24), r.randrange(60))
    row: Row = {
        "half": r.choice([0.5, 1234.25, -7.75, 1e-5, r.randrange(10**6) / 1000, r.gauss(0, 9)]),
        "count": r.choice([0, 1, 7, 1234, 1234567, r.randrange(-999, 999)]),
        "ms": 1_700_000_000_000 + 60_000 * r.randrange(500_000),
        "town": r.choice(WORDS),
        "code": code,
        "ok": r.random() < 0.5,
        "at": date,
        "note": f"{r.choice(WORDS)}{r.choice(PARTED)}{r.choice(WORDS)} It's 😀 {r.choice(WORDS)}"[
            r.choice([0, 0, 9]) :
        ],
        "y": r.choice(["no", "yes"]),
    }
    return {name: None if name != "y" and r.random() < 0.15 else value for name, value in row.items()}


def as_json(row: Row, how: dict[str, str]) -> Row:
    """A row as a request or a line of jsonl has it: what is text is text."""
    out = dict(row)
    if isinstance(row["at"], tuple):
        out["at"] = as_date(row["at"], how["date"])
    if isinstance(row["ok"], bool) and how["yes"] == "yes no":
        out["ok"] = ["no", "yes"][row["ok"]]
    return out


def write_csv(path: Path, rows: list[Row], how: dict[str, str], delimiter: str, sign: str, r: random.Random) -> None:
    with path.open("w", newline="", encoding="utf-8") as stream:
        out = csv.writer(stream, delimiter=delimiter)
        out.writerow(rows[0])
        out.writerows(as_cells(row, how, sign, lambda: r.choice(NULL_WORDS)) for row in rows)


def write_jsonl(path: Path, rows: list[Row], how: dict[str, str], r: random.Random) -> None:
    """Unknown is null, a missing key, or a word in a column of text."""
    with path.open("w", encoding="utf-8") as stream:
        for row in rows:
            line = said(as_json(row, how), how, r)
            stream.write(json.dumps({n: v for n, v in line.items() if v is not None or r.random() < 0.5}) + "\n")


def said(row: Row, how: dict[str, str], r: random.Random) -> Row:
    texts = ["town", "code", "at", "note", *(["ok"] if how["yes"] == "yes no" else [])]
    return row | {n: r.choice(NULL_WORDS) for n in texts if row.get(n) is None and n in row and r.random() < 0.5}


def write_parquet(path: Path, rows: list[Row], how: dict[str, str], r: random.Random) -> None:
    pq.write_table(pa.Table.from_pylist([said(as_json(row, how), how, r) for row in rows]), path)


class Trained:
    """A schema that a training table made, and how that table was written."""

    def __init__(self, folder: Path, schema: Schema, how: dict[str, str], sign: str) -> None:
        self.folder, self.schema, self.how, self.sign = folder, schema, how, sign

    def of_file(self, path: Path) -> Encoded:
        optional = [c.name for c in self.schema.columns if c.nullable]
        pieces = [
            matrices(encode(raw, self.schema), self.schema)
            for raw, _ in streaming.batches(path, decimal=self.schema.decimal, optional=optional)
        ]
        return {name: np.concatenate([one[name] for one in pieces]) for name in pieces[0]}


def trained_on(folder: Path, seed: int) -> Trained:
    """The schema of a random table, written in one of the forms."""
    r = random.Random(seed)
    rows, how = made_of(r, 120)
    form = [*FORMS, "jsonl", "parquet"][seed % (len(FORMS) + 2)]
    sign = form[1] if isinstance(form, tuple) else "."
    how["grouped"] *= isinstance(form, tuple)  # in the others numbers are numbers
    name = "t.csv" if isinstance(form, tuple) else f"t.{form}"
    if isinstance(form, tuple):
        write_csv(folder / name, rows, how, *form, r)
    else:
        {"jsonl": write_jsonl, "parquet": write_parquet}[form](folder / name, rows, how, r)
    kinds = "number: [half, count, ms], category: [town, code], boolean: [ok], datetime: [at], text: [note]"
    (folder / layout.CONFIG).write_text(
        f"glue: 1\nproject: t\ndata: {{sources: {{t: {{path: {name}}}}}, labels: {{source: t, target: y}}}}\n"
        f"features: {{{kinds}}}\ntrain: {{}}\n"
    )
    config = configs.load(folder)
    ingest(config, folder)
    featurize(config, folder)
    return Trained(folder, Schema.from_dict(files.read_json(folder / layout.COLUMNS)["schema"]), how, sign)


Encoded = dict[str, np.ndarray[Any, Any]]


FORMS = [(delimiter, sign) for delimiter in ",;\t|" for sign in ".,"]


NULL_WORDS = ["", "NA", " NA ", "n/a", "?", ".", "null", "None", "  "]


PARTED = [" ", "\n", ", ", "\u3000", "-STRASSE ", " ﬁ"]


WORDS = ["Köln", " Kiel", "a,b", "a;b", "x\ty", 'say "hi"', "1,2", "O|o", "true", "0", "naïve ", "日本"]


def made_of(r: random.Random, rows: int) -> tuple[list[Row], dict[str, str]]:
    """Rows, and how the columns are written."""
    how = {
        "date": r.choice(["iso", "dots", "month", "day", "clock", "name"]),
        "yes": r.choice(["yes no", "True False"]),
    }
    how |= {"grouped": r.choice(["", "grouped"]), "code": r.choice(["zeros", "long", "words"])}
    return [row_of(r, how) for _ in range(rows)], how


def as_date(value: tuple[int, ...], how: str) -> str:
    year, month, day, hour, minute = value
    return {
        "iso": f"{year:04d}-{month:02d}-{day:02d}",
        "clock": f"{year:04d}-{month:02d}-{day:02d} {hour:02d}:{minute:02d}:59.999999",
        "dots": f"{day:02d}.{month:02d}.{year:04d}",
        "day": f"{day:02d}/{month:02d}/{year:04d} {hour:02d}:{minute:02d}",
        "month": f"{month:02d}/{day:02d}/{year:04d}",
        "name": f"{day} {['Jan', 'Feb', 'March', 'Apr', 'May', 'June'][month % 6]} {year:04d}",
    }[how]


def as_cells(row: Row, how: dict[str, str], sign: str, null: Callable[[], str]) -> list[str]:
    out = []
    for name, value in as_json(row, how).items():
        if value is None:
            out.append(null())
        elif isinstance(value, int | float) and not isinstance(value, bool):
            out.append(as_number(value, sign, grouped=how["grouped"] != "" and name in ("half", "count")))
        else:
            out.append(str(value))
    return out


def as_number(value: float, sign: str, *, grouped: bool) -> str:
    written = f"{value:,}" if grouped and abs(value) < 1e15 and "e" not in repr(value) else repr(value)
    return written.translate(str.maketrans(",.", ".,")) if sign == "," else written
