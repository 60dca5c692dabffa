"""What is looked for, as tables: a signal is a thing that a repository does, and here is how each is seen."""

from __future__ import annotations

# Calls by the library that they are of. `name(keyword)` counts only where the keyword is given.
CALLS: dict[str, dict[str, str]] = {
    "training": {
        "sklearn xgboost lightgbm catboost keras tensorflow statsmodels imblearn tabpfn pycaret": "fit fit_predict",
        "xgboost lightgbm ray transformers": "train",
        "pytorch_lightning lightning": "fit",
        "torch": "backward",
        "pyspark": "fit",
    },
    "tracked": {
        "mlflow": "start_run log_metric log_metrics log_param log_params autolog evaluate",
        "wandb": "init log",
        "neptune": "init_run",
        "clearml": "init",
        "comet_ml": "Experiment start",
        "dvclive": "Live log_metric",
        "aim": "Run",
        "tensorboard tensorboardX torch": "SummaryWriter",
        "azureml": "log",
    },
    "parameters_logged": {
        "mlflow": "log_param log_params autolog log_input",
        "wandb": "init(config)",
        "dvclive": "log_param log_params",
        "clearml": "connect",
        "comet_ml": "log_parameters",
    },
    "tracking_server": {"mlflow": "set_tracking_uri", "wandb": "init", "neptune": "init_run", "clearml": "init"},
    "data_logged": {"mlflow": "log_input", "wandb": "use_artifact", "dvc": "get_url open read"},
    "registered": {
        "mlflow": "register_model create_model_version create_registered_model log_model(registered_model_name)",
        "wandb": "link_artifact link_model",
        "azureml": "register",
        "azure": "create_or_update register",
        "sagemaker": "ModelPackage RegisterModel register",
        "google": "upload",
        "bentoml": "save_model",
        "hsfs hopsworks": "create_model",
    },
    "promoted": {"mlflow": "set_registered_model_alias transition_model_version_stage"},
    "saved": {"joblib pickle cloudpickle dill": "dump", "torch": "save", "keras": "save", "skops": "dump"},
    "one_preprocessing": {"sklearn": "Pipeline make_pipeline ColumnTransformer make_column_transformer"},
    "feature_store": {
        "feast": "FeatureView BatchFeatureView OnDemandFeatureView StreamFeatureView FeatureService",
        "tecton": "batch_feature_view stream_feature_view FeatureService",
        "hsfs hopsworks": "get_or_create_feature_group create_feature_group",
        "databricks": "FeatureEngineeringClient FeatureStoreClient",
    },
    "features_served": {
        "feast": "get_online_features materialize materialize_incremental write_to_online_store",
        "hsfs hopsworks": "get_feature_vector get_feature_vectors",
    },
    "expectations": {
        "great_expectations gx": (
            "ExpectationSuite validate run_checkpoint Checkpoint ValidationDefinition from_pandas get_validator"
        ),
        "pandera": "DataFrameSchema check_types check_input DataFrameModel SchemaModel validate",
        "tensorflow_data_validation": "validate_statistics infer_schema",
        "deepchecks": "run",
        "soda": "execute add_sodacl_yaml_files",
        "pydeequ": "addCheck",
        "frictionless": "validate",
        "pointblank": "Validate",
        "whylogs": "ConstraintsBuilder",
        "evidently": "DataStabilityTestPreset DataQualityTestPreset",
    },
    "holdout": {"sklearn": "train_test_split cross_val_score cross_validate KFold StratifiedKFold TimeSeriesSplit"},
    "measured": {
        "sklearn": (
            "roc_auc_score accuracy_score f1_score log_loss precision_score recall_score r2_score mean_squared_error "
            "mean_absolute_error root_mean_squared_error average_precision_score classification_report "
            "confusion_matrix balanced_accuracy_score cross_val_score cross_validate"
        ),
        "torchmetrics": "compute",
        "mlflow": "evaluate",
        "evaluate": "compute",
    },
    "gate": {"mlflow": "validate_evaluation_results evaluate(validation_thresholds)"},
    "slices": {
        "fairlearn": "MetricFrame",
        "evidently": "ColumnSummaryMetric",
        "tensorflow_model_analysis": "SlicingSpec",
    },
    "inclusion": {
        "fairlearn": "MetricFrame demographic_parity_difference equalized_odds_difference",
        "aif360": "BinaryLabelDatasetMetric ClassificationMetric",
    },
    "tuned": {
        "sklearn": "GridSearchCV RandomizedSearchCV HalvingGridSearchCV HalvingRandomSearchCV",
        "optuna": "create_study optimize",
        "hyperopt": "fmin",
        "ray": "Tuner",
        "skopt": "BayesSearchCV gp_minimize",
        "wandb": "sweep agent",
        "keras_tuner": "search",
    },
    "baseline": {"sklearn": "DummyClassifier DummyRegressor"},
    "importances": {"sklearn": "permutation_importance", "shap": "Explainer TreeExplainer KernelExplainer"},
    "endpoint": {
        "fastapi flask litestar starlette sanic quart": "FastAPI Flask Litestar Starlette Sanic Quart",
        "bentoml": "service Service api",
        "litserve": "LitServer",
        "ray": "deployment ingress",
        "kserve": "ModelServer",
        "seldon_core": "SeldonComponent",
        "sagemaker": "deploy",
        "streamlit gradio": "Interface Blocks title",
    },
    "service_metrics": {
        "prometheus_client": "Counter Histogram Gauge Summary start_http_server make_asgi_app generate_latest",
        "prometheus_fastapi_instrumentator": "Instrumentator instrument",
        "opentelemetry": "get_meter get_tracer",
        "statsd datadog": "increment timing initialize StatsClient",
    },
    "drift": {
        "evidently": "Report TestSuite DataDriftPreset DataDriftTestPreset",
        "nannyml": "UnivariateDriftCalculator DataReconstructionDriftCalculator MultivariateDriftCalculator",
        "alibi_detect": "KSDrift MMDDrift TabularDrift ChiSquareDrift ClassifierDrift",
        "whylogs": "log profile_drift",
        "sagemaker": "DefaultModelMonitor",
        "river": "ADWIN KSWIN",
    },
    "performance_watched": {
        "nannyml": "CBPE DLE PerformanceCalculator",
        "evidently": "ClassificationPreset RegressionPreset ClassificationTestPreset RegressionTestPreset",
    },
    "pipeline": {
        "airflow": "DAG dag",
        "prefect": "flow",
        "dagster": "asset job graph",
        "kfp": "pipeline",
        "zenml": "pipeline",
        "metaflow": "FlowSpec",
        "luigi": "Task",
        "flytekit": "workflow",
        "sagemaker": "Pipeline",
        "tfx": "Pipeline",
        "azure": "pipeline",
        "kedro": "node pipeline Pipeline",
        "ploomber": "DAG",
        "hamilton": "Driver Builder",
    },
    "scheduled": {
        "airflow": "DAG(schedule) DAG(schedule_interval) dag(schedule) dag(schedule_interval)",
        "prefect": "serve(cron) serve(interval) deploy(cron) deploy(interval)",
        "dagster": "ScheduleDefinition schedule sensor",
        "metaflow": "schedule",
        "kfp": "create_recurring_run",
        "apscheduler": "add_job",
    },
    "benchmarked": {"locust": "HttpUser task", "pytest_benchmark": "benchmark"},
}
# Where these are defined, a call's last name says enough only if the file imports the library itself.
GENERIC = {"train", "run", "log", "init", "compute", "open", "read", "save", "upload", "register", "deploy"}

# Commands by their first words.
COMMANDS: dict[str, tuple[str, ...]] = {
    "tests": ("pytest", "py.test", "unittest", "tox", "nox", "nosetests"),
    "lint": ("ruff", "flake8", "pylint", "mypy", "black", "pre-commit"),
    "pipeline": (
        *("dvc repro", "dvc exp run", "glue run", "mlflow run", "kedro run", "snakemake", "zenml pipeline run"),
        *("prefect deployment run", "airflow dags trigger", "flyte run", "pyflyte run", "az ml job create"),
    ),
    "data_pull": ("dvc pull", "dvc fetch", "git lfs pull"),
    "expectations": ("great_expectations checkpoint run", "soda scan", "gx checkpoint run", "dbt test"),
    "monitoring": ("glue monitor",),
    "promoted": ("glue promote",),
    "rollback": ("glue rollback", "kubectl rollout undo", "helm rollback"),
    "endpoint": (
        *(
            "mlflow models serve",
            "glue serve",
            "bentoml serve",
            "tritonserver",
            "tensorflow_model_server",
            "torchserve",
        ),
        *("fastapi run", "seldon-core-microservice"),
    ),
    "deploy": (
        *("docker push", "podman push", "buildah push", "kubectl apply", "kubectl set image", "helm upgrade"),
        *(
            "helm install",
            "gcloud run deploy",
            "gcloud app deploy",
            "gcloud ai endpoints",
            "az webapp",
            "az containerapp",
        ),
        *("az ml online-deployment", "az ml online-endpoint", "aws ecs update-service", "aws sagemaker", "sam deploy"),
        *("aws lambda update-function-code", "serverless deploy", "sls deploy", "fly deploy", "flyctl deploy"),
        *("heroku container:release", "bentoml deploy", "mlflow deployments create", "mlflow sagemaker", "cdk deploy"),
        *("terraform apply", "ansible-playbook", "modal deploy", "databricks bundle deploy"),
    ),
    "features_served": ("feast materialize", "feast materialize-incremental", "glue materialize"),
    "feature_store": ("feast apply",),
}
# Steps of GitHub's that do the same, by the name of the action.
ACTIONS: dict[str, tuple[str, ...]] = {
    "deploy": (
        *("aws-actions/amazon-ecs-deploy-task-definition", "google-github-actions/deploy-cloudrun", "azure/k8s-deploy"),
        *("azure/webapps-deploy", "azure/container-apps-deploy-action", "superfly/flyctl-actions"),
        *("akhileshns/heroku-deploy", "google-github-actions/deploy-appengine"),
    ),
    "report": ("iterative/setup-cml",),
}
# Files that say it by being there, by their name anywhere (or, with a slash, their place from the top).
NAMES: dict[str, tuple[str, ...]] = {
    "pinned": (
        *("poetry.lock", "uv.lock", "Pipfile.lock", "pdm.lock", "pixi.lock", "conda-lock.yml", "conda-lock.yaml"),
        *("requirements.lock", "renv.lock", "pylock.toml"),
    ),
    "python_version": (".python-version", "runtime.txt", ".tool-versions"),
    "owners": ("CODEOWNERS", ".github/CODEOWNERS", "docs/CODEOWNERS"),
    "review_template": (".github/pull_request_template.md", ".github/PULL_REQUEST_TEMPLATE.md"),
    "dependency_updates": (".github/dependabot.yml", ".github/dependabot.yaml", "renovate.json", ".renovaterc.json"),
    "pipeline": ("Snakefile",),
    "ignored": (".gitignore",),
    "written_commands": ("Makefile", "justfile", "noxfile.py", "tox.ini"),
}
# Sections of glue.yaml, and what they turn on.
GLUE: dict[str, tuple[str, ...]] = {
    "train": (
        *("training", "one_preprocessing", "pipeline", "tracked", "parameters_logged", "data_logged", "registered"),
        *(
            "promoted",
            "holdout",
            "measured",
            "baseline",
            "importances",
            "seeded",
            "rollback",
            "stage:training",
        ),
    ),
    "validation": ("expectations", "stage:expectations"),
    "features.use": ("feature_store", "features_served", "skew"),
    "features.exclude": ("excluded",),
    "evaluate.thresholds": ("gate", "stage:gate"),
    "evaluate.slices": ("slices", "stage:slices"),
    "tracking.uri": ("tracking_server",),
    "data.remote": ("data_remote",),
    "serve": ("endpoint", "health", "service_metrics", "inputs_checked"),
    "serve.canary": ("canary",),
    "serve.shadow": ("canary",),
    "monitor": ("drift", "inputs_checked"),
    "monitor.performance": ("performance_watched",),
    "monitor.on_alert": ("alert",),
}
