"""The folder of the maps: which are there, and that all of them are made by one recipe.

`depth.json` is written before the first map, so a map beside it is one of its recipe, whenever the
run was interrupted.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mmseg.datasets.base import files_below
from mmseg.datasets.depth_record import RECORD_FILE, DepthRecord, read_record, recipe_differences
from mmseg.files import remove_partials, require_writable
from mmseg.preprocessing.depth_maps.jobs import Job, RealFolders

PREVIEW_FILE = "depth_preview.png"


class MapFolder:
    """A folder and the maps that are to be in it.

    Args:
        root: the folder.
        jobs: what is to be there.

    Attributes:
        made: the jobs whose maps are there.
        todo: the other jobs.
        others: PNG files in the folder that are neither maps of the jobs nor their images.
    """

    def __init__(self, root: Path, jobs: Sequence[Job]) -> None:
        self.root, self.jobs = root, jobs
        names = files_below(root, ".png") if root.is_dir() else []
        place = RealFolders()
        present = {place.file(root / name) for name in names}
        self.made = [job for job in jobs if place.file(job.output) in present]
        self.todo = [job for job in jobs if place.file(job.output) not in present]
        known = {place.file(path) for job in jobs for path in (job.image, job.output)}
        self.others = sorted(present - known - {place.file(root / PREVIEW_FILE)})

    def prepare(self) -> None:
        """Raise unless files can be written; remove what a killed run left."""
        require_writable(self.root)
        self.remove_partials()

    def remove_partials(self) -> None:
        """Delete the temporary files of processes that are gone."""
        for folder in {self.root, *(job.output.parent for job in self.jobs)}:
            remove_partials(folder)

    def record(self) -> DepthRecord | None:
        """Return how the maps that are there were made."""
        return read_record(self.root)

    def claim(self, record: DepthRecord, overwrite: bool = False) -> Sequence[Job]:
        """Write the record of the maps to come, and return the jobs that are left to do.

        Args:
            record: of these maps.
            overwrite: delete the maps that are to be made again.

        Raises:
            ValueError: maps that are there and stay were made otherwise.
        """
        found = self.record()
        differences = recipe_differences(found.recipe, record.recipe) if found else []
        is_same = found is not None and not differences
        if overwrite:
            if not is_same and self.others and (found or self.made):
                raise ValueError(self._mixture(differences))
            for job in self.made:
                job.output.unlink(missing_ok=True)
            record.write(self.root)
            return self.jobs
        if self.made and found is None:
            raise ValueError(self._unknown())
        if differences and (self.made or self.others):
            raise ValueError(self._different(differences))
        if not is_same:
            record.write(self.root)
        return self.todo

    def _unknown(self) -> str:
        return (
            f"expected '{self.root}' to have no maps or a {RECORD_FILE} that says how they were "
            f"made, got {len(self.made)} maps without it (such as '{self.made[0].output}'); do "
            "choose another --out, or make them again with --overwrite."
        )

    def _different(self, differences: Sequence[str]) -> str:
        return (
            f"expected the maps in '{self.root}' to be made as this command makes them, got a "
            f"difference in {'; '.join(differences)} (there and here); do choose another --out, "
            "or make them again with --overwrite."
        )

    def _mixture(self, differences: Sequence[str]) -> str:
        how = f"made otherwise ({'; '.join(differences)})" if differences else "of unknown origin"
        return (
            f"expected --overwrite to replace all maps in '{self.root}', got {len(self.others)} "
            f"that are {how} and would stay, such as '{self.others[0]}'; do delete them, choose "
            "another --out, or give the folders of their images too."
        )
