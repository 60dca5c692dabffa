"""The picture of a pipeline."""

from __future__ import annotations

from xml.etree import ElementTree

from mlops_glue.report.graph import graph

STAGES = {
    "ingest": {"deps": ["data/raw/<t>.csv", "model.py"], "outs": ["artifacts/t"]},
    "split": {"deps": ["artifacts/t"], "outs": ["artifacts/train", "artifacts/test"]},
    "train": {"deps": ["artifacts/train"], "outs": ["artifacts/model"]},
    "evaluate": {"deps": ["artifacts/model", "artifacts/test"], "outs": []},
    "mine": {"deps": ["artifacts/train"], "outs": []},
}


def test_a_stage_is_right_of_what_it_reads() -> None:
    drawn = ElementTree.fromstring(graph(STAGES, {"train": True, "split": False}))
    boxes = {box.findtext("title"): box for box in drawn.iter("g")}
    place = {name: (float(box.find("rect").get("x")), float(box.find("rect").get("y"))) for name, box in boxes.items()}  # type: ignore[union-attr,arg-type]
    assert list(place) == ["data/raw/<t>.csv", *STAGES]  # code is no box
    across = [place[name][0] for name in ("data/raw/<t>.csv", "ingest", "split", "train", "evaluate")]
    assert across == sorted(set(across)) and place["mine"][0] == place["train"][0]
    assert len(set(place.values())) == len(place)  # none hides another
    assert boxes["train"].get("class") == "wrong" and boxes["split"].get("class") == "good"
    assert "evaluate reads train, split" in (drawn.get("aria-label") or "")
    assert len(list(drawn.iter("path"))) == 6


def test_nothing_is_drawn_of_nothing() -> None:
    assert graph({}) == ""
