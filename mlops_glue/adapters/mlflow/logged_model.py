"""A model as MLflow keeps it: scikit-learn's flavor for encoded rows, pyfunc for raw ones, and ONNX."""

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
    """What a logged model is made of: `mlflow.sklearn` loads the estimator, `mlflow.pyfunc` the bundle."""

    estimator: Any
    trusted: list[str]  # types that skops may load
    bundle: Path
    code: Path  # a folder with the code that loads the bundle
    loader: str  # the module in it that does
    requirements: list[str]  # of pip
    modules: dict[str, str] = field(default_factory=dict)  # the project's own that the estimator needs: text by name


class RawRowsFlavor:
    """`mlflow.sklearn` with a `python_function` that takes raw rows; `Model.log` calls it to write a model."""

    __name__ = "mlflow.sklearn"

    def __init__(self, bundle: Path, code: Path, loader: str, modules: dict[str, str] | None = None) -> None:
        self._bundle, self._code, self._loader, self._modules = bundle, code, loader, modules or {}

    def save_model(self, path: str, mlflow_model: Any, *, validate_serving_input: bool = False, **options: Any) -> None:
        """Write the model; `Model.log` calls this, and means the flag for itself."""
        import mlflow

        mlflow.sklearn.save_model(path=path, mlflow_model=mlflow_model, **options)
        for file in ("schema.json", "model.onnx", "trust.json"):  # a model in skops form was written by mlflow.sklearn
            if (self._bundle / file).is_file():
                shutil.copy(self._bundle / file, path)
        shutil.copytree(self._code, Path(path) / "code")
        for module, text in self._modules.items():  # `mlflow.sklearn` imports them from there
            part = Path(path) / "code" / Path(*module.split("."))
            is_package = any(name.startswith(f"{module}.") for name in self._modules)
            files.write_text(part / "__init__.py" if is_package else part.with_suffix(".py"), text)
        if self._modules:
            mlflow_model.flavors["sklearn"]["code"] = "code"
        flavor = mlflow_model.flavors["python_function"]
        flavor |= {"loader_module": self._loader, "code": "code"}
        for key in ("model_path", "predict_fn"):  # scikit-learn's
            flavor.pop(key, None)
        if (self._bundle / "model.onnx").is_file():  # so that `mlflow.onnx.load_model` works
            version = metadata.version("onnx")
            mlflow_model.add_flavor("onnx", onnx_version=version, data="model.onnx", providers=PROVIDERS)
        mlflow_model.save(str(Path(path) / "MLmodel"))


def log_model(run: str, name: str, model: ModelFiles) -> Any:
    """Log a model to a run; MLflow's `ModelInfo` of it."""
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
    """MLflow's signature of `inputs` and `outputs`: name, required and, for outputs, type of each.

    An input may have any type: the encoding takes 3 for 3.0 and "yes" for true.
    """
    from mlflow.models import ModelSignature
    from mlflow.types.schema import AnyType, ColSpec, Schema

    inputs = [ColSpec(AnyType(), column["name"], required=column["required"]) for column in columns["inputs"]]
    outputs = [ColSpec(column["type"], column["name"], required=column["required"]) for column in columns["outputs"]]
    return ModelSignature(Schema(inputs), Schema(outputs))


def load_sklearn(folder: Path) -> Any:
    """Load a model by MLflow's own loader, which runs any code in it: only for what a person trusts."""
    import mlflow

    with translate_errors():
        return mlflow.sklearn.load_model(str(folder))


def example_rows(folder: Path) -> pd.DataFrame | None:
    """The input example of a logged model; None if it has none."""
    import pandas as pd
    from mlflow.models import Model

    with translate_errors():
        rows = Model.load(str(folder)).load_input_example(str(folder))
    if rows is None or isinstance(rows, pd.DataFrame):
        return rows
    return pd.DataFrame(rows).rename(columns=lambda position: f"x{position}")
