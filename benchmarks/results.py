"""Put the results of a benchmark between its marks in a Markdown file."""

from pathlib import Path


def write_section(name: str, text: str, file: Path) -> None:
    """Replace the section with this name, or append it to the file."""
    begin, end = (f"<!-- {name}: {mark} -->" for mark in ("begin", "end"))
    whole = file.read_text(encoding="utf-8") if file.is_file() else "# Measured results\n"
    before, _, rest = whole.partition(begin)
    section = f"{begin}\n{text.rstrip()}\n{end}"
    parts = [before.strip(), section, rest.partition(end)[2].strip()]
    file.write_text("\n\n".join(filter(None, parts)) + "\n", encoding="utf-8")
