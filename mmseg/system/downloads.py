"""Download a file, go on where an interrupted download stopped, and show how far it is.

What has arrived lies beside the file as `NAME.VERSION.part`. VERSION is how the server calls this
version of the file (its ETag or date), so that two versions are never mixed.
"""

import http.client
import urllib.error
import urllib.parse
import urllib.request
from glob import escape
from pathlib import Path
from typing import Any

from mmseg.system.files import CHUNK, explained

PART = ".part"
SECONDS = 60  # to wait for an answer or for the next bytes
REST, NO_REST = 206, 416  # the answers to a request for the rest of a file
FORBIDDEN = (401, 403)
NO_ANSWER = (OSError, http.client.HTTPException, ValueError)


class DownloadError(OSError):
    """A file cannot be fetched; what has arrived of it stays."""


def download(address: str, path: Path) -> Path:
    """Fetch an address and return the complete `.part` file beside `path`, which is not touched.

    A lost connection is taken up again as long as every attempt brings new bytes.
    `DownloadError` says what was expected, and what to do.
    """
    before = -1
    while True:
        part, size = _begun(path)
        if size <= before:
            raise DownloadError(
                f"expected the whole of {address}, got its first {size} bytes and then no more. "
                "Start the command again to go on."
            )
        before = size
        with _ask(address, part, size) as answer:
            if answer.status == NO_REST and part is not None:
                if answer.headers.get("Content-Range", "").endswith(f"/{size}"):
                    return part  # it was complete
                part.unlink()
                before = -1
                continue
            if answer.status != REST or part is None:
                _remove_parts(path)
                part, size = path.with_name(f"{path.name}.{_version(answer)}{PART}"), 0
            rest = answer.headers.get("Content-Length")
            total = None if rest is None else size + int(rest)
            _receive(answer, part, size, total)
        if total in (None, part.stat().st_size):
            return part


def _begun(path: Path) -> tuple[Path | None, int]:
    """Return the file of an earlier attempt, if there is one, and how many bytes it has."""
    part = next(path.parent.glob(f"{escape(path.name)}.*{PART}"), None)
    return part, part.stat().st_size if part else 0


def _remove_parts(path: Path) -> None:
    while part := _begun(path)[0]:
        part.unlink()


def _ask(address: str, part: Path | None, size: int) -> Any:
    """Ask for an address, from byte `size` on if the server still has the version of `part`."""
    headers = {"User-Agent": "cdda-seg", "Accept-Encoding": "identity"}
    version = part and urllib.parse.unquote(part.name.split(".")[-2])
    if version and size:
        headers |= {"Range": f"bytes={size}-", "If-Range": version}
    try:
        request = urllib.request.Request(address, headers=headers)
        return urllib.request.urlopen(request, timeout=SECONDS)
    except urllib.error.HTTPError as error:
        if error.code == NO_REST and "Range" in headers:
            return error
        advice = "The address may have changed: look for the file at its publisher"
        if error.code in FORBIDDEN:
            advice = "Its publisher wants you to log in and to accept a license first: do so there"
        raise DownloadError(
            f"expected the file at {address}, got: {error.code} {error.reason}. {advice}, and give "
            "the folder in which you put it with --from."
        ) from error
    except NO_ANSWER as error:
        raise DownloadError(
            f"expected an answer from {address}, got: {getattr(error, 'reason', error)}. Check the "
            "connection, or download it on another machine and give the folder with --from."
        ) from error


def _version(answer: Any) -> str:
    """Return how the server calls this version of the file, as a part of a file's name."""
    version = answer.headers.get("ETag") or answer.headers.get("Last-Modified") or ""
    return urllib.parse.quote(version, safe="").replace(".", "%2E")


def _receive(answer: Any, part: Path, size: int, total: int | None) -> None:
    """Add what arrives to the file; a connection that ends early is no error here."""
    from tqdm import tqdm

    name = part.name.rsplit(".", 2)[0]
    with tqdm(total=total, initial=size, unit="B", unit_scale=True, desc=name) as bar:
        try:
            with part.open("ab" if size else "wb") as stream:
                while chunk := _next(answer):
                    stream.write(chunk)
                    bar.update(len(chunk))
        except OSError as error:
            raise explained(error, part) from error


def _next(answer: Any) -> bytes:
    try:
        return answer.read(CHUNK)
    except http.client.IncompleteRead as error:
        return error.partial
    except NO_ANSWER:  # the connection is gone
        return b""
