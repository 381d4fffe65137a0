"""Solutions that are more alike than chance makes them, measured against the class itself.

Two students who share code share a sequence of fingerprints. What that tells is the number of bits that the rest of the
class would need to guess it, one fingerprint after the other: nothing where everybody goes on alike, a few bits where
the class parts, and most where nobody else is to be found. What the release gives and what the course's own solution
has tells nothing. Bits of several exercises add up; a pair is told when it has many more than the luckiest of all pairs
would have by chance. Only pairs with rare fingerprints in common are ever looked at, so that a large class costs little
more than its size.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from itertools import combinations, product

from autograder.grading.report.fingerprints import LENGTH, Prints, prints

#: Below this many solutions of an exercise nothing can be called rare.
SMALLEST = 10
#: What more than this part of the class has written word for word (five students always may) is a common form.
COMMON = 1 / 12
#: So many of a solution's rarest fingerprints start comparisons, those that not more than `MOST_FORMS` forms have.
STARTS, MOST_FORMS = 16, 40
#: The part of their bits that two solutions have to share, and the bits of an exercise from which on they count.
SHARE, LEAST = 0.6, 6.0
#: Nobody's example: a fingerprint follows the one before with this probability, weighed like so many students.
EXPECTED, WEIGHT = 0.6, 4.0
#: Bits above the luckiest pair's.
MARGIN = 9.0


@dataclass(frozen=True)
class Likeness:
    """Solutions of one exercise that are alike. `share`: of what either tells; 1 where nothing but names, constants, texts
    and comments differ. `lines`: in the first and in the last student's cell, the lines (from 1) of what both have and
    less than a third of the class."""

    exercise_id: str
    students: tuple[str, ...]
    share: float
    bits: float
    lines: tuple[tuple[int, ...], tuple[int, ...]] = ((), ())


@dataclass(frozen=True)
class Group:
    """Students who are connected by likenesses, the strongest likeness first."""

    students: tuple[str, ...]
    likenesses: tuple[Likeness, ...]

    @property
    def bits(self) -> float:
        return sum(one.bits for one in self.likenesses)


@dataclass(frozen=True, eq=False)
class _Form:
    """One way to write it, up to names and constants, and who did. `order`: what is not common knowledge, in order."""

    students: tuple[str, ...]
    order: tuple[int, ...]
    places: tuple[int, ...]
    holders: int  # a set of students, as bits


@dataclass(frozen=True, eq=False)
class _Alike:
    """Two forms of an exercise, or one that several students have. `telling`: what both have and not many others."""

    exercise_id: str
    one: tuple[str, ...]
    other: tuple[str, ...]
    share: float
    bits: float
    telling: frozenset[int]

    def pairs(self) -> Iterator[tuple[str, str]]:
        if self.one == self.other:
            return combinations(self.one, 2)
        return ((min(pair), max(pair)) for pair in product(self.one, self.other))

    def only(self, told: Set[tuple[str, str]]) -> _Alike:
        """Without those who are in no pair that is told: to share one short form with somebody is nothing."""
        named = {student for pair in self.pairs() if pair in told for student in pair}
        one, other = (tuple(student for student in side if student in named) for side in (self.one, self.other))
        return replace(self, one=one, other=other)


def groups(solutions: Mapping[str, Mapping[str, str]], known: Mapping[str, Sequence[str]] | None = None) -> list[Group]:
    """Who wrote alike, the strongest groups first. `solutions`: exercise id → student → source; `known`: exercise id → code
    that everybody had, the release's first."""
    found = [
        alike
        for exercise_id, sources in solutions.items()
        for alike in _Class(exercise_id, sources, (known or {}).get(exercise_id, ())).alike()
    ]
    bits: dict[tuple[str, str], float] = defaultdict(float)
    for alike in found:
        for pair in alike.pairs():
            bits[pair] += alike.share * alike.bits - LEAST
    size = len({student for sources in solutions.values() for student in sources})
    told = {pair for pair, sum_ in bits.items() if sum_ >= 2 * math.log2(size) + MARGIN}
    kept = [alike.only(told) for alike in found]
    return _connected([alike for alike in kept if alike.one], solutions)


class _Class:
    """All solutions of one exercise."""

    def __init__(self, exercise_id: str, sources: Mapping[str, str], known: Sequence[str]) -> None:
        self.exercise_id = exercise_id
        given = [prints(source) for source in known]
        self._ignored = {one for code in given for one in code.found}
        self.forms = self._forms(sources, given)
        self.size = sum(len(form.students) for form in self.forms)
        #: fingerprint → who has it, as bits
        self.having: dict[int, int] = defaultdict(int)
        for form in self.forms:
            for one in form.order:
                self.having[one] |= form.holders

    def _forms(self, sources: Mapping[str, str], given: Sequence[Prints]) -> list[_Form]:
        """Who wrote the same; those who left the release as it was are left out."""
        untouched = {one.form for one in given[:1]}
        by_source: dict[str, Prints] = {}
        by_form: dict[int, tuple[Prints, list[tuple[int, str]]]] = {}
        for number, (student, source) in enumerate(sorted(sources.items())):
            if source not in by_source:
                by_source[source] = prints(source)
            mine = by_source[source]
            if mine.form not in untouched:
                by_form.setdefault(mine.form, (mine, []))[1].append((number, student))
        return [self._form(mine, students) for mine, students in by_form.values()]

    def _form(self, mine: Prints, students: Sequence[tuple[int, str]]) -> _Form:
        places = {one: place for one, place in mine.places.items() if one not in self._ignored}
        holders = sum(1 << number for number, _ in students)
        return _Form(tuple(name for _, name in students), tuple(places), tuple(places.values()), holders)

    def alike(self) -> Iterator[_Alike]:
        """Forms that several students have, and pairs of forms that are alike."""
        if self.size < SMALLEST:
            return
        for form in self.forms:
            if 1 < len(form.students) <= max(5, COMMON * self.size):
                bits = sum(self._costs(form, form.holders).values())
                if bits >= LEAST:
                    telling = self._telling(form.order)
                    yield _Alike(self.exercise_id, form.students, form.students, 1.0, bits, telling)
        for one, other in self._candidates():
            left_out = one.holders | other.holders
            mine, theirs = self._costs(one, left_out), self._costs(other, left_out)
            both = mine.keys() & theirs.keys()
            bits = min(sum(mine[print_] for print_ in both), sum(theirs[print_] for print_ in both))
            whole = (sum(mine.values()) + sum(theirs.values())) / 2
            if bits >= LEAST and bits >= SHARE * whole:
                share = bits / whole
                yield _Alike(self.exercise_id, one.students, other.students, share, bits, self._telling(both))

    def _telling(self, both: Iterable[int]) -> frozenset[int]:
        return frozenset(one for one in both if 3 * self.having[one].bit_count() < self.size)

    def _costs(self, form: _Form, left_out: int) -> dict[int, float]:
        """Bits to guess each fingerprint of a form after the one before, from those who are not left out."""
        count = self.size - left_out.bit_count()
        costs: dict[int, float] = {}
        before, end = 0, -LENGTH
        for one, place in zip(form.order, form.places, strict=True):
            mine = self.having[one] & ~left_out
            if place - end < LENGTH:  # it goes on
                likely = ((mine & before).bit_count() + EXPECTED * WEIGHT) / (before.bit_count() + WEIGHT)
            else:
                likely = (mine.bit_count() + 1) / (count + 1)
            costs[one] = -math.log2(likely)
            before, end = mine, place
        return costs

    def _candidates(self) -> list[tuple[_Form, _Form]]:
        """Pairs of forms that share rare fingerprints, and half of all: never all pairs."""
        forms_having = Counter(one for form in self.forms for one in form.order)
        places: dict[int, list[int]] = defaultdict(list)
        for number, form in enumerate(self.forms):
            if len(form.students) > max(5, COMMON * self.size):
                continue
            shared = [one for one in form.order if 1 < forms_having[one] <= MOST_FORMS]
            for one in sorted(shared, key=lambda one: (forms_having[one], one))[:STARTS]:
                places[one].append(number)
        counts = Counter(pair for having in places.values() for pair in combinations(having, 2))
        chosen = []
        for (a, b), count in counts.items():
            first, second = self.forms[a], self.forms[b]
            both = set(first.order) & set(second.order)
            if count > 1 and 4 * len(both) >= len(first.order) + len(second.order):
                chosen.append((first, second))
        return chosen


# --- from pairs to groups -------------------------------------------------------------------------------------------


def _connected(found: Sequence[_Alike], solutions: Mapping[str, Mapping[str, str]]) -> list[Group]:
    """Likenesses that have students in common, put together."""
    leader: dict[str, str] = {}

    def top(student: str) -> str:
        while leader.setdefault(student, student) != student:
            leader[student] = student = leader[leader[student]]
        return student

    for alike in found:
        for student in {*alike.one, *alike.other}:
            leader[top(student)] = top(alike.one[0])
    together: dict[str, list[Likeness]] = defaultdict(list)
    for alike in found:
        together[top(alike.one[0])].append(_likeness(alike, solutions[alike.exercise_id]))
    made = []
    for ones in together.values():
        students = sorted({student for one in ones for student in one.students})
        made.append(Group(tuple(students), tuple(sorted(ones, key=lambda one: (-one.bits, one.exercise_id)))))
    return sorted(made, key=lambda group: (-group.bits, group.students))


def _likeness(alike: _Alike, sources: Mapping[str, str]) -> Likeness:
    students = alike.one if alike.one == alike.other else (*alike.one, *alike.other)
    one, other = prints(sources[students[0]]).found, prints(sources[students[-1]]).found
    both = alike.telling & one.keys() & other.keys()
    lines = (_lines(one, both), _lines(other, both))
    return Likeness(alike.exercise_id, students, alike.share, alike.bits, lines)


def _lines(found: Mapping[int, tuple[int, int]], both: Iterable[int]) -> tuple[int, ...]:
    return tuple(sorted({line for one in both for line in range(found[one][0], found[one][1] + 1)}))
