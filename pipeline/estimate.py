"""What a render will take, before it begins: memory, disk, operations and, after a short measurement, time."""

from muralist.pipeline.brief import Brief

FLOAT = 4
STATE_BYTES = 4 * 3 * FLOAT  # per pixel: pixels, average, two moments
CONTENT_BYTES = 3 * FLOAT


def disk_bytes(brief: Brief) -> int:
    """Most that the run folder holds at a time: two rounds of a level, and the level before it."""
    network, layers = brief.network, brief.settings.content_layers
    features = sum(network.channels(name) * FLOAT / network.stride(name) ** 2 for name in layers)
    sizes = [level.pixels * CONTENT_BYTES + level.tile_pixels * (2 * STATE_BYTES + features) for level in brief.levels]
    return int(max(before + size for before, size in zip([0.0, *sizes], sizes, strict=False)))
