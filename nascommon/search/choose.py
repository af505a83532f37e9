"""The genotype that is retrained: discretized from the search, the best of some samples, or a given one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from nascommon.data.batch import Batch
from nascommon.parts.choices import BestOf, Discretized, Drawn
from nascommon.runtime.home import at_home
from nascommon.runtime.seeding import generator
from nascommon.search.scores import recalibrated_scores, scores_of_each
from nascommon.search.state import SearchState
from nascommon.settings import UserError
from nascommon.space.draws import sample_genotype
from nascommon.space.genotype import Genotype
from nascommon.space.genotype_text import STRING_START, parse_genotype
from nascommon.space.mixing import one_hot
from nascommon.space.published import PUBLISHED


def inherited_accuracy(
    state: SearchState, genotype: Genotype, calibration: Iterable[Batch], valid: Iterable[Batch]
) -> float:
    """Return the accuracy of a genotype with the supernet's weights, after batch-norm recalibration."""
    mixing = one_hot(genotype, state.spec.space, like=state.logits.like)
    return recalibrated_scores(state.supernet, mixing, calibration, valid)[1]


def inherited_accuracies(
    state: SearchState, genotypes: Iterable[Genotype], calibration: Sequence[Batch], valid: Sequence[Batch]
) -> Iterator[float]:
    """Yield the ``inherited_accuracy`` of each genotype, which is faster for many."""
    mixings = (one_hot(genotype, state.spec.space, like=state.logits.like) for genotype in genotypes)
    for _, accuracy in scores_of_each(state.supernet, mixings, calibration, valid):
        yield accuracy


def choose_genotype(
    state: SearchState, score: Callable[[Genotype], float], *, seed: int
) -> tuple[Genotype, list[dict[str, Any]]]:
    """Return the method's genotype and the samples that it was chosen from, if any, best first.

    Args:
        state: the end of the search.
        score: accuracy of a genotype on the architecture half; asked only where there are several samples.
        seed: decides which samples are drawn.
    """
    match state.method.select:
        case Discretized():
            return state.genotype() if state.induced is None else state.induced.genotype, []
        case Drawn():
            return _draws(state, 1, seed)[0], []
        case BestOf(count):
            draws = _draws(state, count, seed)
            scored = sorted(((score(genotype), genotype) for genotype in draws), key=lambda pair: -pair[0])
            return scored[0][1], [
                {"inherited_valid": accuracy, "genotype": genotype.to_json()} for accuracy, genotype in scored
            ]


def _draws(state: SearchState, count: int, seed: int) -> list[Genotype]:
    """Draw genotypes in proportion to the mixing weights."""
    mixing, space = state.mixing(), state.spec.space
    return [sample_genotype(mixing, space, generator(seed, "sample", index)) for index in range(count)]


def find_genotype(name: str) -> Genotype:
    """Return the published genotype of that name, read a string of NAS-Bench-201, or read the file.

    Raises:
        UserError: it is neither, or the file cannot be read or holds no genotype.
    """
    if name in PUBLISHED:
        return PUBLISHED[name]
    if name.startswith(STRING_START):
        return parse_genotype(name, "genotype")
    try:
        text = at_home(name).read_text(encoding="utf-8")
    except FileNotFoundError as error:
        known = ", ".join(PUBLISHED)
        raise UserError(f"{name}: neither a file nor a published genotype; published are {known}") from error
    except (OSError, ValueError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"{name}: cannot be read as a genotype ({reason}); name a text file") from error
    return parse_genotype(text, name)
