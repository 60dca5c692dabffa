"""Feast: stores of our own behind its extension points (by import path in `feature_store.yaml`). Imports nothing."""
