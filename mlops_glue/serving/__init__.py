"""The request path: what a worker runs. It imports neither pandas, scikit-learn nor MLflow."""
