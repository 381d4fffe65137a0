"""nbgrader's configuration for this course: read by every `nbgrader` command and by formgrader started in this folder."""

import os
from pathlib import Path

from autograder.grading.nbgrader_plugin import install
from autograder.grading.nbgrader_restore import SANITIZE
from autograder.manifest import manifest
from autograder.publish.cells import PREPROCESSORS

c = get_config()  # noqa: F821 - nbgrader provides it

ROOT = Path(__file__).resolve().parent
c.CourseDirectory.root = str(ROOT)
c.CourseDirectory.course_id = manifest().id

# Releases get the Colab badge and the setup cell in nbgrader's own generate step.
c.GenerateAssignment.preprocessors = PREPROCESSORS

# Notebooks that went through Colab may have lost their cells' metadata: nbgrader's own autograde gets it back.
c.Autograde.sanitize_preprocessors = SANITIZE

# Demos are for students' eyes: Validate and autograde skip them.
c.Execute.skip_cells_with_tag = "demo"
c.Execute.timeout = 120

# `nbgrader autograde`, `nbgrader generate_feedback` and formgrader's buttons grade with the engine of `autograder grade`:
# sandboxed, in parallel, with secret cases. AUTOGRADER_ENGINE=nbgrader leaves nbgrader's own in place.
if os.environ.get("AUTOGRADER_ENGINE") != "nbgrader":
    install()

# Where assignments are released, fetched, submitted and collected. A shared folder in a real class.
c.Exchange.root = os.environ.get("NBGRADER_EXCHANGE", str(ROOT / "exchange"))
