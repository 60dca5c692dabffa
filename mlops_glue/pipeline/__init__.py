"""The pure stages, in reading order: ingest, validate, featurize, split, train, evaluate, package."""
