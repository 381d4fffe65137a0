"""The reduced package: closed, without any answer, and enough to gather the same evidence."""

from __future__ import annotations

import ast
import base64
import json
import os
import pickle
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
from evidence_runs import given_runs

from autograder.evidence import collecting, gather
from autograder.grading.stage import EXCERPTS, StageError, hidden_folders, missing, stage

#: Modules that know an answer, a hidden case or a mark.
SECRET = {
    *("answers", "audit", "checks", "cli", "diagnose", "doctor", "exercises", "learner", "manifest", "misconceptions"),
    *("publish", "render", "verdict"),
}


@pytest.fixture(scope="module")
def staged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return stage(tmp_path_factory.mktemp("stage") / "inner", extra=("grading/references.py",))


def python(code: str, staged: Path, *, given: bytes = b"") -> str:
    """Standard output of code in a new interpreter that finds the staged packages and not the project."""
    root = str(Path(__file__).resolve().parents[2])
    hide = f"import sys\nsys.path[:] = [one for one in sys.path if one != {root!r}]\n"
    environment = {**os.environ, "PYTHONPATH": str(staged), "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    command = [sys.executable, "-c", hide + textwrap.dedent(code)]
    done = subprocess.run(command, input=given, capture_output=True, env=environment, cwd=staged, timeout=100)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


def test_nothing_that_knows_an_answer_is_staged(staged: Path, root: Path) -> None:
    top = {path.stem for path in (staged / "autograder").iterdir()}
    assert SECRET & top == set()
    assert {path.stem for path in (root / "autograder").iterdir()} >= SECRET  # the list above is no relic
    assert {"evidence", "exercise", "collectors", "launches", "probes"} <= top


def test_no_staged_text_defines_what_draws_cases_or_decides(staged: Path) -> None:
    words = ("REGISTRY", "draw_cases", "hidden_cases", "Misconception", "import_module(f", "adam_hyperparameters")
    for path in (staged / "autograder").rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        assert [word for word in words if word in text] == [], path


def test_everything_imported_is_there(staged: Path) -> None:
    assert missing(staged) == []
    seen = {
        module
        for path in staged.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and (module := node.module or "").startswith("autograder.")
    }
    for module in seen:
        where = staged.joinpath(*module.split("."))
        assert where.with_suffix(".py").is_file() or (where / "__init__.py").is_file(), module
    assert seen >= {"autograder.evidence", "autograder.exercise", "autograder.collectors.common"}


@pytest.mark.parametrize(
    "line",
    [
        "from autograder.verdict import judge",
        "import autograder.exercises.adam_adamw",
        "from autograder.exercise import REGISTRY",
        "from autograder import verdict",
        "from ..verdict import judge",
        "from .. import diagnose",
        "def late():\n    from autograder.answers import start_here",
    ],
)
def test_an_import_of_what_is_left_out_is_found(line: str, tmp_path: Path) -> None:
    folder = stage(tmp_path / "s", extra=())
    (folder / "autograder" / "collectors" / "more.py").write_text(line + "\n")
    assert len(missing(folder)) == 1
    assert missing(folder)[0].startswith("autograder/collectors/more.py: autograder")


def test_staging_says_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(StageError, match=r"grading/absent\.py is no file of the package"):
        stage(tmp_path / "a", extra=("grading/absent.py",))
    with pytest.raises(StageError, match="is no file of the package"):
        stage(tmp_path / "b", extra=("../pyproject.toml",))
    stage(tmp_path / "d", extra=())
    with pytest.raises(FileExistsError, match="stage into an empty folder"):
        stage(tmp_path / "d", extra=())


def test_the_engine_itself_is_closed(tmp_path: Path) -> None:
    folder = stage(tmp_path / "s")
    assert missing(folder) == []
    python("import autograder.grading.zygote, autograder.grading.runner, autograder.grading.sandbox", folder)


def test_excerpts_that_no_longer_match_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(EXCERPTS, "exercise.py", ("Case", "Nothing"))
    with pytest.raises(StageError, match=r"exercise\.py does not define Nothing any more"):
        stage(tmp_path / "s")


def test_the_real_packages_folders_are_named() -> None:
    folders = hidden_folders()
    assert any((folder / "exercises").is_dir() for folder in folders)
    assert {folder.name for folder in folders} >= {"autograder", "source", "course"}


def test_utils_is_complete(staged: Path, root: Path) -> None:
    real = {path.relative_to(root) for path in (root / "utils").rglob("*") if "__pycache__" not in path.parts}
    assert {path.relative_to(staged) for path in (staged / "utils").rglob("*")} == real
    python("import utils.data, utils.models, utils.plotting, utils.surfaces, utils.training, utils.widgets", staged)


def test_what_a_notebook_imports_is_there_and_tells_nothing(staged: Path) -> None:
    said = python(
        """
        from autograder import CheckFailed, check, done, hint, material, progress
        results = [check("adam.step", print), check("adam.step", print, cases="hidden"), hint("adam.step"),
                   hint("adam.step", 3), done("adam.step", "adam.adam"), progress()]
        print(results)
        try:
            material("adam.which_knob")
        except CheckFailed as error:
            print("refused", error._render_traceback_())
        """,
        staged,
    )
    assert said.splitlines() == [
        "adam.step: marked after the run.",
        "adam.step: marked after the run.",
        "adam.step: no hints while a notebook is graded.",
        "adam.step: no hints while a notebook is graded.",
        "progress: not kept while a notebook is graded.",
        "[None, 0.0, None, None, False, None]",
        "refused ['adam.which_knob: its material is not here while a notebook is graded']",
    ]


# --- the same evidence as the real package gathers ------------------------------------------------------------------

GATHER = """
    import base64, json, os, pickle, sys, types
    from typing import Any
    import autograder
    from autograder.evidence import collecting, encode, gather
    given = pickle.loads(sys.stdin.buffer.read())
    names = types.ModuleType("autograder.answers")  # what the answers' file imports: two type aliases
    names.Objects = names.Mutants = Any
    sys.modules["autograder.answers"] = names
    answers = types.ModuleType("answers")
    sys.modules["answers"] = answers
    exec(compile(given["source"], given["path"], "exec"), vars(answers))
    found = []
    with collecting():
        for case, exercise_id, name in given["runs"]:
            data = encode(gather(case, answers.ACCEPTED[exercise_id][name]))
            found.append(base64.b64encode(data).decode())
    loaded = sorted(name for name in sys.modules if name.startswith("autograder"))
    print(json.dumps({"found": found, "loaded": loaded, "file": autograder.__file__}))
"""


def same(one: Any, two: Any) -> bool:
    arrays = one.arrays.keys() == two.arrays.keys() and all(
        one.arrays[name].tobytes() == two.arrays[name].tobytes() and one.arrays[name].dtype == two.arrays[name].dtype
        for name in one.arrays
    )
    return bool(arrays and one.facts == two.facts and one.stepped == two.stepped and one.problem == two.problem)


def test_a_fresh_interpreter_gathers_the_same_evidence(staged: Path, root: Path) -> None:
    from autograder.answers import adam_adamw
    from autograder.evidence import decode

    given = given_runs(root)
    answer = json.loads(python(GATHER, staged, given=pickle.dumps(given)))
    assert answer["file"].startswith(str(staged))
    assert {name.split(".")[1] for name in answer["loaded"] if "." in name} & (SECRET - {"answers"}) == set()
    with collecting():
        for (case, exercise_id, name), data in zip(given["runs"], answer["found"], strict=True):
            here = gather(case, adam_adamw.ACCEPTED[exercise_id][name])
            there = decode(base64.b64decode(data))
            assert here.problem is None, here.problem
            assert same(here, there), (exercise_id, name, case.name)
