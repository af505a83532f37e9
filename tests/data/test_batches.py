"""An epoch is a pure function of seed and key, and no picture is lost or seen twice."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from nascommon.data.batch import Batch
from nascommon.data.batches import Again, Batches, evaluation_batches, evaluation_size, training_batches
from nascommon.data.prepared import Prepared
from nascommon.data.settings import Augment
from nascommon.runtime.ranks import Share
from nascommon.settings import UserError

CPU = torch.device("cpu")
FILES = {"storage": "files", "size": 8, "channels": 3}
Make = Callable[..., Prepared]
Epoch = list[Batch]


def same(first: Epoch, second: Epoch) -> bool:
    return len(first) == len(second) and all(
        torch.equal(a, b) and torch.equal(x, y) for (a, x), (b, y) in zip(first, second, strict=True)
    )


@pytest.fixture(params=[{}, FILES], ids=["memory", "files"])
def batches(request: pytest.FixtureRequest, make: Make) -> Batches:
    part = make(source="digits", limit=80, **request.param).part("weights")
    return training_batches(part, 16, Augment(), seed=3, device=CPU, cutout=2, workers=0)


def test_an_epoch_is_the_same_whatever_was_drawn_before(batches: Batches) -> None:
    torch.manual_seed(1)
    first = list(batches.epoch(3))
    list(batches.epoch(4))
    torch.rand(17)
    assert same(first, list(batches.epoch(3)))
    assert not same(first, list(batches.epoch(4)))


def test_two_epochs_may_be_open_at_once(batches: Batches) -> None:
    first, second = batches.epoch(0), batches.epoch(0)
    for (a, x), (b, y) in zip(first, second, strict=True):
        assert torch.equal(a, b)
        assert torch.equal(x, y)


@pytest.mark.parametrize("count", [2, 3])
def test_shares_make_up_every_batch_and_know_its_size(batches: Batches, count: int) -> None:
    shares = [list(batches.epoch(3, Share(index, count))) for index in range(count)]
    for whole, *parts in zip(batches.epoch(3), *shares, strict=True):
        assert torch.equal(torch.cat([part.images for part in parts]), whole.images)
        assert torch.equal(torch.cat([part.labels for part in parts]), whole.labels)
        assert [part.count for part in parts] == [whole.count] * count == [16] * count
        assert sum(share for part in parts for _, share in part.pieces(2)) == pytest.approx(1)


@pytest.mark.parametrize(("count", "pieces"), [(2, 1), (3, 2), (3, 4), (5, 7), (16, 2)])
def test_shares_that_are_dealt_make_up_the_pieces_of_the_batch(batches: Batches, count: int, pieces: int) -> None:
    shares = [list(batches.epoch(3, Share(index, count, dealt=True))) for index in range(count)]
    for whole, *parts in zip(batches.epoch(3), *shares, strict=True):
        # At most so many that every rank has an image of each.
        expected = whole.pieces(min(pieces, 16 // count))
        for (piece, weight), *mine in zip(expected, *[part.pieces(pieces) for part in parts], strict=True):
            assert all(len(batch.labels) for batch, _ in mine)
            assert sum(share for _, share in mine) == pytest.approx(weight)
            ours = torch.cat([batch.images.flatten(1) for batch, _ in mine])
            assert sorted(ours.tolist()) == sorted(piece.images.flatten(1).tolist())


def test_a_batch_is_shared_by_no_more_than_batch_norm_allows(batches: Batches) -> None:
    assert [len(batch.labels) for batch in batches.epoch(0, Share(7, 8))] == [2, 2]
    with pytest.raises(UserError, match="launch: 9 processes cannot share a batch of 16 images"):
        next(iter(batches.epoch(0, Share(0, 9))))
    assert [len(batch.labels) for batch in batches.epoch(0, Share(15, 16, dealt=True))] == [1, 1]
    with pytest.raises(UserError, match="launch: 17 processes cannot share a batch of 16 images"):
        next(iter(batches.epoch(0, Share(0, 17, dealt=True))))


@pytest.mark.parametrize("settings", [{}, FILES], ids=["memory", "files"])
def test_batches_of_evaluation_are_dealt_out(make: Make, settings: dict[str, object]) -> None:
    part = make(source="digits", limit=80, **settings).part("weights")
    batches = evaluation_batches(part, 16, device=CPU, workers=0)
    dealt = [list(batches.epoch(0, Share(index, 2))) for index in range(2)]
    first, second, third = batches.epoch(0)
    assert same(dealt[0], [first, third])
    assert same(dealt[1], [second])
    assert list(batches.epoch(0, Share(3, 4))) == []


def test_drawing_leaves_the_global_generator_alone(batches: Batches) -> None:
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    list(batches.epoch(0))
    assert torch.equal(torch.rand(1), expected)


def test_batches_are_float_pictures_and_whole_labels_of_one_size(batches: Batches) -> None:
    epoch = list(batches.epoch(0))
    assert len(epoch) == len(batches) == 40 // 16
    for images, labels in epoch:
        assert images.dtype == torch.float32
        assert images.shape[0] == labels.shape[0] == 16
        assert labels.dtype == torch.int64


def test_the_seed_changes_order_and_augmentation(make: Make) -> None:
    part = make(source="digits", limit=80).part("weights")
    one, other = (training_batches(part, 16, Augment(), seed=seed, device=CPU) for seed in (1, 2))
    assert not same(list(one.epoch(0)), list(other.epoch(0)))


@pytest.mark.parametrize("storage", [{}, FILES], ids=["memory", "files"])
def test_every_picture_comes_once_in_an_epoch(make: Make, storage: dict[str, object]) -> None:
    part = make(source="digits", limit=64, **storage).part("weights")
    batches = training_batches(part, 8, Augment(), seed=0, device=CPU, clean=True, workers=0)
    seen = torch.cat([images for images, _ in batches.epoch(0)]).flatten(1)
    all_of_them = torch.cat([images for images, _ in evaluation_batches(part, 5, device=CPU).epoch(0)]).flatten(1)
    assert sorted(seen.tolist()) == sorted(all_of_them.tolist())
    assert seen.tolist() != all_of_them.tolist()


@pytest.mark.parametrize("storage", [{}, FILES], ids=["memory", "files"])
def test_pictures_keep_their_labels(make: Make, storage: dict[str, object]) -> None:
    part = make(source="digits", limit=64, **storage).part("weights")
    fixed = evaluation_batches(part, 64, device=CPU, workers=0)
    images, labels = next(iter(fixed.epoch(0)))
    known = {tuple(image): int(label) for image, label in zip(images.flatten(1).tolist(), labels, strict=True)}
    shuffled = training_batches(part, 64, Augment(), seed=0, device=CPU, clean=True, workers=0)
    for image, label in zip(*(tensor for tensor in next(iter(shuffled.epoch(0)))), strict=True):
        assert known[tuple(image.flatten().tolist())] == int(label)


def test_the_only_batch_is_kept_although_partial(make: Make) -> None:
    part = make(source="digits", limit=40).part("weights")
    batches = training_batches(part, 64, Augment(), seed=0, device=CPU)
    assert [len(labels) for _, labels in batches.epoch(0)] == [20]
    assert len(batches) == 1


@pytest.mark.parametrize("storage", [{}, FILES], ids=["memory", "files"])
def test_evaluation_keeps_the_order_and_the_last_partial_batch(make: Make, storage: dict[str, object]) -> None:
    part = make(source="digits", limit=60, **storage).part("train")
    batches = evaluation_batches(part, 25, device=CPU, workers=0)
    epoch = list(batches.epoch(0))
    assert [len(labels) for _, labels in epoch] == [25, 25, 10]
    assert len(batches) == 3
    assert torch.equal(torch.cat([labels for _, labels in epoch]), part.labels)
    assert same(epoch, list(batches.epoch(7)))


@pytest.mark.parametrize("storage", [{}, FILES], ids=["memory", "files"])
def test_evaluation_takes_a_piece_of_a_batch_at_a_time(make: Make, storage: dict[str, object]) -> None:
    part = make(source="digits", limit=60, **storage).part("train")
    whole = evaluation_batches(part, 25, device=CPU, workers=0).epoch(0)
    pieces = list(evaluation_batches(part, 25, device=CPU, pieces=3, workers=0).epoch(0))
    assert [len(labels) for _, labels in pieces] == [9] * 6 + [6]  # 25 images in three pieces are 9 at most
    assert torch.equal(torch.cat([images for images, _ in pieces]), torch.cat([images for images, _ in whole]))


def test_batches_can_be_gone_through_again(make: Make) -> None:
    again = Again(evaluation_batches(make(source="digits", limit=60).part("train"), 25, device=CPU, workers=0))
    first, second = list(again), list(again)
    assert [len(labels) for _, labels in first] == [25, 25, 10]
    assert same(first, second)
    assert first[0].images.data_ptr() != second[0].images.data_ptr()  # nothing is kept from one time to the next


@pytest.mark.parametrize(
    ("batch_size", "numbers", "pieces", "cpu", "gpu"),
    [
        (64, 3 * 32 * 32, 1, 64, 1024),  # 2 ** 20 * 3 numbers fill a GPU
        (64, 3 * 32 * 32, 5, 13, 205),
        (2000, 3 * 32 * 32, 4, 500, 500),
        (64, 3 * 224 * 224, 1, 64, 64),
        (64, None, 4, 16, 16),  # files come as they are set
        (500, 3 * 32 * 32, None, 500, 500),  # so do tests
    ],
)
def test_a_batch_of_evaluation_fills_a_gpu_unless_memory_is_short(
    batch_size: int, numbers: int | None, pieces: int | None, cpu: int, gpu: int
) -> None:
    sizes = [evaluation_size(batch_size, numbers, torch.device(kind), pieces) for kind in ("cpu", "cuda")]
    assert sizes == [cpu, gpu]


def test_files_and_memory_agree_where_no_picture_needs_resizing(make: Make) -> None:
    # At size 7 the evaluation view has a short side of 8: these pictures' own, so it only cuts out the centre.
    common = {"source": "digits", "limit": 60}
    files = make(**common, storage="files", size=7).part("test")
    memory = make(**common).part("test")
    seen = torch.cat([images for images, _ in evaluation_batches(files, 9, device=CPU, workers=0).epoch(0)])
    pixels = torch.cat([images for images, _ in evaluation_batches(memory, 9, device=CPU).epoch(0)])
    mean_f, std_f = files.manifest.mean[0], files.manifest.std[0]
    mean_m, std_m = memory.manifest.mean[0], memory.manifest.std[0]
    assert torch.equal(files.labels, memory.labels)
    centre = (pixels * std_m + mean_m)[..., 0:7, 0:7]
    torch.testing.assert_close(seen * std_f + mean_f, centre, rtol=0, atol=1e-5)
