"""The request path: what a worker runs. It imports neither pandas, scikit-learn nor MLflow.

The path of a row: `http_server` (uvicorn) -> `worker` (one request) -> `predict` (checks method, key, type and size)
-> `bodies` (reads the body) -> `contract` (decodes it by the model's fields; `diagnose` lists what is wrong with it) ->
`lookup` (online features) -> `batch` (encodes and scores all requests of one turn of the event loop) ->
`prediction_log` (omits and hashes columns) -> `segments` (appends one frame with its CRC before the answer is sent) ->
`ship`, a separate process, which with `log_table` turns closed segments into `date=…/….parquet` and then deletes them.
`app` serves every other page.

The path of a model: `launch` starts `supervisor`, which starts the workers, `ship` and `follow`. `follow` polls the
registry, fetches a version, checks it, tries it and writes a note. `slots` in each worker reads the note, loads the
version in a thread while the old one keeps answering, and switches with one assignment. A request finishes with the
model that it started with.

Online features: `feature_stores.lookup_of` chooses the reader when the model is fetched, and `lookup.Lookup` builds it.
It reads glue's own SQLite file if that is the store and no view is on demand. It reads Redis without Feast if every
key is a plain integer or text, the keys have version 3 and the registry is not versioned. Otherwise it reads through
Feast.
"""
