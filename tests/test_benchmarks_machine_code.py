"""Loops of a kernel and the way around them are found in its machine code."""

from __future__ import annotations

import pytest

from benchmarks.machine_code import Listing

LISTING = """
        /*0000*/                   S2R R0, SR_TID.X ;
        /*0010*/              @P0 BRA `(.L_x_1) ;
.L_x_0:
        /*0020*/                   LDG.E.64 R2, desc[UR4][R8.64] ;
        /*0030*/              @!P1 FFMA R1, R2, R3, R1 ;
        /*0040*/                   FFMA.FTZ R1, R2, R3, R1 ;
        /*0050*/               @P2 BRA `(.L_x_0) ;
        /*0060*/                   BRA.U !UP0, `(.L_x_2) ;
.L_x_1:
        /*0070*/                   STG.E.64 desc[UR4][R8.64], R2 ;
        /*0080*/                   EXIT ;
.L_x_2:
        /*0090*/                   BRA `(.L_x_2);
"""


def test_a_listing_is_cut_into_loops_and_the_way_around_them() -> None:
    code = Listing(LISTING).code(40)
    assert code.loops == [{"LDG": 1, "FFMA": 2, "BRA": 1}]
    assert code.per_product() == 2
    assert code.per_product("LDG") == 0.5
    assert code.straight == 2 + 3


def test_code_without_an_end_is_told() -> None:
    with pytest.raises(ValueError, match="no way from instruction 5 to any"):
        Listing(LISTING.replace("EXIT", "NOP")).code(40)


def test_a_table_of_branches_leads_to_all_of_them() -> None:
    table = 'BRXU UR8 -0x40  (*"BRANCH_TARGETS .L_x_0,.L_x_1"*);'
    code = Listing(LISTING.replace("@P0 BRA `(.L_x_1) ;", "        " + table)).code(40)
    assert code.loops == [{"LDG": 1, "FFMA": 2, "BRA": 1}]
    assert code.straight == 2 + 3
