"""Feast, with glue's own stores behind its extension points (named by import path in `feature_store.yaml`).

This package imports nothing. `stores` decides without Feast which stores a repository has: `offline_store` chooses the
default offline store, `Stores.embedded` and `Stores.redis` how online features can be read without Feast. `repository`
contains everything that needs Feast: the definitions, the join (`offline`) and filling the online store (`online`).
`online_file` is the embedded store's file, and `redis` reads Redis; a server uses both.
"""
