"""The pure stages, in reading order: ingest, validate, featurize, split, train, evaluate, package.

To add a stage, see `stages`: it needs a function in a module of the same name, and an entry with its deps, params and
outs; `layout` names its files. `dvc_yaml` writes the entry. If `dvc.lock` lacks it, only that stage runs. Raise
`FORMAT` in `stages` if an output of a stage changes. A release changes `__version__`, so that `up_to_date` asks DVC
once; during development, `rm .glue/unchanged.json` has the same effect.

How a run reports: `adapters.dvc.reproduce` sends an event when a stage starts and ends; `session.Recorder` keeps it
for `last_run.json` and passes it on; `commands.run` passes `console.stage`, the only function that prints (on a
terminal a spinner, then the line; elsewhere only the line; under GitHub Actions `delivery.run` folds the lines of
DVC's stages into one group). The steps after the pipeline report through `session.staged`.

Where decisions are made: the kind of a column in `profile` and `featurize`; the rows of the holdout in `split`; ONNX or
skops in `package`; whether there is anything to do in `up_to_date` (only for a run without options); which older rows
a retraining keeps in `older_rows`.
"""
