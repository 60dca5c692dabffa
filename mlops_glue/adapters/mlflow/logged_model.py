"""The logged model in MLflow: scikit-learn's flavor for encoded rows, pyfunc for raw rows, and ONNX."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_glue import files
from mlops_glue.adapters.mlflow.errors import translate_errors

if TYPE_CHECKING:
    import pandas as pd

PROVIDERS = ["CPUExecutionProvider"]


@dataclass(frozen=True)
class ModelFiles:
    """The parts of a logged model: `mlflow.sklearn` loads the estimator, `mlflow.pyfunc` the bundle."""

    estimator: Any
    trusted: list[str]  # types that skops may load
    bundle: Path
    code: Path  # a folder with the code that loads the bundle
    loader: str  # the module in that folder that loads it
    requirements: list[str]  # pip requirements
    modules: dict[str, str] = field(default_factory=dict)  # source of the project's modules, by name


class RawRowsFlavor:
    """`mlflow.sklearn` with a `python_function` that takes raw rows; `Model.log` calls it to write a model."""

    __name__ = "mlflow.sklearn"

    def __init__(self, bundle: Path, code: Path, loader: str, modules: dict[str, str] | None = None) -> None:
        self._bundle, self._code, self._loader, self._modules = bundle, code, loader, modules or {}

    def save_model(self, path: str, mlflow_model: Any, *, validate_serving_input: bool = False, **options: Any) -> None:
        """Write the model; called by `Model.log`, which uses `validate_serving_input` itself."""
        import mlflow

        mlflow.sklearn.save_model(path=path, mlflow_model=mlflow_model, **options)
        for file in ("schema.json", "model.onnx", "trust.json"):  # mlflow.sklearn has written the skops file
            if (self._bundle / file).is_file():
                shutil.copy(self._bundle / file, path)
        shutil.copytree(self._code, Path(path) / "code")
        for module, text in self._modules.items():  # `mlflow.sklearn` imports them from this folder
            part = Path(path) / "code" / Path(*module.split("."))
            is_package = any(name.startswith(f"{module}.") for name in self._modules)
            files.write_text(part / "__init__.py" if is_package else part.with_suffix(".py"), text)
        if self._modules:
            mlflow_model.flavors["sklearn"]["code"] = "code"
        flavor = mlflow_model.flavors["python_function"]
        flavor |= {"loader_module": self._loader, "code": "code"}
        for key in ("model_path", "predict_fn"):  # entries of scikit-learn's flavor
            flavor.pop(key, None)
        if (self._bundle / "model.onnx").is_file():  # so that `mlflow.onnx.load_model` works
            version = metadata.version("onnx")
            mlflow_model.add_flavor("onnx", onnx_version=version, data="model.onnx", providers=PROVIDERS)
        mlflow_model.save(str(Path(path) / "MLmodel"))


def log_model(run: str, name: str, model: ModelFiles) -> Any:
    """Log a model to a run and return its `ModelInfo`."""
    import pandas as pd
    from mlflow.models import Model

    return Model.log(
        artifact_path=None,
        name=name,
        run_id=run,
        flavor=RawRowsFlavor(model.bundle, model.code, model.loader, model.modules),
        sk_model=model.estimator,
        signature=signature_of(files.read_json(model.bundle / "signature.json")),
        input_example=pd.DataFrame(files.read_json(model.bundle / "input_example.json")),
        validate_serving_input=False,
        pip_requirements=model.requirements,
        serialization_format="skops",
        skops_trusted_types=model.trusted,
    )


def signature_of(columns: dict[str, list[dict[str, Any]]]) -> Any:
    """Build MLflow's signature from `inputs` and `outputs`: name, required and, for outputs, the type.

    Inputs have no type, because the encoding accepts 3 for 3.0 and "yes" for true.
    """
    from mlflow.models import ModelSignature
    from mlflow.types.schema import AnyType, ColSpec, Schema

    inputs = [ColSpec(AnyType(), column["name"], required=column["required"]) for column in columns["inputs"]]
    outputs = [ColSpec(column["type"], column["name"], required=column["required"]) for column in columns["outputs"]]
    return ModelSignature(Schema(inputs), Schema(outputs))


def load_sklearn(folder: Path) -> Any:
    """Load a model with MLflow's own loader. It runs any code in the model, so a person must trust it."""
    import mlflow

    with translate_errors():
        return mlflow.sklearn.load_model(str(folder))


def example_rows(folder: Path) -> pd.DataFrame | None:
    """Return the input example of a logged model; None if it has none."""
    import pandas as pd
    from mlflow.models import Model

    with translate_errors():
        rows = Model.load(str(folder)).load_input_example(str(folder))
    if rows is None or isinstance(rows, pd.DataFrame):
        return rows
    return pd.DataFrame(rows).rename(columns=lambda position: f"x{position}")
