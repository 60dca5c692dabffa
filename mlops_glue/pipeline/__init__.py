"""The pure stages, in reading order: ingest, validate, featurize, split, train, evaluate, package.

To add one, see `stages`: a function in a module of its name, and an entry with its deps, params and outs; its files
are named in `layout`. `dvc_yaml` writes the entry; a `dvc.lock` that lacks it is a first run of that stage alone.
`FORMAT` in `stages` is raised where an output of a stage changes. A release changes `__version__`, and by that
`up_to_date` asks DVC once; while you develop, `rm .glue/unchanged.json` does.

How a run reports: `adapters.dvc.reproduce` calls an event as each stage begins and ends; `session.Recorder` keeps it
for `last_run.json` and passes it on; `commands.run` passes `console.stage`, which alone prints (a spinner on a
terminal until the line is there; the line alone elsewhere; under GitHub Actions `delivery.run` puts those of DVC's
stages into one fold). What follows the pipeline reports by `session.staged`.

What decides: the kind of a column in `profile` and `featurize`; the rows of the holdout in `split`; ONNX or skops in
`package`; whether anything is to be done in `up_to_date` (asked by a run without options alone); which older rows a
retraining keeps in `older_rows`.
"""
