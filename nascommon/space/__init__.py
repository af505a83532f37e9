"""Spaces that can be searched; importing any of it fills the registry of spaces."""

import nascommon.space.spaces

# isort: split
import nascommon.space.nasbench201  # noqa: F401 -- the space of most papers stands before it in lists
