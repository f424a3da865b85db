"""Retraining the compact network: a few steps from a small teacher with random weights."""

import re
from functools import partial
from itertools import count, islice
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from safetensors.torch import load_file

from muralist.model.architecture import architecture
from muralist.model.errors import ModelError
from muralist.model.loading import load_network
from muralist.model.network import Network
from muralist.model.weight_files import find_weights

pytestmark = pytest.mark.integration

CROP = 64
TOOL = Path(__file__).resolve().parents[2] / "tools" / "train_compact.py"


@pytest.fixture
def tool():
    import train_compact

    return train_compact


@pytest.fixture(scope="module")
def encoder(tmp_path_factory, encoder_tensors):
    """A compressed encoder's file: a training checkpoint."""
    path = tmp_path_factory.mktemp("teacher") / "16x.pth"
    torch.save({"epoch": 20, "model": encoder_tensors}, path)
    return path


def draw_picture(path, side, seed):
    """Colored blots: noise of few pixels, enlarged."""
    noise = np.random.default_rng(seed).integers(0, 256, (9, 9, 3), dtype=np.uint8)
    Image.fromarray(noise).resize((side + 10 * seed, side), Image.Resampling.BICUBIC).save(path)


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """A folder with three pictures, one of them in a folder of its own, one too small, and a text."""
    folder = tmp_path_factory.mktemp("images")
    (folder / "more").mkdir()
    for i, name in enumerate(["a.png", "b.jpg", "more/c.png"]):
        draw_picture(folder / name, 150, i)
    draw_picture(folder / "small.png", 2 * CROP - 1, 0)
    (folder / "readme.txt").write_text("no picture")
    return folder


@pytest.fixture
def lesson(tool, encoder, images):
    torch.manual_seed(0)
    drawn = tool.batches(tool.Album(tool.load_pictures([images], 2 * CROP), (), 2, CROP))
    return tool.prepare_lesson(tool.load_teacher(str(encoder)), islice(drawn, 12)), drawn


def student_of(tool, lesson, batch):
    torch.manual_seed(1)
    student = tool.Student()
    student.normalize(batch)
    student.fit_heads(lesson, [batch], tool.STYLE_LAYERS)
    return student


def train(tool, images, encoder, out, *options):
    few = ["--turns", 1, "--canvases", 0, "--batch", 2, "--crop", CROP]
    many = [] if {"--minutes", "--steps"} & set(options) else ["--steps", 3]
    command = [images, "--teacher", encoder, "--out", out, *few, *many, *options]
    return CliRunner().invoke(tool.main, [str(part) for part in command])


def test_what_is_wanted_keeps_all_distances(tool, lesson):
    """The teacher's heads, reduced to fewer rows, give the same inner products as VGG-19's features."""
    taught, drawn = lesson
    batch = next(drawn)
    for layer in tool.STYLE_LAYERS:
        features = taught.teacher(batch, [layer])[layer]
        whole = tool.headed(features, torch.from_numpy(taught.teacher.metric[layer]))
        reduced = taught.wanted(batch, [layer])[layer]
        assert reduced.shape[1] <= features.shape[1] + 1
        for a, b in ((whole, whole), (reduced, reduced)):
            assert a is b
        inner = [
            torch.einsum("nchw,nckl->nhwkl", each, each) for each in (whole[:1, :, :4, :4], reduced[:1, :, :4, :4])
        ]
        torch.testing.assert_close(inner[1], inner[0], rtol=1e-3, atol=1e-3 * float(inner[0].abs().max()))


def test_the_content_channels_are_the_most_active(tool, encoder, lesson):
    """As many as the student has, with a mean square of about one."""
    taught, drawn = lesson
    content = torch.cat([taught.wanted(batch, ["relu4_2"])["relu4_2"] for batch in islice(drawn, 12)])
    assert content.shape[1] == architecture("compact").channels("relu4_2")
    assert content.square().mean() == pytest.approx(1, rel=0.5)


def test_a_teacher_narrower_than_the_student_is_refused(tool, lesson):
    """The student cannot learn more content channels than there are."""
    teacher = lesson[0].teacher
    teacher.conv4_2_weight, teacher.conv4_2_bias = teacher.conv4_2_weight[:100], teacher.conv4_2_bias[:100]
    teacher.conv4_3_weight = teacher.conv4_3_weight[:, :100]
    with pytest.raises(ModelError, match=r"\b100 channels .*relu4_2; .*\b128\b"):
        tool.prepare_lesson(teacher, [torch.rand(1, 3, CROP, CROP)])


def test_batches_are_crops_in_range(tool, images):
    """Every batch has the size asked for, values in [0, 1], and other crops than the one before; seeds repeat it."""
    pictures = tool.load_pictures([images], 2 * CROP)
    canvases = [torch.randint(1, 256, (3, 96, 112), dtype=torch.uint8) * torch.tensor([[[1]], [[1]], [[0]]])]
    torch.manual_seed(3)
    album = tool.Album(pictures, canvases, 2, CROP)
    first = list(islice(tool.batches(album), 12))
    torch.manual_seed(3)
    again = list(islice(tool.batches(album), 12))
    assert all(batch.shape == (2, 3, CROP, CROP) and batch.dtype == torch.float32 for batch in first)
    assert all(batch.min() >= 0 and batch.max() <= 1 for batch in first)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert len({float(batch.sum()) for batch in first}) == 12
    assert any(crop[2].max() == 0 for batch in first for crop in batch)  # of the canvas, which has no blue


def test_pictures_are_found_and_large_ones_shrunk(tool, images, tmp_path):
    """Folders are searched through; small pictures and other files are passed over."""
    Image.new("L", (3000, 300)).save(tmp_path / "wide.png")
    pictures = tool.load_pictures([images, tmp_path / "wide.png"], 2 * CROP)
    assert [tuple(p.shape) for p in pictures] == [(3, 150, 150), (3, 150, 160), (3, 150, 170), (3, 140, 1400)]
    assert all(p.dtype == torch.uint8 for p in pictures)


def test_a_student_is_the_network_that_muralist_loads(tool, lesson):
    """What is trained and what is saved give the same features."""
    taught, drawn = lesson
    batch = next(drawn)
    student = student_of(tool, taught, batch)
    wanted, given = student(batch, tool.LAYERS), tool.as_network(student)(batch, tool.LAYERS)
    for layer in tool.LAYERS:
        torch.testing.assert_close(given[layer], wanted[layer], rtol=1e-4, atol=1e-5)


def test_a_new_student_is_normalized(tool, lesson):
    """Whatever was drawn at random, every layer starts with a mean square of one."""
    batch = next(lesson[1])
    torch.manual_seed(2)
    student = tool.Student()
    student.normalize(batch)
    with torch.no_grad():
        for layer, features in student(batch, tool.LAYERS).items():
            assert features.square().mean() == pytest.approx(1, rel=0.05), layer


def test_fitted_heads_explain_more_than_others(tool, lesson):
    """Least squares is the best fit to the batches it was given: any other heads explain less of them."""
    taught, drawn = lesson
    batch = next(drawn)
    student = student_of(tool, taught, batch)
    best = tool.explained(student, taught, [batch])
    with torch.no_grad():
        for heads in student.heads.values():
            heads *= 1.01
    other = tool.explained(student, taught, [batch])
    assert all(other[layer] < best[layer] for layer in tool.STYLE_LAYERS)
    assert all(best[layer] > 0 for layer in tool.STYLE_LAYERS)


def test_reduced_heads_measure_the_same(tool):
    """The square root of H^T H is symmetric and keeps all distances."""
    heads = torch.randn(40, 9, generator=torch.Generator().manual_seed(0))
    root = tool.reduced(heads)
    torch.testing.assert_close(root, root.T)
    torch.testing.assert_close(root.T @ root, heads.T @ heads, rtol=1e-4, atol=1e-4)


def test_a_few_steps_lower_the_loss(tool, lesson):
    """After 20 steps the error on the same batch is well below what it was; what was not to learn is as before."""
    taught, drawn = lesson
    same = next(drawn)
    student = student_of(tool, taught, same)
    kept, old = (student.convolutions[name].weight.clone() for name in ("1_1", "2_1"))
    with torch.no_grad():
        before = taught.loss(same, student, tool.LAYERS)
    names = [name for name in student.convolutions if name != "1_1"]
    tool.train(student, taught, iter([same] * 20), tool.Extent(20), names, rate=3e-4)
    with torch.no_grad():
        after = taught.loss(same, student, tool.LAYERS)
    assert after < 0.9 * before
    assert torch.equal(student.convolutions["1_1"].weight, kept)
    assert not torch.equal(student.convolutions["2_1"].weight, old)


def test_a_student_paints_what_it_learns_from(tool, lesson, images, monkeypatch):
    """Canvases in progress are pictures of a size that the network takes, and no photographs any more."""
    taught, drawn = lesson
    student = student_of(tool, taught, next(drawn))
    pictures = tool.load_pictures([images], 2 * CROP)
    monkeypatch.setattr(tool, "SIDES", (2,))
    monkeypatch.setattr(tool, "SNAPSHOTS", (2, 3))
    canvases = tool.paint_canvases(tool.as_network(student), pictures, 2, crop=48)
    assert [canvas.dtype for canvas in canvases] == [torch.uint8] * 4
    assert all(max(canvas.shape[1:]) == 96 for canvas in canvases)
    assert not torch.equal(canvases[0], canvases[1])


def test_the_command_writes_a_network_that_muralist_loads(tool, images, encoder, tmp_path):
    """It prints the file's hash and what every layer explains; the same seed gives the same bytes, another does not."""
    files = [tmp_path / name for name in ("a.safetensors", "b.safetensors", "c.safetensors")]
    results = [train(tool, images, encoder, out, "--seed", i // 2) for i, out in enumerate(files)]
    assert [result.exit_code for result in results] == [0, 0, 0], results[0].output
    row, found = architecture("compact"), [find_weights(architecture("compact"), str(file)) for file in files]
    assert found[0].sha256 == found[1].sha256 != found[2].sha256
    assert "2 pictures to learn from, 1 held out\n" in results[0].stdout
    assert f"{found[0].sha256}  {files[0]}\n" in results[0].stdout
    assert re.findall(r"^(relu\w+)  -?[\d.]+% explained$", results[0].stdout, re.M) == [*tool.LAYERS]
    tensors = load_file(files[0])
    assert {value.dtype for key, value in tensors.items() if key.startswith("conv")} == {torch.float16}
    network = load_network("compact", found[0], row.layers)
    assert isinstance(network, Network)
    assert set(network.metric) == set(tool.STYLE_LAYERS)
    features = partial(network, layers=row.layers)
    assert all(value.isfinite().all() for value in features(torch.rand(1, 3, CROP, CROP)).values())


def test_training_goes_on_from_a_file(tool, images, encoder, tmp_path):
    """With --start only the last part is trained, from the file's convolutions."""
    first, second = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    assert train(tool, images, encoder, first).exit_code == 0
    result = train(tool, images, encoder, second, "--start", first)
    assert result.exit_code == 0, result.output
    before, after = load_file(first), load_file(second)
    assert (after["conv1_1.weight"] - before["conv1_1.weight"]).abs().max() < 0.01
    assert not torch.equal(after["metric.relu5_1"], before["metric.relu5_1"])


def test_frozen_blocks_stay_as_they_are(tool, images, encoder, tmp_path):
    """With --frozen the first blocks of the file are left alone, and all above them learn, as fast as --rate says."""
    first, second, faster = (tmp_path / f"{name}.safetensors" for name in "abc")
    assert train(tool, images, encoder, first).exit_code == 0
    for out, rate in ((second, 1e-4), (faster, 1e-2)):
        result = train(tool, images, encoder, out, "--start", first, "--frozen", 2, "--rate", rate)
        assert result.exit_code == 0, result.output
    before, after, far = map(load_file, (first, second, faster))
    moved = {name for name in before if name.startswith("conv") and not torch.equal(before[name], after[name])}
    assert {name[4] for name in moved} == {"3", "4", "5"}
    assert [
        float((tensors["conv3_1.weight"] - before["conv3_1.weight"]).abs().max()) > 0.002 for tensors in (after, far)
    ] == [False, True]


@pytest.mark.slow  # a compiler's minute
def test_a_compiled_loss_trains(tool, images, encoder, tmp_path):
    """What torch compiles learns the same."""
    plain, compiled = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    assert train(tool, images, encoder, plain).exit_code == 0
    result = train(tool, images, encoder, compiled, "--compile")
    assert result.exit_code == 0, result.output
    a, b = load_file(plain), load_file(compiled)
    assert all(torch.allclose(a[name].float(), b[name].float(), atol=5e-3) for name in a if name.startswith("conv"))


def test_training_ends_when_its_time_is_up(tool, images, encoder, tmp_path, monkeypatch):
    """With --minutes, steps are made until the time of every part is over; at least one in each, in either case."""
    with monkeypatch.context() as patch:
        patch.setattr(tool.time, "perf_counter", map(float, count(100)).__next__)
        assert list(tool.Extent(seconds=5).progress()) == [0, 0.2, 0.4, 0.6, 0.8]
    assert list(tool.Extent(seconds=-1).progress()) == [0]
    assert list(tool.Extent(4).part(0.5).progress()) == [0, 0.5]
    assert list(tool.Extent(4).part(0.01).progress()) == [0]
    result = train(tool, images, encoder, tmp_path / "out.safetensors", "--minutes", 0.001, "--processes", 1)
    assert result.exit_code == 0, result.output
    assert find_weights(architecture("compact"), str(tmp_path / "out.safetensors")).sha256 in result.stdout


def test_the_rate_rises_and_falls(tool):
    """The learning rate is largest after a short rise and ends at nothing."""
    rates = [tool.share_of_rate(progress) for progress in np.linspace(0, 1, 501)]
    assert (max(rates), rates[-1]) == (1, pytest.approx(0, abs=1e-9))
    assert rates.index(1) == 10
    assert rates[:11] == sorted(rates[:11])
    assert rates[10:] == sorted(rates[10:], reverse=True)


def test_bfloat16_trains(tool, images, encoder, tmp_path):
    """Half precision is for the convolutions in training only; the result is a whole network."""
    result = train(tool, images, encoder, tmp_path / "out.safetensors", "--bf16")
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize(
    ("options", "code", "problem"),
    [
        (["--steps", 9, "--minutes", 1], 2, "--steps and --minutes both say how long to train; give one of them"),
        (["--frozen", 2], 2, "--frozen keeps blocks of a trained file as they are; name the file with --start"),
        (["--out", "nowhere/out.safetensors"], 2, "there is no folder nowhere; make it first"),
        (["--crop", 63], 2, "63 is not in the range x>=64"),
        (["--crop", 128], 1, "found 0 pictures with no side shorter than 256 px, wanted at least 2: name more images"),
        (["--teacher", "vgg18"], 1, "unknown network 'vgg18'; did you mean 'vgg19'?"),
        (["--teacher", "vgg19", "--teacher-weights", TOOL], 1, "train_compact.py: is not a complete safetensors file"),
        (["--teacher", TOOL], 1, "train_compact.py: is not a complete safetensors file or torch state dict"),
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
