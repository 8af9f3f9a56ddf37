"""A cache of the model hub with made-up repositories, which the hub's own client reads."""

from pathlib import Path

import pytest

COMMIT = "c0ffee" + 34 * "0"


class HubCache:
    """Repositories in a folder, as huggingface_hub caches them; nothing is asked of the network."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        constants = pytest.importorskip("huggingface_hub.constants")
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder))

    def add(self, name: str, file: str, content: bytes = b"", branch: str = "main") -> Path:
        """Add a file to a repository, which is made if it is new, and return where it lies."""
        root = self.folder / f"models--{name.replace('/', '--')}"
        path = root / "snapshots" / COMMIT / file
        for folder in (path.parent, root / "refs"):
            folder.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        (root / "refs" / branch).write_text(COMMIT)
        return path
