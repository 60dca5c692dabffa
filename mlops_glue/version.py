"""The release of this package: a module of its own, so that what records it does not import the Python API."""

__version__ = "0.1.0"
