"""The folder of the maps: which are there, and that all of them are made by one recipe.

`depth.json` is written before the first map, so a map beside it is one of its recipe, whenever the
run was interrupted.
"""

from collections.abc import Sequence
from pathlib import Path

from mmseg.datasets.depth.record import RECORD_FILE, DepthRecord, read_record, recipe_differences
from mmseg.datasets.image_files import files_below, picture_mode
from mmseg.preprocessing.depth_maps.jobs import PREVIEW_FILE, Job, real_file
from mmseg.preprocessing.depth_maps.network_files import ALIASES, find_network
from mmseg.system.files import remove_partials

GRAY_MODES = ("1", "L", "I", "I;16", "I;16B", "F")  # of Pillow


class MapFolder:
    """A folder and the maps that are to be in it: those that are there (`made`) and not (`todo`).

    others: PNG files in the folder that are neither maps of the jobs nor their images.
    neighbors: those of them that lie beside maps.
    """

    def __init__(self, root: Path, jobs: Sequence[Job]) -> None:
        self.root, self.jobs, self.preview = root, jobs, root / PREVIEW_FILE
        self.look()

    def look(self) -> None:
        """Find out which maps are there."""
        names = files_below(self.root, ".png") if self.root.is_dir() else []
        present = {real_file(self.root / name) for name in names}
        self.made = [job for job in self.jobs if real_file(job.output) in present]
        self.todo = [job for job in self.jobs if real_file(job.output) not in present]
        known = {real_file(path) for job in self.jobs for path in (job.image, job.output)}
        self.others = sorted(present - known - {real_file(self.preview)})
        folders = {real_file(job.output).parent for job in self.jobs}
        self.neighbors = [path for path in self.others if path.parent in folders]

    def remove_partials(self) -> None:
        """Delete the temporary files of processes that are gone."""
        for folder in {self.root, *(job.output.parent for job in self.jobs)}:
            remove_partials(folder)

    def complete_line(self, model: str | None, quantity: str | None) -> str:
        """Say that there is nothing to do, and how the maps that are there were made.

        Raise `ValueError` if a local network, the `model` of this command, did not make them.
        """
        start = f"All {len(self.jobs)} maps are in {self.root} already"
        if (record := read_record(self.root)) is None:
            return f"{start}; how they were made is not known: there is no {RECORD_FILE}."
        name, found = record.details.get("model"), record.recipe.get("quantity")
        start += f", made {f'with {name}' if name else 'from existing maps'} as {found} depth"
        weights = record.recipe.get("weights_sha256")
        if model and model not in ALIASES and Path(model).is_dir():
            if find_network(model).weights_sha256() != weights:
                raise ValueError(
                    f"expected maps that are made with the weights of '{model}', got others: "
                    f"{start}; choose another --out, or make them again with --overwrite."
                )
            name = model
        if ALIASES.get(model or "", model) == name and quantity in (None, found):
            return f"{start}."
        wanted = f"with {model}" if model else "from existing maps"
        wanted += f" as {quantity} depth" if quantity else ""
        return f"{start}. To make them {wanted}, choose another --out, or add --overwrite."

    def claim(self, record: DepthRecord, overwrite: bool = False) -> Sequence[Job]:
        """Write the record of the maps to come, and return the jobs that are left to do.

        Raise `ValueError` if maps of another recipe would stay. With `overwrite`, these are deleted
        before the first new one is there, so that an interrupted run leaves no mixture.
        """
        self.look()  # again: another command may have begun while the network was loaded
        try:
            found = read_record(self.root)
        except ValueError:
            if not overwrite:
                raise
            found = None
        differences = recipe_differences(found.recipe, record.recipe) if found else []
        if found is None or differences:
            if overwrite:
                self._clear(differences)
            else:
                self._require_no_maps(differences)
            record.write(self.root)
        return self.jobs if overwrite else self.todo

    def _require_no_maps(self, differences: Sequence[str]) -> None:
        """Raise if the new maps would lie among others: made otherwise, or of unknown origin."""
        if differences:
            raise ValueError(
                f"expected the maps in '{self.root}' to be made as this command makes them, got a "
                f"difference in {'; '.join(differences)} (there and here); choose another --out, "
                "or make them again with --overwrite."
            )
        if strangers := [job.output for job in self.made] or self.neighbors:
            raise ValueError(
                f"expected '{self.root}' to have no maps or a {RECORD_FILE} that says how they "
                f"were made, got {len(strangers)} maps without it (such as '{strangers[0]}'); "
                "choose another --out, or, if they are maps and all their images are given, "
                "--overwrite."
            )

    def _clear(self, differences: Sequence[str]) -> None:
        """Delete the maps, and records beside them; raise if other files would go, or maps stay."""
        if foreign := self.others if differences or self.made else self.neighbors:
            raise ValueError(
                f"expected --overwrite to replace all maps in '{self.root}', got {len(foreign)} "
                f"of {'another' if differences else 'unknown'} origin that would stay, such as "
                f"'{foreign[0]}'; delete them, choose another --out, or give the folders of their "
                "images too."
            )
        for job in [] if differences else self.made:
            if (mode := picture_mode(job.output)) not in (None, *GRAY_MODES):  # such as labels
                raise ValueError(
                    f"expected --overwrite to replace gray maps, got '{job.output}' of the kind "
                    f"{mode!r} and of unknown origin; choose another --out, or delete that file."
                )
        for job in self.made:
            job.output.unlink(missing_ok=True)
            (job.output.parent / RECORD_FILE).unlink(missing_ok=True)
