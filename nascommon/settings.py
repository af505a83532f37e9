"""Settings are typed once, cannot be changed, and refuse a typo."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field


class UserError(ValueError):
    """Something the user can mend; its message names file, key, value got and values allowed.

    Stages print it as one line and exit with status 2, without a traceback.
    """


class Settings(BaseModel):
    """Base of every section of ``params.yaml``: strict types, frozen, unknown keys refused."""

    model_config = ConfigDict(
        strict=True,
        frozen=True,
        extra="forbid",
        allow_inf_nan=False,
        use_attribute_docstrings=True,
        validate_default=True,
    )


Count = Annotated[int, Field(ge=1, le=1_000_000)]
"""A whole number from 1 to a million, where no narrower unit below fits."""
Whole = Annotated[int, Field(ge=0, le=1_000_000)]
"""A whole number from 0 to a million, where no narrower unit below fits."""
Epochs = Annotated[int, Field(ge=1, le=100_000)]
BatchSize = Annotated[int, Field(ge=1, le=65_536)]
"""Images of a batch, or the pieces that a batch is cut into."""
Side = Annotated[int, Field(ge=1, le=4096)]
"""Pixels."""
Margin = Annotated[int, Field(ge=0, le=4096)]
"""Pixels; 0 is none."""
Channels = Annotated[int, Field(ge=1, le=4096)]
AddedChannels = Annotated[int, Field(ge=0, le=4096)]
Cells = Annotated[int, Field(ge=1, le=1000)]
SearchCells = Annotated[int, Field(ge=3, le=1000)]
"""Of fewer than 3 all are reduction cells, and nothing would be learned of the normal cell."""
MOST_PHASES = 100
"""Of a search; each has a supernet of its own."""
Nodes = Annotated[int, Field(ge=1, le=32)]
"""Intermediate nodes of a cell; its edges grow with their square."""
Images = Annotated[int, Field(ge=1, le=1_000_000_000)]
Processes = Annotated[int, Field(ge=0, le=1024)]
Threads = Annotated[int, Field(ge=1, le=1024)]
"""Threads or processes at a time; more than the largest machines have would be refused by the system."""
Positive = Annotated[float, Field(gt=0, le=1_000_000)]
"""A rate, factor or norm."""
NonNegative = Annotated[float, Field(ge=0, le=1_000_000)]
Probability = Annotated[float, Field(ge=0, le=1)]
OpenFraction = Annotated[float, Field(gt=0, lt=1)]
"""A share that leaves something on both sides."""
Seed = Annotated[int, Field(ge=0, lt=2**31)]
