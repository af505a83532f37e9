"""The cells that papers published, by name (facts from the papers and their code; docs/methods.md, section 4).

One line a cell, a bar between nodes, ``operation@source``: mp/ap = 3x3 max/average pool, sk = skip, s = sep_conv,
d = dil_conv, each with its kernel size; c7 = conv_7x1_1x7.
"""

from __future__ import annotations

from nascommon.space.genotype import DARTS_KINDS, CellGenotype, Choice, Genotype

SHORT = {
    "mp": "max_pool_3x3",
    "ap": "avg_pool_3x3",
    "sk": "skip_connect",
    "s3": "sep_conv_3x3",
    "s5": "sep_conv_5x5",
    "s7": "sep_conv_7x7",
    "d3": "dil_conv_3x3",
    "d5": "dil_conv_5x5",
    "c7": "conv_7x1_1x7",
}
"""Operations by their abbreviations."""


def _cell(text: str, concat: tuple[int, ...] = (2, 3, 4, 5)) -> CellGenotype:
    nodes = [[word.split("@") for word in node.split()] for node in text.split("|")]
    return CellGenotype(
        tuple(tuple(Choice(SHORT[name], int(source)) for name, source in node) for node in nodes), concat
    )


_CELLS = {
    "DARTS_V1": (
        _cell("s3@1 s3@0 | sk@0 s3@1 | sk@0 s3@1 | s3@0 sk@2"),
        _cell("mp@0 mp@1 | sk@2 mp@0 | mp@0 sk@2 | sk@2 ap@0"),
    ),
    "DARTS_V2": (
        _cell("s3@0 s3@1 | s3@0 s3@1 | s3@1 sk@0 | sk@0 d3@2"),
        _cell("mp@0 mp@1 | sk@2 mp@1 | mp@0 sk@2 | sk@2 mp@1"),
    ),
    "PC_DARTS_cifar": (
        _cell("s3@1 sk@0 | s3@0 d3@1 | s5@0 s3@1 | ap@0 d3@1"),
        _cell("s5@1 mp@0 | s5@1 s5@2 | s3@0 s3@3 | s3@1 s3@2"),
    ),
    "PC_DARTS_image": (
        _cell("sk@1 s3@0 | s3@0 sk@1 | s3@1 s3@3 | s3@1 d5@4"),
        _cell("s3@0 sk@1 | d5@2 mp@1 | s3@2 s3@1 | s5@0 s3@3"),
    ),
    "PDARTS": (
        _cell("sk@0 d3@1 | sk@0 s3@1 | s3@1 s3@3 | s3@0 d5@4"),
        _cell("ap@0 s5@1 | s3@0 d5@2 | mp@0 d3@1 | d3@1 d5@3"),
    ),
    "EC_DARTS_cifar": (
        _cell("sk@0 s3@1 | d3@2 s3@0 | s3@2 s3@0 | s3@0 d5@4"),
        _cell("sk@0 mp@1 | mp@0 mp@1 | mp@0 d3@3 | sk@2 mp@0"),
    ),
    "EC_DARTS_image": (
        _cell("s3@1 s5@0 | s3@1 sk@0 | s3@2 s3@1 | s3@4 s5@3"),
        _cell("mp@0 mp@1 | d5@1 d5@2 | s3@0 d3@3 | d5@4 s3@3"),
    ),
    "NASNet": (
        _cell("s5@1 s3@0 | s5@0 s3@0 | ap@1 sk@0 | ap@0 ap@0 | s3@1 sk@1", (2, 3, 4, 5, 6)),
        _cell("s5@1 s7@0 | mp@1 s7@0 | ap@1 s5@0 | sk@3 ap@2 | s3@2 mp@1", (4, 5, 6)),
    ),
    "AmoebaNet": (
        _cell("ap@0 mp@1 | s3@0 s5@2 | s3@0 ap@3 | s3@1 sk@1 | sk@0 ap@1", (4, 5, 6)),
        _cell("ap@0 s3@1 | mp@0 s7@2 | s7@0 ap@1 | mp@0 mp@1 | c7@0 s3@5", (3, 4, 6)),
    ),
}

PUBLISHED: dict[str, Genotype] = {
    name: Genotype(zip(DARTS_KINDS, cells, strict=True)) for name, cells in _CELLS.items()
}
