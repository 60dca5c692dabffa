"""One tool, one room; and the command line answers without any."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "mlops_glue"
ROOMS = {
    "dvc": {"adapters/dvc/"},
    "networkx": {"adapters/dvc/"},
    "mlflow": {"adapters/mlflow/"},
    "great_expectations": {"adapters/great_expectations/"},
    "onnxruntime": {"adapters/onnx.py"},
    "skl2onnx": {"adapters/skl2onnx/"},
    "onnx": {"adapters/skl2onnx/converters.py", "adapters/onnx_graph.py"},
    "tensorflow": {"adapters/tf2onnx.py"},
    "tf2onnx": {"adapters/tf2onnx.py"},
    "onnxmltools": {"adapters/skl2onnx/converters.py"},
    "xgboost": {"adapters/skl2onnx/converters.py", "adapters/xgboost.py"},
    "lightgbm": {"adapters/skl2onnx/converters.py", "adapters/lightgbm.py"},
    "catboost": {"adapters/skl2onnx/converters.py"},
    "skops": {"adapters/skops.py"},
    "evidently": {"adapters/evidently.py"},
    "matplotlib": {"adapters/matplotlib.py"},
    "feast": {
        f"adapters/feast/{name}.py"
        for name in ("definitions", "offline", "online", "parquet_source", "registry", "repository")
    },
    "typeguard": {"adapters/feast/type_checks.py"},
    "duckdb": {"adapters/feast/offline.py", "adapters/great_expectations/dialect.py", "adapters/sql.py"},
    "psycopg": {"adapters/sql.py"},
    "optuna": {"adapters/optuna.py"},
    "sqlalchemy": {"adapters/great_expectations/dialect.py", "adapters/mlflow/database.py", "adapters/optuna.py"},
    "ray": {"adapters/ray.py"},
    "cryptography": {"adapters/signing.py"},
    "apprise": {"adapters/apprise.py"},
    "requests": {"adapters/webhook.py", "adapters/openlineage.py", "adapters/github.py", "adapters/mlflow/errors.py"},
    "sklearn": {
        "adapters/skl2onnx/",
        "pipeline/class_kind.py",
        "pipeline/curves.py",
        "pipeline/fitting.py",
        "pipeline/free_text.py",
        "pipeline/inner_folds.py",
        "pipeline/weight_routing.py",
        "pipeline/log_target.py",
        "pipeline/split.py",
        "pipeline/preprocess.py",
        "pipeline/train.py",
    },
    "fastapi": {"serving/app.py"},
    "uvicorn": {"serving/http_server.py", "report/ui.py"},
    "prometheus_client": {"serving/metrics.py"},
    "starlette": {"report/ui.py"},
    "jinja2": {"files.py"},
    "fsspec": {"adapters/fsspec.py"},
    "click": {f"cli/{name}.py" for name in ("entry", "options", "start", "work", "deliver", "trust", "watch")},
    "rich": {"console.py"},
}


def test_each_tool_is_imported_in_its_room_only() -> None:
    for file in PACKAGE.rglob("*.py"):
        name = file.relative_to(PACKAGE).as_posix()
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                modules = [a.name for a in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                modules = [node.module or ""]
            else:
                continue
            for module in modules:
                rooms = ROOMS.get(module.split(".")[0])
                assert rooms is None or name.startswith(tuple(rooms)), f"{name} imports {module}"


def test_help_imports_no_tool() -> None:
    code = (
        "import sys\nfrom mlops_glue.cli import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\nprint(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {m.split(".")[0] for m in done.stdout.splitlines()[-1].split()}
    heavy = {
        "dvc",
        "mlflow",
        "great_expectations",
        "sklearn",
        "pandas",
        "numpy",
        "pyarrow",
        "onnxruntime",
        "feast",
        "duckdb",
        "pydantic",
        "rich",
    }
    assert loaded & heavy == set()
