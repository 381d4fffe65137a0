"""Evidence: what student code did, as plain data, whatever that code is like."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch

from autograder.evidence import Evidence, Frame, Problem, ProtocolError, as_array, collecting, decode, encode, gather
from autograder.exercise import REGISTRY, CodeExercise
from autograder.verdict import expected_evidence, judge_case, visible_cases


def step_exercise() -> CodeExercise:
    exercise = REGISTRY["adam.step"]
    assert isinstance(exercise, CodeExercise)
    return exercise


def run(function: Any) -> Evidence:
    return gather(visible_cases(step_exercise())[0], (function,))


@pytest.mark.parametrize("name", ["adam.step", "adam.adam", "adam.foreach", "adam.resume", "adam.master_weights"])
def test_a_verdict_from_encoded_evidence_is_the_same(name: str) -> None:
    exercise = REGISTRY[name]
    assert isinstance(exercise, CodeExercise)
    for case in visible_cases(exercise):
        found = gather(case, exercise.misconceptions[0].objects())
        crossed = decode(encode(found))
        assert crossed.facts == found.facts
        assert crossed.problem == found.problem
        assert all(np.array_equal(crossed.arrays[n], a, equal_nan=True) for n, a in found.arrays.items())
        expected = expected_evidence(exercise, case)
        one, two = judge_case(case, found, expected), judge_case(case, crossed, expected)
        assert (one.passed, one.deviation, one.departure) == (two.passed, two.deviation, two.departure)


def test_problems_cross_with_their_frames() -> None:
    problem = Problem("raised", "ValueError", "no", (Frame("step", 3, "raise ValueError('no')"),))
    assert decode(encode(Evidence(problem=problem))).problem == problem


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "not encoded evidence"),
        (b"EVD1", "not encoded evidence"),
        (b"EVD1" + (10**9).to_bytes(8, "little"), "header is longer"),
        (b"EVD1" + (2).to_bytes(8, "little") + b"{}", "malformed"),
        (b"EVD1" + (4).to_bytes(8, "little") + b"null", "malformed"),
    ],
)
def test_malformed_bytes_are_a_value_error(data: bytes, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        decode(data)


def test_an_array_that_claims_more_than_there_is_is_refused_before_memory_is_taken() -> None:
    whole = encode(Evidence(arrays={"w": np.zeros(4)}))
    forged = whole.replace(b"[4]", b"[9999999999]")
    forged = forged[:4] + (len(forged) - 12 - 32).to_bytes(8, "little") + forged[12:]
    with pytest.raises(ValueError, match="cut short"):
        decode(forged)
    with pytest.raises(ValueError, match="larger than the limit"):
        decode(whole, max_bytes=10)
    with pytest.raises(ValueError, match="behind the last array"):
        decode(whole + b"x")


def test_tensors_of_every_kind_become_arrays_that_own_their_memory() -> None:
    p = torch.nn.Parameter(torch.ones(2, dtype=torch.bfloat16))
    array = as_array(p)
    assert array.dtype == np.float32
    assert array.tolist() == [1.0, 1.0]
    t = torch.zeros(3)
    array = as_array(t)
    t += 1
    assert array.tolist() == [0.0, 0.0, 0.0]
    assert as_array(torch.tensor([1 + 2j]).conj()).tolist() == [1 - 2j]
    with pytest.raises(ProtocolError, match="w should be a tensor, not a list"):
        as_array([1, 2], "w")
    with pytest.raises(ProtocolError, match="w should be a tensor, not None"):
        as_array(None, "w")


def test_an_exception_is_kept_with_the_students_line_and_without_the_graders_frames() -> None:
    def adam_step(w: Any, g: Any, m: Any, v: Any, t: Any, *, lr: Any, betas: Any, eps: Any) -> None:
        helper(w)

    def helper(w: Any) -> None:
        raise ValueError("too\nmany lines")

    problem = run(adam_step).problem
    assert problem is not None
    assert (problem.kind, problem.type, problem.message) == ("raised", "ValueError", "too")
    assert [frame.function for frame in problem.frames] == ["adam_step", "helper"]
    assert problem.frames[-1].source == 'raise ValueError("too\\nmany lines")'


def test_what_was_recorded_before_an_exception_is_kept() -> None:
    calls = []

    def adam_step(w: Any, g: Any, m: Any, v: Any, t: int, *, lr: Any, betas: Any, eps: Any) -> None:
        calls.append(t)
        if t == 3:
            raise RuntimeError

    evidence = run(adam_step)
    assert evidence.arrays["w"].shape[0] == 3  # the start and two calls
    assert evidence.problem is not None


def test_exit_recursion_and_stubs_are_problems_too() -> None:
    def leaves(*args: Any, **kwargs: Any) -> None:
        sys.exit("bye")

    def stub(*args: Any, **kwargs: Any) -> None:
        raise NotImplementedError

    def endless(*args: Any, **kwargs: Any) -> None:
        endless()

    kinds = [getattr(run(f).problem, "kind", None) for f in (leaves, stub, endless)]
    assert kinds == ["raised", "not_started", "raised"]


def test_printing_and_warnings_are_swallowed_and_counted(capfd: pytest.CaptureFixture[str]) -> None:
    def adam_step(w: Any, g: Any, m: Any, v: Any, t: Any, *, lr: Any, betas: Any, eps: Any) -> None:
        import warnings

        print("hello")
        print("world", file=sys.stderr)
        warnings.warn("careful", stacklevel=1)
        os.write(2, b"from C\n")

    with collecting():
        evidence = run(adam_step)
    assert evidence.printed_lines == 16  # 8 calls, two lines each
    assert capfd.readouterr() == ("", "")


def test_global_random_state_and_gradient_mode_are_left_alone() -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    with collecting(), torch.no_grad():
        run(lambda *a, **k: torch.rand(3))
    assert torch.equal(before, torch.get_rng_state())


def test_gathering_needs_no_reference() -> None:
    """The side that runs student code never imports a reference, a misconception or an answer."""
    code = (
        "import sys; from autograder import evidence; from autograder.evidence import COLLECTORS, find_collector\n"
        "[find_collector(name) for name in COLLECTORS]\n"
        "bad = [m for m in sys.modules if m.startswith('autograder.') and m.split('.')[1] in "
        "('exercises', 'misconceptions', 'answers', 'verdict', 'diagnose', 'publish')]\n"
        "print(bad)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
