"""What a GPU is asked is asked a CPU too: what only a GPU calls is wrong for long before anybody sees it."""

from __future__ import annotations

from pathlib import Path


def test_no_test_is_for_a_gpu_alone() -> None:
    sources = [path for path in Path(__file__).parent.glob("*.py") if path != Path(__file__)]
    assert len(sources) > 5
    alone = [path.name for path in sources if "@pytest.mark.gpu" in path.read_text(encoding="utf-8")]
    assert alone == []  # devices are parameters: the fixture ``device``, or ``on_devices``
