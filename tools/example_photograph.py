"""Write the photograph that `make demo` paints: a cup of coffee by Rachel Michetti (CC0), which scikit-image ships.

usage: python tools/example_photograph.py OUTPUT.png
"""

import sys
from pathlib import Path

from PIL import Image
from skimage import data


def main(output: str) -> None:
    """Save the photograph, 600 x 400 px."""
    Path(output).parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(data.coffee()).save(output)


if __name__ == "__main__":
    main(*sys.argv[1:])
