"""The folder of the maps: which are there, and that all of them are made by one recipe.

`depth.json` is written before the first map, so a map beside it is one of its recipe, whenever the
run was interrupted.
"""

from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from mmseg.datasets.depth.record import RECORD_FILE, DepthRecord, read_record, recipe_differences
from mmseg.datasets.image_files import files_below
from mmseg.preprocessing.depth_maps.jobs import PREVIEW_FILE, Job, RealFolders
from mmseg.system.files import remove_partials, require_writable

GRAY_MODES = ("1", "L", "I", "I;16", "I;16B", "F")  # of Pillow


class MapFolder:
    """A folder and the maps that are to be in it.

    Args:
        root: the folder.
        jobs: what is to be there.

    Attributes:
        made: the jobs whose maps are there.
        todo: the other jobs.
        others: PNG files in the folder that are neither maps of the jobs nor their images.
        neighbors: those of them that lie beside maps.
    """

    def __init__(self, root: Path, jobs: Sequence[Job]) -> None:
        self.root, self.jobs = root, jobs
        self.first_record = self._content()
        self._look()

    def _look(self) -> None:
        root, jobs = self.root, self.jobs
        names = files_below(root, ".png") if root.is_dir() else []
        place = RealFolders()
        present = {place.file(root / name) for name in names}
        self.made = [job for job in jobs if place.file(job.output) in present]
        self.todo = [job for job in jobs if place.file(job.output) not in present]
        known = {place.file(path) for job in jobs for path in (job.image, job.output)}
        self.others = sorted(present - known - {place.file(root / PREVIEW_FILE)})
        folders = {place.real(job.output.parent) for job in jobs}
        self.neighbors = [path for path in self.others if path.parent in folders]

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
        self._look()  # again: another command may have begun while the network was loaded
        found = _readable_record(self.root) if overwrite else self.record()
        differences = recipe_differences(found.recipe, record.recipe) if found else []
        is_same = found is not None and not differences
        inner = self._inner_records(record)
        foreign = self.others if found or self.made else self.neighbors
        is_new = self._content() != self.first_record
        if overwrite and not is_same:
            if foreign:
                raise ValueError(self._mixture(differences, foreign))
            self._clear(is_known=found is not None, inner=inner)
        elif not overwrite:
            if inner:
                raise ValueError(self._inner(inner[0]))
            if found is None and (self.made or foreign):
                raise ValueError(self._unknown())
            if differences and (self.made or self.others or is_new):
                raise ValueError(self._different(differences))
        if not is_same:
            record.write(self.root)
        return self.jobs if overwrite else self.todo

    def _clear(self, is_known: bool, inner: Sequence[Path]) -> None:
        """Delete the maps that are to be made again, before the first new one is there.

        So an interrupted run leaves no mixture. Maps of the same recipe need not go: each is
        replaced when the new one is complete.
        """
        if not is_known:
            for job in self.made:
                _require_map(job.output)
        for path in (*(job.output for job in self.made), *inner):
            path.unlink(missing_ok=True)

    def _content(self) -> bytes | None:
        path = self.root / RECORD_FILE
        return path.read_bytes() if path.is_file() else None

    def _inner_records(self, record: DepthRecord) -> list[Path]:
        """Return the records of other recipes in the folders of the maps, below the root.

        Training would believe them, because they are nearer to the maps.
        """
        folders = {job.output.parent for job in self.jobs}
        inside = {
            p for folder in folders for p in (folder, *folder.parents) if self.root in p.parents
        }
        found = []
        for folder in sorted(inside):
            if (folder / RECORD_FILE).is_file():
                other = _readable_record(folder)
                if other is None or recipe_differences(other.recipe, record.recipe):
                    found.append(folder / RECORD_FILE)
        return found

    def _unknown(self) -> str:
        files = [job.output for job in self.made] or self.neighbors
        return (
            f"expected '{self.root}' to have no maps or a {RECORD_FILE} that says how they were "
            f"made, got {len(files)} maps without it (such as '{files[0]}'); do choose another "
            "--out, or, if they are maps and all their images are given, --overwrite."
        )

    def _inner(self, path: Path) -> str:
        return (
            f"expected one {RECORD_FILE} for the maps in '{self.root}', got another one of other "
            f"maps in '{path}'; do give that folder as --out, or replace its maps with --overwrite."
        )

    def _different(self, differences: Sequence[str]) -> str:
        return (
            f"expected the maps in '{self.root}' to be made as this command makes them, got a "
            f"difference in {'; '.join(differences)} (there and here); do choose another --out, "
            "or make them again with --overwrite."
        )

    def _mixture(self, differences: Sequence[str], foreign: Sequence[Path]) -> str:
        how = f"made otherwise ({'; '.join(differences)})" if differences else "of unknown origin"
        return (
            f"expected --overwrite to replace all maps in '{self.root}', got {len(foreign)} "
            f"that are {how} and would stay, such as '{foreign[0]}'; do delete them, choose "
            "another --out, or give the folders of their images too."
        )


def _readable_record(folder: Path) -> DepthRecord | None:
    """Return the record in a folder; None if it is broken, which is to be replaced."""
    try:
        return read_record(folder)
    except ValueError:
        return None


def _require_map(path: Path) -> None:
    """Raise unless a file that is to be deleted can be a depth map; labels have a palette."""
    try:
        with Image.open(path) as picture:
            mode = picture.mode
    except (OSError, SyntaxError, ValueError):
        return  # a broken file: nothing is lost
    if mode not in GRAY_MODES:
        raise ValueError(
            f"expected --overwrite to replace gray maps, got '{path}' of the kind {mode!r} and of "
            "unknown origin; do choose another --out, or delete that file yourself."
        )
