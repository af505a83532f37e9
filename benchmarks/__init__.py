"""Timings beside plain twins and the released code; no part of the library."""

import os

# Before torch is imported: each profile otherwise warns of what it has not seen and of the GPU that is not there.
os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
os.environ.setdefault("KINETO_LOG_LEVEL", "5")
