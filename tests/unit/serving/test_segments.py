"""Segments of the prediction log: who may read one, and what of it is believed."""

from __future__ import annotations

import io
from pathlib import Path

import msgspec

from mlops_glue.serving.segments import FORMAT, HEAD, About, Segment, frames, locked, waiting

ABOUT = About(FORMAT, "m", 1, "f", [], ["a", "b"])


def written(spool: Path, records: int) -> Path:
    segment = Segment(spool, ABOUT)
    for number in range(records):
        segment.write([(f"id{number}", 0.0, None, "champion", True, [[]], ["a"], None)])
    segment.close()
    (path,) = waiting(spool)
    return path


def test_a_segment_has_one_reader(tmp_path: Path) -> None:
    segment = Segment(tmp_path, ABOUT)
    with locked(segment.path) as stream:
        assert stream is None  # it is being written
    segment.close()
    (path,) = waiting(tmp_path)
    with locked(path) as first:
        assert first is not None
        with locked(path) as second:
            assert second is None
    with locked(path) as again:
        assert again is not None
    with locked(path) as first:
        path.unlink()  # it was shipped
        with locked(path) as none:
            assert none is None


def test_a_frame_with_a_flipped_bit_is_not_believed(tmp_path: Path) -> None:
    """Any bit of any byte, its length as it was: what is before it is read, nothing from it on."""
    sound = written(tmp_path, 3).read_bytes()
    whole = list(frames(io.BytesIO(sound)))
    assert len(whole) == 4 and msgspec.msgpack.decode(whole[0], type=About) == ABOUT
    starts, at = [], 0
    for one in whole:
        starts.append(at)
        at += HEAD.size + len(one)
    assert at == len(sound)
    for place in range(len(sound)):
        torn = bytearray(sound)
        torn[place] ^= 1 << place % 8
        stream = io.BytesIO(bytes(torn))
        read = list(frames(stream))
        frame = max(n for n, start in enumerate(starts) if start <= place)
        assert read == whole[:frame], place
        assert stream.tell() == starts[frame]  # where the rest begins
    assert list(frames(io.BytesIO(sound + bytes(4096)))) == whole  # after a power failure a file may end in zeros
    for end in range(len(sound)):  # and of one that was cut off
        got = list(frames(io.BytesIO(sound[:end])))
        assert (
            got == whole[: sum(start + HEAD.size + len(one) <= end for start, one in zip(starts, whole, strict=True))]
        )
