"""Random architectures are drawn from the space of the search, whichever its method is."""

from __future__ import annotations

import pytest
import torch

from tests.stages.project import Project


def operations(project: Project) -> set[str]:
    """Return all operations of the random architectures."""
    genotypes = [
        project.json(str(path.relative_to(project.folder)))["genotype"]
        for path in (project.folder / "data/baseline").glob("random_*/network.json")
    ]
    return {
        name for g in genotypes for kind in ("normal", "reduction") for node in g[kind]["nodes"] for name, _ in node
    }


def test_random_architectures_are_drawn_from_the_candidates_and_nodes_of_the_search(prepared: Project) -> None:
    few = ["none", "skip_connect", "avg_pool_3x3"]
    prepared.change(search__candidates=few, search__nodes=3, baseline__architectures=3, retrain__training__epochs=1)
    prepared.stages("search", "baseline")
    assert operations(prepared) == {"skip_connect", "avg_pool_3x3"}
    assert len(prepared.json("data/baseline/random_000/network.json")["genotype"]["normal"]["nodes"]) == 3


@pytest.mark.slow
def test_methods_of_one_space_leave_the_same_file_for_the_baseline(prepared: Project) -> None:
    spaces = []
    for method in ("darts", "fairdarts", "random"):  # with none and without it
        prepared.change(search__method=method).stage("search")
        spaces.append((prepared.folder / "data/search/space.json").read_bytes())
    assert spaces[0] == spaces[1] == spaces[2]


def test_without_a_search_the_baseline_says_what_is_missing(prepared: Project) -> None:
    result = prepared.command("baseline")
    assert result.status == 2
    assert result.err == ("error: data/search/space.json: no such file; run `dvc repro` to make what comes before it\n")


@pytest.mark.slow
def test_pieces_and_threads_that_computed_are_told(searched: Project) -> None:
    before = torch.get_num_threads()
    searched.change(
        threads=None, jobs=2, retrain__training__pieces=3, baseline__architectures=2, retrain__training__epochs=1
    ).stage("baseline")
    told = searched.json("data/baseline/random_000/network.json")["provenance"]
    assert (told["pieces"], told["threads"], told["precision"]) == (3, before, "float32")
