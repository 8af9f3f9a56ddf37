"""The site of the pages is built without a warning, is whole, and needs nothing from elsewhere."""

import re
import subprocess
import sys
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag
from xml.etree import ElementTree

import pytest
from demo_project import ROOT
from test_pages import PAGES

pytest.importorskip("properdocs", reason="the extra [docs] is not installed")
REPOSITORY = ["repository/pretrained/index.html", "repository/mmseg/models/uda/dacs.py.html"]


class Page(HTMLParser):
    """The anchors of a page, what it links to, what it loads, and its navigation."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: set[str] = set()
        self.loaded: set[str] = set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {key: value or "" for key, value in attrs}
        self.anchors |= {given[key] for key in ("id", "name") if key in given}
        if "src" in given or (tag == "link" and given.get("rel") != "canonical"):
            self.loaded.add(given.get("src") or given["href"])
        elif tag == "a" and "href" in given:
            self.links.add(given["href"])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the built site."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "properdocs", "build", "-f", "docs/site/properdocs.yml"]
    done = subprocess.run(
        [*command, "-d", str(folder)], cwd=ROOT, capture_output=True, text=True, encoding="utf-8"
    )
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    assert "contains a link" not in done.stderr, done.stderr
    return folder


@cache
def page(path: Path) -> Page:
    return Page(path)


def test_every_link_of_the_site_leads_somewhere(site: Path) -> None:
    wrong = []
    files = sorted(site.rglob("*.html"))
    for file in files:
        if file.name == "404.html":  # its links start at the server's root
            continue
        for link in page(file).links | page(file).loaded:
            address, anchor = urldefrag(unquote(link))
            if "://" in address:
                continue
            target = (file.parent / address).resolve() if address else file
            if not target.is_file() or (anchor and anchor not in page(target).anchors):
                wrong.append(f"{file.relative_to(site)}: {link}")
    assert len(files) > len(PAGES)
    assert not wrong


def test_every_page_is_in_the_navigation_and_nothing_but_pages_is(site: Path) -> None:
    pages = {f"{Path(name).stem}.html" for name in PAGES if name.startswith("docs/")}
    assert {file.name for file in site.glob("*.html")} - {"404.html", "search.html"} == pages
    home = (site / "index.html").read_text(encoding="utf-8")
    navigation = re.findall(r'toctree-l1[^>]*><a[^>]*href="(?!#)([^"]+)"', home)
    assert len(navigation) == len(set(navigation))
    assert {link.replace("#", "index.html") for link in navigation} | {"index.html"} == pages


def test_drawings_and_source_files_are_on_the_site(site: Path) -> None:
    assert all((site / name).is_file() for name in REPOSITORY)
    drawing = site / "drawings/iteration.svg"
    links = [
        a.attrib["href"] for a in ElementTree.parse(drawing).iter("{http://www.w3.org/2000/svg}a")
    ]
    assert len(links) > 20
    assert all((drawing.parent / link).resolve().is_file() for link in links)
    assert not [*site.glob("**/*.py"), *site.glob("site/**/*")]


def test_the_site_loads_nothing_from_elsewhere(site: Path) -> None:
    for file in site.rglob("*.html"):
        assert not [link for link in page(file).loaded if "//" in link], file
