"""DVC, MLflow, Feast, Great Expectations, Evidently and FastAPI behind one config file and one pipeline runner."""

__version__ = "0.1.0"
