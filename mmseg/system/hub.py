"""Files on the Hugging Face hub, wherever a file of weights is named.

    hf://owner/name               its only .safetensors or .pth file
    hf://owner/name/file.pth      this file, also in a folder
    hf://owner/name@v1            of a branch, tag or commit

Files come from this machine's cache of the hub, and are downloaded into it the first time. With
HF_HUB_OFFLINE=1 nothing is downloaded.
"""

import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from mmseg.system.errors import ConfigError

WEIGHTS = (".safetensors", ".pth")
# pathlib makes one slash of two.
PLACE = re.compile(r"hf:/{1,2}([\w.-]+/[\w.-]+)(?:/([^@]+))?(?:@(.+))?")
REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")


@dataclass(frozen=True)
class HubPlace:
    """A repository, a file in it (None: its only one), and a revision (None: the main branch)."""

    repository: str
    file: str | None
    revision: str | None

    def __str__(self) -> str:
        file = f"/{self.file}" if self.file else ""
        return f"hf://{self.repository}{file}" + (f"@{self.revision}" if self.revision else "")


def is_on_hub(path: str | Path) -> bool:
    """Tell whether a path means a file on the hub.

    >>> is_on_hub("hf://owner/name"), is_on_hub("pretrained/mit_b5.pth")
    (True, False)
    """
    return _text(path).startswith("hf:/")


def local_file(path: str | Path, fetches: bool = True) -> Path:
    """Return the file in the cache that a path on the hub means; another path comes back as it is.

    Raises:
        ConfigError: if the path is none of the hub's, or its repository has several files.
        FileNotFoundError: if the file is not in the cache and cannot be, or with `fetches=False`
            is not to be, downloaded.
        ImportError: without the package huggingface_hub.
    """
    if not is_on_hub(path):
        return Path(path)
    place = place_of(path)
    hub = require_hub()
    try:
        file = place.file or _only_file(hub, place, fetches)
        how = {"revision": place.revision, "local_files_only": not fetches}
        return Path(hub.hf_hub_download(place.repository, file, **how))
    except ConfigError:
        raise
    except hub_errors() as error:
        raise FileNotFoundError(
            f"expected the weights {str(place)!r} on the hub or in its cache, got: "
            f"{reason_of(error)}. Correct the name; if it is right, check the connection, or log "
            "in with `hf auth login` for what is not public."
        ) from error


def place_of(path: str | Path) -> HubPlace:
    """Read a path on the hub; `ConfigError` if it is none."""
    match = PLACE.fullmatch(_text(path))
    if match is None:
        raise ConfigError(
            f"expected hf://owner/name, hf://owner/name/file or either with @revision, got "
            f"{str(path)!r}. Correct it."
        )
    return HubPlace(*match.groups())


def require_hub() -> Any:
    """Return the module `huggingface_hub`; raise a sentence if the package is missing."""
    try:
        import huggingface_hub
    except ImportError as error:
        raise ImportError(
            f"expected the package huggingface_hub for the hub's files, got: {error}. Install it: "
            'pip install "cdda-seg[hub]" (or pip install "huggingface_hub>=0.25").'
        ) from error
    return huggingface_hub


def hub_errors() -> tuple[type[Exception], ...]:
    """Return what the package huggingface_hub raises where it gets no answer or a bad one."""
    from huggingface_hub import errors

    return (OSError, ValueError, RuntimeError, getattr(errors, "HTTPError", OSError))


def reason_of(error: Exception) -> str:
    """Return the first line of an error of the hub; offline, that fetching is forbidden."""
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return "it is not among the downloaded ones, and HF_HUB_OFFLINE forbids fetching it"
    return next(iter(str(error).splitlines()), type(error).__name__).rstrip(".")


def _only_file(hub: Any, place: HubPlace, fetches: bool) -> str:
    """Return the only file of weights in a repository; a safetensors file goes before its twin."""
    names = [n for n in _names(hub, place, fetches) if PurePosixPath(n).suffix in WEIGHTS]
    for suffix in WEIGHTS:
        found = sorted(name for name in names if name.endswith(suffix))
        if len(found) == 1:
            return found[0]
        if found:
            raise ConfigError(
                f"expected one file of weights in {str(place)!r}, got {', '.join(found)}. Name "
                f"one, for example hf://{place.repository}/{found[0]}."
            )
    raise ConfigError(
        f"expected a .safetensors or .pth file in {str(place)!r}, got none. Name its file of "
        "weights, or another repository."
    )


def _names(hub: Any, place: HubPlace, fetches: bool) -> list[str]:
    """Return the names of a repository's files; without an answer, of those in the cache."""
    how, failure = {"revision": place.revision}, None
    try:
        if fetches:
            return list(hub.HfApi().list_repo_files(place.repository, **how))
    except hub_errors() as error:
        failure = error
    try:
        folder = Path(hub.snapshot_download(place.repository, **how, local_files_only=True))
    except hub_errors() as error:
        raise failure or error from error
    return [f.relative_to(folder).as_posix() for f in folder.rglob("*") if f.is_file()]


def _text(path: str | Path) -> str:
    return path.as_posix() if isinstance(path, Path) else path
