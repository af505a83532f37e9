"""Settings of the pictures: source, size, split, augmentation."""

from __future__ import annotations

import json
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from nascommon.data.fitting import Fit
from nascommon.settings import Images, Margin, NonNegative, OpenFraction, Probability, Processes, Settings, Side

# YAML has lists only, so tuples are read leniently; their elements stay strict.
Scale = Annotated[tuple[Probability, Probability], Field(strict=False)]
Jitter = Annotated[tuple[NonNegative, NonNegative, NonNegative, NonNegative], Field(strict=False)]
ClassNames = Annotated[tuple[str, ...], Field(strict=False)]

LARGEST_HUE = 0.5
FOLDERS = ("image_folder", "imagenet")
"""Sources that are folders of the user's, with a folder per class."""
PLACES = (*FOLDERS, "webdataset", "huggingface")
"""Sources that lie in a folder of the user's."""


class Augment(Settings):
    """Variation of the training pictures; the defaults are the papers' (CIFAR in memory, ImageNet as files)."""

    crop_padding: Margin = 4
    """Pictures in memory: pixels of zeros added on every side before a random crop to the old size; 0 = no crop."""
    flip: bool = True
    """Mirror every second picture, drawn at random."""
    resized_crop_scale: Scale = (0.08, 1.0)
    """Files only: smallest and largest share of the picture's area that a random crop covers."""
    color_jitter: Jitter = (0.4, 0.4, 0.4, 0.2)
    """Files only: brightness, contrast, saturation, hue; all 0 = none."""

    @model_validator(mode="after")
    def _ranges(self) -> Self:
        low, high = self.resized_crop_scale
        if not 0 < low <= high:
            raise ValueError(f"resized_crop_scale: must rise from above 0 to at most 1 (got [{low}, {high}])")
        if self.color_jitter[3] > LARGEST_HUE:
            raise ValueError(f"color_jitter: the fourth number, hue, must be at most 0.5 (got {self.color_jitter[3]})")
        return self


BENCHMARK_HALVES = {
    "source": "cifar10",
    "classes": None,
    "architecture_fraction": 0.5,
    "search_fraction": 1.0,
    "limit": None,
    "copies": "keep",
}
"""What split nasbench201 needs: it numbers all training pictures of CIFAR-10."""


class DataSettings(Settings):
    """The section ``data`` of ``params.yaml``."""

    source: Literal["digits", "cifar10", "cifar100", "image_folder", "imagenet", "webdataset", "huggingface"]
    path: str | None = None
    """Folder of the pictures, of tar files of them (webdataset) or of Parquet files (huggingface), which are unpacked
    into ``data/downloads``; for CIFAR empty = download there. Looked up by ``prepare`` only."""
    train_folder: str | None = None
    """Place of the folders of the training classes, within ``path``; '.' is ``path`` itself. Empty = recognised by
    its name (train, Training, seg_train, ...), or ``path`` itself."""
    test_folder: str | None = None
    """The same for the test pictures. Empty = recognised (test before val), or a share of the training pictures."""
    size: Side | None = None
    """Side in pixels that pictures are brought to; empty = as they are, one size for all. Needed with files."""
    fit: Fit = "crop"
    """Way in which a picture becomes square. crop: its centre, as much as the short side allows (from files in
    evaluation ImageNet's view, the centre of 224/256 of that); pad: all of it between black bars; stretch: all of it,
    out of proportion. Training from files takes random crops of that. ``prepare`` says how much crop cuts off."""
    channels: Literal[1, 3] | None = None
    """1 = gray, 3 = colour, every picture is converted; empty = inferred, colour as soon as one picture is."""
    storage: Literal["auto", "memory", "files"] = "auto"
    """Place of the pixels. auto: imagenet as files, an image folder of more than 2 GB too, all else in memory."""
    classes: ClassNames | None = None
    """Restricts and orders the classes; empty = all, sorted by name."""
    test_fraction: OpenFraction = 0.2
    """Share kept for the test set, only where the source brings none of its own."""
    split: Literal["stratified", "nasbench201"] = "stratified"
    """Division of the search's pictures. stratified: every class alike, by the seed; nasbench201: the benchmark's own
    halves of CIFAR-10, whatever the seed: its training half for the weights, its validation half for the architecture.
    """
    architecture_fraction: OpenFraction = 0.5
    """Share of the search's pictures that trains the architecture; the others train the network weights."""
    search_fraction: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Share of the training pictures that the search sees at all, class-balanced; retraining sees all of them."""
    limit: Images | None = None
    """Keep at most this many training pictures, class-balanced, and the same share of the test set."""
    copies: Literal["keep", "drop"] = "keep"
    """Equal pictures in training and test, or under two labels, are counted and listed in the manifest; drop leaves
    them out of the training pictures (under two labels all of them: which label is right cannot be known)."""
    verify: Literal["decode", "headers"] = "decode"
    """Files only (in memory all are decoded): decode looks at every picture once before anything is trained; headers
    leaves that out: a file that is torn behind its header stops training or evaluation, and copies are found only
    where the files are equal."""
    workers: Processes = 4
    """Loader processes with files (at most one per CPU core is started); results do not depend on it."""
    augment: Augment = Augment()

    @model_validator(mode="after")
    def _places(self) -> Self:
        if self.source in PLACES and not self.path:
            raise ValueError(
                f"path: source {self.source} needs the folder of the pictures (got {json.dumps(self.path)})"
            )
        if self.source not in FOLDERS and (self.train_folder or self.test_folder):
            raise ValueError(f"train_folder: only for source {' or '.join(FOLDERS)} (got source {self.source})")
        if self.train_folder is not None and self.train_folder == self.test_folder:
            raise ValueError(f"test_folder: must be another than train_folder (got {self.test_folder})")
        if self.source == "digits" and self.path is not None:
            raise ValueError(f"path: the digits come with scikit-learn; leave it empty (got {json.dumps(self.path)})")
        return self

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if self.storage == "files" and self.size is None:
            raise ValueError("size: storage files needs the side in pixels, for example 224 (got null)")
        if self.source == "imagenet" and self.size is None:
            raise ValueError("size: source imagenet needs the side in pixels, for example 224 (got null)")
        if self.fit != "crop" and self.size is None:
            raise ValueError(f"fit: needs size, the side in pixels; without it nothing is resized (got {self.fit})")
        if self.classes is not None and len(set(self.classes)) != len(self.classes):
            raise ValueError(f"classes: every name once (got {', '.join(self.classes)})")
        if self.classes is not None and len(self.classes) < 2:  # noqa: PLR2004 - a pair
            raise ValueError(f"classes: at least two are needed (got {len(self.classes)})")
        return self

    @model_validator(mode="after")
    def _benchmark_halves(self) -> Self:
        if self.split == "nasbench201":
            for key, needed in BENCHMARK_HALVES.items():
                if (value := getattr(self, key)) != needed:
                    raise ValueError(
                        f"{key}: split nasbench201 divides all training pictures of CIFAR-10 in halves, so this must be"
                        f" {json.dumps(needed)} (got {json.dumps(value)}); or set split: stratified"
                    )
        return self
