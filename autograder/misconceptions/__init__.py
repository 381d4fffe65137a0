"""Wrong variants that learners and published code really produce, as programs and as words.

One module per family of updates: a simulator whose faults can be switched on, and the catalogue's rows. Row ids are
stable for ever; they appear in reports and gradebooks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from autograder.exercise import Misconception


@dataclass(frozen=True)
class Row:
    """One row of the catalogue. `also` are faults under which the same mistake looks different; `by_rules` as in
    `Misconception`."""

    title: str
    explanation: str
    reread: str
    faults: Mapping[str, Any]
    coincides: str = ""
    also: tuple[Mapping[str, Any], ...] = ()
    by_rules: bool = False


def recognise(
    rows: Mapping[str, Row], ids: Iterable[str], build: Callable[[Mapping[str, Any]], tuple[Any, ...]]
) -> tuple[Misconception, ...]:
    """The rows as misconceptions of one exercise; `build(faults)` makes the objects the exercise asks for."""

    def objects(faults: Mapping[str, Any]) -> Callable[[], tuple[Any, ...]]:
        return lambda: build(faults)

    return tuple(
        Misconception(
            id=row_id,
            title=rows[row_id].title,
            explanation=rows[row_id].explanation,
            reread=rows[row_id].reread,
            objects=objects(rows[row_id].faults),
            coincides=rows[row_id].coincides,
            also=tuple(objects(faults) for faults in rows[row_id].also),
            by_rules=rows[row_id].by_rules,
            faults=rows[row_id].faults,
        )
        for row_id in ids
    )


def in_turn(
    groups: Iterable[dict[str, Any]], faults: Mapping[str, Any]
) -> Iterator[tuple[dict[str, Any], torch.Tensor, torch.Tensor | None]]:
    """Each parameter with its group and the gradient that a step with these faults takes; None: it has none.

    Faults: `groups` "first only"; `none`, at a parameter without a gradient: "returns" ends the step, "zero" takes 0.
    """
    for number, group in enumerate(groups):
        if number and faults.get("groups") == "first only":
            return
        for p in group["params"]:
            if p.grad is None and faults.get("none") == "returns":
                return
            yield group, p, torch.zeros_like(p) if p.grad is None and faults.get("none") == "zero" else p.grad
