"""What a network in training looks at: crops of pictures, spoiled in the ways that canvases in progress are.

Batches are (N, 3, crop, crop) float32, RGB, sRGB-encoded, in [0, 1].
"""

import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset
from torchvision.transforms import v2

from muralist.pipeline.errors import PictureError
from muralist.pipeline.pictures.images import resize
from muralist.pipeline.pictures.limits import ReadLimits
from muralist.pipeline.pictures.reading import read_picture

LONGEST_SIDE_PX = 1400  # larger pictures are shrunk to this
MOST_PIXELS = 500_000_000
ZOOMS = (1, 1, 1, 1.5, 2)  # side of what a crop shows, in crops
HELD_OUT = 10  # one picture in so many
CANVASES = 0.35  # share of crops that are of canvases, where there are some; they are mostly left as they are


def load_pictures(paths: Iterable[Path], side: int) -> list[Tensor]:
    """Read the pictures among some files and folders, in the order of their names.

    Parameters
    ----------
    paths : iterable of Path
    side : int
        Pictures with a side shorter than this are left out, px.

    Returns
    -------
    list of Tensor (3, height, width), uint8
    """
    found = (sorted(path.rglob("*")) if path.is_dir() else [path] for path in paths)
    pictures = (_load_picture(file) for files in found for file in files if file.is_file())
    return [picture for picture in pictures if picture is not None and min(picture.shape[1:]) >= side]


def _load_picture(path: Path) -> Tensor | None:
    try:
        pixels = read_picture(path, ReadLimits(MOST_PIXELS)).pixels
    except PictureError:
        return None
    height, width = pixels.shape[:2]
    shrink = min(1, LONGEST_SIDE_PX / max(height, width))
    pixels = resize(pixels, max(1, round(height * shrink)), max(1, round(width * shrink)))
    return v2.functional.to_dtype(torch.from_numpy(pixels).permute(2, 0, 1), torch.uint8, scale=True).contiguous()


def split(pictures: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
    """Part the pictures into those to learn from and those held out."""
    held_out = list(pictures[::HELD_OUT])
    return [picture for i, picture in enumerate(pictures) if i % HELD_OUT], held_out


def coarsened(picture: Tensor, factor: int, mode: str) -> Tensor:
    """Shrink a picture (3, H, W) and enlarge it again: blocks with "nearest", blur with "bicubic"."""
    small = F.avg_pool2d(picture[None], factor)
    return F.interpolate(small, size=picture.shape[1:], mode=mode)[0].clamp(0, 1)


def saved_as_jpeg(picture: Tensor) -> Tensor:
    """Save a picture (3, H, W), uint8, as a JPEG of low quality and read it again."""
    file = io.BytesIO()
    quality = int(torch.randint(20, 81, ()))
    Image.fromarray(picture.permute(1, 2, 0).numpy()).save(file, "JPEG", quality=quality)
    return torch.from_numpy(np.array(Image.open(file))).permute(2, 0, 1)


def augmentation(crop: int) -> v2.Transform:
    """Make the transform from a picture (3, H, W), uint8, to a random crop (3, crop, crop), float32 in [0, 1].

    A quarter of the crops is spoiled: by noise, traces of JPEG, blocks, or blur.
    """
    spoil = [
        *(v2.GaussianNoise(sigma=sigma) for sigma in (0.02, 0.05, 0.15)),
        *(v2.Lambda(lambda picture, n=n: coarsened(picture, n, "nearest")) for n in (2, 4, 8)),
        v2.Lambda(lambda picture: coarsened(picture, 4, "bicubic")),
    ]
    return v2.Compose(
        [
            _cut(crop),
            v2.RandomVerticalFlip(0.3),
            v2.RandomApply([v2.RandomRotation((90, 90))], 0.3),
            v2.RandomApply([v2.Lambda(saved_as_jpeg)], 0.05),
            v2.ToDtype(torch.float32, scale=True),
            v2.RandomApply([v2.RandomChannelPermutation()], 0.2),
            v2.RandomApply([v2.ColorJitter(brightness=0.4, contrast=0.5)], 0.3),
            v2.RandomApply([v2.RandomChoice(spoil)], 0.2),
        ]
    )


def plain(crop: int) -> v2.Transform:
    """Make the transform from a picture to a random crop of it that is only mirrored."""
    return v2.Compose([_cut(crop), v2.ToDtype(torch.float32, scale=True)])


def _cut(crop: int) -> v2.Transform:
    sizes = [v2.RandomCrop(round(crop * zoom), pad_if_needed=True, padding_mode="symmetric") for zoom in ZOOMS]
    return v2.Compose([v2.RandomChoice(sizes), v2.Resize((crop, crop), antialias=True), v2.RandomHorizontalFlip(0.5)])


@dataclass(frozen=True)
class Album(IterableDataset[Tensor]):
    """Batches (N, 3, crop, crop) without end, from pictures and canvases in progress (3, H, W), uint8."""

    pictures: Sequence[Tensor]
    canvases: Sequence[Tensor]
    batch: int
    crop: int

    def __iter__(self) -> Iterator[Tensor]:
        """Draw batches."""
        spoiled, mirrored = augmentation(self.crop), plain(self.crop)
        while True:
            crops = []
            for _ in range(self.batch):
                seen = self.canvases if self.canvases and torch.rand(()) < CANVASES else self.pictures
                chosen = seen[int(torch.randint(len(seen), ()))]
                way = mirrored if seen is self.canvases and torch.rand(()) < 0.7 else spoiled
                crops.append(way(chosen))
            yield torch.stack(crops)


def batches(album: Album, device: str = "cpu", processes: int = 0) -> Iterator[Tensor]:
    """Draw batches of an album, on a device; by some processes beside, which a GPU needs to be kept busy."""
    loader = DataLoader(album, batch_size=None, num_workers=processes, pin_memory=device == "cuda")
    for batch in loader:
        yield batch.to(device, memory_format=torch.channels_last, non_blocking=True)


def plain_crops(pictures: Iterable[Tensor], side: int, device: str = "cpu") -> list[Tensor]:
    """Cut the middle out of every picture, unchanged: each (1, 3, side, side), float32 in [0, 1]."""
    cut = v2.Compose([v2.CenterCrop(side), v2.ToDtype(torch.float32, scale=True)])
    return [cut(picture)[None].to(device) for picture in pictures]
