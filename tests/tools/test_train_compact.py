"""Retraining the compact network: a few steps from a small teacher with random weights."""

import importlib.util
import re
import sys
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from click.testing import CliRunner
from PIL import Image
from safetensors.torch import load_file, save_file

from muralist.model.architecture import architecture
from muralist.model.errors import ModelError, WeightsError
from muralist.model.loading import load_network
from muralist.model.network import Network
from muralist.model.weight_files import find_weights

TOOL = Path(__file__).resolve().parents[2] / "tools" / "train_compact.py"
CROP = 32
WIDTHS = {"1": [16, 16], "2": [32, 32], "3": [64] * 4, "4": [80] * 4, "5": [104]}


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Tensors as small as these gain nothing from more threads, and lose much on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def tool():
    spec = importlib.util.spec_from_file_location("train_compact", TOOL)
    module = sys.modules["train_compact"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    del sys.modules["train_compact"]


def encoder_tensors():
    """Random tensors named as in a compressed encoder's file; conv0 turns RGB round and shifts it, as VGG's does."""
    rng = torch.Generator().manual_seed(0)
    tensors = {"conv0.weight": 2 * torch.eye(3).flip(0)[:, :, None, None], "conv0.bias": torch.tensor([-1.1, -1, -0.9])}
    fan_in = 3
    for block, widths in WIDTHS.items():
        for i, width in enumerate(widths, 1):
            spread = (2 / 9 / fan_in) ** 0.5
            tensors[f"conv{block}{i}.weight"] = spread * torch.randn(width, fan_in, 3, 3, generator=rng)
            tensors[f"conv{block}{i}.bias"] = 0.1 * torch.randn(width, generator=rng)
            fan_in = width
    return tensors


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    """A compressed encoder's file: a training checkpoint, with tensors that the training does not need."""
    path = tmp_path_factory.mktemp("teacher") / "16x.pth"
    torch.save({"epoch": 20, "model": encoder_tensors() | {"conv11_aux.weight": torch.zeros(64, 16, 1, 1)}}, path)
    return path


def draw_picture(path, side, seed):
    """Coloured blots: noise of few pixels, enlarged."""
    noise = np.random.default_rng(seed).integers(0, 256, (9, 9, 3), dtype=np.uint8)
    Image.fromarray(noise).resize((side + 10 * seed, side), Image.Resampling.BICUBIC).save(path)


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """A folder with three pictures, one of them in a folder of its own, one too small, and a text."""
    folder = tmp_path_factory.mktemp("images")
    (folder / "more").mkdir()
    for i, name in enumerate(["a.png", "b.jpg", "more/c.png"]):
        draw_picture(folder / name, 100, i)
    draw_picture(folder / "small.png", 2 * CROP - 1, 1)
    (folder / "readme.txt").write_text("no picture")
    return folder


@pytest.fixture
def lesson(tool, encoder, images):
    torch.manual_seed(0)
    drawn = tool.batches(tool.load_pictures([images], 2 * CROP), 4, CROP)
    return tool.prepare_lesson(tool.load_teacher(str(encoder)), islice(drawn, 3)), drawn


def train(tool, images, encoder, out, *options):
    command = [images, "--teacher", encoder, "--out", out, "--steps", 2, "--batch", 2, "--crop", CROP, *options]
    return CliRunner().invoke(tool.main, [str(part) for part in command])


def test_an_encoder_in_the_compressed_format_is_adapted(tool, encoder):
    """Merging the colour convolution into the first changes no feature."""
    tensors, picture = encoder_tensors(), torch.rand(1, 3, 48, 64, generator=torch.Generator().manual_seed(1))
    given = tool.load_teacher(str(encoder))(picture, tool.LAYERS)
    x = F.conv2d(picture, tensors["conv0.weight"], tensors["conv0.bias"])
    for block, widths in WIDTHS.items():
        for i in range(1, len(widths) + 1):
            x = F.pad(x, (1, 1, 1, 1), mode="reflect")
            x = F.relu(F.conv2d(x, tensors[f"conv{block}{i}.weight"], tensors[f"conv{block}{i}.bias"]))
            if f"relu{block}_{i}" in tool.LAYERS:
                torch.testing.assert_close(given[f"relu{block}_{i}"], x, rtol=1e-4, atol=1e-5)
        x = F.max_pool2d(x, 2)


def test_a_named_network_can_teach(tool):
    """The compact network teaches itself; any row of the table is loaded the same way."""
    teacher = tool.load_teacher("compact", str(find_weights(architecture("compact")).path))
    assert isinstance(teacher, Network)
    assert teacher.architecture == architecture("compact")


def test_the_lesson_has_unit_power(tool, lesson):
    """The teacher's chosen channels are as many as the student's, with a mean square of about one at every layer."""
    taught, drawn = lesson
    batches = list(islice(drawn, 4))
    for layer in tool.LAYERS:
        features = torch.cat([taught.features(batch)[layer] for batch in batches])
        assert features.shape[1] == architecture("compact").channels(layer)
        assert features.square().mean() == pytest.approx(1, rel=0.5)


def test_the_most_active_channels_are_chosen(tool):
    """Channels that are never active are left out while there are others."""
    weights = {}
    for name, step in architecture("compact").convolutions.items():
        fan_in, fan_out = step.fan_in, step.fan_out
        weights[f"conv{name}.weight"] = torch.full((fan_out + 4, 3 if fan_in == 3 else fan_in + 4, 3, 3), 0.01)
        weights[f"conv{name}.bias"] = torch.ones(fan_out + 4)
        weights[f"conv{name}.bias"][:4] = -1e9
    teacher = Network(architecture("compact"), weights)
    lesson = tool.prepare_lesson(teacher, [torch.rand(2, 3, CROP, CROP)])
    assert all(channels.tolist() == list(range(4, 4 + len(channels))) for channels in lesson.channels.values())


def test_batches_are_crops_in_range(tool, images):
    """Every batch has the size asked for, values in [0, 1], and other crops than the one before; seeds repeat it."""
    pictures = tool.load_pictures([images], 2 * CROP)
    torch.manual_seed(3)
    first = list(islice(tool.batches(pictures, 2, CROP), 12))
    torch.manual_seed(3)
    again = list(islice(tool.batches(pictures, 2, CROP), 12))
    assert all(batch.shape == (2, 3, CROP, CROP) and batch.dtype == torch.float32 for batch in first)
    assert all(batch.min() >= 0 and batch.max() <= 1 for batch in first)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert len({float(batch.sum()) for batch in first}) == 12


def test_pictures_are_found_and_large_ones_shrunk(tool, images, tmp_path):
    """Folders are searched through; small pictures and other files are passed over."""
    Image.new("L", (3000, 300)).save(tmp_path / "wide.png")
    pictures = tool.load_pictures([images, tmp_path / "wide.png"], 2 * CROP)
    assert [tuple(p.shape) for p in pictures] == [(3, 100, 100), (3, 100, 110), (3, 100, 120), (3, 140, 1400)]
    assert all(p.dtype == torch.uint8 for p in pictures)


def test_a_few_steps_lower_the_loss(tool, lesson):
    """After 15 steps the error on the same batch is well below what it was before."""
    taught, drawn = lesson
    torch.manual_seed(1)
    student, same = tool.Student().eval(), next(drawn)
    with torch.no_grad():
        before = taught.loss(same, student)
    tool.train(student, taught, drawn, 15)
    with torch.no_grad():
        after = taught.loss(same, student)
    assert after < 0.8 * before
    assert not student.training


def test_folding_changes_no_feature(tool, lesson):
    """The network made of the folded weights gives the student's features in evaluation."""
    taught, drawn = lesson
    torch.manual_seed(1)
    student = tool.Student()
    tool.train(student, taught, drawn, 3)
    batch = next(drawn)
    folded = Network(architecture("compact"), student.folded())(batch, tool.LAYERS)
    for layer, wanted in student(batch).items():
        assert (folded[layer] - wanted).abs().max() < 1e-4 * wanted.abs().max().clamp(min=1), layer


def test_fidelity_is_the_relative_squared_error(tool, lesson):
    """Features that are the teacher's own have no error, silent ones an error of one."""
    taught, drawn = lesson
    crops = list(islice(drawn, 2))

    def silent(crop):
        return {layer: torch.zeros_like(value) for layer, value in taught.features(crop).items()}

    assert set(tool.fidelity(taught.features, taught, crops).values()) == {0.0}
    assert list(tool.fidelity(silent, taught, crops).values()) == pytest.approx([1] * len(tool.LAYERS))


def test_the_command_writes_a_network_that_muralist_loads(tool, images, encoder, tmp_path):
    """It prints the file's hash and an error for every layer; the same seed gives the same bytes, another does not."""
    files = [tmp_path / name for name in ("a.safetensors", "b.safetensors", "c.safetensors")]
    results = [train(tool, images, encoder, out, "--seed", i // 2) for i, out in enumerate(files)]
    assert [result.exit_code for result in results] == [0, 0, 0], results[0].output
    row, found = architecture("compact"), [find_weights(architecture("compact"), str(file)) for file in files]
    assert found[0].sha256 == found[1].sha256 != found[2].sha256
    assert f"2 pictures to learn from, 1 held out\n{found[0].sha256}  {files[0]}\n" in results[0].stdout
    assert re.findall(r"^(relu\w+)  relative squared error \d+\.\d{4}$", results[0].stdout, re.M) == [*tool.LAYERS]
    assert {value.dtype for value in load_file(files[0]).values()} == {torch.float16}
    features = partial(load_network("compact", found[0], row.layers), layers=row.layers)
    assert all(value.isfinite().all() for value in features(torch.rand(1, 3, CROP, CROP)).values())


def test_bfloat16_trains(tool, images, encoder, tmp_path):
    """Half precision is for the convolutions in training only; the result is a whole network."""
    result = train(tool, images, encoder, tmp_path / "out.safetensors", "--bf16", "--steps", 1)
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize(
    ("options", "code", "problem"),
    [
        (["--out", "nowhere/out.safetensors"], 2, "there is no folder nowhere; make it first"),
        (["--crop", 31], 2, "31 is not in the range x>=32"),
        (["--crop", 64], 1, "found 0 pictures with no side shorter than 128 px, wanted at least 2: name more images"),
        (["--teacher", "vgg18"], 1, "unknown network 'vgg18'; did you mean 'vgg19'?"),
        (["--teacher", "vgg19", "--teacher-weights", TOOL], 1, "train_compact.py: is not a whole safetensors file"),
        (["--teacher", TOOL], 1, "train_compact.py: is not a whole safetensors file or torch state dict"),
    ],
)
def test_mistakes_are_told_in_one_line(tool, images, encoder, tmp_path, monkeypatch, options, code, problem):
    """What is wrong is found before the training, and said without a traceback."""
    monkeypatch.chdir(tmp_path)
    result = train(tool, images, encoder, "out.safetensors", *options)
    assert (result.exit_code, result.stdout) == (code, "")
    assert problem in result.stderr.splitlines()[-1]
    assert not Path("out.safetensors").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="only a machine without CUDA lacks it")
def test_a_missing_device_is_told(tool, images, encoder, tmp_path):
    """Asking for CUDA where there is none is a usage error."""
    result = train(tool, images, encoder, tmp_path / "out", "--device", "cuda")
    assert (result.exit_code, "torch finds no CUDA device; use cpu" in result.stderr) == (2, True)


@pytest.mark.parametrize("lost", ["conv0.weight", "conv11.weight", "conv51.bias", "conv42.weight"])
def test_another_file_is_no_encoder(tool, tmp_path, lost):
    """An encoder lacking a tensor, like any other state dict, is refused with the way to name its network."""
    save_file({key: value for key, value in encoder_tensors().items() if key != lost}, tmp_path / "w.safetensors")
    with pytest.raises(WeightsError, match=r"is no compressed encoder .* --teacher vgg19 --teacher-weights FILE"):
        tool.load_teacher(str(tmp_path / "w.safetensors"))


def test_a_teacher_narrower_than_the_student_is_refused(tool):
    """The student cannot learn more channels than there are."""
    row = architecture("compact")
    teacher = load_network("compact", find_weights(row), tool.LAYERS)
    teacher.conv1_1_weight, teacher.conv1_1_bias = teacher.conv1_1_weight[:8], teacher.conv1_1_bias[:8]
    teacher.conv1_2_weight = teacher.conv1_2_weight[:, :8]
    with pytest.raises(ModelError, match="the teacher has 8 channels at relu1_1; wanted at least 16"):
        tool.prepare_lesson(teacher, [torch.rand(1, 3, CROP, CROP)])
