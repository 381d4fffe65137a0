"""The same tables for `nbgrader export --exporter=…`."""

from __future__ import annotations

from pathlib import Path

from nbgrader.api import Gradebook
from nbgrader.plugins import ExportPlugin
from traitlets import Bool, Unicode

from autograder.files import write_whole
from autograder.grading.export.command import Wish, table_of
from autograder.grading.export.marks import read_marks
from autograder.grading.gradebook import Book


class MarksExporter(ExportPlugin):  # type: ignore[misc]
    """`autograder export --format csv`."""

    exercises = Bool(False, help="a column for each exercise").tag(config=True)

    def export(self, gradebook: Gradebook) -> None:
        self._write(gradebook, Wish("csv", exercises=self.exercises), "grades.csv")

    def _write(self, gradebook: Gradebook, wish: Wish, usual: str) -> None:
        marks = read_marks(Book(gradebook), list(map(str, self.assignment)), list(map(str, self.student)))
        text, remarks = table_of(marks, wish)
        write_whole(Path(self.to or usual), text)
        for remark in remarks:
            self.log.warning("%s", remark)


class CanvasExporter(MarksExporter):
    """`autograder export --format canvas`."""

    roster = Unicode("", help="a gradebook exported from Canvas, to be filled in").tag(config=True)

    def export(self, gradebook: Gradebook) -> None:
        self._write(gradebook, Wish("canvas", roster=Path(self.roster) if self.roster else None), "canvas.csv")
