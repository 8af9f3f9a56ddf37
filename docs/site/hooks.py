"""What the site adds to the pages: their order, and the files of the repository they link to.

A file outside of `docs/` that a page or drawing links to lies in `repository/` on the site: a page,
a picture, or a page that shows the code.
"""

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from properdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[2]
DOCS, OTHERS = ROOT / "docs", "repository/"
LINK = re.compile(r'(?<=\]\()[^)\s#:]+(?=[#)])|(?<=href=")\.\./[^"]+')  # in Markdown, in SVG
TABLE_ROW = re.compile(r"^\|.*", re.MULTILINE)
CODE = {".py": "python", ".sh": "shell"}


def on_config(config: Any) -> Any:
    """Put the pages in the order of the README's table, after the entry."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| \[([^]]+)\]\(docs/(\w+\.md)\)", readme, re.MULTILINE)
    config.nav = [{title: page} for title, page in dict([("Home", "index.md"), *rows]).items()]
    return config


def on_files(files: Files, config: Any) -> Files:
    """Add what pages and drawings link to outside of their folder."""
    known = [Path(str(file.abs_src_path)).resolve() for file in files]  # the theme's, too
    waiting = [p for p in known if p.is_relative_to(DOCS) and p.suffix in (".md", ".svg")]
    for path in waiting:  # grows by the pages that are added
        text = path.read_text(encoding="utf-8")
        for target in links(text, path):
            uri = place(target)
            if files.get_file_from_path(uri) is None:
                files.append(added(target, uri, config))
                waiting += [target] if target.suffix == ".md" else []
        if path.suffix == ".svg":
            files.remove(files.get_file_from_path(place(path)))
            text = linked(text, path).replace('.md"', '.html"')
            files.append(File.generated(config, place(path), content=text))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Let links lead to where the site has the files."""
    # The bars of a table's code are escaped for GitHub; here they would show their backslash.
    markdown = re.sub(
        r"^\|.*", lambda row: row[0].replace("\\|", "|"), markdown, flags=re.MULTILINE
    )
    uri = page.file.src_uri
    if not uri.startswith(OTHERS):
        return linked(markdown, DOCS / uri)
    path = ROOT / uri.removeprefix(OTHERS)
    return linked(markdown, path) if path.is_file() else markdown


def on_page_content(html: str, **_: Any) -> str:
    """Let code in tables break where a path or a name has parts, so that columns stay narrow."""

    def broken(cell: re.Match[str]) -> str:
        return re.sub(r"(?<=\w[/_.=])(?=\w)(?![^<]*>)", "<wbr>", cell[0])

    return re.sub(r"<td\b.*?</td>", broken, html, flags=re.DOTALL)


def place(path: Path) -> str:
    """Return where a file of the repository lies among those of the site."""
    if path.is_relative_to(DOCS) and path.suffix not in CODE:
        return path.relative_to(DOCS).as_posix()
    return f"{OTHERS}{path.relative_to(ROOT).as_posix()}{'.md' if path.suffix in CODE else ''}"


def links(text: str, path: Path) -> Iterator[Path]:
    """Yield what a file with this text links to and the site would not have by itself."""
    for link in LINK.findall(text):
        target = (path.parent / link).resolve()
        if target.is_file() and place(target).startswith(OTHERS):
            yield target


def linked(text: str, path: Path) -> str:
    """Return the text of a file with links for the site."""

    def change(match: re.Match[str]) -> str:
        target = (path.parent / match[0]).resolve()
        if not target.is_file():
            return match[0]
        return posixpath.relpath(place(target), posixpath.dirname(place(path)) or ".")

    return LINK.sub(change, text)


def added(path: Path, uri: str, config: Any) -> File:
    """Return a file of the repository as one of the site."""
    if path.suffix not in CODE:
        return File.generated(config, uri, abs_src_path=str(path))
    name, code = path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8")
    text = f"# {name}\n\n~~~~{CODE[path.suffix]}\n{code}~~~~\n"
    return File.generated(config, uri, content=text)
