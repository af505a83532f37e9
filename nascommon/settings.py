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


Count = Annotated[int, Field(gt=0)]
"""A whole number, at least 1."""
Whole = Annotated[int, Field(ge=0)]
"""A whole number, at least 0."""
Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Probability = Annotated[float, Field(ge=0, le=1)]
OpenFraction = Annotated[float, Field(gt=0, lt=1)]
"""A share that leaves something on both sides."""
Seed = Annotated[int, Field(ge=0, lt=2**31)]
