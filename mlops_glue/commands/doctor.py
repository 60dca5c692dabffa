"""`glue doctor`: check the installation and the project."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from mlops_glue import console, layout
from mlops_glue.errors import UsageError
from mlops_glue.report.finding import Finding
from mlops_glue.report.health import of_installation, of_project


def doctor(*, as_json: bool = False, env: str | None = None) -> int:
    """Check the tools, then the project at or above the working folder, if any. Return 1 if there is a problem."""
    try:
        root: Path | None = layout.find_root()
    except UsageError:
        root = None
    has_features = root is not None and (root / layout.FEATURE_LIST).is_file()
    findings = list(of_installation(("pipeline", "validation", *(["features"] if has_features else []))))
    if root is None:
        findings.append(Finding("note", "no project here: only the installation was checked", "glue init"))
    else:
        findings += of_project(root, env)
    is_sound = all(finding.level != "problem" for finding in findings)
    if as_json:
        console.result_json({"sound": is_sound, "findings": [asdict(finding) for finding in findings]})
    else:
        for finding in findings:
            console.result(f"{finding.level:<8} {finding.what}")
            if finding.fix:
                console.result(f"         {finding.fix}")
        verdict = "No problems found" if is_sound else "Problems found"
        console.result(verdict, good="No problems found", bad="Problems found")
    return 0 if is_sound else 1
