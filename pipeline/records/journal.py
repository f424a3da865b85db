"""The journal in the run folder, from which an interrupted run resumes: what is being painted, and its progress."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from ..errors import OutputError
from ..settings import Settings
from ..storage.run_folder import RunFolder
from .identity import difference
from .run_state import RunState

FORMAT = 8  # to be raised when the files of a run folder mean something else
# What may be otherwise when an interrupted run is resumed: how the painting is written, and what it was to be computed
# on; what that came to is in the state, and compared when the workers are known.
_MAY_CHANGE: Final = dict.fromkeys((*Settings.names(export=True), "device", "precision"))


def files_written(folder: RunFolder, *, restart: bool) -> frozenset[Path] | None:
    """Return the files that an interrupted run had begun to write, besides its snapshots: they may be replaced.

    None if there was no such run. With `restart` the run is discarded, and only its snapshots may be replaced.

    Raises `OutputError` if its journal is damaged, unless `restart` is given.
    """
    if not folder.is_resumable(restart=restart):
        return None
    journal = None if restart else folder.read_journal()
    return frozenset(map(Path, journal["course"].get("files", ()) if journal else ()))


@dataclass(frozen=True)
class Journal:
    """The journal of one run.

    Attributes
    ----------
    identity : dict
        All that the painting depends on, see `muralist.pipeline.records.identity`.
    """

    folder: RunFolder
    output: Path
    identity: dict[str, Any]

    def resume(self) -> RunState:
        """Return the state of the interrupted run, or a new one if there was none.

        Raises `OutputError` if something else was being painted, or the journal is damaged; then nothing is changed.
        """
        found = self.folder.read_journal()
        if found is None or found["finished"]:
            return RunState()
        before, now = (
            {**identity, "profile": None, "settings": {**identity["settings"], **_MAY_CHANGE}}
            for identity in (found["identity"], self.identity)
        )
        differs = difference(before | {"run folder": found["format"]}, now | {"run folder": FORMAT})
        if differs:
            raise OutputError(
                f"{self.output}: an interrupted run of this painting had other inputs or settings: {differs}; rerun "
                "the original command to resume it, or start over with --restart",
                path=self.output,
            )
        state = RunState.of(found["course"])
        state.resumed += 1
        return state

    def write(self, state: RunState, *, finished: bool = False) -> None:
        """Write the painting's progress. All files that it names must be complete and on disk."""
        what = {"format": FORMAT, "run": self.folder.run, "finished": finished, "identity": self.identity}
        self.folder.write_journal({**what, "course": asdict(state)})
