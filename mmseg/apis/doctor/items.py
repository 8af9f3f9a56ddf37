"""One line of the doctor's report, and where a sentence names the command that helps."""

import re
from dataclasses import dataclass

OK, WARNING, MISSING, BROKEN = "ok", "warning", "missing", "broken"
BAD = (MISSING, BROKEN)  # a run would end, or be spoiled
THIS_CONFIG = "<this config>"  # in the sentences of modules that do not know its name
# Up to where a sentence goes on behind the command.
COMMAND = re.compile(r"(?:with|of): (python .+?)(?=\.?$| \(docs/|, or set )")


@dataclass(frozen=True)
class Item:
    """What is there, or what is not.

    Attributes:
        mark: `OK`, `WARNING`, `MISSING` or `BROKEN`.
        name: what it is about, such as "disk", or the key of a config.
        text: what there is, or what was expected and what came.
        command: what brings it, if a command does.
    """

    mark: str
    name: str
    text: str
    command: str | None = None

    def __str__(self) -> str:
        """Return the line for people."""
        shown = self.command is None or self.command in self.text
        text = self.text if shown else f"{self.text.rstrip('.')}. Make it with: {self.command}"
        return f"{self.mark:<8} {self.name}: {' '.join(text.split())}"


def from_sentence(mark: str, name: str, sentence: str, config: str) -> Item:
    """Return an item for a sentence that may end with a command.

    >>> from_sentence(OK, "a", "Make it with: python x.py <this config>.", "c").command
    'python x.py c'
    """
    sentence = sentence.replace(THIS_CONFIG, config)
    found = COMMAND.search(sentence)
    return Item(mark, name, sentence, found[1] if found else None)
