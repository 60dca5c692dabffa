"""The request path: what a worker runs. It imports neither pandas, scikit-learn nor MLflow.

The way of a row, in order: `http_server` (uvicorn) -> `worker` (a request) -> `predict` (method, key, type, size) ->
`bodies` (reads it) -> `contract` (decodes it by the model's fields; `diagnose` says what is wrong) -> `lookup` (online
features) -> `batch` (encodes and scores the requests of one turn of the loop) -> `prediction_log` (omits and hashes)
-> `segments` (one frame with its CRC, written before the answer is sent) -> `ship`, a process beside the workers, with
`log_table` (segments nobody holds become `date=…/….parquet`, then go). `app` has every other page.

The way of a model: `launch` starts `supervisor`, which starts the workers, `ship` and `follow`; `follow` asks the
registry, fetches, checks and tries a version, and notes it; `slots` in each worker sees the note, loads the version
beside the old one in a thread, and takes it with one assignment. A request ends with the model that it began with.

Online features: `feature_stores.lookup_of` chooses where the model is fetched, `lookup.Lookup` makes it: glue's own
SQLite file, where that is the store and no view is on demand; Redis read without Feast, where it is one plain server
(no cluster, sentinel or TLS), its registry is not versioned, its keys are of version 3 and those of every view are
plain integers or text; else Feast.
"""
