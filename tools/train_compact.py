"""Retrain the network that comes with muralist, from any folder of pictures and any teacher.

Run ``python tools/train_compact.py IMAGES... --teacher vgg19 --out compact.safetensors``. The student is the row
`compact` of `muralist.model.architecture`. At `relu4_2`, which measures content, it learns the teacher's most active
channels. At the style layers it learns whatever it likes, as long as heads, which are learned along, map [f; 1] to what
the teacher's own heads give: VGG-19's features. Reduced to a square matrix each, the heads become the metric in the
file (`muralist.model.losses.style`), so that style transfer measures Gram matrices as VGG-19 does.

First the lower layers learn (small crops suffice), then the upper ones on top of them, then all together. Between turns
of the last part, the student paints: an optimizer finds whatever a network does not see, so canvases in progress join
the pictures that it learns from. One picture in ten is held out; what the heads explain on those is told at the end.
"""

import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from math import cos, pi
from pathlib import Path

import click
import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from teacher import CONTENT_LAYER, LAYERS, STYLE_LAYERS, load_teacher
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_
from torch.optim import Adam, Muon
from torchvision.transforms import v2
from tqdm import tqdm
from training_pictures import Album, batches, load_pictures, plain_crops, split

from muralist.model.architecture import Convolution, architecture
from muralist.model.errors import ModelError
from muralist.model.losses.content import ContentTerm
from muralist.model.losses.style import StyleTerm
from muralist.model.losses.terms import LayerShape, PictureSize
from muralist.model.losses.variation import TotalVariationTerm
from muralist.model.network import Features, Network
from muralist.model.objective import Objective
from muralist.model.ops import TINY
from muralist.model.optimizers import StepSchedule
from muralist.model.state import PIXELS, StateLayout
from muralist.model.statistics import Window
from muralist.model.tile_optimizer import TileOptimizer
from muralist.model.weight_files import WeightFile, find_weights

STUDENT = architecture("compact")
LOWER = ("1_1", "1_2", "2_1", "2_2", "3_1")
LOWER_LAYERS = ("relu1_1", "relu2_1", "relu3_1")
SURVEYED = 24  # batches that tell how active channels are, and that heads are first fitted on
STEPS = 60_000
RATE, WARM_UP = 1.5e-3, 0.02
OWN_SHARE = 0.5  # of every crop's error relative to its own energy, so that quiet crops count
GRAM_SHARE = 0.15  # of the errors of Gram matrices
RIDGE = 1e-5
SHARES = (0.4, 0.4)  # of the steps, for the lower layers and for the upper ones; the rest is for all together
SIDES, STYLE_WEIGHTS = (1.5, 2, 2.5), (300.0, 1000.0, 3000.0)  # of canvases; sides in crops
SNAPSHOTS = (8, 30, 80)  # steps after which a canvas is looked at


@dataclass(frozen=True)
class Extent:
    """How long to train: for a number of steps, or for some seconds."""

    steps: int | None = None
    seconds: float | None = None

    def part(self, share: float) -> "Extent":
        """Give a share of it, at least one step."""
        if self.seconds is not None:
            return Extent(seconds=share * self.seconds)
        assert self.steps is not None
        return Extent(steps=max(1, round(share * self.steps)))

    def progress(self) -> Iterator[float]:
        """Count the steps from now on: how far each is on the way, in [0, 1)."""
        if self.steps is not None:
            yield from (made / self.steps for made in range(self.steps))
            return
        assert self.seconds is not None
        began = time.perf_counter()
        yield 0.0
        while (passed := time.perf_counter() - began) < self.seconds:
            yield passed / self.seconds


@dataclass(frozen=True)
class Lesson:
    """What the student is to learn.

    Attributes
    ----------
    teacher : Network
    roots : dict layer -> Tensor (rows, C + 1)
        The teacher's heads, reduced to as few rows as keep all distances.
    channels : Tensor (C,)
        Which of the teacher's channels at the content layer become the student's, ascending.
    scale : Tensor ()
        Their root mean square.
    energy : dict layer -> Tensor ()
        Mean square of what is wanted at every layer.
    """

    teacher: Network
    roots: Mapping[str, Tensor]
    channels: Tensor
    scale: Tensor
    energy: Mapping[str, Tensor]

    @torch.no_grad()
    def wanted(self, batch: Tensor, layers: Collection[str]) -> Features:
        """Compute what the student should give: VGG-19's features at the style layers, in fewer dimensions."""
        features = self.teacher(batch, layers)
        return {layer: self._wanted(layer, features[layer].float()) for layer in layers}

    def _wanted(self, layer: str, features: Tensor) -> Tensor:
        if layer == CONTENT_LAYER:
            return features[:, self.channels] / self.scale
        return headed(features, self.roots[layer])

    def loss(self, batch: Tensor, student: "Student", layers: Collection[str]) -> Tensor:
        """Sum up the relative errors of a batch: of features, of every crop's own, and of its Gram matrices."""
        wanted, given = self.wanted(batch, layers), student.given(batch, layers)
        return torch.stack([self._loss(layer, given[layer].float(), wanted[layer]) for layer in layers]).sum()

    def _loss(self, layer: str, given: Tensor, wanted: Tensor) -> Tensor:
        energy, error = self.energy[layer], (given - wanted).square()
        own = wanted.square().mean((1, 2, 3)) + 0.1 * energy
        loss = error.mean() / energy + OWN_SHARE * (error.mean((1, 2, 3)) / own).mean()
        if layer == CONTENT_LAYER:
            return loss
        now, target = gram(given), gram(wanted)
        apart = (now - target).square().sum((1, 2)) / (target.square().sum((1, 2)) + TINY)
        return loss + GRAM_SHARE * apart.clamp(max=5).mean()


def headed(features: Tensor, heads: Tensor) -> Tensor:
    """Map features (N, C, h, w) by heads (rows, C + 1), whose last column is for a constant: (N, rows, h, w)."""
    return F.conv2d(features, heads[:, :-1, None, None], heads[:, -1])


def gram(features: Tensor) -> Tensor:
    """Gram matrices of a batch, means over positions: (N, C, C)."""
    matrix = features.flatten(2)
    return matrix @ matrix.mT / matrix.shape[2]


@torch.no_grad()
def prepare_lesson(teacher: Network, surveyed: Iterable[Tensor]) -> Lesson:
    """Reduce the teacher's heads, choose the content channels that are most often active, and measure both.

    Raises
    ------
    ModelError
        If the teacher has fewer channels at the content layer than the student.
    """
    seen = [teacher(batch, LAYERS) for batch in surveyed]
    device = seen[0][CONTENT_LAYER].device
    roots = {layer: torch.linalg.qr(torch.from_numpy(heads).double())[1] for layer, heads in teacher.metric.items()}
    roots = {layer: root.float().to(device) for layer, root in roots.items()}
    content = [features[CONTENT_LAYER].float() for features in seen]
    active = sum((f > 0).float().mean((0, 2, 3)) for f in content)
    count = STUDENT.channels(CONTENT_LAYER)
    if len(active) < count:
        raise ModelError(f"the teacher has {len(active)} channels at {CONTENT_LAYER}; wanted at least {count}")
    channels = torch.topk(active, count).indices.sort().values
    scale = torch.stack([f[:, channels].square().mean() for f in content]).mean().sqrt()
    energy = {
        layer: torch.stack([headed(features[layer].float(), roots[layer]).square().mean() for features in seen]).mean()
        for layer in STYLE_LAYERS
    }
    return Lesson(teacher, roots, channels, scale, energy | {CONTENT_LAYER: torch.ones((), device=device)})


class Student(nn.Module):
    """The compact network in training, and the heads of its style layers."""

    def __init__(self) -> None:
        super().__init__()
        self.convolutions, self.heads = nn.ModuleDict(), nn.ParameterDict()
        for name, step in STUDENT.convolutions.items():
            self.convolutions[name] = nn.Conv2d(step.fan_in, step.fan_out, 3, padding=1, padding_mode=STUDENT.padding)
            nn.init.kaiming_normal_(self.convolutions[name].weight)
            nn.init.zeros_(self.convolutions[name].bias)

    def forward(self, batch: Tensor, layers: Collection[str]) -> Features:
        """Compute the features of some layers."""
        x, features, wanted = v2.functional.normalize(batch, STUDENT.mean, STUDENT.std), {}, set(layers)
        for step in STUDENT.steps:
            if not isinstance(step, Convolution):
                x = (F.avg_pool2d(x.square(), 2) * 4 + TINY).sqrt()  # L2 pooling
                continue
            x = F.relu(self.convolutions[step.name](x))
            if f"relu{step.name}" in wanted:
                features[f"relu{step.name}"] = x
            if len(features) == len(wanted):
                break
        return features

    def given(self, batch: Tensor, layers: Collection[str]) -> Features:
        """Compute what the teacher wants of some layers: features of the content layer, the heads' output of others."""
        features = self(batch, layers)
        return {
            layer: headed(f, self.heads[key(layer)]) if key(layer) in self.heads else f for layer, f in features.items()
        }

    @torch.no_grad()
    def normalize(self, batch: Tensor) -> None:
        """Scale every convolution that was drawn at random so that it gives a mean square of one."""
        for name, convolution in self.convolutions.items():
            power = self(batch, [f"relu{name}"])[f"relu{name}"].square().mean().sqrt()
            convolution.weight /= power

    @torch.no_grad()
    def fit_heads(self, lesson: Lesson, drawn: Sequence[Tensor], layers: Collection[str]) -> None:
        """Fit heads by least squares to what the teacher wants of style layers."""
        for layer in set(layers) - {CONTENT_LAYER}:
            left, right = 0.0, 0.0
            for batch in drawn:
                features = self(batch, [layer])[layer].double()
                f = torch.cat([features, torch.ones_like(features[:, :1])], 1).transpose(0, 1).flatten(1)
                right = right + lesson.wanted(batch, [layer])[layer].double().transpose(0, 1).flatten(1) @ f.T
                left = left + f @ f.T
            ridge = RIDGE * left.diagonal().mean() * torch.eye(len(left), dtype=left.dtype, device=left.device)
            self.heads[key(layer)] = nn.Parameter(torch.linalg.solve(left + ridge, right.T).T.float())

    def weights(self) -> dict[str, Tensor]:
        """Give the tensors of a weight file: convolutions, and the metric's square matrices."""
        tensors = {}
        for name, convolution in self.convolutions.items():
            tensors |= {f"conv{name}.{kind}": getattr(convolution, kind).detach() for kind in ("weight", "bias")}
        return tensors | {f"metric.{layer}": reduced(self.heads[key(layer)].detach()) for layer in STYLE_LAYERS}


def key(layer: str) -> str:
    """Name of a layer's heads; torch allows no name with a dot or a method's."""
    return f"heads_{layer}"


def reduced(heads: Tensor) -> Tensor:
    """Give the symmetric square root of heads^T heads, which keeps all distances in at most C + 1 rows."""
    values, vectors = torch.linalg.eigh(heads.T.double() @ heads.double())
    return (vectors * values.clamp(min=0).sqrt() @ vectors.T).float()


def train(
    student: Student,
    lesson: Lesson,
    drawn: Iterator[Tensor],
    extent: Extent,
    names: Collection[str] = tuple(STUDENT.convolutions),
    layers: Collection[str] = LAYERS,
    bf16: bool = False,
    rate: float = RATE,
    compiled: bool = False,
) -> None:
    """Train some convolutions of a student, and the heads of some layers, in place.

    Parameters
    ----------
    student : Student
    lesson : Lesson
    drawn : iterator of Tensor
        Batches, on the device of both networks.
    extent : Extent
    names : collection of str
        Convolutions that learn; the others stay as they are.
    layers : collection of str
        Layers whose errors count.
    bf16 : bool
        Compute convolutions in bfloat16.
    rate : float
        Largest learning rate.
    compiled : bool
        Let torch compile the loss, which needs a C++ compiler.

    Notes
    -----
    Weights learn by Muon (K. Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024), biases
    and heads by Adam. 400 steps from a network of which `relu5_1` was explained to 94.47 % took it to 94.81 %; with
    Adam for everything, at the same rate, to 94.39 %.
    """
    student.requires_grad_(False).to(memory_format=torch.channels_last)
    chosen = [student.convolutions[name].requires_grad_(True) for name in names]
    heads = [student.heads[key(layer)].requires_grad_(True) for layer in layers if key(layer) in student.heads]
    weights, others = [module.weight for module in chosen], [*(module.bias for module in chosen), *heads]
    matrices = [nn.Parameter(as_matrix(weight.detach())) for weight in weights]  # in the same memory
    muon = Muon(matrices, lr=rate, weight_decay=0, adjust_lr_fn="match_rms_adamw")
    optimizers = (muon, Adam(others, lr=rate, betas=(0.9, 0.99)))
    loss_of = torch.compile(lesson.loss) if compiled else lesson.loss
    bar = tqdm(extent.progress(), total=extent.steps, desc="training", unit="step")
    for made, progress in enumerate(bar):
        for group in (group for optimizer in optimizers for group in optimizer.param_groups):
            group["lr"] = rate * share_of_rate(progress)
        batch = next(drawn)
        with torch.autocast(batch.device.type, torch.bfloat16, enabled=bf16):
            loss = loss_of(batch, student, layers)
        student.zero_grad()
        loss.backward()
        clip_grad_norm_([*weights, *others], 1, error_if_nonfinite=True)
        for matrix, weight in zip(matrices, weights, strict=True):
            matrix.grad = as_matrix(weight.grad.contiguous(memory_format=torch.channels_last))
        for optimizer in optimizers:
            optimizer.step()
        if made % 10 == 0:  # a look at the loss waits for the device
            bar.set_postfix(loss=f"{loss.item():.4f}", refresh=False)


def as_matrix(weight: Tensor) -> Tensor:
    """View weights (out, in, 3, 3), which lie channels last, as the matrix (out, 9 in) that Muon wants."""
    return weight.permute(0, 2, 3, 1).view(len(weight), -1)


def block(name: str) -> int:
    """Give the block that a convolution belongs to: 3 for "3_1"."""
    return int(name.partition("_")[0])


def share_of_rate(progress: float) -> float:
    """Learning rate at a point on the way, as a share of the largest: a short rise, then a cosine down to zero."""
    if progress < WARM_UP:
        return 0.04 + 0.96 * progress / WARM_UP
    return (1 + cos(pi * (progress - WARM_UP) / (1 - WARM_UP))) / 2


@torch.no_grad()
def explained(student: Student, lesson: Lesson, crops: Iterable[Tensor]) -> dict[str, float]:
    """Measure the share of the energy of VGG-19's features that the student's heads explain, per layer."""
    errors, energies = dict.fromkeys(LAYERS, 0.0), dict.fromkeys(LAYERS, 0.0)
    for crop in crops:
        wanted, given = lesson.wanted(crop, LAYERS), student.given(crop, LAYERS)
        for layer in LAYERS:
            errors[layer] += float((given[layer].float() - wanted[layer]).square().sum())
            energies[layer] += float(wanted[layer].square().sum())
    return {layer: 1 - errors[layer] / energies[layer] for layer in LAYERS}


def paint_canvases(network: Network, pictures: Sequence[Tensor], count: int, crop: int) -> list[Tensor]:
    """Let a network paint some pictures after others, and look at the canvases on the way.

    Parameters
    ----------
    network : Network
        The student as muralist loads it.
    pictures : sequence of Tensor (3, H, W), uint8
    count : int
        Paintings.
    crop : int
        Side of the crops that will be cut out of them, px.

    Returns
    -------
    list of Tensor (3, h, w), uint8
    """
    canvases = []
    for _ in tqdm(range(count), desc="painting", unit="canvas"):
        content, style = (pictures[int(torch.randint(len(pictures), ()))] for _ in range(2))
        side = round(crop * SIDES[int(torch.randint(len(SIDES), ()))])
        weight = STYLE_WEIGHTS[int(torch.randint(len(STYLE_WEIGHTS), ()))]
        canvases += _paint(network, *(_sized(picture, side).to(network.device) for picture in (content, style)), weight)
    return canvases


def _sized(picture: Tensor, side: int) -> Tensor:
    """Bring a picture to a long side of about `side` px, a multiple of 16 both ways: (1, 3, h, w), float32."""
    scale = side / max(picture.shape[1:])
    height, width = (max(2, round(n * scale / 16)) * 16 for n in picture.shape[1:])
    return v2.functional.resize(picture.float() / 255, [height, width], antialias=True)[None]


def _paint(network: Network, content: Tensor, style: Tensor, style_weight: float) -> list[Tensor]:
    height, width = content.shape[-2:]
    features = network(style, STYLE_LAYERS)
    counts = {layer: f.shape[-2] * f.shape[-1] for layer, f in features.items()}
    targets = {
        f"style {kind} {layer}": (value / counts[layer]).double().cpu().numpy()
        for layer, f in features.items()
        for kind, value in StyleTerm.measure(f, Window.full(style)).items()
    }
    row = network.architecture
    layers = {layer: LayerShape(row.channels(layer), height * width // row.stride(layer) ** 2) for layer in LAYERS}
    size, alike = PictureSize(height, width, layers), dict.fromkeys(STYLE_LAYERS, 1.0)
    terms = (
        StyleTerm(
            weight=style_weight, size=size, layers=alike, targets=targets, metric=network.metric, formula="gram-w2"
        ),
        ContentTerm(weight=6.0, size=size, layers={CONTENT_LAYER: 1.0}),
        TotalVariationTerm(weight=60.0, size=size, formula="vectorial", chroma=30.0),
    )
    objective = Objective(terms, size)
    tile_optimizer, window = TileOptimizer(network, objective), Window.full(content)
    kept = tile_optimizer.content_features(content)
    state, sums_now, made, canvases = _state(content), tile_optimizer.measure(content, kept, window), 0, []
    for until in SNAPSHOTS:
        steps = StepSchedule(until - made, made, made, 1.0, ema_decay=0, optimizer="lbfgs", resolutions=4)
        state, sums_now = tile_optimizer.paint(state, kept, window, sums_now, steps)
        made = until
        canvases.append((torch.from_numpy(state[PIXELS]).permute(2, 0, 1) * 255).round().byte())
    return canvases


def _state(content: Tensor) -> np.ndarray:
    return StateLayout("lbfgs", averaged=False).start(content[0].permute(1, 2, 0).cpu().numpy())


def save(student: Student, path: Path) -> WeightFile:
    """Write convolutions in half precision and the metric in single; the same weights give the same bytes."""
    tensors = {name: value if name.startswith("metric") else value.half() for name, value in student.weights().items()}
    save_file({name: value.cpu().contiguous() for name, value in tensors.items()}, path, {"network": STUDENT.name})
    return find_weights(STUDENT, str(path))


def resume(student: Student, path: Path) -> None:
    """Take the convolutions of a file that `save` wrote."""
    tensors = load_file(path)
    with torch.no_grad():
        for name, convolution in student.convolutions.items():
            for kind in ("weight", "bias"):
                getattr(convolution, kind).copy_(tensors[f"conv{name}.{kind}"].float())


def as_network(student: Student) -> Network:
    """Give the student as muralist would load it, on its own device."""
    tensors = {name: value.float() for name, value in student.weights().items()}
    metric = {layer: tensors.pop(f"metric.{layer}").cpu().numpy() for layer in STYLE_LAYERS}
    return Network(STUDENT, tensors, metric=metric).requires_grad_(False).eval()


# ------------------------------------------------------------------------------------------------------ command line


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Tell an expected error in one line."""
    try:
        yield
    except ModelError as error:
        raise click.ClickException(str(error)) from error


def check_options(
    out: Path, device: str, steps: int | None, minutes: float | None, start: Path | None, frozen: int
) -> None:
    """Find out before the training what would fail after it, or could mean two things."""
    if frozen and start is None:
        raise click.UsageError("--frozen keeps blocks of a trained file as they are; name the file with --start")
    if steps is not None and minutes is not None:
        raise click.UsageError("--steps and --minutes both say how long to train; give one of them")
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
@click.option("--start", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="File to train on from.")
@click.option("--frozen", default=0, type=click.IntRange(0, 4), help="Number of first blocks not to train.")
@click.option("--steps", type=click.IntRange(3), help=f"Of all parts together; {STEPS} if no minutes are given.")
@click.option("--minutes", type=click.FloatRange(0, min_open=True), help="How long all parts may take together.")
@click.option("--rate", default=RATE / 3, type=click.FloatRange(0, min_open=True), help="Learning rate, last part.")
@click.option("--turns", default=3, type=click.IntRange(1), help="Turns of the last part, each after some painting.")
@click.option("--canvases", default=30, type=click.IntRange(0), help="Paintings before every turn.")
@click.option("--out", default="compact.safetensors", type=click.Path(dir_okay=False, writable=True, path_type=Path))
@click.option("--batch", default=8, type=click.IntRange(1), help="Crops in one step.")
@click.option("--crop", default=128, type=click.IntRange(2 * STUDENT.min_input(LAYERS)), help="Side of a crop, px.")
@click.option("--seed", default=0)
@click.option("--device", default="cpu", type=click.Choice(["cpu", "cuda"]))
@click.option("--processes", default=0, type=click.IntRange(0), help="That cut crops; a GPU waits for one alone.")
@click.option("--bf16", is_flag=True, help="Compute convolutions in bfloat16: faster, a little less exact.")
@click.option("--compile", "compiled", is_flag=True, help="Compile the loss: twice as fast, needs a C++ compiler.")
@one_line_errors()
def main(
    images: tuple[Path, ...],
    teacher: str,
    teacher_weights: str | None,
    start: Path | None,
    frozen: int,
    steps: int | None,
    minutes: float | None,
    rate: float,
    turns: int,
    canvases: int,
    out: Path,
    batch: int,
    crop: int,
    seed: int,
    device: str,
    processes: int,
    bf16: bool,
    compiled: bool,
) -> None:
    check_options(out, device, steps, minutes, start, frozen)
    began = time.perf_counter()
    torch.manual_seed(seed)  # all random numbers are torch's
    network = load_teacher(teacher, teacher_weights).to(device)
    learned, held_out = gather(images, 2 * crop)
    painted: list[Tensor] = []

    def drawn(times: int = 1) -> Iterator[Tensor]:
        """Batches of as many pixels: smaller crops are more of them."""
        album = Album(learned, tuple(painted), batch * times, crop // times)
        return batches(album, device, processes)

    survey = list(islice(drawn(), SURVEYED))
    lesson = prepare_lesson(network, survey)
    student = Student().to(device, memory_format=torch.channels_last)
    whole = Extent(steps or STEPS) if minutes is None else Extent(seconds=60 * minutes)
    if start is None:
        lower, upper = map(whole.part, SHARES)
        student.normalize(survey[0])
        student.fit_heads(lesson, survey, LOWER_LAYERS)
        train(student, lesson, drawn(2), lower, LOWER, LOWER_LAYERS, bf16, compiled=compiled)
        student.fit_heads(lesson, survey, STYLE_LAYERS)
        above = [name for name in STUDENT.convolutions if name not in LOWER]
        above_layers = [layer for layer in LAYERS if layer not in LOWER_LAYERS]
        train(student, lesson, drawn(), upper, above, above_layers, bf16, compiled=compiled)
    else:
        resume(student, start)
        student.fit_heads(lesson, survey, STYLE_LAYERS)
    rest = whole.part(1 - sum(SHARES)) if start is None else whole
    names = [name for name in STUDENT.convolutions if block(name) > frozen]
    layers = [layer for layer in LAYERS if block(layer.removeprefix("relu")) > frozen]
    for turn in range(turns):
        painted += paint_canvases(as_network(student), learned, canvases, crop)
        extent = rest.part(1 / turns)
        if minutes is not None:  # painting takes time, too
            extent = Extent(seconds=60 * minutes - (time.perf_counter() - began)).part(1 / (turns - turn))
        train(student, lesson, drawn(), extent, names, layers, bf16, rate, compiled)
    file = save(student, out)
    click.echo(f"{file.sha256}  {out}")
    for layer, share in explained(student, lesson, plain_crops(held_out, 2 * crop, device)).items():
        click.echo(f"{layer}  {share:.2%} explained")


if __name__ == "__main__":
    main()
