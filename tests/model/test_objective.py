"""Losses of a whole picture and their gradients at its features."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from goals import Goal

from muralist.model.losses.content import CONTENT_LOSSES
from muralist.model.losses.means import means_grad
from muralist.model.losses.style import STYLE_LOSSES, GramStats
from muralist.model.losses.terms import LayerShape, TileView
from muralist.model.statistics import TileSums, Window, as_sums

LAYERS = {"relu1_1": 3.0, "relu2_1": 1.0}
CONTENT = {"relu2_1": 2.0, "relu1_1": 0.5}


def noise(*shape: int, seed: int) -> torch.Tensor:
    """Random float64 numbers, mostly positive, as features are."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + 0.7


def scene(height: int = 6, width: int = 8) -> tuple[torch.Tensor, dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """A picture, its features and the photograph's, all random."""
    shapes = {"relu1_1": (1, 3, height, width), "relu2_1": (1, 4, height // 2, width // 2)}
    features = {name: noise(*shape, seed=i) for i, (name, shape) in enumerate(shapes.items())}
    content = {name: noise(*shape, seed=i + 10) for i, (name, shape) in enumerate(shapes.items())}
    return noise(1, 3, height, width, seed=20), features, content


def objective(height: int = 6, width: int = 8, **choices: object) -> Goal:
    """Weights that are all different, and targets that are symmetric and positive."""
    roots = {"relu1_1": noise(3, 5, seed=30).numpy(), "relu2_1": noise(4, 5, seed=31).numpy()}
    usual = {
        "targets": {f"gram {name}": root @ root.T / 5 for name, root in roots.items()}
        | {f"mean {name}": root.mean(1) for name, root in roots.items()},
        "style_layers": LAYERS,
        "content_layers": CONTENT,
        "style_weight": 7.0,
        "content_weight": 0.3,
        "tv_weight": 0.11,
        "height": height,
        "width": width,
        "sizes": {"relu1_1": LayerShape(3, height * width), "relu2_1": LayerShape(4, height * width // 4)},
        "tv_chroma": 1.7,
    }
    return Goal(**usual | choices)


def full(picture: torch.Tensor) -> Window:
    """A window of ones in the picture's number type."""
    return Window(*(torch.ones(n, dtype=picture.dtype) for n in picture.shape[-2:]))


def losses_of(goal: Goal, picture: torch.Tensor, features: dict, content: dict) -> dict[str, float]:
    """Losses of a picture that is its own only tile."""
    return losses(goal, sums_of(goal, picture, features, content))


def losses(goal: Goal, sums: TileSums) -> dict[str, float]:
    """Losses from sums, the total among them."""
    found = goal.objective.losses(sums)
    return {**found, "total": goal.objective.total(found)}


def sums_of(goal: Goal, picture: torch.Tensor, features: dict, content: dict) -> TileSums:
    """Sums of a picture that is its own only tile, as the tile optimizer measures them."""
    return as_sums(goal.objective.sums(TileView(picture, features, content, full(picture))))


def style_gradients(goal: Goal, means: dict[str, torch.Tensor], features: dict) -> dict[str, torch.Tensor]:
    """Gradient of the style term at the features for the whole picture's means."""
    picture = torch.zeros(1, 3, goal.height, goal.width, dtype=torch.float64)
    return goal.style.gradient(TileView(picture, features, {}, full(picture)), means, {})


def content_gradients(goal: Goal, energy: dict[str, float], features: dict, content: dict) -> dict[str, torch.Tensor]:
    """Gradient of the content term at the features for the photograph's energy."""
    picture = torch.zeros(1, 3, goal.height, goal.width, dtype=torch.float64)
    view = TileView(picture, features, content, full(picture))
    return goal.content.gradient(view, {}, {f"content energy {layer}": value for layer, value in energy.items()})


def variation_of(picture: torch.Tensor, tv_chroma: float) -> torch.Tensor:
    """Sum of squared differences between neighbors, those of each color to gray counted once more by `tv_chroma`."""
    colored = picture - picture.mean(1, keepdim=True)
    return sum(p.diff(dim=d).square().sum() * w for p, w in ((picture, 1), (colored, tv_chroma)) for d in (-1, -2))


def statistics(features: dict[str, torch.Tensor]) -> dict[str, GramStats]:
    """Means over positions of f f^T and f."""
    return {
        name: GramStats(torch.einsum("bchw,bdhw->cd", f, f) / f[0, 0].numel(), f.mean((0, 2, 3)))
        for name, f in features.items()
    }


def means(now: dict[str, GramStats]) -> dict[str, torch.Tensor]:
    """Statistics as terms name them."""
    return {f"style {kind} {name}": value for name, each in now.items() for kind, value in vars(each).items()}


def assert_same(found: dict[str, float], wanted: dict[str, float]) -> None:
    """All terms and the total agree to 1e-12."""
    assert found == pytest.approx(wanted, rel=1e-12)


def test_losses_worked_out_by_hand():
    """A case small enough for pen and paper: two style layers weighing 3 to 1, one content layer, four pixels."""
    goal = Goal(
        targets={
            "gram relu1_1": np.array([[2.0, 0.0], [0.0, 1.0]]),
            "mean relu1_1": np.array([1.0, 0.5]),
            "gram relu2_1": np.array([[4.0]]),
            "mean relu2_1": np.array([2.0]),
        },
        style_layers=LAYERS,
        content_layers={"relu2_1": 5.0},
        style_weight=10.0,
        content_weight=100.0,
        tv_weight=1000.0,
        height=2,
        width=2,
        sizes={"relu1_1": LayerShape(2, 4), "relu2_1": LayerShape(1, 1)},
        tv_chroma=2.0,
    )
    sums = {
        "style gram relu1_1": np.array([[12.0, 4.0], [4.0, 0.0]]),
        "style gram relu2_1": np.array([[6.0]]),
        "style mean relu1_1": np.array([6.0, 0.0]),
        "style mean relu2_1": np.array([2.0]),
        "content error relu2_1": np.array(3.0),
        "content energy relu2_1": np.array(12.0),
        "tv 1 0": np.array(10.0),
        "tv 0 1": np.array(6.0),
    }
    # relu1_1: G = [[3, 1], [1, 0]], G - S = [[1, 1], [1, -1]], 4 / 5; relu2_1: (6 - 4)^2 / 16 = 1 / 4.
    # Content: 3 / 12. TV: (10 + 6) / 4. Total: 10 * 0.6625 + 100 * 0.25 + 1000 * 4.
    wanted = {"style": 0.75 * 0.8 + 0.25 * 0.25, "content": 0.25, "tv": 4.0, "total": 4031.625}
    assert_same(losses(goal, sums), wanted)


@pytest.mark.parametrize(("style", "content"), [(True, False), (False, True), (False, False)])
def test_terms_that_do_not_count_are_left_out(style, content):
    """Without style or content layers there is no such loss, and the total is that of the others."""
    picture, features, photograph = scene()
    both = losses_of(objective(), picture, features, photograph)
    goal = objective(style_layers=LAYERS if style else {}, content_layers=CONTENT if content else {})
    found = losses_of(goal, picture, features, photograph)
    counts = {"style": style, "content": content, "tv": True}
    assert found.keys() - {"total"} == {name for name, does in counts.items() if does}
    assert all(found[name] == both[name] for name, does in counts.items() if does)
    weights = {"style": 7.0, "content": 0.3, "tv": 0.11}
    assert found["total"] == pytest.approx(sum(weights[name] * found[name] for name, does in counts.items() if does))


# Name -> loss of a layer of N = 2 channels and M = 3 positions with sum (F - P)^2 = 12 and sum P^2 = 48.
CONTENT_BY_HAND = {
    "relative": 12 / 48,
    "gatys": 12 / 2,
    "mse": 12 / 6,
    "prisma": 2 * (12 / 2) / 6,  # 2 * l2_loss / size
    "sum": 12.0,
    "gcucurull": 12.0,
    "log0": 12 / (4 * 2 * 3),
    "fermilab": 12 / (2 * 2**0.5 * 3**0.5),
}


@pytest.mark.parametrize("name", CONTENT_LOSSES)
def test_content_formulas_by_hand(name):
    """Every formula of the content loss, worked out for one layer; a case is written for every name."""
    goal = objective(1, 3, content_layers={"relu3_1": 2.0}, sizes={"relu3_1": LayerShape(2, 3)}, content_loss=name)
    sums = {"content error relu3_1": np.array(12.0), "content energy relu3_1": np.array(48.0)}
    assert goal.content.value(sums) == pytest.approx(CONTENT_BY_HAND[name], rel=1e-12)


def test_a_photograph_of_nothing():
    """Where the photograph has no features at all, the relative content loss is zero, not a division by zero."""
    picture, features, content = scene()
    goal = objective(content_layers={"relu2_1": 1.0})
    black = content | {"relu2_1": torch.zeros_like(content["relu2_1"])}
    assert losses_of(goal, picture, features, black)["content"] == 0
    gradients = content_gradients(goal, {"relu2_1": 0.0}, features, black)
    assert torch.equal(gradients["relu2_1"], torch.zeros_like(features["relu2_1"]))


def test_a_picture_that_meets_its_targets_has_no_loss():
    """Style and content losses vanish where Grams are the targets and features the photograph's."""
    picture, features, _ = scene()
    targets = {f"gram {name}": each.gram.numpy() for name, each in statistics(features).items()}
    targets |= {f"mean {name}": each.mean.numpy() for name, each in statistics(features).items()}
    found = losses_of(objective(targets=targets), picture, features, features)
    assert found["style"] == pytest.approx(0, abs=1e-28)
    assert found["content"] == 0


def style_target(goal: Goal, name: str) -> GramStats:
    """A layer's target as tensors."""
    return GramStats(*(torch.from_numpy(goal.targets[f"{what} {name}"]) for what in ("gram", "mean")))


@pytest.mark.parametrize("formula", STYLE_LOSSES)
def test_style_gradient_is_that_of_the_style_loss(formula):
    """The gradient at the features, at their own statistics, is autograd's of pixels * weight * style loss."""
    _, features, _ = scene()
    goal = objective(style_loss=formula)
    leaves = {name: f.clone().requires_grad_() for name, f in features.items()}
    share = {name: weight / sum(LAYERS.values()) for name, weight in LAYERS.items()}
    loss = 0.0
    for name, now in statistics(leaves).items():
        loss = loss + share[name] * STYLE_LOSSES[formula](style_target(goal, name))(now)
    (goal.size.pixels * goal.style_weight * loss).backward()
    found = style_gradients(goal, means(statistics(features)), features)
    assert found.keys() == LAYERS.keys()
    for name, gradient in found.items():
        torch.testing.assert_close(gradient, leaves[name].grad, rtol=1e-11, atol=1e-12)


def test_relative_style_gradient_written_out():
    """The gradient of the default formula, with nothing of ours but the targets."""
    _, features, _ = scene()
    goal = objective()
    leaves = {name: f.clone().requires_grad_() for name, f in features.items()}
    share = {name: weight / sum(LAYERS.values()) for name, weight in LAYERS.items()}
    loss = 0.0
    for name, now in statistics(leaves).items():
        target = style_target(goal, name).gram
        loss = loss + share[name] * (now.gram - target).square().sum() / target.square().sum()
    (goal.size.pixels * goal.style_weight * loss).backward()
    for name, gradient in style_gradients(goal, means(statistics(features)), features).items():
        torch.testing.assert_close(gradient, leaves[name].grad, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("formula", ["relative", "spst"])
def test_style_gradient_is_that_of_the_surrogate(formula):
    """For statistics not the features' own, it is that of sum (<D, F F^T> + d F) / positions with D, d held fixed."""
    _, features, _ = scene()
    goal = objective(style_loss=formula)
    apart = {
        name: GramStats(each.gram + torch.eye(len(each.mean), dtype=each.gram.dtype), each.mean + 0.1)
        for name, each in statistics(features).items()
    }
    held = {name: means_grad(goal.style.distances[name], vars(each)) for name, each in apart.items()}
    found = style_gradients(goal, means(apart), features)
    for name, share in (("relu1_1", 0.75), ("relu2_1", 0.25)):
        leaf = features[name].clone().requires_grad_()
        gram, feature = torch.einsum("bchw,bdhw->cd", leaf, leaf), leaf.sum((0, 2, 3))
        surrogate = ((held[name]["gram"] * gram).sum() + held[name]["mean"] @ feature) / goal.sizes[name].positions
        (goal.size.pixels * goal.style_weight * share * surrogate).backward()
        torch.testing.assert_close(found[name], leaf.grad, rtol=1e-12, atol=1e-13)


def test_gradients_of_the_default_formula():
    """By Gram matrix the gradient is 2 (G - S) / |S|^2; the mean does not count."""
    goal = objective()
    now = statistics(scene()[1])
    for name, each in now.items():
        found, target = means_grad(goal.style.distances[name], vars(each)), style_target(goal, name).gram
        torch.testing.assert_close(found["gram"], 2 * (each.gram - target) / target.square().sum())
        assert not found["mean"].any()


# Name -> factor of the summed squared difference of a layer of N channels and M positions.
CONTENT_FACTORS = {
    "relative": lambda n, m, p: 1 / p.square().sum(),
    "gatys": lambda n, m, p: 1 / 2,
    "mse": lambda n, m, p: 1 / (n * m),
    "prisma": lambda n, m, p: 1 / (n * m),
    "sum": lambda n, m, p: 1,
    "gcucurull": lambda n, m, p: 1,
    "log0": lambda n, m, p: 1 / (4 * n * m),
    "fermilab": lambda n, m, p: 1 / (2 * n**0.5 * m**0.5),
}


@pytest.mark.parametrize("formula", CONTENT_LOSSES)
def test_content_gradient_is_that_of_the_content_loss(formula):
    """The gradient at the features is autograd's of pixels * weight * content loss."""
    picture, features, content = scene()
    goal = objective(content_loss=formula)
    leaves = {name: f.clone().requires_grad_() for name, f in features.items()}
    loss = sum(
        weight
        / sum(CONTENT.values())
        * (leaves[name] - content[name]).square().sum()
        * CONTENT_FACTORS[formula](goal.sizes[name].channels, goal.sizes[name].positions, content[name])
        for name, weight in CONTENT.items()
    )
    assert losses_of(goal, picture, features, content)["content"] == pytest.approx(float(loss.detach()), rel=1e-12)
    (goal.size.pixels * goal.content_weight * loss).backward()
    energy = {name: float(content[name].square().sum()) for name in CONTENT}
    found = content_gradients(goal, energy, features, content)
    assert found.keys() == CONTENT.keys()
    for name, gradient in found.items():
        torch.testing.assert_close(gradient, leaves[name].grad, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize(("height", "width"), [(6, 8), (1, 5), (5, 1), (2, 2)])
@pytest.mark.parametrize("tv_chroma", [0.0, 2.5])
def test_variation_gradient_is_that_of_the_variation_loss(height, width, tv_chroma):
    """The gradient at the pixels is autograd's of pixels * weight * total variation, for narrow pictures too."""
    leaf = noise(1, 3, height, width, seed=1).requires_grad_()
    goal = objective(height, width, tv_chroma=tv_chroma)
    (goal.size.pixels * goal.tv_weight * variation_of(leaf, tv_chroma) / goal.size.pixels).backward()
    torch.testing.assert_close(goal.tv_gradient(leaf.detach()), leaf.grad, rtol=1e-12, atol=1e-13)


def test_losses_are_those_the_gradients_descend():
    """Losses from sums equal the losses that the gradient tests differentiate."""
    picture, features, content = scene()
    goal = objective()
    targets = {name: goal.targets[f"gram {name}"] for name in LAYERS}
    style = sum(
        weight / 4 * np.square(now.gram.numpy() - targets[name]).sum() / np.square(targets[name]).sum()
        for (name, now), weight in zip(statistics(features).items(), LAYERS.values(), strict=True)
    )
    error = sum(
        weight / 2.5 * float((features[name] - content[name]).square().sum() / content[name].square().sum())
        for name, weight in CONTENT.items()
    )
    variation = float(variation_of(picture, goal.tv_chroma)) / 48
    total = 7 * float(style) + 0.3 * error + 0.11 * variation
    assert_same(
        losses_of(goal, picture, features, content),
        {"style": float(style), "content": error, "tv": variation, "total": total},
    )


@pytest.mark.parametrize("factor", [0.01, 3.0, 1000.0])
def test_feature_magnitude_does_not_matter(factor):
    """Features of any magnitude give the same losses, so that weights mean the same for every network."""
    picture, features, content = scene()
    goal = objective()
    power = {"gram": 2, "mean": 1}
    targets = {name: target * factor ** power[name.split()[0]] for name, target in goal.targets.items()}
    scaled = replace(goal, targets=targets)
    larger = [{name: f * factor for name, f in values.items()} for values in (features, content)]
    assert_same(losses_of(scaled, picture, *larger), losses_of(goal, picture, features, content))


def fourfold(values: torch.Tensor | dict[str, torch.Tensor]) -> torch.Tensor | dict[str, torch.Tensor]:
    """Four mirrored copies of a picture, or of features."""
    if isinstance(values, dict):
        return {name: fourfold(f) for name, f in values.items()}
    wide = torch.cat([values, values.flip(-1)], -1)
    return torch.cat([wide, wide.flip(-2)], -2)


def test_picture_size_does_not_matter():
    """Four mirrored copies of a picture have the losses of one, so that weights mean the same for every size."""
    one = scene()
    assert_same(losses_of(objective(12, 16), *map(fourfold, one)), losses_of(objective(), *one))


@pytest.mark.parametrize("formula", CONTENT_LOSSES)
def test_loss_pixels_stand_for_the_picture(formula):
    """Four copies counted as one have the content loss of one, whatever the formula; TV sums too, but for the seams."""
    one = scene()
    choices = {"content_loss": formula, "tv_loss": "l1-sum"}
    wanted = losses_of(objective(**choices), *one)
    found = losses_of(objective(12, 16, loss_pixels=48, **choices), *map(fourfold, one))
    assert_same(found, wanted)
    grown = losses_of(objective(12, 16, **choices), *map(fourfold, one))
    factor = {"gatys": 4, "sum": 4, "gcucurull": 4, "fermilab": 2}.get(formula, 1)
    assert grown["content"] == pytest.approx(factor * wanted["content"], rel=1e-12)
    assert grown["tv"] == pytest.approx(4 * wanted["tv"], rel=1e-12)  # nothing changes across a mirror


@pytest.mark.parametrize("formula", ["gatys", "fermilab"])
def test_loss_pixels_stand_for_the_picture_in_gradients(formula):
    """Four copies counted as one have gradients of pixels * loss that are those of one, copied."""
    _, features, content = scene()
    energy = {name: float(p.square().sum()) for name, p in content.items()}
    one = content_gradients(objective(content_loss=formula), energy, features, content)
    four = content_gradients(
        objective(12, 16, loss_pixels=48, content_loss=formula),
        {name: 4 * value for name, value in energy.items()},
        fourfold(features),
        fourfold(content),
    )
    for name, gradient in fourfold(one).items():
        torch.testing.assert_close(four[name], gradient, rtol=1e-12, atol=1e-13)


def test_scale_of_layer_weights_does_not_matter():
    """Layer weights are shares: multiplying all of them changes neither losses nor gradients."""
    picture, features, content = scene()
    goal = objective()
    scaled = replace(goal, style_layers={k: 9 * v for k, v in LAYERS.items()}, content_layers=CONTENT)
    assert_same(losses_of(scaled, picture, features, content), losses_of(goal, picture, features, content))
    held = means(statistics(features))
    for name, gradient in style_gradients(goal, held, features).items():
        again = style_gradients(scaled, held, features)[name]
        torch.testing.assert_close(again, gradient, rtol=1e-13, atol=0)


def test_gray_pictures_have_no_chroma():
    """What differs in gray only costs the same whatever color costs; a speck of color costs more."""
    _, features, content = scene()
    gray = noise(1, 1, 6, 8, seed=3).expand(1, 3, 6, 8)
    plain, strict = (replace(objective(), tv_chroma=factor) for factor in (0.0, 5.0))
    assert_same(losses_of(strict, gray, features, content), losses_of(plain, gray, features, content))
    speck = gray.clone()
    speck[0, 0, 3, 3] += 1
    costs = [losses_of(goal, speck, features, content)["tv"] for goal in (plain, strict)]
    assert costs[1] > costs[0] * 1.01


def test_every_layer_is_needed_once():
    """The layers to compute are those of style and content, without repetition."""
    assert objective().objective.layers == ("relu1_1", "relu2_1")
    assert replace(objective(), content_layers={"relu4_2": 1.0}).objective.layers == ("relu1_1", "relu2_1", "relu4_2")


def test_weight_of_a_layer():
    """A layer's part of a term weighs the term's weight times the layer's share."""
    goal = objective()
    assert goal.style.weight * goal.style.shares["relu1_1"] == pytest.approx(7.0 * 0.75)
    assert goal.content.weight * goal.content.shares["relu1_1"] == pytest.approx(0.3 * 0.2)


def test_objectives_pickle():
    """An objective that was used crosses to a worker and gives the same losses there."""
    picture, features, content = scene()
    goal = objective().objective
    sums = sums_of(objective(), picture, features, content)
    wanted = goal.losses(sums)
    assert pickle.loads(pickle.dumps(goal)).losses(sums) == wanted
