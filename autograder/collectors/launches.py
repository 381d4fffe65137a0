"""Count what an optimizer's step costs on a GPU: launches, host synchronisations, device mix-ups, new bytes.

A case's inputs are those of `collectors.optimizer` (its parameters are the many), and
    few         how many of the parameters make up the small run
    warmup      steps that are not counted (the first ones make the state)
Facts are the worst counted step's. The launches of the small run and of all parameters are compared as a ratio, which
does not depend on how an update is split into operations.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from autograder.collectors.common import Place, the_class
from autograder.collectors.optimizer import Run
from autograder.evidence import Record
from autograder.exercise import Case
from autograder.launches import DeviceMix, Event, LaunchCounter, Section

RATIO = "launches for many parameters over launches for one"
SYNCS = "host synchronisations per step"
MIXES = "operations that mix devices"
BYTES = "new bytes per step over the parameters' bytes"
STATE = "bytes of state per element"
LAUNCHES = "launches per step"


def launches(case: Case, objects: Sequence[Any], record: Record) -> None:
    """Play the case twice, with few parameters and with all, on a counted device."""
    cls = the_class(objects[0], "the optimizer", ["step"])
    with LaunchCounter() as counter:
        here = Place(counter.device, counter)
        few = _Counted(fewer(case.inputs, case.inputs["few"]), cls, here, Record(), counter)
        many = _Counted(case.inputs, cls, here, record, counter)
        try:
            few.play()
            many.play()
        except DeviceMix:
            pass  # the sections have noted where; the rest of the run cannot be had
        finally:
            _facts(record, case.inputs, few, many)


def fewer(inputs: Mapping[str, Any], count: int) -> dict[str, Any]:
    """The same script for the first `count` parameters."""
    return {
        **inputs,
        "params": inputs["params"][:count],
        "group_of": inputs["group_of"][:count],
        "grads": [list(step[:count]) for step in inputs["grads"]],
    }


class _Counted(Run):
    """A run whose steps are counted."""

    def __init__(
        self, inputs: Mapping[str, Any], cls: type, here: Place, record: Record, counter: LaunchCounter
    ) -> None:
        super().__init__(inputs, cls, here, record)
        self.counter = counter
        self.sections: list[Section] = []

    def play(self) -> None:
        self.record_rows()
        for number in range(1, len(self.inputs["grads"]) + 1):
            self.set_gradients(number)
            with self.counter.section(f"step {number}") as section:
                self.sections.append(section)
                self.opt.step()
            self.record_rows()
        self.flush_state()

    @property
    def counted(self) -> list[Section]:
        return self.sections[self.inputs["warmup"] :]

    def most_launches(self) -> int:
        return max((section.launches for section in self.counted), default=0)


def _facts(record: Record, inputs: Mapping[str, Any], few: _Counted, many: _Counted) -> None:
    mixes = [event for run in (few, many) for section in run.sections for event in section.mixes]
    record.fact(MIXES, float(len(mixes)))
    record.fact(f"{MIXES}: where", event_lines(mixes))
    syncs = max((section.syncs for section in many.counted), key=len, default=[])
    record.fact(SYNCS, float(len(syncs)))
    record.fact(f"{SYNCS}: where", event_lines(syncs))
    if not many.counted:
        return
    one, all_ = few.most_launches(), many.most_launches()
    record.fact(LAUNCHES, float(all_))
    record.fact(RATIO, round(all_ / max(one, 1), 2))
    record.fact(
        f"{RATIO}: where",
        [f"{one} launches per step for {inputs['few']} parameter, {all_} for {len(inputs['params'])}"],
    )
    size = sum(p.numel() * p.element_size() for p in many.params)
    elements = sum(p.numel() for p in many.params)
    record.fact(STATE, round(many.sections[0].live_bytes / elements, 2))
    record.fact(BYTES, round(max(section.allocated_bytes for section in many.counted) / size, 2))


def event_lines(events: Sequence[Event]) -> list[str]:
    """Each line of student code once, in order, the first five."""
    lines = []
    for event in events:
        source = f", `{event.source}`" if event.source else ""
        lines.append(f"line {event.line} of {event.function}{source}: {event.what}")
    return list(dict.fromkeys(lines))[:5]
