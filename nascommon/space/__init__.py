"""Spaces that can be searched; importing any of it fills the registry of spaces."""

import nascommon.space.nasbench201
import nascommon.space.spaces  # noqa: F401
