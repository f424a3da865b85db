"""Losses of a whole picture and their gradients at its features."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch

from muralist.model.objective import Losses, Objective
from muralist.model.statistics import Sums, Window, measure

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


def objective(pixels: int = 48) -> Objective:
    """Weights that are all different, and targets that are symmetric and positive."""
    roots = {"relu1_1": noise(3, 5, seed=30).numpy(), "relu2_1": noise(4, 5, seed=31).numpy()}
    return Objective(
        targets={name: root @ root.T / 5 for name, root in roots.items()},
        style_layers=LAYERS,
        content_layers=CONTENT,
        style_weight=7.0,
        content_weight=0.3,
        tv_weight=0.11,
        pixels=pixels,
        positions={"relu1_1": pixels, "relu2_1": pixels // 4},
        tv_chroma=1.7,
    )


def full(picture: torch.Tensor) -> Window:
    """A window of ones in the picture's number type."""
    return Window(*(torch.ones(n, dtype=picture.dtype) for n in picture.shape[-2:]))


def losses_of(goal: Objective, picture: torch.Tensor, features: dict, content: dict) -> Losses:
    """Losses of a picture that is its own only tile."""
    return goal.losses(measure(picture, features, content, goal.style_layers, full(picture)))


def variation_of(picture: torch.Tensor, tv_chroma: float) -> torch.Tensor:
    """Sum of squared differences between neighbours, those of each colour to grey counted once more by `tv_chroma`."""
    coloured = picture - picture.mean(1, keepdim=True)
    return sum(p.diff(dim=d).square().sum() * w for p, w in ((picture, 1), (coloured, tv_chroma)) for d in (-1, -2))


def mean_grams(features: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """G_l = 1/positions * F F^T."""
    return {name: torch.einsum("bchw,bdhw->cd", f, f) / f[0, 0].numel() for name, f in features.items()}


def assert_same(found: Losses, wanted: Losses) -> None:
    """All three terms agree to 1e-12."""
    assert (found.style, found.content, found.variation) == pytest.approx(
        (wanted.style, wanted.content, wanted.variation), rel=1e-12
    )


def test_losses_worked_out_by_hand():
    """A case small enough for pen and paper: two style layers weighing 3 to 1, one content layer, four pixels."""
    goal = Objective(
        targets={"relu1_1": np.array([[2.0, 0.0], [0.0, 1.0]]), "relu2_1": np.array([[4.0]])},
        style_layers=LAYERS,
        content_layers={"relu2_1": 5.0},
        style_weight=1.0,
        content_weight=1.0,
        tv_weight=1.0,
        pixels=4,
        positions={"relu1_1": 4, "relu2_1": 1},
        tv_chroma=2.0,
    )
    sums = Sums(
        gram={"relu1_1": np.array([[12.0, 4.0], [4.0, 0.0]]), "relu2_1": np.array([[6.0]])},
        content_error={"relu2_1": 3.0},
        content_energy={"relu2_1": 12.0},
        variation=10.0,
        chroma=3.0,
    )
    # relu1_1: G = [[3, 1], [1, 0]], G - S = [[1, 1], [1, -1]], 4 / 5; relu2_1: (6 - 4)^2 / 16 = 1 / 4.
    assert_same(goal.losses(sums), Losses(style=0.75 * 0.8 + 0.25 * 0.25, content=0.25, variation=4.0))


def test_a_picture_that_meets_its_targets_has_no_loss():
    """Style and content losses vanish where Grams are the targets and features the photograph's."""
    picture, features, _ = scene()
    grams = {name: gram.numpy() for name, gram in mean_grams(features).items()}
    found = losses_of(replace(objective(), targets=grams), picture, features, features)
    assert found.style == pytest.approx(0, abs=1e-28)
    assert found.content == 0


def test_style_gradient_is_that_of_the_style_loss():
    """The gradient at the features, at their own Grams, is autograd's of pixels * weight * style loss."""
    _, features, _ = scene()
    goal = objective()
    leaves = {name: f.clone().requires_grad_() for name, f in features.items()}
    share = {name: weight / sum(LAYERS.values()) for name, weight in LAYERS.items()}
    loss = 0.0
    for name, gram in mean_grams(leaves).items():
        target = torch.from_numpy(goal.targets[name])
        loss = loss + share[name] * (gram - target).square().sum() / target.square().sum()
    (goal.pixels * goal.style_weight * loss).backward()
    found = goal.style_gradients(mean_grams(features), features)
    assert found.keys() == LAYERS.keys()
    for name, gradient in found.items():
        torch.testing.assert_close(gradient, leaves[name].grad, rtol=1e-12, atol=1e-13)


def test_style_gradient_is_that_of_the_surrogate():
    """For Grams that are not the features' own, it is the gradient of sum <D, F F^T> / positions with D held fixed."""
    _, features, _ = scene()
    goal = objective()
    grams = {name: gram + torch.eye(len(gram), dtype=gram.dtype) for name, gram in mean_grams(features).items()}
    found = goal.style_gradients(grams, features)
    for name, share in (("relu1_1", 0.75), ("relu2_1", 0.25)):
        leaf = features[name].clone().requires_grad_()
        target = torch.from_numpy(goal.targets[name])
        slope = 2 * share * (grams[name] - target) / target.square().sum()
        surrogate = (slope * torch.einsum("bchw,bdhw->cd", leaf, leaf)).sum() / goal.positions[name]
        (goal.pixels * goal.style_weight * surrogate).backward()
        torch.testing.assert_close(found[name], leaf.grad, rtol=1e-12, atol=1e-13)


def test_content_gradient_is_that_of_the_content_loss():
    """The gradient at the features is autograd's of pixels * weight * content loss."""
    picture, features, content = scene()
    goal = objective()
    leaves = {name: f.clone().requires_grad_() for name, f in features.items()}
    loss = sum(
        weight / sum(CONTENT.values()) * (leaves[name] - content[name]).square().sum() / content[name].square().sum()
        for name, weight in CONTENT.items()
    )
    (goal.pixels * goal.content_weight * loss).backward()
    energy = measure(picture, features, content, (), full(picture)).content_energy
    found = goal.content_gradients(energy, features, content)
    assert found.keys() == CONTENT.keys()
    for name, gradient in found.items():
        torch.testing.assert_close(gradient, leaves[name].grad, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize(("height", "width"), [(6, 8), (1, 5), (5, 1), (2, 2)])
@pytest.mark.parametrize("tv_chroma", [0.0, 2.5])
def test_variation_gradient_is_that_of_the_variation_loss(height, width, tv_chroma):
    """The gradient at the pixels is autograd's of pixels * weight * total variation, for narrow pictures too."""
    leaf = noise(1, 3, height, width, seed=1).requires_grad_()
    goal = replace(objective(height * width), tv_chroma=tv_chroma)
    (goal.pixels * goal.tv_weight * variation_of(leaf, tv_chroma) / goal.pixels).backward()
    torch.testing.assert_close(goal.variation_gradient(leaf.detach()), leaf.grad, rtol=1e-12, atol=1e-13)


def test_losses_are_those_the_gradients_descend():
    """Losses from sums equal the losses that the gradient tests differentiate."""
    picture, features, content = scene()
    goal = objective()
    grams = mean_grams(features)
    style = sum(
        weight / 4 * np.square(grams[name].numpy() - goal.targets[name]).sum() / np.square(goal.targets[name]).sum()
        for name, weight in LAYERS.items()
    )
    error = sum(
        weight / 2.5 * float((features[name] - content[name]).square().sum() / content[name].square().sum())
        for name, weight in CONTENT.items()
    )
    variation = float(variation_of(picture, goal.tv_chroma)) / 48
    assert_same(losses_of(goal, picture, features, content), Losses(float(style), error, variation))


@pytest.mark.parametrize("factor", [0.01, 3.0, 1000.0])
def test_feature_magnitude_does_not_matter(factor):
    """Features of any magnitude give the same losses, so that weights mean the same for every network."""
    picture, features, content = scene()
    goal = objective()
    scaled = replace(goal, targets={name: target * factor**2 for name, target in goal.targets.items()})
    larger = [{name: f * factor for name, f in values.items()} for values in (features, content)]
    assert_same(losses_of(scaled, picture, *larger), losses_of(goal, picture, features, content))


def test_picture_size_does_not_matter():
    """Four mirrored copies of a picture have the losses of one, so that weights mean the same for every size."""
    one = scene()

    def fourfold(values: torch.Tensor) -> torch.Tensor:
        wide = torch.cat([values, values.flip(-1)], -1)
        return torch.cat([wide, wide.flip(-2)], -2)

    picture, *features = one
    four = fourfold(picture), *({name: fourfold(f) for name, f in values.items()} for values in features)
    assert_same(losses_of(objective(4 * 48), *four), losses_of(objective(48), *one))


def test_scale_of_layer_weights_does_not_matter():
    """Layer weights are shares: multiplying all of them changes neither losses nor gradients."""
    picture, features, content = scene()
    goal = objective()
    scaled = replace(goal, style_layers={k: 9 * v for k, v in LAYERS.items()}, content_layers=CONTENT)
    assert_same(losses_of(scaled, picture, features, content), losses_of(goal, picture, features, content))
    for name, gradient in goal.style_gradients(mean_grams(features), features).items():
        again = scaled.style_gradients(mean_grams(features), features)[name]
        torch.testing.assert_close(again, gradient, rtol=1e-13, atol=0)


def test_grey_pictures_have_no_chroma():
    """What differs in grey only costs the same whatever colour costs; a speck of colour costs more."""
    _, features, content = scene()
    grey = noise(1, 1, 6, 8, seed=3).expand(1, 3, 6, 8)
    plain, strict = (replace(objective(), tv_chroma=factor) for factor in (0.0, 5.0))
    assert_same(losses_of(strict, grey, features, content), losses_of(plain, grey, features, content))
    speck = grey.clone()
    speck[0, 0, 3, 3] += 1
    costs = [losses_of(goal, speck, features, content).variation for goal in (plain, strict)]
    assert costs[1] > costs[0] * 1.01


def test_every_layer_is_needed_once():
    """The layers to compute are those of style and content, without repetition."""
    assert objective().layers == ("relu1_1", "relu2_1")
    assert replace(objective(), content_layers={"relu4_2": 1.0}).layers == ("relu1_1", "relu2_1", "relu4_2")


def test_objectives_pickle():
    """An objective that was used crosses to a worker and gives the same losses there."""
    picture, features, content = scene()
    goal = objective()
    wanted = losses_of(goal, picture, features, content)
    assert losses_of(pickle.loads(pickle.dumps(goal)), picture, features, content) == wanted
