"""Draw our own example style picture: an evening landscape under a whirling sky, painted stroke by stroke.

Run ``python tools/draw_painting.py examples/painting.jpg [seed]``. Nothing is copied from any painting: a color
composition and a flow field are made up from formulas, then painted over in layers, from wide brushes to narrow ones
(after A. Hertzmann, "Painterly rendering with curved brush strokes of multiple sizes", 1998). Every stroke follows the
flow, carries two half-mixed paints in its bristles, and leaves a relief that is lit at the end.
"""

import sys
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter, maximum_filter, minimum_filter

Array = NDArray[np.float32]
Mask = NDArray[np.bool_]

WIDTH, HEIGHT, OVERSAMPLING = 1536, 1152, 2
SUN = (0.93, 0.27)  # positions are in units of the picture's height, from its upper left corner
CLOUD = (0.4, 0.3)
VORTICES = [(*SUN, 0.16, 0.05), (*CLOUD, -0.085, 0.05), (0.62, 0.5, 0.04, 0.02), (1.3, 0.47, -0.06, 0.03)]
POPLARS = [  # foot, root, height, lean
    *((1.165, 0.645, 0.12, 0.015), (1.215, 0.655, 0.15, 0.02), (1.27, 0.66, 0.12, 0.02), (0.41, 0.72, 0.1, 0.01)),
    *((0.35, 0.745, 0.15, 0.02), (0.27, 0.775, 0.21, 0.03), (0.17, 0.81, 0.28, 0.04), (0.05, 0.86, 0.36, 0.05)),
]
HILLS = [  # crest: height on the canvas, swing, frequency, phase; paint, accent; tone; tilt of the strokes
    (0.575, 0.035, 4.1, 0.4, "range", "cloud", 0.4, 0.2),
    (0.64, 0.05, 3.1, 2.2, "meadow", "water", 0.35, -0.3),
    (0.73, 0.05, 3.7, 4.6, "meadow", "wheat", 0.45, 0.35),
    (0.85, 0.06, 2.6, 0.9, "wheat", "fire", 0.58, -0.4),
]
PAINTS = {
    "night": "0b1430 14235e 1d3f8f 2b6aa8 4f9cb5 93c2b4 d9d8ae",
    "fire": "8e2320 cf3f1d ea731c f4a01f f8cb3e fcefb8",
    "cloud": "27336f 5d6ba3 a58fae dfb0a0 f3dcc0 fbf3e0",
    "range": "141c4a 2b3777 51559a 8f739f d49a88",
    "meadow": "131f3c 17463f 3c6b3a 84903a c9aa3d efd27a",
    "wheat": "35204a 6d3526 ac631f d6922b eeba45 f8e3a0",
    "water": "10204f 1f4f93 3f8fb8 93c4bd f1e2b0 f2a02a",
    "foliage": "0b0e1c 10251f 1d4030 44602c 8f8a34 d0b048",
    "outline": "0c0b16 1a1638 3a2030",
}


@dataclass
class Scene:
    """What there is to paint: for every place two paints, the stroke direction and the number of its shape."""

    paint: Array
    accent: Array
    angle: Array
    shape: NDArray[np.int_]

    def fill(self, mask: Mask, paint: str, accent: str, tone: Array, angle: Array) -> None:
        """Lay a new shape over the scene."""
        self.paint[mask], self.accent[mask] = ramp(paint, tone[mask]), ramp(accent, tone[mask] + 0.15)
        self.angle[mask] = angle[mask]
        self.shape[mask] = self.shape.max() + 1


def ramp(paints: str, tone: Array) -> Array:
    """Look a tone from 0 to 1 up in a row of paints."""
    rgb = np.array([list(bytes.fromhex(paint)) for paint in PAINTS[paints].split()]) / 255
    stops = np.linspace(0, 1, len(rgb))
    return np.stack([np.interp(tone, stops, channel) for channel in rgb.T], axis=-1).astype(np.float32)


def clouds(rng: np.random.Generator, shape: tuple[int, ...], sigma: float | tuple[float, float]) -> Array:
    """Smooth noise of mean zero and unit deviation."""
    noise = gaussian_filter(rng.standard_normal(shape, dtype=np.float32), sigma, mode="wrap")
    return noise / noise.std()


def compose(rng: np.random.Generator) -> Scene:
    """Compose the whole picture, from the sky forward to the trees."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float32) / HEIGHT
    blank = np.zeros((HEIGHT, WIDTH, 3), np.float32)
    scene = Scene(blank, blank.copy(), np.zeros_like(x), np.zeros(x.shape, int))
    drift = clouds(rng, x.shape, 60)
    for part in (compose_sky, compose_hills, compose_river, compose_poplars):
        part(scene, x, y, drift)
    return scene


def whirl(x: Array, y: Array, drift: Array) -> tuple[Array, Array]:
    """Direction of the wind, and bands of light and dark that follow it, from a stream function with vortices."""
    stream = 0.5 * y + 0.035 * np.sin(5.5 * x + 4 * y) + 0.006 * drift
    twist, inward = np.zeros_like(x), np.zeros_like(x)
    for cx, cy, strength, core in VORTICES:
        r2 = (x - cx) ** 2 + (y - cy) ** 2
        near = np.sign(strength) * np.exp(-r2 / (1.6 * strength) ** 2)
        stream += strength * 0.5 * np.log(r2 + core**2) * np.exp(-r2 / 0.18)
        twist += near * np.arctan2(y - cy, x - cx)
        inward += 0.15 * near
    dy, dx = np.gradient(stream)
    return np.arctan2(-dx, dy) - inward, np.sin(42 * stream + twist * 2 + 0.7 * drift)


def compose_sky(scene: Scene, x: Array, y: Array, drift: Array) -> None:
    """Let the wind carry night, a cloud and the fire of the sun; no outlines part them."""
    angle, bands = whirl(x, y, drift)
    to_sun, to_cloud = (np.hypot(x - cx, y - cy) for cx, cy in (SUN, CLOUD))
    dusk = np.exp(-(((y - 0.58) / 0.08) ** 2) - ((x - 0.8) / 0.45) ** 2)
    scene.fill(x >= 0, "night", "water", 0.18 + 0.55 * y + 0.2 * bands + 0.06 * drift, angle)
    white = 0.8 * np.exp(-((to_cloud / 0.2) ** 2)) + 0.4 * bands - 0.05 * drift
    scene.fill(white > 0.45, "cloud", "range", 0.1 + 0.6 * white + 1.5 * (CLOUD[1] - y), angle)
    hot = np.exp(-((to_sun / 0.2) ** 2)) + 0.65 * dusk + 0.22 * bands
    glow = 0.2 + 0.75 * np.exp(-((to_sun / 0.12) ** 2)) + 0.2 * bands + 0.2 * dusk
    scene.fill(hot > 0.42, "fire", "wheat", glow, angle)
    scene.shape[:] = 0


def compose_hills(scene: Scene, x: Array, y: Array, drift: Array) -> None:
    """Stack hills from the far range to the wheat in front, each with its own slope of strokes."""
    for base, swing, frequency, phase, paint, accent, tone, tilt in HILLS:
        crest = base + swing * (np.sin(frequency * x + phase) + 0.35 * np.sin(2.3 * frequency * x + 2 * phase))
        depth = y - crest
        furrows = np.sin(60 * (depth + tilt * 0.3 * x) + 2 * drift)
        light = tone + 0.2 * furrows + 0.14 * drift - 2 * np.clip(depth, 0, 0.15) + 0.2 * np.exp(-depth / 0.03)
        slope = np.arctan(np.gradient(crest, axis=1) * HEIGHT)
        sweep = tilt * np.clip(depth / 0.08, 0, 1) * (1 + 0.7 * np.sin(7 * x + 9 * y))
        scene.fill(depth > 0, paint, accent, light, slope + sweep)


def compose_river(scene: Scene, x: Array, y: Array, drift: Array) -> None:
    """Let a river that mirrors sky and sun wind from the hills to the lower edge."""
    fall = np.clip((y - 0.69) / 0.31, 0, 1)
    middle = 0.86 + 0.16 * np.sin(5.2 * fall**0.8) * (0.35 + fall) - 0.2 * fall
    across = (x - middle) / (0.012 + 0.13 * fall**1.4)
    tone = 0.42 + 0.28 * np.sin(5 * across + 2 * drift + 9 * fall) + 0.1 * drift
    angle = np.arctan2(1, np.gradient(middle, axis=0) * HEIGHT)
    scene.fill((np.abs(across) < 1) & (y > 0.69), "water", "cloud", tone, angle)


def compose_poplars(scene: Scene, x: Array, y: Array, drift: Array) -> None:
    """Plant dark poplars that lean in the wind, lit from the sun."""
    for foot, root, tall, lean in POPLARS:
        rise = np.clip((root - y) / tall, 0, 1)
        middle = foot + lean * rise**2 + 0.02 * tall * np.sin(9 * rise + 30 * foot)
        tufts = 1 + 0.2 * np.sin(23 * rise + 50 * foot)
        girth = tall * (0.14 * np.abs(np.sin(np.pi * rise**0.7)) * tufts + 0.006) + 0.001
        across = (x - middle) / girth
        lit = across * np.sign(SUN[0] - foot)
        tone = 0.27 + 0.2 * lit + 0.18 * np.sin(4 * across + 14 * rise + drift)
        angle = np.arctan2(-1, 2 * lean / tall * rise + 0.45 * across + 0.4 * np.sin(17 * rise + 20 * foot))
        scene.fill((np.abs(across) < 1) & (rise > 0) & (rise < 1), "foliage", "meadow", tone, angle)


def contours(scene: Scene) -> Scene:
    """A scene of nothing but the outlines between the shapes of another scene."""
    dy, dx = np.gradient(gaussian_filter(scene.shape.astype(np.float32), 3))
    line = maximum_filter(scene.shape, 6) != minimum_filter(scene.shape, 6)
    outline = Scene(*(np.zeros_like(part) for part in (scene.paint, scene.accent, scene.angle, scene.shape)))
    outline.fill(line, "outline", "foliage", np.full_like(dx, 0.3), np.arctan2(dx, -dy))
    return outline


class Canvas:
    """The painted surface, four channels deep: red, green, blue and the height of the paint."""

    def __init__(self, ground: Array, rng: np.random.Generator) -> None:
        """Tone the ground and cut the bristles of the brush."""
        self.rng = rng
        self.size = np.array([WIDTH, HEIGHT]) * OVERSAMPLING
        ground = gaussian_filter(ground, (6, 6, 0)) * [0.75, 0.62, 0.55]
        flat = np.dstack([ground, np.zeros((HEIGHT, WIDTH))]).astype(np.float32)
        self.surface = flat.repeat(OVERSAMPLING, axis=0).repeat(OVERSAMPLING, axis=1).reshape(-1, 4)
        self.bristles = 0.75 * clouds(rng, (2400, 1200), (90, 1.8)) + 0.5 * clouds(rng, (2400, 1200), (160, 6))
        self.streaks = clouds(rng, (2400, 1200), (250, 9))

    def layer(self, scene: Scene, where: Array, radius: float, length: float, spacing: float) -> None:
        """Paint with one brush, in random order from a jittered grid, as densely as wanted at each place."""
        step = radius * spacing
        grid = np.mgrid[-step : WIDTH + step : step * 1.5, -step : HEIGHT + step : step].reshape(2, -1).T
        starts = grid + self.rng.uniform(-step, step, grid.shape)
        starts = self.rng.permutation(starts[where[lookup(starts)] > self.rng.random(len(starts))])
        paths, lengths = self.trace(scene, starts, radius, length)
        for start, path, count in zip(starts, paths, lengths, strict=True):
            if count > 2:
                self.stroke(path[:count], radius * self.rng.uniform(0.7, 1.25), *self.mix(scene, start))

    def trace(self, scene: Scene, starts: Array, radius: float, length: float) -> tuple[Array, NDArray[np.int_]]:
        """Follow the flow from all starts at once; a stroke ends where its shape ends."""
        stride = radius / 3
        home = scene.shape[lookup(starts)]
        goal = length * radius * self.rng.uniform(0.4, 1.3, len(starts))
        points, alive, lengths = [starts], np.ones(len(starts), bool), np.ones(len(starts), int)
        while alive.any():
            angle = scene.angle[lookup(points[-1])]
            points.append(points[-1] + stride * np.stack([np.cos(angle), np.sin(angle)], axis=1))
            alive &= (scene.shape[lookup(points[-1])] == home) & (len(points) * stride < goal)
            lengths += alive
        return np.stack(points, axis=1), lengths

    def mix(self, scene: Scene, start: Array) -> tuple[Array, Array]:
        """Load the brush with the two paints of a place, a little lighter or darker, warmer or cooler."""
        spot = lookup(start[None])
        tint = self.rng.normal(0, 0.045) + self.rng.normal(0, 0.03) * np.array([1, 0.1, -1], np.float32)
        return scene.paint[spot][0] + tint, scene.accent[spot][0] + tint

    def stroke(self, path: Array, radius: float, paint: Array, accent: Array) -> None:
        """Drag a loaded brush along a path: its bristles leave streaks of both paints, and ridges."""
        path, radius = path * OVERSAMPLING, radius * OVERSAMPLING
        total = np.hypot(*np.diff(path, axis=0).T).sum()
        along = np.arange(0, total, 0.7, np.float32)[:, None]
        across = np.linspace(-1, 1, int(2 * radius / 0.7), dtype=np.float32)
        spots, inside = self.sweep(path, along[:, 0] / total, across * radius)
        s, t = self.rng.integers(0, 2401 - len(along)), self.rng.integers(0, 1201 - len(across))
        window = np.s_[s : s + len(along), t : t + len(across)]
        bristle, streak = self.bristles[window], self.streaks[window]

        alpha = np.clip(3 * load(along, across, total, radius) - 0.5 + bristle, 0, 0.95) * inside
        share = np.clip(self.rng.normal(0.2, 0.25) + 0.5 * streak + 0.1 * bristle, 0, 1)[..., None]
        color = (paint + (accent - paint) * share) * (1 + 0.07 * bristle[..., None])
        rim = np.exp(-(((np.abs(across) - 0.8) / 0.12) ** 2))
        relief = (0.5 + 0.35 * bristle + 0.6 * rim) * radius**0.5
        wet = alpha > 0.02
        old, new = self.surface[spots[wet]], np.hstack([color[wet], relief[wet][:, None]])
        self.surface[spots[wet]] = old + (new - old) * alpha[wet][:, None]

    def sweep(self, path: Array, along: Array, across: Array) -> tuple[NDArray[np.int_], Mask]:
        """Indices of the surface under a brush of the given offsets at the given shares of a path."""
        knots = np.linspace(0, 1, len(path))
        at = np.stack([np.interp(along, knots, c) for c in path.T])
        turn = np.stack([np.interp(along, knots, c) for c in np.gradient(path, axis=0).T])
        normal = np.stack([-turn[1], turn[0]]) / np.hypot(*turn)
        x, y = (at[..., None] + normal[..., None] * across).astype(np.int32)
        return y * self.size[0] + x, (x >= 0) & (x < self.size[0]) & (y >= 0) & (y < self.size[1])

    def finish(self) -> Image.Image:
        """Light the relief of the paint, and the weave of the canvas under it, from the upper left."""
        k = OVERSAMPLING
        surface = self.surface.reshape(HEIGHT, k, WIDTH, k, 4).mean(axis=(1, 3))
        weave = clouds(self.rng, (HEIGHT, WIDTH), (0.7, 5)) + clouds(self.rng, (HEIGHT, WIDTH), (5, 0.7))
        dy, dx = np.gradient(gaussian_filter(surface[..., 3], 0.6) + 0.05 * weave)
        light = np.tanh(0.6 * (dx + dy))[..., None]
        lit = surface[..., :3] * (1 + 0.35 * light) + 0.14 * np.clip(light, 0, 1) ** 2
        return Image.fromarray((np.clip(lit, 0, 1) * 255).astype(np.uint8))


def load(along: Array, across: Array, total: float, radius: float) -> Array:
    """How much paint the brush gives: none at its edges, and ever less towards the end of its way."""
    cap = radius * (1 - np.sqrt(1 - across**2))
    head, tail = (along - cap) / (0.7 * radius), (total - along - cap) / (0.45 * total)
    return np.minimum(np.minimum(head, tail), np.minimum(1, 3.5 * (1 - np.abs(across))))


def lookup(points: Array) -> tuple[NDArray[np.int_], NDArray[np.int_]]:
    """Row and column indices of the scene's pixels under the points."""
    x, y = np.clip(points.T, 0, [[WIDTH - 1], [HEIGHT - 1]]).astype(int)
    return y, x


def main() -> None:
    """Paint the picture and save it."""
    rng = np.random.default_rng(int(sys.argv[2]) if len(sys.argv) > 2 else 1)
    scene = compose(rng)
    outline = contours(scene)
    canvas = Canvas(scene.paint, rng)
    busy = clouds(rng, scene.shape.shape, 45) + 4 * gaussian_filter(outline.shape.astype(np.float32), 12)
    for subject, where, radius, length, spacing in (
        (scene, np.ones_like(busy), 32, 9, 0.9),
        (scene, np.ones_like(busy), 19, 11, 1),
        (scene, 0.5 + 0.3 * busy, 11, 14, 1),
        (outline, 0.5 * outline.shape, 4, 35, 1),
        (scene, 0.1 + 0.25 * busy, 6, 18, 1.3),
        (outline, 0.15 * outline.shape, 3, 30, 1),
        (scene, -0.1 + 0.2 * busy, 3.5, 20, 1.5),
    ):
        canvas.layer(subject, where, radius, length, spacing)
    canvas.finish().save(sys.argv[1], quality=92)


if __name__ == "__main__":
    main()
