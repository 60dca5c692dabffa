"""What is not glue's stays as it is: files, modes, links, processes and databases of others."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlops_glue import cli, console, errors, files, processes
from mlops_glue.errors import GlueError, ToolError

MODES = [0o600, 0o640, 0o644, 0o664, 0o400, 0o755, 0o2664]
CACHED = ".dvc/cache/files/md5/ab/" + 30 * "c"


def tree(root: Path, *, times: bool = False) -> dict[str, object]:
    """Everything below a folder: kind, mode, and bytes or what a link points to."""
    out: dict[str, object] = {}
    for path in [root, *sorted(root.rglob("*"))]:
        about = path.lstat()
        held = path.readlink() if path.is_symlink() else path.read_bytes() if path.is_file() else None
        out[path.relative_to(root).as_posix()] = (about.st_mode, held, about.st_mtime_ns if times else None)
    return out


@given(
    kind=st.sampled_from(["absent", "file", "link", "link to a link", "dangling", "loop", "cached", "hard"]),
    mode=st.sampled_from(MODES),
    umask=st.sampled_from([0o022, 0o077, 0o002]),
    fails=st.booleans(),
    owner=st.sampled_from([0, 1234]),
)
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_file_that_is_written_keeps_its_mode_its_owner_and_its_links(
    kind: str, mode: int, umask: int, fails: bool, owner: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    root = tmp_path_factory.mktemp("atomic")
    path, target = root / "t.csv", root / "elsewhere" / "real.csv"
    target.parent.mkdir()
    if kind == "cached":
        target = root / CACHED
        target.parent.mkdir(parents=True)
    owner = owner if os.geteuid() == 0 else os.geteuid()
    there = path if kind in ("file", "hard") else target if kind not in ("absent", "dangling", "loop") else None
    if there is not None:
        there.write_bytes(b"old")
        os.chown(there, owner, owner)
        there.chmod(mode)
    if kind == "link to a link":
        (root / "between").symlink_to(target)
    links = {"link": target, "dangling": target, "cached": target, "link to a link": root / "between", "loop": path}
    if kind in links:
        path.symlink_to(links[kind])
    if kind == "hard":
        (root / "other").hardlink_to(path)
    before, seen = tree(root), []
    old = os.umask(umask)
    try:
        with files.atomic(path) as temporary:
            seen.append(stat.S_IMODE(temporary.stat().st_mode))
            temporary.write_bytes(b"new")
            if fails:
                raise KeyError
    except KeyError:
        assert tree(root) == before
    else:
        assert not fails
        assert path.read_bytes() == b"new"
        kept = there if kind != "cached" else None
        about = path.stat()
        assert stat.S_IMODE(about.st_mode) == (0o666 & ~umask if kept is None else mode)
        assert about.st_uid == (owner if kept is not None else os.geteuid())
        assert path.is_symlink() == (kind in links and kind not in ("cached", "loop"))
        if kind in ("link", "link to a link", "dangling"):
            assert target.read_bytes() == b"new" and path.readlink() == links[kind]
        if kind == "cached":  # what it holds has its hash for a name
            assert target.read_bytes() == b"old"
        assert [p for p in root.rglob("*") if p.name.endswith(".tmp")] == []
    finally:
        assert os.umask(old) == umask
    assert seen == [0o600 if there is not None and kind != "cached" else 0o666 & ~umask]


def test_a_device_is_written_to_and_not_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with subprocess.Popen(["cat", pipe], stdout=subprocess.PIPE) as reader:
        files.write_text(pipe, "through")
        assert reader.communicate(timeout=20)[0] == b"through"
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert [p.name for p in tmp_path.iterdir()] == ["pipe"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO])
def test_a_write_that_the_system_refuses_is_told_with_its_place(
    number: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The system names no file there."""
    path = tmp_path / "report.json"
    with pytest.raises(OSError) as caught, files.atomic(path):
        raise OSError(number, os.strerror(number))
    assert console.failure(caught.value) == 4
    said = capsys.readouterr().err
    assert said.startswith(f"error: {os.strerror(number)}: {path}\n")
    assert ("hint: free some disk space, then try again\n" in said) == (number != errno.EIO)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_right_is_told_of_the_file_and_not_of_the_temporary_one(tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch, pytest.raises(PermissionError) as caught:

        def refused(path: Path, *_: object) -> int:
            raise PermissionError(errno.EACCES, "Permission denied", path)

        patch.setattr(os, "open", refused)
        files.write_text(tmp_path / "x", "")
    assert caught.value.filename == str(tmp_path / "x")


words = st.sampled_from(["", "here", "there"])


@given(boot=words, space=words, pid=st.sampled_from(["own", "dead", "1", "x", ""]), start=words, more=st.booleans())
@settings(max_examples=200, deadline=None)
def test_only_a_process_of_this_system_that_is_no_more_is_dead(
    boot: str, space: str, pid: str, start: str, more: bool
) -> None:
    own = processes.identity().split()
    ended = ended_process()
    numbers = {"own": own[2], "dead": ended.split()[2]}
    began = {"here": own[3] if pid != "dead" else ended.split()[3], "there": "1", "": ""}
    tag = " ".join(
        [
            {"here": own[0], "there": "00000000-aaaa", "": ""}[boot],
            {"here": own[1], "there": "pid:[17]", "": ""}[space],
            numbers.get(pid, pid),
            began[start],
            *(["more"] if more else []),
        ]
    )
    seen_from_here = boot == space == "here" and not more and start != "" and pid not in ("", "x")
    # the process `1` lives, and began at another moment than those that the tags tell
    assert processes.has_ended(tag) == (seen_from_here and not (pid == "own" and start == "here"))


def ended_process() -> str:
    """What names a process that was here."""
    if not _ended:
        with subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE) as process:
            _ended.append(processes.identity(process.pid))
            assert process.stdin is not None
            process.stdin.close()
            while Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
                time.sleep(0.01)
            assert processes.has_ended(_ended[0])  # it has ended, and nobody has looked at how
    return _ended[0]


_ended: list[str] = []

SECRET = "hunter2hunter2"


@pytest.mark.parametrize("words", ["--traceback why x", "why --traceback x", "why x --traceback"])
@pytest.mark.parametrize("url", ["https://me:{}@host:1/x", "redis://host/0?password={}", "s3://k:{}@b/c d"])
def test_a_traceback_is_whole_and_holds_no_secret(
    words: str, url: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object, **__: object) -> int:
        try:
            raise ValueError(f"cannot reach {url.format(SECRET)}")
        except ValueError as error:
            raise ToolError("the tool does not answer") from error

    monkeypatch.setattr("mlops_glue.commands.status.why", fails)
    with pytest.raises(SystemExit) as ended:
        cli.main(words.split())
    said = capsys.readouterr().err
    assert ended.value.code == 4
    assert "Traceback" in said and "in fails" in said and "ValueError: cannot reach" in said
    assert said.endswith("error: the tool does not answer\n")
    assert SECRET not in said


def test_every_command_takes_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    for name, command in cli.glue.commands.items():
        assert any("--traceback" in option.opts for option in command.params), name
    with pytest.raises(SystemExit) as ended:
        cli.main(["status", "--tracebak"])
    assert ended.value.code == 2
    capsys.readouterr()


def test_the_log_of_a_bug_follows_no_link_and_holds_no_secret(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    (tmp_path / "precious").write_text("theirs")
    (shared / "glue.log").symlink_to(tmp_path / "precious")
    monkeypatch.setattr("tempfile.tempdir", str(shared))
    monkeypatch.chdir(tmp_path)
    problem = KeyError("x")
    problem.__cause__ = ValueError(f"https://me:{SECRET}@host/")
    for folder in (shared, tmp_path / ".glue"):
        if folder != shared:
            folder.mkdir()
            (folder / "glue.log").symlink_to(tmp_path / "precious")
        assert console.failure(problem) == 3
        said = capsys.readouterr().err
        log = Path(said.partition("report it with ")[2].strip()).absolute()
        assert log.parent == folder and log.name.startswith("glue-")
        assert "ValueError" in log.read_text() and SECRET not in log.read_text()
        assert stat.S_IMODE(log.stat().st_mode) == 0o600 and not log.is_symlink()
    assert (tmp_path / "precious").read_text() == "theirs"
    assert (shared / "glue.log").is_symlink()


@pytest.mark.parametrize(
    "cause",
    [
        MemoryError(),
        ImportError("libopenblas.so: failed to map segment from shared object"),
        OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)),
        RuntimeError("can't start new thread"),
    ],
)
@pytest.mark.parametrize("depth", [0, 1, 2])
def test_too_little_memory_is_told_as_such(cause: Exception, depth: int, capsys: pytest.CaptureFixture[str]) -> None:
    error: Exception = cause
    for at in range(depth):
        outer = GlueError("stage train: ImportError") if at else ImportError("numpy cannot be imported")
        outer.__cause__ = error
        error = outer
    assert console.failure(error) == 4
    said = capsys.readouterr().err.splitlines()
    assert said[0].startswith("error: there is not enough memory") and len(said) == 2
    assert "ulimit -v" in said[1]


def test_other_errors_are_none_of_memory() -> None:
    for error in (ImportError("No module named 'x'"), ValueError("memory"), OSError(errno.ENOENT, "no such file")):
        assert errors.memory_error(error) is None
    error = KeyError()
    error.__context__ = error  # no loop without end
    assert list(errors.causes(error)) == [error]


WRITING = [
    "copy (select 42) to '{}/written.csv'",
    "copy t to '{}/written.parquet' (format parquet)",
    "export database '{}/written'",
    "attach '{}/written.db' as w; create table w.t as select 1; select 1",
    "set enable_external_access = true; copy (select 42) to '{}/written.csv'",
    "insert into t values (2)",
    "create table written as select 1",
    "select * from read_csv('{}/other.csv')",
    "select content from read_text('{}/other.csv')",
]


@pytest.mark.parametrize("query", WRITING)
def test_a_query_of_duckdb_writes_nothing_and_reads_nothing_else(query: str, tmp_path: Path) -> None:
    import duckdb

    from mlops_glue.adapters import sql

    (tmp_path / "other.csv").write_text("a\n1\n")
    with duckdb.connect(str(tmp_path / "labels.db")) as made:
        made.execute("create table t as select i from range(5000) r(i)")
    before = tree(tmp_path, times=True)
    with pytest.raises(ToolError):
        sql.query("duckdb:///labels.db", query.format(tmp_path), tmp_path)
    assert tree(tmp_path, times=True) == before
    assert sql.query("duckdb:///labels.db", "select * from t order by i desc", tmp_path)["i"][0].as_py() == 4999
    assert tree(tmp_path, times=True) == before
