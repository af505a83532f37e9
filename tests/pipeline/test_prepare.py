"""What is said of a set names the section of params.yaml that it comes from."""

from __future__ import annotations

import pytest

from tests.stages.project import Project


def test_what_is_cut_off_is_said_of_the_section_that_cuts(
    prepared: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    prepared.change(data__size=None, transfer__data={"source": "digits", "size": 32, "storage": "files"})
    told = [line for line in prepared.stage("prepare").splitlines() if "cuts off" in line]
    assert [line.split(":")[0] for line in told] == ["transfer.data.fit"]


def test_what_is_wrong_with_a_set_is_said_of_its_own_section(prepared: Project) -> None:
    prepared.change(transfer__data__search_fraction=1e-9)
    result = prepared.command("prepare")
    assert result.err.startswith("error: params.yaml: transfer.data.search_fraction: leaves the search less than two ")
    assert (result.status, len(result.err.splitlines())) == (2, 1)
