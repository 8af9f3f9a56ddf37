"""Kinds of values, for the annotations of what configs describe.

Infinities and NaN are no numbers here, except where a `Field` says so.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field

Metric = Literal["mIoU", "mDice", "mFscore"]
Section = Mapping[str, Any]
Count = Annotated[int, Field(ge=1)]  # 1, 2, …
Index = Annotated[int, Field(ge=0)]  # 0, 1, …
Seed = Annotated[int, Field(ge=0, lt=2**63)]  # as torch takes it
Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Text = Annotated[str, Field(min_length=1)]
Counts = Annotated[Sequence[Count], Field(min_length=1)]
Indices = Annotated[Sequence[Index], Field(min_length=1)]
Label = Annotated[int, Field(ge=0, le=255)]  # of a pixel
Part = Annotated[float, Field(ge=0, lt=1)]  # less than all
Pair = Annotated[Sequence[Count], Field(min_length=2, max_length=2)]
