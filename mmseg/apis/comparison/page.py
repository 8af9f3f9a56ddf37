"""A report as blocks, which become Markdown, and HTML in one file.

Whatever stands in a block is text: nothing of it is read as Markdown or HTML.
"""

import base64
import html
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from mmseg.system.files import atomic_write

# The first line of a report, by which the next one knows that it may replace it.
MADE = "<!-- A report of tools/compare_runs.py or tools/reproduce.py -->"
SPECIAL = re.compile(r"[\\`*\[\]|~]|(?<!\w)_|_(?!\w)")
STYLE = """
:root { color-scheme: light }
body { font: 16px/1.5 system-ui, sans-serif; color: #1b1f24; margin: 0 auto; padding: 1rem;
  max-width: 80rem }
h1 { font-size: 1.6rem; line-height: 1.2 } h2 { font-size: 1.2rem; margin-top: 2.2rem }
p { max-width: 46rem; overflow-wrap: anywhere }
.wide { overflow-x: auto; margin: 1rem 0 }
table { border-collapse: collapse; font-size: .875rem; font-variant-numeric: tabular-nums }
caption { text-align: left; font-weight: 600; padding: .3rem 0 }
th, td { padding: .25rem .7rem; border-bottom: 1px solid #d8dee4; text-align: left;
  vertical-align: top; white-space: nowrap }
thead th { border-bottom: 2px solid #57606a; vertical-align: bottom }
.numbers td, .numbers thead th + th { text-align: right }
.numbers tbody th { font-weight: 400 }
.numbers tr > :first-child { position: sticky; left: 0; background: #fff }
tbody tr:hover > * { background: #f6f8fa }
strong { color: #0a5c2b }
pre { background: #f6f8fa; padding: .7rem; overflow-x: auto; font-size: .8rem; margin: .3rem 0 }
summary { cursor: pointer; font-weight: 600 } details { margin: .7rem 0 }
figure { margin: 1rem 0; overflow-x: auto } figcaption { font-weight: 600; font-size: .875rem }
img { max-width: 100%; height: auto } img.sheet { max-width: none }
@media (max-width: 40rem) { body { padding: .6rem } th, td { padding: .2rem .4rem } }
"""


class Strong(str):
    """A cell in bold."""

    __slots__ = ()


class Block(Protocol):
    """A part of a page."""

    def markdown(self) -> str:
        """Return the block as Markdown."""
        ...

    def html(self, folder: Path) -> str:
        """Return the block as HTML; pictures lie in `folder`."""
        ...


@dataclass(frozen=True)
class Heading:
    """The beginning of a section."""

    text: str

    def markdown(self) -> str:
        """Return the block as Markdown."""
        return f"## {_plain(self.text)}"

    def html(self, folder: Path) -> str:
        """Return the block as HTML."""
        del folder
        return f"<h2>{html.escape(self.text)}</h2>"


@dataclass(frozen=True)
class Paragraph:
    """Sentences."""

    text: str

    def markdown(self) -> str:
        """Return the block as Markdown."""
        return _plain(self.text)

    def html(self, folder: Path) -> str:
        """Return the block as HTML."""
        del folder
        return f"<p>{html.escape(self.text)}</p>"


@dataclass(frozen=True)
class Table:
    """Rows of cells under a head; the first cell of a row says what it is about."""

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    has_numbers: bool = True  # which stand at the right of their cells

    def markdown(self) -> str:
        """Return the block as Markdown."""
        sides = [":---", *["---:" if self.has_numbers else ":---"] * (len(self.head) - 1)]
        lines = [map(_plain, self.head), sides, *(map(_marked, row) for row in self.rows)]
        table = "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
        return f"**{_plain(self.title)}**\n\n{table}"

    def html(self, folder: Path) -> str:
        """Return the block as HTML."""
        del folder
        head = "".join(f'<th scope="col">{html.escape(cell)}</th>' for cell in self.head)
        rows = "\n".join(f"<tr>{_row(cells)}</tr>" for cells in self.rows)
        kind = ' class="numbers"' if self.has_numbers else ""
        title = f"<caption>{html.escape(self.title)}</caption>"
        parts = f"{title}\n<thead><tr>{head}</tr></thead>\n<tbody>\n{rows}\n</tbody>"
        return f'<div class="wide"><table{kind}>{parts}</table></div>'


@dataclass(frozen=True)
class Lines:
    """Lines as they are, such as commands or values of configs."""

    title: str
    lines: Sequence[str]

    def markdown(self) -> str:
        """Return the block as Markdown."""
        text = "\n".join(self.lines)
        longest = max(map(len, re.findall("`+", text)), default=0)
        fence = "`" * max(3, longest + 1)
        return f"{_plain(self.title)}\n\n{fence}text\n{text}\n{fence}"

    def html(self, folder: Path) -> str:
        """Return the block as HTML, folded in if it is long."""
        del folder
        is_open = " open" if len(self.lines) <= 30 else ""
        summary = f"<summary>{html.escape(self.title)}</summary>"
        text = html.escape("\n".join(self.lines))
        return f"<details{is_open}>{summary}<pre>{text}</pre></details>"


@dataclass(frozen=True)
class Picture:
    """A PNG in the folder of the page."""

    title: str
    file: str
    is_sheet: bool = False  # keeps its size, so that one scrolls over it

    def markdown(self) -> str:
        """Return the block as Markdown."""
        return f"![{_plain(self.title)}]({self.file})"

    def html(self, folder: Path) -> str:
        """Return the block as HTML that holds the picture itself."""
        data = base64.b64encode((folder / self.file).read_bytes()).decode()
        title, kind = html.escape(self.title), ' class="sheet"' if self.is_sheet else ""
        image = f'<img{kind} alt="{title}" src="data:image/png;base64,{data}">'
        return f"<figure><figcaption>{title}</figcaption>{image}</figure>"


@dataclass(frozen=True)
class Page:
    """A report."""

    title: str
    blocks: Sequence[Block]

    def markdown(self) -> str:
        """Return the report as Markdown, which shows the pictures in its folder."""
        blocks = (block.markdown() for block in self.blocks)
        return "\n\n".join([MADE, f"# {_plain(self.title)}", *blocks]) + "\n"

    def html(self, folder: Path) -> str:
        """Return the report as HTML that needs no other file, not even the pictures."""
        title = html.escape(self.title)
        head = (
            f'{MADE}\n<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            f"<title>{title}</title>\n<style>{STYLE}</style>\n</head>\n"
        )
        blocks = "\n".join(block.html(folder) for block in self.blocks)
        return f"{head}<body>\n<h1>{title}</h1>\n{blocks}\n</body>\n</html>\n"

    def write(self, folder: Path, stem: str) -> list[Path]:
        """Write both into the folder of the pictures, and return the files."""
        texts = {".md": self.markdown(), ".html": self.html(folder)}
        for suffix, text in texts.items():
            with atomic_write(folder / f"{stem}{suffix}", "w") as file:
                file.write(text)
        return [folder / f"{stem}{suffix}" for suffix in texts]


def is_report(file: Path) -> bool:
    """Tell whether a file is a report, which another one may replace."""
    with file.open("rb") as stream:
        return stream.read(len(MADE)) == MADE.encode()


def _plain(text: str) -> str:
    r"""Return text for Markdown, in which every letter stands for itself.

    >>> print(_plain("a_b *c* <d>|_e"))
    a_b \*c\* &lt;d&gt;\|\_e
    """
    one_line = " ".join(text.split())
    return SPECIAL.sub(lambda found: f"\\{found[0]}", html.escape(one_line, quote=False))


def _marked(cell: str) -> str:
    return f"**{_plain(cell)}**" if isinstance(cell, Strong) and cell else _plain(cell)


def _row(cells: Sequence[str]) -> str:
    first, *rest = (html.escape(cell) for cell in cells)
    shown = (f"<strong>{t}</strong>" if isinstance(c, Strong) else t
             for c, t in zip(cells[1:], rest, strict=True))  # fmt: skip
    return f'<th scope="row">{first}</th>' + "".join(f"<td>{text}</td>" for text in shown)
