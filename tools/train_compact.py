"""Retrain the network that comes with muralist, from any folder of pictures and any teacher.

Run ``python tools/train_compact.py IMAGES... --teacher vgg19 --out compact.safetensors``. The student is the row
`compact` of `muralist.model.architecture`. It learns to give, at every layer of `LAYERS`, the features that a larger
network has there (hints, after A. Romero et al., "FitNets", 2015): the teacher's most active channels, scaled so that
their mean square over natural pictures is one. So a layer weight means the same in every layer of the student.

Batches are (N, 3, crop, crop) float32, RGB, sRGB-encoded, in [0, 1]. Batch normalisation helps the training and is
folded into the convolutions at the end. One picture in ten is held out; the error on those is told at the end.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby, islice
from pathlib import Path

import click
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_, fuse_conv_bn_eval
from torch.optim import Adam
from torch.optim.lr_scheduler import OneCycleLR
from torch.optim.swa_utils import update_bn
from torchvision.transforms import v2
from tqdm import tqdm

from muralist.model.architecture import ARCHITECTURES, Architecture, architecture, vgg
from muralist.model.errors import ModelError, WeightsError
from muralist.model.formats import parse
from muralist.model.loading import load_network
from muralist.model.network import Features, Network
from muralist.model.weight_files import WeightFile, find_weights
from muralist.pipeline.errors import PictureError
from muralist.pipeline.pictures.images import resize
from muralist.pipeline.pictures.reading import read_picture

STUDENT = architecture("compact")
LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu4_2", "relu5_1")
LONGEST_SIDE_PX = 1400  # larger pictures are shrunk to this
MOST_PIXELS = 500_000_000
ZOOMS = (1, 1, 1.5, 2, 3)  # side of what a crop shows, in crops
HELD_OUT = 10  # one picture in so many
SURVEYED = 24  # batches that tell how active channels are
RATE, WARM_UP = 3e-3, 0.01
FREEZE = 0.7  # share of the steps after which batch normalisation uses fixed averages: the error falls much further
CHANNEL_WEIGHT, CHANNEL_FLOOR = 0.3, 0.2


# ---------------------------------------------------------------------------------------------------------- pictures


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
        pixels = read_picture(path, MOST_PIXELS).pixels
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


def augmentation(crop: int) -> v2.Transform:
    """Make the transform from a picture (3, H, W), uint8, to a random crop (3, crop, crop), float32 in [0, 1]."""
    return v2.Compose(
        [
            v2.RandomChoice(
                [v2.RandomCrop(round(crop * zoom), pad_if_needed=True, padding_mode="reflect") for zoom in ZOOMS]
            ),
            v2.Resize((crop, crop), antialias=True),
            v2.RandomHorizontalFlip(0.5),
            v2.RandomVerticalFlip(0.3),
            v2.RandomApply([v2.RandomRotation((90, 90))], 0.3),
            v2.ToDtype(torch.float32, scale=True),
            v2.RandomApply([v2.RandomChannelPermutation()], 0.3),
            v2.RandomApply([v2.ColorJitter(brightness=0.4, contrast=0.5)], 0.5),
            v2.RandomApply([v2.RandomChoice([v2.GaussianNoise(sigma=sigma) for sigma in (0.02, 0.05, 0.15)])], 0.3),
        ]
    )


def batches(pictures: Sequence[Tensor], batch: int, crop: int, device: str = "cpu") -> Iterator[Tensor]:
    """Draw batches without end; in one of seven, every crop is blended with its neighbour."""
    augment = augmentation(crop)
    while True:
        chosen = torch.randint(len(pictures), (batch,)).tolist()
        crops = torch.stack([augment(pictures[i]) for i in chosen])
        if torch.rand(()) < 0.15:
            crops = torch.lerp(crops, crops.roll(1, 0), torch.rand(()))
        yield crops.to(device, memory_format=torch.channels_last)


def plain_crops(pictures: Iterable[Tensor], side: int, device: str = "cpu") -> list[Tensor]:
    """Cut the middle out of every picture, unchanged: each (1, 3, side, side), float32 in [0, 1]."""
    cut = v2.Compose([v2.CenterCrop(side), v2.ToDtype(torch.float32, scale=True)])
    return [cut(picture)[None].to(device) for picture in pictures]


# ----------------------------------------------------------------------------------------------------------- teacher


def load_teacher(teacher: str, weights: str | None = None) -> Network:
    """Load the network to learn from.

    Parameters
    ----------
    teacher : str
        Name of a network that muralist knows, or a file with a 16x-compressed VGG-19 encoder.
    weights : str, optional
        File with the weights of the network named; the published ones if not given.

    Raises
    ------
    ModelError
        If there is no such network, or the file is missing, broken or something else.

    Notes
    -----
    The teacher pads as the student does, whatever it was trained with: the crops are cut out of pictures, and zeros
    around them would be features of the cut.
    """
    if teacher in ARCHITECTURES:
        network = load_network(teacher, find_weights(architecture(teacher), weights), LAYERS)
    elif Path(teacher).exists():
        network = compressed_encoder(teacher, parse(teacher, Path(teacher).read_bytes()).tensors)
    else:
        architecture(teacher)  # raises, naming the nearest match
    network.padding = STUDENT.padding
    return network


def compressed_encoder(path: str, tensors: Mapping[str, Tensor]) -> Network:
    """Adapt an encoder of H. Wang et al., "Collaborative Distillation for Ultra-Resolution ...", 2020.

    Its tensors are conv0 (1 x 1: from RGB in [0, 1] to what VGG expects), conv11, conv12, conv21, ... conv51. As every
    tensor is padded by reflection, conv0 and conv11 are one convolution.

    Raises
    ------
    WeightsError
        If the tensors are none of such an encoder.
    """
    weights = {
        re.sub(r"conv(\d)(\d)\.", r"conv\1_\2.", key): value.float()
        for key, value in tensors.items()
        if re.fullmatch(r"conv[1-5][1-4]\.(weight|bias)", key)
    }
    try:
        first, mix, shift = weights["conv1_1.weight"], tensors["conv0.weight"].float(), tensors["conv0.bias"].float()
        weights["conv1_1.bias"] = weights["conv1_1.bias"] + first.sum((2, 3)) @ shift
        weights["conv1_1.weight"] = torch.einsum("omyx,mi->oiyx", first, mix[:, :, 0, 0])
        network = Network(_compressed_row(weights), weights).eval()
        network(torch.zeros(1, 3, 64, 64), LAYERS)  # a tensor that is missing or has a wrong shape fails here
    except (LookupError, RuntimeError, AttributeError, ModelError) as error:
        raise WeightsError(
            path,
            "is no compressed encoder with conv0, conv11, ... conv51; for another file name its network: "
            "--teacher vgg19 --teacher-weights FILE",
        ) from error
    return network


def _compressed_row(weights: Mapping[str, Tensor]) -> Architecture:
    widths = {key[4:7]: len(value) for key, value in sorted(weights.items()) if key.endswith("bias")}
    blocks = tuple(tuple(widths[name] for name in names) for _, names in groupby(widths, key=lambda name: name[0]))
    row = replace(
        architecture("vgg19"), name="compressed", steps=vgg(blocks), padding="reflect", mean=(0, 0, 0), std=(1, 1, 1)
    )
    row.check_layers(LAYERS)
    return row


@dataclass(frozen=True)
class Lesson:
    """What the student is to learn.

    Attributes
    ----------
    teacher : Network
    channels : dict layer -> Tensor (C,)
        Which channels of the teacher become the student's, ascending.
    scale : dict layer -> Tensor ()
        Root mean square of those channels.
    strength : dict layer -> Tensor (C, 1, 1)
        Root mean square of each, after scaling, and a floor: a weak channel's error counts for more.
    """

    teacher: Network
    channels: Mapping[str, Tensor]
    scale: Mapping[str, Tensor]
    strength: Mapping[str, Tensor]

    @torch.no_grad()
    def features(self, batch: Tensor) -> Features:
        """Compute the features that the student should have given."""
        features = self.teacher(batch, LAYERS)
        return {layer: features[layer][:, self.channels[layer]].float() / self.scale[layer] for layer in LAYERS}

    def loss(self, batch: Tensor, student: "Student") -> Tensor:
        """Sum up the mean squared errors of a batch: per layer, and per channel relative to its strength."""
        wanted, given = self.features(batch), student(batch)
        errors = {layer: given[layer].float() - wanted[layer] for layer in LAYERS}
        parts = [
            error.square().mean() + CHANNEL_WEIGHT * (error / self.strength[layer]).square().mean()
            for layer, error in errors.items()
        ]
        return torch.stack(parts).sum()


@torch.no_grad()
def prepare_lesson(teacher: Network, surveyed: Iterable[Tensor]) -> Lesson:
    """Choose, at every layer, the teacher's channels that are most often active, and measure them.

    Raises
    ------
    ModelError
        If the teacher has fewer channels than the student.
    """
    seen = [teacher(batch, LAYERS) for batch in surveyed]
    channels, scale, strength = {}, {}, {}
    for layer in LAYERS:
        active = sum((features[layer] > 0).float().mean((0, 2, 3)) for features in seen)
        squares = sum(features[layer].float().square().mean((0, 2, 3)) for features in seen) / len(seen)
        wanted = STUDENT.channels(layer)
        if len(active) < wanted:
            raise ModelError(f"the teacher has {len(active)} channels at {layer}; wanted at least {wanted}")
        channels[layer] = torch.topk(active, wanted).indices.sort().values
        power = squares[channels[layer]]
        scale[layer] = power.mean().sqrt()
        strength[layer] = (power.sqrt() / scale[layer] + CHANNEL_FLOOR)[:, None, None]
    return Lesson(teacher, channels, scale, strength)


# ----------------------------------------------------------------------------------------------------------- student


class Student(nn.Module):
    """The compact network in training: batch normalisation follows every convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.pool = nn.AvgPool2d(2) if STUDENT.pooling == "average" else nn.MaxPool2d(2)
        self.convolutions, self.norms = nn.ModuleDict(), nn.ModuleDict()
        for name, step in STUDENT.convolutions.items():
            plain = {"bias": False, "padding_mode": STUDENT.padding}
            self.convolutions[name] = nn.Conv2d(step.fan_in, step.fan_out, 3, 1, 1, **plain)
            self.norms[name] = nn.BatchNorm2d(step.fan_out)
            nn.init.kaiming_normal_(self.convolutions[name].weight)

    def forward(self, batch: Tensor) -> Features:
        """Compute the features of `LAYERS`."""
        x, features, block = v2.functional.normalize(batch, STUDENT.mean, STUDENT.std), {}, "1"
        for name, convolve in self.convolutions.items():
            if name[0] != block:
                x, block = self.pool(x), name[0]
            x = features[f"relu{name}"] = F.relu(self.norms[name](convolve(x)))
        return {layer: features[layer] for layer in LAYERS}

    def folded(self) -> dict[str, Tensor]:
        """Merge the normalisation into the convolutions, in evaluation mode: the weights of a `Network`."""
        weights: dict[str, Tensor] = {}
        for name, convolution in self.convolutions.items():
            merged = fuse_conv_bn_eval(convolution, self.norms[name])
            weights |= {f"conv{name}.weight": merged.weight.detach(), f"conv{name}.bias": merged.bias.detach()}
        return weights


def train(student: Student, lesson: Lesson, drawn: Iterator[Tensor], steps: int, bf16: bool = False) -> None:
    """Train the student in place.

    Parameters
    ----------
    student : Student
    lesson : Lesson
    drawn : iterator of Tensor
        Batches, on the device of both networks.
    steps : int
    bf16 : bool
        Compute convolutions in bfloat16.
    """
    optimiser = Adam(student.parameters(), lr=RATE)
    schedule = OneCycleLR(optimiser, RATE, total_steps=steps, pct_start=WARM_UP, cycle_momentum=False)
    student.train()
    bar = tqdm(islice(drawn, steps), total=steps, desc="training", unit="step")
    for step, batch in enumerate(bar):
        if step == int(FREEZE * steps):
            update_bn(islice(drawn, SURVEYED), student)
            student.eval()
        with torch.autocast(batch.device.type, torch.bfloat16, enabled=bf16):
            loss = lesson.loss(batch, student)
        optimiser.zero_grad()
        loss.backward()
        clip_grad_norm_(student.parameters(), 1, error_if_nonfinite=True)
        optimiser.step()
        schedule.step()
        bar.set_postfix(loss=f"{loss.item():.4f}", refresh=False)


@torch.no_grad()
def fidelity(given: Callable[[Tensor], Features], lesson: Lesson, crops: Iterable[Tensor]) -> dict[str, float]:
    """Measure the squared error of features relative to the squared features of the teacher, per layer."""
    errors, energies = dict.fromkeys(LAYERS, 0.0), dict.fromkeys(LAYERS, 0.0)
    for crop in crops:
        wanted, features = lesson.features(crop), given(crop)
        for layer in LAYERS:
            errors[layer] += float((features[layer].float() - wanted[layer]).square().sum())
            energies[layer] += float(wanted[layer].square().sum())
    return {layer: errors[layer] / energies[layer] for layer in LAYERS}


def save(student: Student, path: Path) -> WeightFile:
    """Write the folded student in half precision; the same weights give the same bytes."""
    weights = {key: value.half().cpu().contiguous() for key, value in student.folded().items()}
    save_file(weights, path, {"network": STUDENT.name})
    return find_weights(STUDENT, str(path))


# ------------------------------------------------------------------------------------------------------ command line


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Tell an expected error in one line."""
    try:
        yield
    except ModelError as error:
        raise click.ClickException(str(error)) from error


def check_options(out: Path, device: str) -> None:
    """Find out before the training what would fail after it."""
    if not out.absolute().parent.is_dir():
        raise click.BadParameter(f"there is no folder {out.parent}; make it first", param_hint="--out")
    if device == "cuda" and not torch.cuda.is_available():
        raise click.BadParameter("torch finds no CUDA device; use cpu", param_hint="--device")


def gather(images: Iterable[Path], side: int) -> tuple[list[Tensor], list[Tensor]]:
    """Load enough pictures to learn from some and hold some out."""
    pictures = load_pictures(images, side)
    if len(pictures) < 2:
        raise click.ClickException(
            f"found {len(pictures)} pictures with no side shorter than {side} px, wanted at least 2: "
            "name more images or folders, or use a smaller --crop"
        )
    learned, held_out = split(pictures)
    click.echo(f"{len(learned)} pictures to learn from, {len(held_out)} held out")
    return learned, held_out


@click.command(context_settings={"show_default": True}, help=__doc__.partition("\n")[0])
@click.argument("images", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--teacher", default="vgg19", help="Network that muralist knows, or a compressed encoder's file.")
@click.option("--teacher-weights", type=click.Path(exists=True, dir_okay=False), help="The named teacher's weights.")
@click.option("--steps", default=30_000, type=click.IntRange(1))
@click.option("--out", default="compact.safetensors", type=click.Path(dir_okay=False, writable=True, path_type=Path))
@click.option("--batch", default=8, type=click.IntRange(1), help="Crops in one step.")
@click.option("--crop", default=96, type=click.IntRange(STUDENT.minimum(LAYERS)), help="Side of a crop, px.")
@click.option("--seed", default=0)
@click.option("--device", default="cpu", type=click.Choice(["cpu", "cuda"]))
@click.option("--bf16", is_flag=True, help="Compute convolutions in bfloat16: faster, a little less exact.")
@one_line_errors()
def main(
    images: tuple[Path, ...],
    teacher: str,
    teacher_weights: str | None,
    steps: int,
    out: Path,
    batch: int,
    crop: int,
    seed: int,
    device: str,
    bf16: bool,
) -> None:
    check_options(out, device)
    torch.manual_seed(seed)  # all random numbers are torch's
    network = load_teacher(teacher, teacher_weights).to(device)
    learned, held_out = gather(images, 2 * crop)
    drawn = batches(learned, batch, crop, device)
    lesson = prepare_lesson(network, islice(drawn, SURVEYED))
    student = Student().to(device, memory_format=torch.channels_last)
    train(student, lesson, drawn, steps, bf16)
    file = save(student, out)
    click.echo(f"{file.sha256}  {out}")
    stored = partial(load_network(STUDENT.name, file, LAYERS).to(device), layers=LAYERS)
    for layer, error in fidelity(stored, lesson, plain_crops(held_out, 2 * crop, device)).items():
        click.echo(f"{layer}  relative squared error {error:.4f}")


if __name__ == "__main__":
    main()
