"""The Python API, for notebooks and scripts: it calls what the commands call, and shows what they print.

* `project.py`: a project: run, status, versions, compare, monitor, lineage.
* `model.py`: a version of its model: predictions, probabilities, explanations.
* `answer.py`: what such a call returns: the record that `--json` prints, shown as the command shows it.
"""
