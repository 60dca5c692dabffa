"""`glue adopt`: repositories that glue did not make; what they have stays as it is."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import palmerpenguins
import pandas as pd
import pytest
from sklearn.datasets import load_breast_cancer, load_diabetes

from mlops_glue import config
from mlops_glue.scaffold import script as scripts
from tests.support.project import BOOM, Glue, contents


def git(folder: Path, *words: str) -> str:
    named = ["git", "-c", "user.name=a", "-c", "user.email=a@b.c", *words]
    return subprocess.run(named, cwd=folder, check=True, capture_output=True, text=True).stdout


def dvc_pipeline(top: Path) -> None:
    """A DVC pipeline with params.yaml, in git."""
    git(top, "init", "-q")
    subprocess.run(["dvc", "init", "-q"], cwd=top, check=True)
    (top / "data").mkdir()
    load_breast_cancer(as_frame=True).frame.to_csv(top / "data" / "raw.csv", index=False)
    (top / "params.yaml").write_text("train:\n  trees: 40\n  depth: 5\n")
    (top / "src").mkdir()
    (top / "src" / "train.py").write_text(
        BOOM
        + "import os\nimport pandas as pd\nimport yaml\nfrom sklearn.ensemble import ExtraTreesClassifier\n"
        + "params = yaml.safe_load(open('params.yaml'))['train']\n"
        + "df = pd.read_csv(os.path.join('data', 'raw.csv'))\n"
        + "target = df.pop('target')\n"
        + "forest = ExtraTreesClassifier(params['trees'], max_depth=params['depth'], n_jobs=unknown())\n"
        + "forest.fit(df, target)\n"
    )
    (top / "dvc.yaml").write_text(
        "stages:\n  train:\n    cmd: python src/train.py\n    deps: [data/raw.csv, src/train.py]\n    params: [train]\n"
    )
    git(top, "add", ".")
    git(top, "commit", "-qm", "first")


def mlflow_project(top: Path) -> None:
    """An MLflow project as its tutorial has them, in git."""
    git(top, "init", "-q")
    load_diabetes(as_frame=True).frame.to_csv(top / "diabetes.csv", index=False)
    (top / "MLproject").write_text(
        "name: diabetes\nentry_points:\n  main:\n    parameters:\n      alpha: {type: float, default: 0.5}\n"
        '    command: "python train.py {alpha}"\n'
    )
    (top / "train.py").write_text(
        BOOM
        + "import sys\nimport mlflow\nimport pandas as pd\nfrom sklearn.linear_model import ElasticNet\n"
        + "alpha = float(sys.argv[1]) if len(sys.argv) > 1 else 0.01\n"
        + "data = pd.read_csv('diabetes.csv')\n"
        + "train_x = data.drop(['target'], axis=1)\ntrain_y = data[['target']]\n"
        + "with mlflow.start_run():\n    lr = ElasticNet(alpha=alpha, l1_ratio=0.4, random_state=42)\n"
        + "    lr.fit(train_x, train_y)\n    mlflow.log_param('alpha', alpha)\n"
    )
    git(top, "add", ".")
    git(top, "commit", "-qm", "first")


def plain_folder(top: Path) -> None:
    """A script that was a notebook, and a table; no git."""
    palmerpenguins.load_penguins().to_csv(top / "penguins.csv", index=False)
    (top / "train.py").write_text(
        BOOM
        + "# In[1]:\nimport pandas as pd\nfrom sklearn.pipeline import make_pipeline\n"
        + "from sklearn.preprocessing import StandardScaler\nfrom sklearn.linear_model import LogisticRegression\n"
        + "PATH = 'penguins.csv'\ndf = pd.read_csv(PATH).dropna()\n# In[2]:\ny = df.species\n"
        + "X = pd.get_dummies(df.drop('species', axis=1))\n"
        + "make_pipeline(StandardScaler(), LogisticRegression(C=2.0, max_iter=500)).fit(X, y)\n"
    )


def test_a_notebook_is_read_where_no_script_trains(tmp_path: Path, glue: Glue) -> None:
    (tmp_path / "notebooks").mkdir()
    palmerpenguins.load_penguins().to_csv(tmp_path / "notebooks/penguins.csv", index=False)
    lines = ["%matplotlib inline\n", "import pandas as pd\n", "from sklearn.linear_model import Ridge\n"]
    lines += ["df = pd.read_csv('penguins.csv')\n", "y = df['body_mass_g']\n", "Ridge(alpha=3).fit(df[['year']], y)"]
    cell = {"cell_type": "code", "metadata": {}, "outputs": [], "source": lines}
    plot = {"output_type": "display_data", "data": {"image/png": "A" * (1 << 20)}}
    odd = [{**cell, "source": text, "outputs": [plot]} for text in ("%%bash\nls |", "!pip install \\\n  x", "exec 'x'")]
    notebook = tmp_path / "notebooks/train.ipynb"
    notebook.write_text(
        json.dumps({"cells": [*odd, cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}, indent=1)
    )
    at = next(n for n, line in enumerate(notebook.read_text().splitlines(), 1) if "Ridge(alpha" in line)
    shown = glue("adopt", "--dry-run", cwd=tmp_path)
    assert f"notebooks/train.ipynb:{at} builds sklearn.linear_model.Ridge" in shown.stderr
    assert "notebooks/train.ipynb: cell 3 cannot be read as Python: left out" in shown.stderr
    for said in ("../notebooks/penguins.csv", "target: body_mass_g", "params: {alpha: 3}"):
        assert said in shown.stdout
    (tmp_path / "train.py").write_text("from sklearn.svm import SVR\nSVR().fit(X, y)\n")
    assert "train.py:2 builds sklearn.svm.SVR" in glue("adopt", "--dry-run", "--target", "year", cwd=tmp_path).stderr


REPOSITORIES = {
    dvc_pipeline: ("target", "sklearn.ensemble.ExtraTreesClassifier", {"max_depth": 5}, "../data/raw.csv"),
    mlflow_project: ("target", "sklearn.linear_model.ElasticNet", {"alpha": 0.01, "l1_ratio": 0.4}, "../diabetes.csv"),
    plain_folder: (
        "species",
        "sklearn.linear_model.LogisticRegression",
        {"C": 2.0, "max_iter": 500},
        "../penguins.csv",
    ),
}


@pytest.mark.usefixtures("quick_path")
@pytest.mark.parametrize("make", REPOSITORIES, ids=lambda make: make.__name__)
def test_a_repository_is_adopted_runs_and_is_left_as_it_was(
    make: object, tmp_path: Path, glue: Glue, empty_store: Path
) -> None:
    top = tmp_path / "churn"
    top.mkdir()
    make(top)  # type: ignore[operator]
    target, estimator, params, path = REPOSITORIES[make]  # type: ignore[index]
    before = contents(top)
    shown = glue("adopt", "--dry-run", cwd=top)
    assert contents(top) == before
    assert f"+  estimator: {estimator}" in shown.stdout
    assert (make is dvc_pipeline) == ("the value of n_jobs is not in the file" in shown.stderr)
    glue("adopt", "--yes", cwd=top)
    made = config.load(top / "glue")
    assert (made.project, made.data.labels.target, made.train.estimator) == ("churn", target, estimator)
    assert (made.train.params, made.source.path) == (params, path)
    assert target not in [*made.features.number, *made.features.category]
    shutil.copy(empty_store, top / "glue")
    assert json.loads(glue("run", "--json", cwd=top / "glue").stdout)["champion"] == 1
    after = contents(top)
    assert {k: v for k, v in after.items() if not k.startswith("glue/")} == before
    if (top / ".git").exists():
        assert {line[3:] for line in git(top, "status", "--porcelain").splitlines()} == {"glue/"}
    if (top / "dvc.yaml").exists():
        assert "glue" not in subprocess.run(["dvc", "stage", "list"], cwd=top, capture_output=True, text=True).stdout
    again = glue("run", cwd=top / "glue")
    assert "executed" not in again.stderr
    shutil.rmtree(top / "glue")
    assert contents(top) == before
    assert not (top / ".git").exists() or git(top, "status", "--porcelain") == ""


def test_a_changed_table_trains_again(tmp_path: Path, glue: Glue) -> None:
    top = tmp_path / "my repository"
    top.mkdir()
    plain_folder(top)
    done = glue("adopt", top.name, "--yes", cwd=tmp_path)
    assert "Next: cd 'my repository/glue' && glue run" in done.stdout
    glue("run", "--until", "ingest", cwd=top / "glue")
    table = pd.read_csv(top / "penguins.csv")
    table.iloc[:-5].to_csv(top / "penguins.csv", index=False)
    assert "penguins.csv" in glue("why", "ingest", cwd=top / "glue").stdout


@pytest.mark.parametrize(
    ("files", "words", "code", "said"),
    [
        ({}, [], 2, "found no table"),
        ({"t.csv": "a,b\n1,2\n"}, [], 2, "which column of t.csv should be predicted?"),
        ({"t.csv": "alpha,beta\n1,2\n"}, ["--target", "betta"], 2, "did you mean 'beta'?"),
        ({"t.csv": "a,b\n1,2\n"}, ["--data", "u.csv", "--target", "b"], 2, "no such file"),
        ({"glue.yaml": "", "t.csv": "a,b\n1,2\n"}, [], 2, "already exists"),
        ({"glue/x": "", "t.csv": "a,b\n1,2\n"}, [], 2, "already exists"),
        ({"t.csv": "a,b\n" + "1,2\n" * 30}, ["--target", "b"], 4, "at least two are needed"),
        ({"t.csv": "a,b\n" + "1,2\n2,1\n" * 30}, ["--target", "b"], 2, "glue adopt --yes"),
        ({"t.csv": "a,b\n1,2\n", "dvc.yaml": "stages: ["}, [], 2, "dvc.yaml cannot be read as YAML"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_is_made(
    tmp_path: Path, glue: Glue, files: dict[str, str], words: list[str], code: int, said: str
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    before = contents(tmp_path)
    assert said in glue("adopt", *words, cwd=tmp_path, code=code).stderr
    assert contents(tmp_path) == before


@pytest.mark.parametrize(
    ("code", "estimator", "params", "unknown"),
    [
        ("from xgboost import XGBClassifier\nXGBClassifier(**{'n_estimators': 3}).fit(X, y)", "xgboost.XGBClassifier",
         {"n_estimators": 3}, []),
        ("import sklearn.svm as s\nP = dict(C=3)\nm = s.SVC(**P, gamma=f())\nm.fit(X, y)", "sklearn.svm.SVC",
         {"C": 3}, ["gamma"]),
        ("from sklearn.svm import SVC\nfrom sklearn.tree import DecisionTreeClassifier\nt = DecisionTreeClassifier()\n"
         "t.fit(X, y)\nother = SVC()", "sklearn.tree.DecisionTreeClassifier", {}, []),
        ("from sklearn.svm import SVC\ndef train(c=4, *, kernel='rbf'):\n    return SVC(C=c, kernel=kernel).fit(X, y)",
         "sklearn.svm.SVC", {"C": 4, "kernel": "rbf"}, []),
        ("from sklearn.svm import SVC\nSVC(random_state=3, C=1 / 0).fit(X, y)", "sklearn.svm.SVC", {}, ["C"]),
        ("a = a\nfrom sklearn.svm import SVC\nb = c\nc = b\nSVC(C=b, degree=a).fit(X, y)", "sklearn.svm.SVC", {},
         ["C", "degree"]),
        ("import yaml\nfrom sklearn.svm import SVC\nc = yaml.safe_load(open('p'))\nc = c['a']\nSVC(C=c['n']).fit(X, y)",
         "sklearn.svm.SVC", {}, ["C"]),
        ("from sklearn.svm import SVC\nx0 = ['a']\n" + "".join(f"x{n + 1} = x{n} + x{n}\n" for n in range(40))
         + "SVC(C=x40).fit(X, y)", "sklearn.svm.SVC", {}, ["C"]),
        ("# SVC().fit\n'''sklearn.svm.SVC()'''\nx.fit()", None, {}, []),
    ],
)  # fmt: skip
def test_what_a_script_builds(code: str, estimator: str | None, params: dict[str, object], unknown: list[str]) -> None:
    found = scripts.read("a.py", code, {})
    assert found is not None
    assert (found.estimator, found.params, found.unknown) == (estimator, params, unknown)


@pytest.mark.parametrize(
    ("code", "target"),
    [
        ("y = df['churn'].map({'yes': 1})", "churn"),
        ("X, y = df.drop(columns=['churn']), df['churn']", "churn"),
        ("T = 'churn'\ny_all = df[T].to_numpy()", "churn"),
        ("labels = df.pop('churn')", "churn"),
        ("y = df.churn", "churn"),
        ("def load(target='churn'):\n    y = df[target]", "churn"),
        ("y = (df['churn'] == 'yes').astype(int)", "churn"),
        ("y = np.where(df['churn'] == 'yes', 1, 0)", "churn"),
        ("m.fit(df.drop('id', axis=1).drop('churn', axis=1), df['churn'])", "churn"),
        (
            "X_train, X_test, y_train, y_test = train_test_split(df.drop('churn', axis=1), df['churn'])\n"
            "m.fit(X_train, y_train)",
            "churn",
        ),
        ("train, test = train_test_split(df)\nm.fit(train.drop(['a', 'churn'], axis=1), train[['churn']])", "churn"),
        ("data = df.values\nX, Y = data[:, :8], data[:, 8]\nm.fit(X, Y)", 8),
        ("X, y = df.iloc[:, :-1], df.iloc[:, -1]\nm.fit(X, y)", -1),
        ("y = df.iloc[:, -1:]\nm.fit(df.iloc[:, :-1].values, y.values)", -1),
        ("y = df.iloc[:, 3:4]\nm.fit(X, y)", 3),
        ("target = 'churn'\ny = t.loc[:, target]\nlabel = t['x']\nm.fit(t[t.columns.drop(target)], y)", "churn"),
        (
            "class T:\n    def __init__(self):\n        self.target = 'churn'\n    def run(self, df):\n"
            "        df = df.drop('a', axis=1).drop('b', axis=1)\n        self.m.fit(df.drop(self.target, axis=1),"
            " df[self.target])",
            "churn",
        ),
        ("df = df.drop('a', axis=1).drop('b', axis=1)\ntarget_column = 'churn'", "churn"),
        ("p.add_argument('--target', default='churn')\nargs = p.parse_args()\nm.fit(X, df[args.target])", "churn"),
        ("c = yaml.safe_load(open('params.yaml'))\ny = df[c['base']['target_col']]\nm.fit(X, y)", "churn"),
        ("y = df[sys.argv[2]]", "churn"),
        ("def split(df):\n    return df.drop('churn', axis=1), df['churn']\nX, y = split(df)\nm.fit(X, y)", "churn"),
        ("y = LabelEncoder().fit_transform(df['churn'])\nscores = cross_val_score(m, df[['a']], y)", "churn"),
        ("s = StandardScaler()\ns.fit(df[['a']], df['b'])\nm = SVC()\nm.fit(df[['a']], df['churn'])", "churn"),
    ],
)
def test_which_column_is_predicted(code: str, target: str | int) -> None:
    code = "from sklearn.svm import SVC\n" + code
    found = scripts.read("a.py", code, {("base", "target_col"): "churn"}, ["in.csv", "churn"])
    assert found is not None
    assert next(tier for tier in found.tiers if tier)[0] == target


def test_no_python_is_no_script() -> None:
    for source in ("exec 'a'", "x = " + "(" * 500 + ")" * 500, "\0"):
        assert scripts.read("a.py", source, {}) is None


@pytest.mark.parametrize(
    ("code", "tables"),
    [
        ("test = pd.read_csv('a_test.csv')\ntrain = pd.read_csv('b.csv')\nm.fit(train[['x']], train['y'])",
         ["b.csv", "a_test.csv"]),
        ("def load(path):\n    return pd.read_csv(path)\ntest, df = load('test.csv'), load('train.csv')\n"
         "X = prepare(df)\nm.fit(X, df['y'])", ["train.csv", "test.csv"]),
        ("old = pd.read_csv('train_old.csv')\ndf = pd.read_csv(filepath_or_buffer='z.csv').dropna()\ndf = clean(df)\n"
         "X, Xt, y, yt = train_test_split(df.drop(columns='y'), df.y)\nm.fit(X, y)", ["z.csv", "train_old.csv"]),
        ("HERE = os.path.dirname(os.path.abspath(__file__))\npd.read_csv(os.path.join(HERE, '..', 'd.csv'))",
         ["src/../d.csv"]),
        ("D = Path(__file__).resolve().parent.parent / 'data'\npd.read_csv(D / 'd.csv')", ["data/d.csv"]),
        ("D = 'data/'\npd.read_csv(D + 'a.csv')\npd.read_csv(f'{D}b.csv')", ["data/a.csv", "data/b.csv"]),
        ("pd.read_csv(sys.argv[1])", ["in.csv"]),
        ("pd.read_csv(unknown())", []),
    ],
)  # fmt: skip
def test_which_table_it_learns_from(code: str, tables: list[str]) -> None:
    found = scripts.read("src/a.py", f"import os, sys\nfrom pathlib import Path\n{code}", {}, ["in.csv"])
    assert found is not None and found.tables == tables


@pytest.mark.parametrize(
    ("code", "drops", "uses"),
    [
        ("df = df.drop(['id', 'name'], axis=1)\nm.fit(df.drop('y', axis=1), df['y'])", {"id", "name", "y"}, None),
        ("df.drop(columns='id', inplace=True)\ndel df['b']\ndf.pop('c')\ndf.drop([0, 1])\ndf.drop('row')\nm.fit(df, y)",
         {"id", "b", "c"}, None),
        ("m.fit(df[['a', 'b']], df['y'])", set(), {"a", "b"}),
        ("COLS = ['a', 'b']\nX = pd.get_dummies(df[COLS], columns=['b'])\nm.fit(X, df['y'])", set(), {"a", "b"}),
        ("df['size'] = df['p'] + df.q\nm.fit(df[['size', 'a']], df['y'])", set(), {"size", "a", "p", "q"}),
        ("other = df[['z']].drop('w', axis=1)\nm.fit(df, y)", set(), None),
        ("for c in ['a', 'b']:\n    df[c] = code(df[c])\nm.fit(df, y)", set(), None),
        ("X = pd.concat([df[['a']], df.iloc[:, 3:5]], axis=1)\nm.fit(X, y)", set(), None),
    ],
)  # fmt: skip
def test_which_columns_it_does_not_learn_from(code: str, drops: set[str], uses: set[str] | None) -> None:
    found = scripts.read("a.py", code, {})
    assert found is not None and found.drops == drops
    assert (found.uses is None) == (uses is None) and (uses or set()) <= (found.uses or set())


def test_an_order_by_names() -> None:
    names = [
        "examples/run.py",
        "demo_a.py",
        "b.py",
        "demo_train.py",
        "src/train_model.py",
        "test.csv",
        "gender_submission.csv",
    ]
    assert sorted(names, key=scripts.place)[:2] == ["src/train_model.py", "b.py"]


def test_another_script_names_the_target_and_a_missing_one_is_told(tmp_path: Path, glue: Glue) -> None:
    pd.DataFrame({"id": range(60), "a": [n % 7 for n in range(60)], "size": [n % 9 for n in range(60)]}).to_csv(
        tmp_path / "t.csv", index=False
    )
    head, fit = "from catboost import CatBoostRegressor\nm = CatBoostRegressor()\n", "m.fit(data['X'], data['y'])\n"
    (tmp_path / "train.py").write_text(f"{head}y = df['price']\n{fit}")
    other = tmp_path / "other.py"
    other.write_text(f"{head}{fit}df.drop(columns=['id'])\ny = df.iloc[:, 0]\n")  # a place says nothing of this table
    asked = glue("adopt", "--dry-run", cwd=tmp_path, code=2).stderr
    assert "which column of t.csv should be predicted? train.py predicts 'price', which no table here has" in asked
    other.write_text(f"{head}m.fit(df, 0.3 * (df['a'] < 3) + 0.7 * (df['size'] > 4))\n")
    assert "which column of t.csv" in glue("adopt", "--dry-run", cwd=tmp_path, code=2).stderr
    other.write_text(f"{head}m.fit(df[['a']], df['size'])\n")
    pd.DataFrame({"size": range(60)}).to_csv(tmp_path / "labels.csv", index=False)  # nothing to learn from
    shown = glue("adopt", "--dry-run", cwd=tmp_path)
    assert "target: size  #" in shown.stdout and "other.py:2 builds" in shown.stderr
    assert "the table is assumed to be t.csv, not labels.csv" in shown.stderr
    assert "train.py also trains a model: left out" in shown.stderr
    assert "task: regression  #" in shown.stdout  # by the class's name, where it is not installed
    (tmp_path / "train.py").write_text(f"{head}df = read_csv('t.csv')\n{fit}")
    assert "which column of t.csv" not in glue("adopt", "--dry-run", cwd=tmp_path).stderr


@pytest.mark.parametrize(
    ("path", "with_dvc", "said", "hint"),
    [
        ("d.csv", False, "d.csv, which train.py reads, does not exist\n", "or glue adopt --tracking, without a table"),
        ("d.csv", True, "does not exist: dvc pull?", "hint: dvc pull && glue adopt"),
        ("https://a.b/d.csv", False, "does not exist: save it in the repository", "glue adopt --data TABLE"),
    ],
)
def test_what_to_do_where_no_table_is_there(
    path: str, with_dvc: bool, said: str, hint: str, tmp_path: Path, glue: Glue
) -> None:
    if with_dvc:
        (tmp_path / ".dvc").mkdir()
    code = f"import pandas as pd\nfrom sklearn.svm import SVC\ndf = pd.read_csv('{path}')\nSVC().fit(df, df['y'])\n"
    (tmp_path / "train.py").write_text(code)
    told = glue("adopt", "--dry-run", cwd=tmp_path, code=2).stderr
    assert said in told and hint in told


LEFT = """\
import pandas as pd
from sklearn.linear_model import ElasticNet
df = pd.read_csv('train.csv').drop('id', axis=1)
X, y = df.drop(columns=['grade', 'note']), df['grade'].where(df['a'] > -1)
ElasticNet().fit(X, y)
"""


def test_the_estimator_decides_the_task_and_every_guess_is_told(tmp_path: Path, glue: Glue) -> None:
    table = pd.DataFrame({"id": range(120), "a": [n % 7 for n in range(120)], "note": 1.5})
    table["grade"], table["note"] = [3 + n % 5 for n in range(120)], [n / 3 for n in range(120)]
    for name in ("train.csv", "test.csv", "demo.csv"):
        table.to_csv(tmp_path / name, index=False)
    (tmp_path / "demo_train.py").write_text(LEFT)
    (tmp_path / "a_demo.py").write_text("import pandas as pd\n" + LEFT)
    (tmp_path / "train.py").write_text(LEFT.replace("'train.csv'", r"r'C:\Users\me\train.csv'"))
    (tmp_path / "broken.py").write_text("exec 'x'\n")
    shown = glue("adopt", "--dry-run", cwd=tmp_path)
    for line in ("task: regression  #", "estimator: sklearn.linear_model.ElasticNet", '"../train.csv"'):
        assert line in shown.stdout
    for line in (
        "train.py:5 builds",
        "broken.py cannot be read as Python: left out",
        "which train.py reads, is assumed to be train.csv",
        "the table is assumed to be train.csv, not demo.csv, test.csv: --data chooses another",
        "the target is assumed to be grade, not a: --target chooses another",
        "left out 'id': train.py drops it",
        "left out 'note': train.py drops it",
    ):
        assert line in shown.stderr
    asked = glue("adopt", "--dry-run", "--task", "multiclass", cwd=tmp_path)
    assert "--task multiclass: sklearn.linear_model.ElasticNet is a regressor: left out" in asked.stderr
    assert "task: multiclass  #" in asked.stdout and "ElasticNet" not in asked.stdout
    glue("adopt", "--yes", cwd=tmp_path)
    source = "data: {sources: {t: {path: ../train.csv}}, labels: {source: t, target: grade, task: multiclass}}"
    estimator = "train: {estimator: sklearn.linear_model.ElasticNet}"
    (tmp_path / "glue/glue.yaml").write_text(f"glue: 1\nproject: p\n{source}\n{estimator}\n")
    said = glue("doctor", cwd=tmp_path / "glue", code=1).stdout
    assert "sklearn.linear_model.ElasticNet is a regressor, but data.labels.task is multiclass" in said
