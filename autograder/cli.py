"""The command line, `autograder`; commands with much to say about themselves stand in `cli_*.py`."""

from __future__ import annotations

import json
import sys
import time
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from autograder.cli_common import ENVIRONMENT, NEEDS_ATTENTION, assignment_named, course_here, fail, released
from autograder.cli_export import export
from autograder.cli_extend import extend
from autograder.cli_new import new_assignment
from autograder.devices import Device
from autograder.exercise import REGISTRY, CodeExercise, UnknownExercise
from autograder.manifest import Keep

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="Build, check and grade the course. Exit codes: 0 all well, 1 something needs attention, 2 wrong use, "
    "3 the machine lacks something.",
)
console = Console()
Engine = Literal["fork", "kernel"]
Place = Literal["local", "dask"]
OnDevice = Annotated[
    Device, typer.Option(help="Play the cases there: cuda, or pretend, a counted GPU that any machine has.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]


@app.command()
def build(
    names: Annotated[list[str] | None, typer.Argument(help="Notebooks, such as 05; all without.")] = None,
    check: Annotated[bool, typer.Option("--check", help="Build nothing; say which releases are stale.")] = False,
    per_student: Annotated[
        bool,
        typer.Option("--per-student", help="Make variants/ as well: for each student in the gradebook, own numbers."),
    ] = False,
) -> None:
    """Make release/ from source/ through nbgrader's generate step (without its database)."""
    from autograder.manifest import manifest
    from autograder.publish.release import BuildError, drifted
    from autograder.publish.release import build as build_all

    root = course_here()
    try:
        if check:
            stale = drifted(root)
            for name in stale:
                console.print(f"release/{name} is not what source/{name} builds: run autograder build {name}")
            raise typer.Exit(NEEDS_ATTENTION if stale else 0)
        for name, changed in build_all(root, names or ()):
            console.print(f"release/{name} {'written' if changed else 'is up to date'}")
        if per_student:
            _hand_out(root, names or [])
    except BuildError as error:
        fail(str(error))
    if not manifest().has_address:
        console.print(
            "[yellow]course/course.toml:[/] repository is still the placeholder; Colab badges will not open until you set it."
        )


def _hand_out(root: Path, wanted: list[str]) -> None:
    from autograder.grading import command
    from autograder.publish.release import names

    try:
        paths = list(command.hand_out(root, names(root, wanted)))
    except command.EXPECTED as error:
        fail(str(error))
    console.print(f"variants/ holds {len(paths)} notebooks; autograder grade knows whose numbers are whose")


@app.command()
def exercises(as_json: Json = False) -> None:
    """List every exercise: id, notebook, kind, points, and counts of what its check is made of."""
    from autograder.audit import answers
    from autograder.verdict import visible_cases

    rows: list[dict[str, Any]] = []
    for exercise in REGISTRY.values():
        row: dict[str, Any] = {
            "id": exercise.id,
            "notebook": exercise.notebook,
            "kind": exercise.kind,
            "points": exercise.points,
            "difficulty": exercise.difficulty,
            "minutes": exercise.minutes,
        }
        if isinstance(exercise, CodeExercise):
            row |= {
                "visible": len(visible_cases(exercise)),
                "misconceptions": len(exercise.misconceptions),
                "accepted": len(answers(exercise, "ACCEPTED")),
            }
        row["hints"] = len(getattr(exercise, "hints", None) or ())
        rows.append(row)
    if as_json:
        print(json.dumps(rows, indent=1))
        return
    table = Table("exercise", "kind", "points", "level", "min", "cases", "misconceptions", "accepted", "hints")
    for row in rows:
        table.add_row(
            row["id"],
            row["kind"],
            f"{row['points']:g}",
            "●" * row["difficulty"] + "○" * (3 - row["difficulty"]),
            str(row["minutes"]),
            *(str(row.get(key, "")) for key in ("visible", "misconceptions", "accepted")),
            str(row["hints"] or ""),
        )
    console.print(table)
    console.print(f"{len(rows)} exercises, {sum(row['points'] for row in rows):g} points")


@app.command()
def audit(
    ids: Annotated[list[str] | None, typer.Argument(help="Exercise ids; all without.")] = None,
    seeds: Annotated[int, typer.Option(help="Seeds of hidden cases on which accepted variants are tried.")] = 3,
    mutants: Annotated[
        bool, typer.Option("--mutants", help="Change the solutions mechanically instead, and print what survives.")
    ] = False,
    device: OnDevice = "cpu",
    as_json: Json = False,
) -> None:
    """Print the kill matrix: is every misconception failed and named, every accepted variant passed?

    With --device for the exercises that have cases with tensors on a device; some mistakes show on the CPU alone.
    """
    from autograder.audit import audit as run
    from autograder.audit import code_exercises, movable
    from autograder.devices import NoDevice, refuse_missing

    try:
        chosen = [one for one in code_exercises(ids or ()) if device == "cpu" or movable(one)]
        refuse_missing(device)
    except (UnknownExercise, ValueError) as error:
        fail(str(error))
    except NoDevice as error:
        fail(str(error), ENVIRONMENT)
    if not chosen:
        fail(f"none of {', '.join(ids or ())} has a case that can be played on another device")
    if mutants:
        _audit_mutants(chosen, as_json)
    reports = []
    with _progress() as progress:
        task = progress.add_task("auditing", total=len(chosen))
        for exercise in chosen:
            progress.update(task, description=exercise.id)
            reports.append(run(exercise, range(1, seeds + 1), device))
            progress.advance(task)
    if as_json:
        print(json.dumps([_audit_data(report) for report in reports], indent=1))
    else:
        for report in reports:
            _print_audit(report)
        _print_audit_summary(reports)
    raise typer.Exit(0 if all(report.ok for report in reports) else NEEDS_ATTENTION)


def _audit_mutants(chosen: list[CodeExercise], as_json: bool) -> NoReturn:
    """Run every mutant of these exercises' solutions; ends the command."""
    from autograder.mutants.runs import Report, mutants_of, try_mutants

    reports = []
    with _progress() as progress:
        for exercise in chosen:
            try:
                every = mutants_of(exercise)
            except FileNotFoundError as error:
                fail(str(error), ENVIRONMENT)
            trials = progress.track(try_mutants(exercise, every), len(every), description=exercise.id)
            reports.append(Report(exercise, tuple(trials)))
    if as_json:
        print(json.dumps([_mutant_data(report) for report in reports], indent=1, ensure_ascii=False))
    for report in () if as_json else reports:
        _print_mutants(report)
    raise typer.Exit(0 if all(report.ok for report in reports) else NEEDS_ATTENTION)


def _mutant_data(report: Any) -> dict[str, Any]:
    return {
        "exercise": report.exercise.id,
        "mutants": len(report.trials),
        "killed": report.killed,
        "equivalent": report.equivalent,
        "reach the score": report.reaching,
        "survivors": report.survivors,
        "not equivalent": report.stale,
    }


def _print_mutants(report: Any) -> None:
    reaching = f", {len(report.reaching)} reach the score that is asked for" if report.reaching else ""
    console.print(
        f"[bold]{report.exercise.id}[/]: {report.killed} of {len(report.trials)} mutants fail, "
        f"{len(report.equivalent)} are equivalent to the solution{reaching}",
        highlight=False,
    )
    for label, lines in (("survives", report.survivors), ("listed as equivalent, but fails", report.stale)):
        for what in lines:
            console.print(f"  [red]{label}:[/] ", Text(what), sep="", highlight=False, soft_wrap=True)
    for what, reason in report.equivalent.items():
        console.print("  equivalent: ", Text(f"{what}: {reason}"), sep="", highlight=False, soft_wrap=True)


def _audit_data(report: Any) -> dict[str, Any]:
    return {
        "exercise": report.exercise.id,
        "ok": report.ok,
        "worst_right": report.worst_right,
        "nearest_wrong": _finite(report.nearest_wrong),
        "kills": [
            {**kill.__dict__, "margin": _finite(kill.margin), "separation": _finite(kill.separation)}
            for kill in report.kills
        ],
        "accepted": [one.__dict__ for one in report.acceptances],
    }


def _finite(number: float) -> float | None:
    return number if number != float("inf") else None


def _print_audit(report: Any) -> None:
    table = Table(
        "row", "misconception", "run", "killed", "named", "margin", "nearest", "apart", title=report.exercise.id
    )
    for kill in report.kills:
        named = "✓" if kill.right_name else f"[red]{', '.join(kill.named) or 'no'}[/]"
        table.add_row(
            kill.id,
            kill.title,
            "" if kill.source == "catalogue" else kill.source,
            "✓" if kill.killed else "[red]survives[/]",
            named,
            _tolerances(kill.margin),
            kill.nearest,
            _tolerances(kill.separation),
        )
    console.print(table)
    for one in report.acceptances:
        mark = "✓ accepted" if one.accepted else f"[red]✗ rejected[/] in {', '.join(one.failed)}"
        console.print(f"  {mark}: {one.name} (uses {one.spread:.2g} of the tolerance)")
    console.print(f"  {_margins(report)}")


def _margins(report: Any) -> str:
    """How far right and wrong are apart."""
    right = f"worst right: uses {report.worst_right:.2g} of the tolerance"
    if report.nearest_wrong == float("inf"):
        return f"{right}; wrong ones are told by rules, not by numbers"
    ratio = f"; {report.nearest_wrong / report.worst_right:.2g} times as far" if report.worst_right else ""
    return f"{right}; nearest wrong: {report.nearest_wrong:.2g} tolerances{ratio}"


def _tolerances(number: float) -> str:
    return "other rules" if number == float("inf") else f"{number:.1e}"


def _print_audit_summary(reports: list[Any]) -> None:
    kills = [kill for report in reports for kill in report.kills]
    accepted = [one for report in reports for one in report.acceptances]
    console.print(
        f"\n{sum(k.killed for k in kills)} of {len(kills)} wrong variants fail, "
        f"{sum(k.ok for k in kills)} are called by their name; "
        f"{sum(a.accepted for a in accepted)} of {len(accepted)} right variants pass. "
        "Margins and distances are in tolerances."
    )


@app.command()
def grade(
    assignment: Annotated[str, typer.Argument(help="The assignment: 05_adam_adamw, or 05.")],
    students: Annotated[list[str] | None, typer.Argument(help="Whose work; everybody's without.")] = None,
    course: Annotated[Path, typer.Option(help="The folder with release/ and submitted/.")] = Path(),
    gradebook: Annotated[
        str | None, typer.Option(help="nbgrader's db_url; that of nbgrader_config.py without.")
    ] = None,
    jobs: Annotated[int, typer.Option(min=0, help="Submissions at a time; as many as there are cores without.")] = 0,
    force: Annotated[bool, typer.Option("--force", help="Grade unchanged submissions again.")] = False,
    engine: Annotated[
        Engine, typer.Option(help="Run cells in forks of one process, or each in a Jupyter kernel.")
    ] = "fork",
    keep: Annotated[
        Keep | None, typer.Option(help="Which of a student's attempts counts; as course.toml says without.")
    ] = None,
    audit: Annotated[
        str, typer.Option(help="Grade this part, such as 2%, in a Jupyter kernel too; stop if a mark differs.")
    ] = "0%",
    executor: Annotated[
        Place, typer.Option(help="Grade on this machine, or on the workers of a Dask cluster.")
    ] = "local",
    scheduler: Annotated[
        str, typer.Option(help="With --executor dask: its scheduler's address, such as tcp://host:8786.")
    ] = "",
    trust_students: Annotated[
        bool, typer.Option("--trust-students", help="Grade without a sandbox where the machine offers none.")
    ] = False,
    device: OnDevice = "cpu",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per line and event.")] = False,
) -> None:
    """Grade a class outside the students' kernels, sandboxed; unchanged submissions are skipped."""
    from autograder.grading.start import cannot_write, started
    from autograder.manifest import manifest

    root, part = course.resolve(), _part(audit)
    if (executor == "dask") != bool(scheduler):
        fail("--executor dask and --scheduler ADDRESS belong together")
    assignment = assignment_named(root, assignment)
    if not (root / "release" / assignment).is_dir():
        known = released(root)
        there = f" (released: {', '.join(known)})" if known else ""
        fail(f"there is no {root / 'release' / assignment}: build the release, or say --course{there}")
    try:
        # imports here and there at the same time; a cluster's workers have their own
        with nullcontext() if scheduler else started(root) as zygote:
            from autograder.grading import command
            from autograder.grading.conduct import Settings
            from autograder.grading.engine import Options

            options = Options(
                keep=keep or manifest().keep,
                force=force,
                trust_students=trust_students,
                way=engine,
                audit=part,
                settings=Settings(device=device),
                zygote=zygote,
                scheduler=scheduler,
            )
            options = replace(options, jobs=jobs or options.jobs)
            try:
                place = command.course_at(root, gradebook)
                report = command.run(place, assignment, students or [], options, as_json)
            except command.EXPECTED as error:
                fail(str(error))
    except OSError as error:
        fail(cannot_write(error), ENVIRONMENT)
    if not as_json:
        command.show(report, place, assignment, console)
    raise typer.Exit(NEEDS_ATTENTION if report.interrupted else 0)


def _part(text: str) -> float:
    """A percentage as a part of 1."""
    try:
        part = float(text.removesuffix("%")) / 100
    except ValueError:
        part = -1.0
    if not text.endswith("%") or not 0 <= part <= 1:
        fail(f"--audit takes a percentage such as 2%, not {text!r}")
    return part


@app.command()
def feedback(
    assignment: Annotated[str, typer.Argument(help="The assignment: 05_adam_adamw, or 05.")],
    students: Annotated[list[str] | None, typer.Argument(help="Whose pages; everybody's without.")] = None,
    course: Annotated[Path, typer.Option(help="The folder with release/ and submitted/.")] = Path(),
) -> None:
    """Write the feedback pages again, with manual scores and comments as they are now."""
    from autograder.grading import command
    from autograder.grading.engine import write_feedback_again

    try:
        place = command.course_at(course.resolve())
        assignment = assignment_named(place.root, assignment)
        chosen = students or place.students(assignment)
        if not chosen:
            fail(f"nobody has handed in {assignment}")
        for student in write_feedback_again(place, assignment, chosen):
            console.print(place.root / "feedback" / student / assignment / f"{assignment}.html", soft_wrap=True)
    except command.EXPECTED as error:
        fail(str(error))


@app.command()
def report(
    assignments: Annotated[list[str] | None, typer.Argument(help="Such as 05_adam_adamw, or 05; all without.")] = None,
    course: Annotated[Path, typer.Option(help="The folder with release/ and submitted/.")] = Path(),
    gradebook: Annotated[
        str | None, typer.Option(help="nbgrader's db_url; that of nbgrader_config.py without.")
    ] = None,
    output: Annotated[Path | None, typer.Option(help="The page; .grading/report.html in the course without.")] = None,
    leaderboard: Annotated[
        Path | None, typer.Option(help="Write the leaderboard for the class here as well, with pseudonyms.")
    ] = None,
    real_names: Annotated[
        bool, typer.Option("--real-names", help="Students' ids on the instructor's leaderboard.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the data as JSON; write the page only where --output says.")
    ] = False,
) -> None:
    """Write the class report: marks, mistakes, code to look at, similar solutions, leaderboard, on one page."""
    from autograder.grading import command
    from autograder.grading.report.command import as_json as json_of
    from autograder.grading.report.command import write_report

    try:
        place = command.course_at(course.resolve(), gradebook)
        chosen = [assignment_named(place.root, name) for name in assignments or ()]
        found, path = write_report(place, chosen, output, leaderboard, real_names, page=not as_json)
    except command.EXPECTED as error:
        fail(str(error))
    if as_json:
        print(json_of(found))
        return
    console.print(path.resolve(), soft_wrap=True)
    if leaderboard is not None:
        console.print(leaderboard.resolve(), soft_wrap=True)


app.command()(export)
app.command()(extend)
app.command()(new_assignment)


@app.command()
def demo(
    folder: Annotated[Path, typer.Option(help="Where the sample course is made.")] = Path(".demo"),
    plain: Annotated[
        bool, typer.Option("--plain", help="Grade with nbgrader's own engine: slower, no sandbox.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Take a sample class through the whole loop: release, submissions, grading, feedback, report."""
    from autograder.publish import demo as demonstration
    from autograder.publish.convert import ConvertError

    root, start, results = course_here(), time.monotonic(), []
    target = folder if folder.is_absolute() else root / folder
    try:
        with _progress() as progress:
            task = progress.add_task("starting", total=None)
            total = len(demonstration.Course(root, target).students())
            said = lambda line: progress.update(task, description=line)  # noqa: E731
            for graded in demonstration.run(root, target, said, plain):
                results.append(graded)
                progress.update(task, completed=len(results), total=total)
        page = demonstration.report(target)
    except ConvertError as error:
        fail(str(error), NEEDS_ATTENTION)
    if as_json:
        print(
            json.dumps(
                [{"student": g.student.id, "marks": g.marks, "diagnosed": g.diagnosed} for g in results], indent=1
            )
        )
    else:
        _print_demo(results, target, time.monotonic() - start)
        if page:
            console.print(f"Class report: {page}", soft_wrap=True)
    raise typer.Exit(0 if all(graded.as_expected for graded in results) else NEEDS_ATTENTION)


def _print_demo(results: list[Any], target: Path, seconds: float) -> None:
    numbers = [str(i) for i in range(1, len(results) + 1)]
    table = Table("exercise", "points", *numbers, title="Points of students 1, 2, …")
    for exercise_id in (e.id for e in REGISTRY.values() if e.id in results[0].marks):
        points = REGISTRY[exercise_id].points
        table.add_row(exercise_id, f"{points:g}", *(_mark(graded.marks[exercise_id], points) for graded in results))
    table.add_section()
    table.add_row("total", "", *(f"[bold]{graded.total:g}[/]" for graded in results))
    console.print(table)
    for number, graded in zip(numbers, results, strict=True):
        console.print(f"[bold]{number} {graded.student.id}[/]: {graded.student.about}", highlight=False)
        for exercise_id, found in graded.diagnosed.items():
            console.print(f"    {exercise_id}: {' and '.join(found)}", highlight=False)
        if not graded.as_expected:
            off = {e: (graded.marks.get(e), p) for e, p in graded.student.marks.items() if graded.marks.get(e) != p}
            console.print(f"    [red]got, expected: {off}[/]", highlight=False)
    console.print(
        f"\n{len(results)} submissions in {seconds:.0f} s. Feedback pages: {target / 'feedback'}", soft_wrap=True
    )
    console.print(f"Open one: {results[-1].feedback}", soft_wrap=True)


def _mark(earned: float, points: float) -> str:
    style = "green" if earned == points else ("red" if earned == 0 else "yellow")
    return f"[{style}]{earned:g}[/]"


@app.command()
def doctor(as_json: Json = False) -> None:
    """Say what this machine has and lacks: one line and one remedy each."""
    from autograder.doctor import examine

    findings = examine()
    if as_json:
        print(json.dumps([finding.__dict__ for finding in findings], indent=1))
    else:
        for finding in findings:
            mark = {"ok": "[green]✓[/]", "missing": "[red]✗[/]", "note": "[yellow]·[/]"}[finding.state]
            remedy = f" → {finding.remedy}" if finding.remedy else ""
            console.print(f"{mark} {finding.what}: {finding.found}{remedy}", highlight=False, soft_wrap=True)
    raise typer.Exit(ENVIRONMENT if any(finding.state == "missing" for finding in findings) else 0)


def _progress() -> Progress:
    """A progress bar that stands still where nobody watches (no terminal)."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )


def main() -> None:
    """Entry point of the console script."""
    try:
        app()
    except KeyboardInterrupt:
        sys.exit("stopped")
