"""All commands and options of `glue`. A command's body is one lazy import and one call."""

from mlops_glue.cli.entry import GROUPS, glue, main

__all__ = ["GROUPS", "glue", "main"]
