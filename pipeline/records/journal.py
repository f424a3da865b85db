"""What an interrupted run goes on from: what was being painted, and how far it had come. Lies in the run folder."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..errors import OutputError
from ..storage.run_folder import RunFolder
from .course import Course
from .identity import difference

FORMAT = 2  # to be raised when the files of a run folder mean something else


@dataclass(frozen=True)
class Journal:
    """The journal of one run.

    Attributes
    ----------
    folder : RunFolder
    output : Path
    identity : dict
        All that the painting depends on, see `muralist.pipeline.records.identity`.
    """

    folder: RunFolder
    output: Path
    identity: dict[str, Any]

    def resume(self) -> Course:
        """Give the course of the run that was interrupted; a new one if there was none.

        Raises
        ------
        OutputError
            If something else was being painted, or the journal is damaged; nothing is lost then.
        """
        found = self.folder.read_journal()
        if found is None or found["finished"]:
            return Course()
        before = {**found["identity"], "run folder": found["format"]}
        differs = difference(before, {**self.identity, "run folder": FORMAT})
        if differs:
            raise OutputError(
                f"{self.output}: an interrupted run of this painting began otherwise: {differs}; "
                "repeat its command to go on with it, or begin anew with --restart",
                path=self.output,
            )
        course = Course.of(found["course"])
        course.resumed += 1
        return course

    def write(self, course: Course, *, finished: bool = False) -> None:
        """Note how far the painting has come. What is noted is whole and on the disk already."""
        what = {"format": FORMAT, "run": self.folder.run, "finished": finished, "identity": self.identity}
        self.folder.write_journal({**what, "course": asdict(course)})
