"""The argument parsers of the commands, to try a command without running it."""

import argparse
from functools import cache
from unittest import mock

from demo_project import ROOT, run


@cache
def parser_of(script: str) -> argparse.ArgumentParser:
    """Return the argument parser that a script really uses."""
    found = []

    def stop(parser: argparse.ArgumentParser, *_: object) -> None:
        found.append(parser)
        raise SystemExit

    with mock.patch.object(argparse.ArgumentParser, "parse_args", stop):
        run(ROOT, f"python {script}")
    (parser,) = found
    return parser
