"""What the code and the pages of docs/ say of each other is there: sections, settings, paths, links, layers."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pydantic
import pytest

import nascommon.methods  # noqa: F401 -- fills the registry
from nascommon.config import Params
from nascommon.method import REGISTRY

ROOT = Path(__file__).parents[1]
ROOMS = ("nascommon", "stages", "benchmarks", "tests")
CITED = re.compile(r"methods\.md,\s+sections?\s+([\d.]+\d|\d)((?:(?:,| and)\s+(?:[\d.]+\d|\d))*)")
KEY = re.compile(r"(?<![\w./])([a-z_]\w*(?:\.[a-z_]\w*)+)")


def sources() -> Iterator[tuple[str, str]]:
    """Yield (path, text) of every Python file of the project but this one."""
    for room in ROOMS:
        for path in sorted((ROOT / room).rglob("*.py")):
            if path != Path(__file__):
                yield str(path.relative_to(ROOT)), path.read_text(encoding="utf-8")


def sections() -> set[str]:
    """Return the numbers of the headings of docs/methods.md."""
    page = (ROOT / "docs" / "methods.md").read_text(encoding="utf-8")
    return set(re.findall(r"^#+ (\d+(?:\.\d+)*)\.? ", page, re.MULTILINE))


def test_every_cited_section_of_the_methods_page_exists() -> None:
    cited = {
        (path, number)
        for path, text in sources()
        for match in CITED.finditer(text)
        for number in re.findall(r"\d+(?:\.\d+)*", match.group())
    }
    assert len(cited) > 10
    assert {(path, number) for path, number in cited if number not in sections()} == set()


def test_the_page_is_cited_where_a_reader_finds_it() -> None:
    unplaced = re.compile(r"(?<!docs/)\bmethods\.md")
    assert [path for path, text in sources() if unplaced.search(text)] == []


def keys(model: type[pydantic.BaseModel]) -> dict[str, Any]:
    """Return the tree of a settings type's keys; what is no settings type is a leaf."""
    return {name: _below(field.annotation) for name, field in model.model_fields.items()}


def _below(annotation: Any) -> dict[str, Any]:
    if isinstance(annotation, type) and issubclass(annotation, pydantic.BaseModel):
        return keys(annotation)
    return {key: tree for part in getattr(annotation, "__args__", ()) for key, tree in _below(part).items()}


def known(path: str, tree: dict[str, Any]) -> bool:
    """Say whether a dotted path leads through ``tree``."""
    for name in path.split("."):
        if name not in tree:
            return False
        tree = tree[name]
    return True


@pytest.mark.parametrize("method", sorted(REGISTRY))
def test_the_keys_that_a_method_names_exist(method: str) -> None:
    settings = REGISTRY[method].settings
    tree = keys(Params) | keys(settings)
    module = (ROOT / "nascommon" / "methods" / f"{method}.py").read_text(encoding="utf-8")
    docstrings = "\n".join(re.findall(r'"""(.*?)"""', module, re.DOTALL))
    named = [path for path in KEY.findall(docstrings) if path.split(".")[0] in tree]
    assert [path for path in named if not known(path, tree)] == []


def test_a_key_that_does_not_exist_is_seen() -> None:
    assert known("data.search_fraction", keys(Params))
    assert not known("data.search_fractions", keys(Params))


ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
MADE_BY_THE_PIPELINE = "data/"


def test_every_path_in_the_architecture_exists() -> None:
    quoted = re.findall(r"`([\w./-]+)`", ARCHITECTURE)
    paths = {path for path in quoted if "/" in path or path.endswith((".py", ".md", ".yaml", ".toml"))}
    assert len(paths) > 30
    assert [path for path in paths if not path.startswith(MADE_BY_THE_PIPELINE) and not (ROOT / path).exists()] == []


def test_every_link_of_the_pages_leads_somewhere() -> None:
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    links = [
        (page, link) for page in pages for link in re.findall(r"\]\(([\w./-]+)\)", page.read_text(encoding="utf-8"))
    ]
    assert (ROOT / "README.md", "docs/architecture.md") in links
    assert [f"{page.name}: {target}" for page, target in links if not (page.parent / target).exists()] == []


def test_the_picture_has_the_rooms_and_the_order_of_the_contract() -> None:
    contract = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]["contracts"]
    layers = [re.findall(r"\w+", layer) for layer in contract[0]["layers"]]
    arrows = set(re.findall(r"(\w+)(?:\[[^\]]*\])? --> (\w+)", ARCHITECTURE))
    rank = {room: number for number, layer in enumerate(layers) for room in layer}
    drawn = {room for arrow in arrows for room in arrow}
    assert drawn == rank.keys() | {"stages"}
    assert all(rank[above] < rank[below] for above, below in arrows if above != "stages")
