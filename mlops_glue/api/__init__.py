"""The Python API, for notebooks and scripts: it calls the same functions as the commands, and shows their output.

* `project.py`: a project: run, status, versions, compare, monitor, lineage.
* `model.py`: a version of the project's model: predictions, probabilities, explanations.
* `answer.py`: the return value of a call: the record that `--json` prints, shown as the command shows it.
"""
