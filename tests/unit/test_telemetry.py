"""Every library's own reporting home is switched off, in one place, unless the user has set the switch."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from mlops_glue import telemetry


def test_the_switches(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in telemetry.OFF:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GX_ANALYTICS_ENABLED", "true")  # the user's
    telemetry.off()
    assert {name: os.environ[name] for name in telemetry.OFF} == telemetry.OFF | {"GX_ANALYTICS_ENABLED": "true"}
    assert {
        "DO_NOT_TRACK": "true",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DVC_NO_ANALYTICS": "1",
        "FEAST_USAGE": "False",
        "ORT_DISABLE_TELEMETRY": "1",
    }.items() <= telemetry.OFF.items()


@pytest.mark.parametrize("how", ["from mlops_glue import cli\ncli.main(['--version'])", "SESSION"])
def test_they_are_set_before_a_tool_is_imported(how: str) -> None:
    """By the command line, and by whoever imports onnxruntime for a session: it reads its own when it is imported."""
    if how == "SESSION":
        how = "from mlops_glue.adapters import onnx\ntry:\n    onnx.session(b'')\nexcept Exception:\n    pass"
    code = (
        "import atexit, os, sys\n"
        "class Seen:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 'onnxruntime':\n"
        "            assert os.environ['ORT_DISABLE_TELEMETRY'] == '1'\n"
        "sys.meta_path.insert(0, Seen())\n"
        "atexit.register(lambda: print(sorted(n for n in os.environ if n in ('DO_NOT_TRACK', 'DVC_NO_ANALYTICS'))))\n"
        f"{how}"
    )
    env = {name: value for name, value in os.environ.items() if name not in telemetry.OFF}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "['DO_NOT_TRACK', 'DVC_NO_ANALYTICS']"
