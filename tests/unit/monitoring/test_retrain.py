"""What a retraining may do, and rows of the log as rows of the labels' table."""

from __future__ import annotations

import gzip
import json
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mlops_glue import files, layout, tables
from mlops_glue.config import Config, Retrain
from mlops_glue.errors import DataError
from mlops_glue.monitoring import retrain_limits as limits
from mlops_glue.monitoring import retrain_rows
from mlops_glue.monitoring.labels import TRUTH
from mlops_glue.monitoring.retrain import fresh_after, resume
from mlops_glue.monitoring.retrain_limits import State

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)


def no_run(*_: Any) -> Any:
    raise AssertionError("nothing is trained here")


class Registry:
    """What a retraining finds of those before it: a tag, and versions that were refused since the champion."""

    def __init__(self, *refused: bool, text: str | None = None) -> None:
        self.text = text
        self._refused = refused

    def get_model_tag(self, _: str, key: str) -> str | None:
        return self.text

    def set_model_tag(self, _: str, key: str, state: str) -> None:
        self.text = state

    def champion(self, _: str) -> int:
        return 1

    def versions(self, _: str) -> list[int]:
        return list(range(1, len(self._refused) + 2))

    def tags(self, _: str, version: int) -> dict[str, str]:
        decision = dict.fromkeys(["time", "alias", "champion", "compared"]) | {"by": "run", "refused": ["it is worse"]}
        return {"glue.verdict.1": json.dumps(decision)} if self._refused[version - 2] else {}


def state(**kept: Any) -> State:
    return State.model_validate_json(json.dumps(kept))


@pytest.mark.parametrize(
    "kept, labelled, said",
    [
        ({}, 500, None),
        ({}, 499, "499 new labelled rows; 500 are needed"),
        ({"began": (NOW - timedelta(hours=23)).isoformat()}, 500, "the next may begin at 2026-11-25T13:00:00"),
        ({"began": (NOW - timedelta(hours=25)).isoformat()}, 500, None),
        ({"refused": 2}, 500, None),
        ({"refused": 3}, 500, "check why, then run glue monitor --resume"),
    ],
)
def test_limits(kept: dict[str, Any], labelled: int, said: str | None) -> None:
    told = limits.why_not(Retrain(), state(**kept), labelled, NOW)
    assert (told is None) == (said is None) and (said or "") in (told or "")


def config(path: str, **more: Any) -> Config:
    data = {"sources": {"t": {"path": path, **more}}, "labels": {"source": "t", "target": "y"}}
    return Config.model_validate({"glue": 1, "project": "p", "data": data, "train": {}})


def log(**columns: Any) -> pa.Table:
    times = pa.array([NOW, NOW + timedelta(hours=1)], pa.timestamp("us", "UTC"))
    own = {"glue_request_id": ["a", "b"], "glue_row": [0, 0], "glue_time": times, TRUTH: ["true", "false"]}
    return pa.table({**own, "n": [3.0, None], "amount": [1.5, 2.0], "town": ["Ö,u", None], **columns})


CSV = "id;n;amount;town;y;year;month\n1;7;0,5;Wien;TRUE;2025;1\n2;8;1,5;Graz;FALSE;2025;2"


@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz"])
def test_a_csv_file_stays_as_it_is_to_the_byte(name: str, tmp_path: Path) -> None:
    """Its delimiter, its decimal comma, its encoding; the last line had no end."""
    before = CSV.encode("latin-1")
    (tmp_path / name).write_bytes(gzip.compress(before) if name.endswith("gz") else before)
    rows = retrain_rows.as_source(config(name, timestamp=["year", "month", "id"]), tmp_path, [log()])
    tables.append_rows(tmp_path / name, rows)
    after = (tmp_path / name).read_bytes()
    text = gzip.decompress(after) if name.endswith("gz") else after
    assert text.startswith(before + b"\n")
    table = tables.read_table(tmp_path / name)
    assert table.num_rows == 4 and str(table.schema.field("n").type) == "int64"
    assert table.slice(2).to_pydict() == {
        "id": [25, 25],
        "n": [3, None],
        "amount": [1.5, 2.0],
        "town": ["Ö,u", None],
        "y": [True, False],
        "year": [2026, 2026],
        "month": [11, 11],
    }


def test_parquet_and_jsonl(tmp_path: Path) -> None:
    """Columns that the log does not have are null; the time is when it was answered."""
    old = pa.table({"note": ["x"], "n": pa.array([1], pa.int32()), "at": [NOW.replace(tzinfo=None)], "y": [True]})
    pq.write_table(old, tmp_path / "t.parquet")
    rows = retrain_rows.as_source(config("t.parquet", timestamp="at"), tmp_path, [log()])
    tables.append_rows(tmp_path / "t.parquet", rows)
    got = pq.read_table(tmp_path / "t.parquet")
    assert got.schema.equals(old.schema) and got["note"].to_pylist() == ["x", None, None]
    assert got["at"][2].as_py() == datetime(2026, 11, 25, 13)
    (tmp_path / "t.jsonl").write_text('{"n": 1, "town": "Wien", "y": true}\n')
    tables.append_rows(tmp_path / "t.jsonl", retrain_rows.as_source(config("t.jsonl"), tmp_path, [log()]))
    assert tables.read_table(tmp_path / "t.jsonl").to_pydict()["y"] == [True, True, False]


def test_booleans_are_written_in_the_words_of_the_table(tmp_path: Path) -> None:
    """Another word would be a new value, which an expectation of the table refuses."""
    (tmp_path / "t.csv").write_text("town,n,y\nYes,1,true\nNo,2,false\nNo,3,false\nno,4,true\n,5,true\n")
    rows = retrain_rows.as_source(config("t.csv"), tmp_path, [log(town=[True, False]), log(town=[None, True])])
    assert rows["town"].to_pylist() == ["Yes", None, "No", "Yes"]  # in the order of their times


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"n": [1], "y": [True]}), tmp_path / "t.parquet")
    with pytest.raises(DataError, match="column 'n' is int64 in the labels table"):
        retrain_rows.as_source(config("t.parquet"), tmp_path, [log(n=[0.5, 1.0])])
    with pytest.raises(DataError, match="column 'y' is bool"):
        retrain_rows.as_source(config("t.parquet"), tmp_path, [log(**{TRUTH: ["maybe", "true"]})])
    hidden = config("t.parquet").model_dump()
    hidden["serve"]["log"]["omit"] = ["n"]
    with pytest.raises(DataError, match=r"serve.log omits or hashes n, so its rows cannot be used for training"):
        retrain_rows.as_source(Config.model_validate(hidden), tmp_path, [log()])
    (tmp_path / "t.csv").write_bytes("town,y\nKöln,true\n".encode("latin-1"))
    with pytest.raises(DataError, match="its encoding does not have '日'"):
        tables.append_rows(tmp_path / "t.csv", pa.table({"town": ["日"], "y": [True]}))
    assert (tmp_path / "t.csv").read_bytes() == "town,y\nKöln,true\n".encode("latin-1")


def test_rows_are_used_once(tmp_path: Path) -> None:
    (tmp_path / ".glue").mkdir()
    assert limits.count(limits.unused(tmp_path, State(), [log()], had_some=False)) == 2
    limits.note_used(tmp_path, [log().slice(0, 1)])
    assert limits.unused(tmp_path, State(), [log()], had_some=False)[0]["glue_request_id"].to_pylist() == ["b"]
    limits.note_used(tmp_path, [log().slice(1)])
    assert limits.count(limits.unused(tmp_path, State(), [log()], had_some=False)) == 0


def test_rows_of_one_request_are_several_labels(tmp_path: Path) -> None:
    (tmp_path / ".glue").mkdir()
    several = log(glue_request_id=["a", "a"], glue_row=[0, 1])
    limits.note_used(tmp_path, [several.slice(0, 1)])
    (left,) = limits.unused(tmp_path, State(), [several], had_some=False)
    assert left.select(limits.KEYS).to_pylist() == [{"glue_request_id": "a", "glue_row": 1}]


@pytest.mark.parametrize(
    "text",
    [
        '{"refused": ',
        "[]",
        "3",
        '{"refused": "x"}',
        '{"refused": -1}',
        '{"refused": true}',
        '{"refused": null}',
        '{"began": 3}',
        '{"began": "soon"}',
        '{"began": "2026-11-25T12:00:00"}',
        '{"since": 3}',
        '{"since": "2026-11-25T12:00:00"}',
        '{"resumed": -1}',
        '{"resumed": 1.0}',
        '{"resumed": null}',
    ],
)
def test_a_torn_state_is_not_believed(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is reported as the outcome of the retraining, so that the monitor goes on to print its verdict."""
    from mlops_glue.monitoring.retrain import retrain as train

    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    (tmp_path / ".glue").mkdir()
    registry: Any = Registry(text=text)
    told = train(config("t.csv"), tmp_path, registry, [log()], NOW, no_run)
    said = "p: the state of retraining in the registry cannot be read (glue monitor --resume)"
    assert (told["outcome"], told["reason"], registry.text) == ("failed", said, text)


def test_a_sound_state() -> None:
    registry: Any = Registry()
    assert limits.load(registry, "p") == state() == State(began=None, refused=0, since=None, resumed=0)
    kept = limits.save(registry, "p", state(refused=2), began=NOW)
    assert limits.load(registry, "p") == kept == State(refused=2, began=NOW)
    whole = {"began": "2026-11-25T12:00:00+01:00", "refused": 2, "since": "2026-11-25T12:00:00Z", "resumed": 7}
    assert state(**whole) == State(began=NOW - timedelta(hours=1), refused=2, since=NOW, resumed=7)


def test_bounds_of_a_table_that_is_no_more_are_dropped() -> None:
    assert fresh_after([], 3600) == [3600] == fresh_after([3600], 3600) == fresh_after([4000], 3600)
    assert fresh_after([3600], 4240) == [3600, 4240]
    assert fresh_after([3600, "2026-01-02"], "2026-01-03") == [3600, "2026-01-02", "2026-01-03"]
    assert fresh_after(["2026-01-03"], "2026-01-03") == ["2026-01-03"]


@pytest.mark.parametrize("data, labelled, few", [("append", 99, True), ("append", 100, False), ("append", None, True)])
def test_too_few_rows_to_judge_by_wait_for_more(data: Any, labelled: int | None, few: bool) -> None:
    told = limits.why_not(Retrain(data=data, min_labelled=1), state(), labelled, NOW)
    assert (told is not None and "evaluation need 100" in told) == few


def test_a_source_that_is_read_again_counts_its_own_rows() -> None:
    assert limits.why_not(Retrain(data="reread"), state(), None, NOW) is None


def test_the_files_are_put_back_unless_all_is_well(tmp_path: Path) -> None:
    """After a refusal, an error, and a kill, at whatever moment."""
    path, config = tmp_path / "raw/t.csv", tmp_path / "glue.yaml"
    paths = ["raw/t.csv", "glue.yaml"]
    path.parent.mkdir()
    (tmp_path / ".glue").mkdir()
    path.write_text("a\n1\n")
    config.write_text("glue: 1\n")

    def change() -> None:
        tables.append_rows(path, pa.table({"a": [2]}))
        files.write_text(config, "glue: 2\n")

    def unchanged() -> bool:
        return path.read_text() == "a\n1\n" and config.read_text() == "glue: 1\n"

    with retrain_rows.transaction(tmp_path, paths):
        change()
    assert unchanged() and retrain_rows.restore(tmp_path) == []
    with pytest.raises(RuntimeError), retrain_rows.transaction(tmp_path, paths):
        change()
        raise RuntimeError
    assert unchanged()
    context = retrain_rows.transaction(tmp_path, paths)
    context.__enter__()  # killed: what comes after never runs
    change()
    assert not unchanged()
    assert retrain_rows.restore(tmp_path) == ["glue.yaml", "raw/t.csv"] and unchanged()
    (tmp_path / f"{layout.BEFORE}.making").mkdir()  # killed while it made the copies: nothing was changed yet
    (tmp_path / f"{layout.BEFORE}.making/glue.yaml").write_text("gl")
    assert retrain_rows.restore(tmp_path) == [] and unchanged()
    with retrain_rows.transaction(tmp_path, paths) as changes:
        change()
        changes.pop_all()
    assert not unchanged() and path.read_text() == "a\n1\n2\n" and config.read_text() == "glue: 2\n"
    assert retrain_rows.restore(tmp_path) == []
    assert not [*(tmp_path / layout.STATE).iterdir()]


def test_one_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from filelock import FileLock

    from mlops_glue.monitoring.retrain import retrain as train

    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    (tmp_path / ".glue").mkdir()
    with FileLock(tmp_path / layout.RETRAIN_LOCK):
        told = train(config("t.csv"), tmp_path, Registry(), [], NOW, no_run)  # type: ignore[arg-type]
    assert told["outcome"] == "skipped" and "another retraining is running" in told["reason"]


def test_a_job_of_github_asks_within_the_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine ends with the job, so the registry knows when one was asked for, and which ones were refused."""
    from mlops_glue.monitoring.retrain import retrain as train

    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    asked = config("t.csv").model_dump()
    asked["monitor"] |= {"labels": {"path": "l.csv", "id": "id"}, "retrain": {"min_labelled": 2, "cooldown": "2h"}}
    of, registry = Config.model_validate(asked), Registry()

    def ask(hours: float, store: Registry = registry, rows: int = 2) -> tuple[str, str]:
        told = train(of, tmp_path, store, [log().slice(0, rows)], NOW + timedelta(hours=hours), no_run)  # type: ignore[arg-type]
        return told["outcome"], told["reason"]

    assert ask(0, rows=1) == ("skipped", "1 new labelled rows; 2 are needed") and registry.text is None
    assert ask(0) == ("asked", "this job starts the training job")
    assert ask(1.9) == (
        "skipped",
        "the last retraining began at 2026-11-25T12:00:00+00:00; the next may begin at 2026-11-25T14:00:00+00:00",
    )
    assert ask(2.1) == (
        "skipped",
        "1 new labelled rows; 2 are needed",
    )  # one was answered at the moment, not after
    assert ask(0, Registry(True, True))[0] == "asked"
    assert "check why" in ask(0, Registry(True, True, True))[1]
    assert ask(0, Registry(True, True, True, False))[0] == "asked"  # in a row
    torn = Registry()
    torn.text = '{"began": '
    assert ask(0, torn)[0] == "failed" and torn.text == '{"began": '
    resumed = Registry(True, True, True)
    resumed.text = '{"resumed": 4}'
    assert ask(0, resumed)[0] == "asked" and '"resumed":4' in str(resumed.text)


def test_which_rows_were_used_is_not_known(tmp_path: Path) -> None:
    """None counts then, until a person says so; and after that only those that are answered later."""
    (tmp_path / ".glue").mkdir()
    limits.note_used(tmp_path, [log().slice(0, 1)])
    whole = (tmp_path / layout.APPENDED).read_bytes()
    for torn in (b"", whole[: len(whole) // 2], b"garbage"):
        (tmp_path / layout.APPENDED).write_bytes(torn)
        with pytest.raises(DataError, match="the rows already used for retraining are unknown"):
            limits.unused(tmp_path, State(), [log()], had_some=False)
    anew = limits.begin_anew(tmp_path, State(), NOW + timedelta(milliseconds=5), had_some=False)
    assert (anew, (tmp_path / f"{layout.APPENDED}.torn").read_bytes()) == (State(since=NOW), b"garbage")
    assert limits.unused(tmp_path, anew, [log()], had_some=False)[0]["glue_request_id"].to_pylist() == ["b"]
    assert limits.begin_anew(tmp_path, anew, NOW + timedelta(days=1), had_some=True) == anew
    limits.note_used(tmp_path, [log().slice(1)])
    assert limits.begin_anew(tmp_path, State(), NOW, had_some=True) == State()  # it is known which were used
    assert limits.unused(tmp_path, State(), [log()], had_some=True)[0]["glue_request_id"].to_pylist() == ["a"]


def test_rows_are_not_added_again_where_it_is_lost_which_were(tmp_path: Path) -> None:
    """A new clone has what was added in its table, and not the list of it, which git does not keep."""
    (tmp_path / ".glue").mkdir()
    with pytest.raises(
        DataError, match=r"appended.parquet: does not exist: the rows already used for retraining are unknown"
    ):
        limits.unused(tmp_path, State(), [log()], had_some=True)
    assert limits.count(limits.unused(tmp_path, State(), [log()], had_some=False)) == 2  # there was none
    anew = limits.begin_anew(tmp_path, State(), NOW, had_some=True)
    (rows,) = limits.unused(tmp_path, anew, [log()], had_some=True)
    assert rows["glue_request_id"].to_pylist() == ["b"]


def test_the_truth_in_other_words_is_learned_as_the_classes_are_written(tmp_path: Path) -> None:
    from mlops_glue.monitoring.labels import Joined
    from mlops_glue.schema import Schema

    pq.write_table(pa.table({"n": [1.0], "y": [1]}), tmp_path / "t.parquet")
    said = Joined(log(**{TRUTH: ["True", "no"]}), 2).in_words_of(Schema("binary", "y", labels=[0, 1], positive=1))
    assert said.table is not None
    assert retrain_rows.as_source(config("t.parquet"), tmp_path, [said.table])["y"].to_pylist() == [1, 0]


def test_a_list_of_used_rows_that_leads_nowhere_is_not_taken_for_none(tmp_path: Path) -> None:
    """A link to nothing is no missing file: what the file had is not known."""
    (tmp_path / ".glue").mkdir()
    (tmp_path / layout.APPENDED).symlink_to("nowhere.parquet")
    with pytest.raises(DataError) as refused:
        limits.note_used(tmp_path, [log()])
    said = ".glue/appended.parquet: cannot be read: the rows already used for retraining are unknown"
    assert refused.value.message == said
    assert refused.value.hint == "glue monitor --resume; after it, only rows answered from then on count"


def test_a_person_lets_retraining_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the registry kept of the refused ones; here and in jobs."""
    monkeypatch.setattr("mlops_glue.monitoring.retrain.read_only", lambda *_: registry)
    for text, refused in ((None, 2), ('{"refused": 3, "began": "2026-11-25T12:00:00Z"}', 3), ("torn", 2)):
        registry: Any = Registry(False, True, True, text=text)
        assert resume(config("t.csv"), tmp_path) == refused
        assert limits.load(registry, "p") == State(resumed=4)
    registry = None
    assert resume(config("t.csv"), tmp_path) == 0


@pytest.mark.parametrize(
    "options, kept, labelled, said",
    [
        ({}, {"refused": 4}, 500, "4 candidates in a row were refused: check why, then run glue monitor --resume"),
        ({"max_refused": 5}, {"refused": 4}, 500, None),
        ({}, {"began": "2026-11-24T12:00:00+00:00"}, 500, None),  # just so long ago
        (
            {},
            {"began": "2026-11-24T12:00:01+00:00"},
            500,
            "the last retraining began at 2026-11-24T12:00:01+00:00; the next may begin at 2026-11-25T12:00:01+00:00",
        ),
        (
            {"cooldown": "2d"},
            {"began": "2026-11-24T12:00:00.5+00:00"},
            None,
            "the last retraining began at 2026-11-24T12:00:00+00:00; the next may begin at 2026-11-26T12:00:00+00:00",
        ),
        ({"min_labelled": 5000}, {}, 1234, "1,234 new labelled rows; 5,000 are needed"),
        (
            {"min_labelled": 10},
            {},
            99,
            "99 new labelled rows; training and evaluation need 100",
        ),
        (
            {},
            {},
            None,
            "0 new labelled rows; training and evaluation need 100",
        ),
        ({"min_labelled": 10, "data": "reread"}, {}, 10, None),
        ({"min_labelled": 10, "data": "reread"}, {}, 9, "9 new labelled rows; 10 are needed"),
        ({"min_labelled": 10}, {}, 100, None),
        ({}, {"refused": 3, "began": NOW.isoformat()}, 0, "3 candidates in a row were refused"),  # what is worst first
    ],
)
def test_why_there_is_no_retraining_now(options: Any, kept: Any, labelled: int | None, said: str | None) -> None:
    told = limits.why_not(Retrain(**options), state(**kept), labelled, NOW)
    assert told == said or (told or "").startswith(f"{said}: check why")


def test_rows_count_that_were_answered_later_wherever_the_clock_is() -> None:
    """Not those of the moment itself; whatever unit the log has."""
    berlin = timezone(timedelta(hours=1))
    for unit in ("us", "ns", "ms"):
        times = pa.array([NOW + timedelta(milliseconds=at) for at in (-1, 0, 1)], pa.timestamp(unit, "UTC"))
        tables = [pa.table({"glue_time": times, "n": [1, 2, 3]}), pa.table({"glue_time": times[:2], "n": [4, 5]})]
        left = limits.answered_after(tables, NOW.astimezone(berlin))
        assert [one["n"].to_pylist() for one in left] == [[3], []]


def test_what_was_used_is_kept_of_all_tables(tmp_path: Path) -> None:
    (tmp_path / ".glue").mkdir()
    first = log().replace_schema_metadata({"of": "one version"})
    limits.note_used(tmp_path, [first.slice(0, 1), log(glue_request_id=["c", "d"], glue_row=[1, 2])])
    limits.note_used(tmp_path, [first.slice(1)])
    kept = pq.read_table(tmp_path / layout.APPENDED)
    assert kept.to_pydict() == {"glue_request_id": ["a", "c", "d", "b"], "glue_row": [0, 1, 2, 0]}
    left = limits.unused(tmp_path, State(), [log(), log(glue_request_id=["c", "d"])], had_some=False)
    assert [one.num_rows for one in left] == [0, 2] and limits.count(left) == 2  # (c, 0) and (d, 0) are others
    assert limits.count([]) == 0 and type(limits.count([])) is int


def test_rows_are_in_the_order_of_their_answers(tmp_path: Path) -> None:
    """Whichever version gave them; of one moment as they came."""
    pq.write_table(pa.table({"n": [1.0], "y": [True]}), tmp_path / "t.parquet")
    at = [NOW + timedelta(hours=one) for one in (5, 1)]
    one = log(glue_time=pa.array(at, pa.timestamp("us", "UTC")), n=[5.0, 1.0])
    two = log(glue_time=pa.array([at[1], NOW], pa.timestamp("us", "UTC")), n=[1.5, 0.0])
    rows = retrain_rows.as_source(config("t.parquet"), tmp_path, [one, two])
    assert rows["n"].to_pylist() == [0.0, 1.0, 1.5, 5.0] and rows["y"].to_pylist() == [False, False, True, True]


def test_what_the_log_hides_cannot_be_learned(tmp_path: Path) -> None:
    hidden = config("t.parquet").model_dump()
    hidden["serve"]["log"] |= {"omit": ["town", "n"], "hash": ["amount"], "hash_key": "${KEY}"}
    with pytest.raises(DataError) as refused:
        retrain_rows.as_source(Config.model_validate(hidden), tmp_path, [log()])
    assert refused.value.message == "serve.log omits or hashes amount, n, town, so its rows cannot be used for training"
    assert refused.value.hint == "monitor: {retrain: {data: reread}}"


def test_the_moment_of_an_answer_as_the_table_has_it(tmp_path: Path) -> None:
    """Whole, as text, as a date, or in parts from the year to the minute."""
    when = datetime(2026, 3, 5, 17, 42, 31, 999_999)
    times = pa.array([when, when], pa.timestamp("us", "UTC"))

    def of(kind: pa.DataType, name: str = "at", clock: Any = "at") -> Any:
        old = pa.table({**{one: pa.nulls(1, kind) for one in {name, *([clock] if isinstance(clock, str) else clock)}}})
        pq.write_table(old.append_column("y", [[True]]), tmp_path / "t.parquet")
        rows = retrain_rows.as_source(config("t.parquet", timestamp=clock), tmp_path, [log(glue_time=times)])
        assert rows.schema.field(name).type == kind
        return rows[name][0].as_py()

    assert of(pa.string()) == "2026-03-05T17:42:31.999999" == of(pa.large_string())
    assert of(pa.timestamp("us")) == when and of(pa.timestamp("us", "UTC")) == when.replace(tzinfo=UTC)
    assert of(pa.timestamp("ms")) == when.replace(microsecond=999_000)
    at = when.replace(microsecond=999_000, tzinfo=UTC)
    assert of(pa.timestamp("ms", "Europe/Berlin")).timestamp() == at.timestamp()
    assert of(pa.date32()) == when.date()
    parts = ["y_", "m_", "d_", "h_", "i_"]
    for part, wanted in zip(parts, (2026, 3, 5, 17, 42), strict=True):
        assert of(pa.int64(), part, parts) == wanted == of(pa.float64(), part, parts)
    assert of(pa.string(), "h_", parts) == "17"


@pytest.mark.parametrize(
    ("there", "yes", "no"),
    [
        (["Y", "N", "Y"], "Y", "N"),
        (["yes", "Yes", "Yes", "off", " NO "], "Yes", " NO "),
        (["no", "No", "No", "n"], "true", "No"),
        (["maybe", None], "true", "false"),
        ([None], "true", "false"),
    ],
)
def test_booleans_in_the_most_frequent_words(there: Any, yes: str, no: str, tmp_path: Path) -> None:
    pq.write_table(pa.table({"town": pa.array(there, pa.string()), "y": [True] * len(there)}), tmp_path / "t.parquet")
    rows = retrain_rows.as_source(config("t.parquet"), tmp_path, [log(town=[True, False]), log(town=[None, None])])
    assert sorted(map(str, rows["town"].to_pylist())) == sorted(["None", "None", yes, no])


def test_a_value_of_another_type_is_told_with_its_column(tmp_path: Path) -> None:
    def refusal(**columns: Any) -> str:
        with pytest.raises(DataError) as refused:
            retrain_rows.as_source(config("t.parquet"), tmp_path, [log(**columns)])
        return refused.value.message

    pq.write_table(pa.table({"n": [1], "flag": [True], "y": ["a"]}), tmp_path / "t.parquet")
    assert refusal(n=[0.5, 1.0]).startswith("column 'n' is int64 in the labels table: Float value 0.500000 was")
    assert refusal(n=[[1], [2]]).startswith("column 'n' is int64 in the labels table: Unsupported cast")
    long = "x" * 300
    assert len(refusal(flag=[long, long])) == len("column 'flag' is bool in the labels table: ") + 120
    rows = retrain_rows.as_source(config("t.parquet"), tmp_path, [log(flag=["TRUE", "False"])])
    assert rows["flag"].to_pylist() == [True, False] and rows["y"].to_pylist() == ["true", "false"]


def test_copies_are_of_what_the_file_is(tmp_path: Path) -> None:
    """Where a file is a link, what it points to was changed, and that is put back: the link stays one."""
    store, path = tmp_path / "cache/ab", tmp_path / "raw/deep/t.csv"
    store.parent.mkdir()
    store.write_text("a\n1\n")
    path.parent.mkdir(parents=True)
    path.symlink_to(store)
    (tmp_path / ".glue").mkdir()
    with retrain_rows.transaction(tmp_path, ["raw/deep/t.csv"]):
        assert (tmp_path / layout.BEFORE / "raw/deep/t.csv").read_text() == "a\n1\n"
        tables.append_rows(path, pa.table({"a": [2]}))
        assert path.read_text() == "a\n1\n2\n"
    assert path.is_symlink() and path.read_text() == "a\n1\n"
    with pytest.raises(FileNotFoundError), retrain_rows.transaction(tmp_path, ["raw/none.csv"]):
        pass


def test_where_files_cannot_be_linked_they_are_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise OSError("another device")

    monkeypatch.setattr("os.link", refuse)
    (tmp_path / "t.csv").write_text("a\n1\n")
    (tmp_path / ".glue").mkdir()
    with retrain_rows.transaction(tmp_path, ["t.csv"]):
        (tmp_path / "t.csv").write_text("b\n")
    assert (tmp_path / "t.csv").read_text() == "a\n1\n"
    assert sorted(one.name for one in tmp_path.iterdir()) == [".glue", "t.csv"]


def test_what_a_kill_left_of_the_copies_is_in_nobodys_way(tmp_path: Path) -> None:
    """While it made them, and while it removed them: neither is put back."""
    (tmp_path / "t.csv").write_text("a\n1\n")
    for name in (f"{layout.BEFORE}.making", f"{layout.BEFORE}.gone"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "old.csv").write_text("old")
    assert retrain_rows.restore(tmp_path) == [] and not (tmp_path / "old.csv").exists()
    with retrain_rows.transaction(tmp_path, ["t.csv"]):
        assert [one.name for one in (tmp_path / layout.BEFORE).iterdir()] == ["t.csv"]
    assert list((tmp_path / ".glue").iterdir()) == []
