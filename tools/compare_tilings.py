"""Paint one photograph whole, in independent tiles, and in tiles in consensus, and lay the three side by side.

usage: python tools/compare_tilings.py PHOTOGRAPH PAINTING OUTPUT.jpg

All three are painted at one level and start from the photograph, as tools that cut pictures into tiles do it.
"""

import sys
import tempfile
from pathlib import Path

from PIL import Image

from muralist.pipeline.presets import load_settings
from muralist.pipeline.render import render

SIZE, GAP = 640, 12
SETTINGS = {"size": SIZE, "base_size": SIZE, "steps": [150], "tile": 288, "overlap": 96}
WAYS = {"whole": {"tile": 10 * SIZE}, "independent": {"consensus": False}, "consensus": {}}


def main(photograph: str, painting: str, output: str) -> None:
    """Render the three, print their losses, and save them in one picture."""
    with tempfile.TemporaryDirectory() as folder:
        pictures = [_paint(photograph, painting, Path(folder, f"{way}.png"), changes) for way, changes in WAYS.items()]
    width = sum(picture.width for picture in pictures) + GAP * (len(pictures) - 1)
    sheet = Image.new("RGB", (width, pictures[0].height), "white")
    for number, picture in enumerate(pictures):
        sheet.paste(picture, (number * (picture.width + GAP), 0))
    sheet.save(output, quality=90)


def _paint(photograph: str, painting: str, output: Path, changes: dict[str, object]) -> Image.Image:
    settings = load_settings("default", {**SETTINGS, **changes})
    level = render(photograph, painting, output, settings).sidecar["levels"][0]
    losses = level["losses_last"]
    print(f"{output.stem}: style loss {losses['style']:.2e}, content loss {losses['content']:.3f}")
    return Image.open(output).convert("RGB")


if __name__ == "__main__":
    main(*sys.argv[1:])
