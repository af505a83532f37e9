"""Machine code of a GPU's kernel, as NVIDIA's disassembler prints it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

INSTRUCTION = re.compile(r"^\s+/\*[0-9a-f]+\*/\s+(@\S+\s+)?([A-Z0-9]+)\S*(.*?);")
LABEL = re.compile(r"\.L_\w+")
BRANCHES = ("BRA", "BRX", "BRXU")


@dataclass(frozen=True)
class Code:
    """Machine code of a kernel.

    Attributes:
        registers: of a thread.
        loops: those that add products and have no loop within: how many instructions of each kind.
        straight: instructions on the shortest way from the beginning to a loop and on to the end, a mean over loops.
    """

    registers: int
    loops: list[Counter[str]]
    straight: float

    def per_product(self, *kinds: str) -> float:
        """Return how many instructions of these kinds, or of all, the loops have for a product."""
        found = sum(sum(each[kind] for kind in kinds) if kinds else each.total() for each in self.loops)
        return found / sum(each["FFMA"] for each in self.loops)


class Listing:
    """The instructions of a kernel, in their order."""

    def __init__(self, text: str) -> None:
        """Take what the disassembler prints."""
        self.found: list[tuple[str, str, str]] = []  # predicate, kind, operands
        labels: dict[str, int] = {}
        for line in text.splitlines():
            if line.startswith(".L_"):
                labels[line.split(":")[0]] = len(self.found)
            elif match := INSTRUCTION.match(line):
                self.found.append((match[1] or "", match[2], match[3]))
        self.targets = {  # of a branch one, of a jump by a table all that it lists
            at: [labels[to] for to in LABEL.findall(rest)]
            for at, (_, kind, rest) in enumerate(self.found)
            if kind in BRANCHES
        }

    def code(self, registers: int) -> Code:
        """Return what is asked of it."""
        back = sorted((to, at) for at, every in self.targets.items() for to in every if to < at)
        inner = [(a, b) for a, b in back if not any((a, b) != (c, d) and a <= c and d <= b for c, d in back)]
        adding = [loop for loop in inner if self.kinds(*loop)["FFMA"]]
        if not adding:  # the compiler has unrolled all of it
            return Code(registers, [self.kinds(0, len(self.found))], 0)
        ends = {at for at, (_, kind, _) in enumerate(self.found) if kind == "EXIT"}
        straight = sum(self._way(0, {first}) + self._way(last, ends) for first, last in adding)
        return Code(registers, [self.kinds(*loop) for loop in adding], straight / len(adding))

    def kinds(self, first: int, last: int) -> Counter[str]:
        """Count the instructions from one to another."""
        return Counter(kind for _, kind, _ in self.found[first : last + 1])

    def _way(self, start: int, ends: set[int]) -> int:
        """Return how many instructions lead from one to one of others, at least.

        Raises:
            ValueError: none does.
        """
        seen, edge, steps = {start}, {start}, 0
        while edge:
            if edge & ends:
                return steps
            edge = {to for at in edge for to in self._next(at)} - seen
            seen |= edge
            steps += 1
        raise ValueError(f"no way from instruction {start} to any of {sorted(ends)}")

    def _next(self, at: int) -> Iterator[int]:
        predicate, kind, operands = self.found[at]
        yield from self.targets.get(at, ())
        # A condition that holds for a whole warp stands among the operands.
        goes_on = predicate or kind not in BRANCHES or "UP" in operands
        if goes_on and at + 1 < len(self.found):
            yield at + 1
