"""Feast: stores of our own behind its extension points (by import path in `feature_store.yaml`). Imports nothing.

`stores` decides, without Feast, which stores a repository has: `offline_store` the default offline store and what
depends on it, `Stores.embedded` and `Stores.redis` how online features can be read without Feast. `repository` is all
that needs Feast: the definitions, the join (`offline`), filling the online store (`online`). `online_file` is the
embedded store's file and `redis` Redis, as a server reads them.
"""
