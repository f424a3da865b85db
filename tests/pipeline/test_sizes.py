"""Sizes of paintings: reading print sizes, and fitting or cropping to them."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from muralist.pipeline.errors import SettingsError
from muralist.pipeline.lengths import MAX_SIDE_PX, Paper, check_sides, parse_aspect, parse_print
from muralist.pipeline.sizes import TargetSize, target_size

SIDES = st.integers(1, 20_000)
PAPERS = st.builds("{}x{}{}".format, st.integers(1, 200), st.integers(1, 200), st.sampled_from(["cm", "in"]))


@pytest.mark.parametrize(
    ("text", "paper"),
    [
        ("60x90cm", Paper(60, 90, 10)),
        ("594x841mm", Paper(594, 841, 1)),
        ("24x36in", Paper(24, 36, 25.4)),
        ("24x36inch", Paper(24, 36, 25.4)),
        ('24x36"', Paper(24, 36, 25.4)),
        (" 8.5 X 11 IN ", Paper(8.5, 11, 25.4)),
        ("60\u00d790cm", Paper(60, 90, 10)),
        (".5x1cm", Paper(0.5, 1, 10)),
        ("60cm x 90cm", Paper(60, 90, 10)),
        ('24"x36"', Paper(24, 36, 25.4)),
        ("24 x 36 inches landscape", Paper(24, 36, 25.4, "landscape")),
    ],
)
def test_print_sizes_are_read(text, paper):
    """Every unit and spelling gives its two sides and the unit in millimetres."""
    assert parse_print(text) == paper


@pytest.mark.parametrize(
    "text",
    ["", "60x90", "60cm", "x90cm", "60x90px", "-60x90cm", "60,5x90cm", "60mmx90cm", "1e3x2cm", "nanxinfcm", "²x3cm"],
)
def test_unreadable_print_sizes_are_refused(text):
    """What is not two lengths and a unit is named, with an example of what is."""
    with pytest.raises(SettingsError, match=r" 60x90cm"):
        parse_print(text)


@pytest.mark.parametrize("text", ["0x90cm", "60x0.0in", "60x10001cm", "9" * 400 + "x1mm"])
def test_absurd_print_sizes_are_refused(text):
    """A side of nothing, of more than 100 m, or too long for a number is refused."""
    with pytest.raises(SettingsError, match=r"\b100000 mm"):
        parse_print(text)


@pytest.mark.parametrize("text", ["60x90cm", "90x60cm"])
@pytest.mark.parametrize(("photo", "size"), [((4000, 6000), (7087, 10630)), ((6000, 4000), (10630, 7087))])
def test_the_paper_lies_as_the_photograph_does(text, photo, size):
    """The two sides of the paper may be written in either order."""
    target = target_size(*photo, print_size=text)
    assert (target.height, target.width) == size


def test_a_square_photograph_takes_the_paper_as_written():
    """With no orientation to follow, the first side is the width."""
    assert target_size(100, 100, print_size="2x3in", dpi=10, fit="crop") == TargetSize(30, 20, (20 / 30,))


def test_fit_leaves_a_margin_and_crop_cuts():
    """A 4:3 photograph on 3:2 paper keeps its shape with `fit` and takes the paper's with `crop`."""
    assert target_size(3000, 4000, print_size="20x30in", dpi=10) == TargetSize(200, 267)
    assert target_size(3000, 4000, print_size="20x30in", dpi=10, fit="crop") == TargetSize(200, 300, (1.5,))


def test_without_a_size_the_photograph_keeps_its_own():
    """Neither `fit` nor `dpi` matters when nothing is printed."""
    assert target_size(123, 4567, dpi=72, fit="crop") == TargetSize(123, 4567)


@pytest.mark.parametrize(("photo", "target"), [((400, 600), (67, 100)), ((600, 400), (100, 67)), ((1, 9999), (1, 100))])
def test_size_is_the_long_side(photo, target):
    """The short side follows, and is never less than a pixel."""
    assert target_size(*photo, size=100) == TargetSize(*target)


@pytest.mark.parametrize(
    ("text", "aspect"),
    [("4:3", 4 / 3), ("16 : 9", 16 / 9), ("1.5", 1.5), (" 2.39:1 ", 2.39), ("1:100", 0.01), (".5", 0.5)],
)
def test_aspects_are_read(text, aspect):
    """Two numbers with a colon, or their ratio, are width over height."""
    assert parse_aspect(text) == pytest.approx(aspect)


@pytest.mark.parametrize("text", ["", "abc", "4:", ":3", "4/3", "4:3:2", "1e9:1", "-4:3", "nan", "inf:1", "²:3"])
def test_unreadable_aspects_are_refused(text):
    """What is not one or two numbers is named, with examples of what is."""
    with pytest.raises(SettingsError, match=r" 4:3, .* 1\.5"):
        parse_aspect(text)


@pytest.mark.parametrize("text", ["0:3", "3:0", "0", "0:0", "101:1", "1:101", "1000000000:1", "9" * 400 + ":1"])
def test_absurd_aspects_are_refused(text):
    """A side of nothing, or of more than a hundred times the other, is refused."""
    with pytest.raises(SettingsError, match=r"\b100 times"):
        parse_aspect(text)


def test_a_width_or_height_alone_brings_the_other():
    """The side that is not given follows the photograph's shape, or the shape it is cropped to."""
    assert target_size(400, 600, width=300) == TargetSize(200, 300)
    assert target_size(400, 600, height=300) == TargetSize(300, 450)
    assert target_size(400, 600, width=800, aspect="4:3") == TargetSize(600, 800, (4 / 3,))
    assert target_size(67, 100, width=800, aspect="4:3") == TargetSize(600, 800, (4 / 3,))  # not 602 for 89 x 67 px
    assert target_size(600, 400, height=600, aspect="4:3") == TargetSize(600, 800, (4 / 3,))


def test_both_sides_are_exact_and_crop():
    """Width and height together are the painting's, and the photograph is cropped to their shape."""
    assert target_size(400, 600, width=301, height=299) == TargetSize(299, 301, (301 / 299,))
    assert target_size(400, 600, width=800, height=600, aspect="4:3") == TargetSize(600, 800, (800 / 600,))


@pytest.mark.parametrize(("width", "height"), [(100, 67), (100, 66), (99, 66), (1, 1)])
def test_rounding_does_not_contradict_an_aspect(width, height):
    """A pair of sides agrees with an aspect if either of them is less than a pixel off."""
    assert target_size(400, 600, width=width, height=height, aspect="3:2").width == width
    with pytest.raises(SettingsError, match=f"width {width} and height {height + 5}, .*aspect 3:2"):
        check_sides(width, height + 5, "3:2")


def test_an_aspect_alone_crops_and_keeps_the_pixels():
    """Without a size the painting has the pixels of the cropped photograph; a long side is the cropped shape's."""
    assert target_size(400, 600, aspect="1:1") == TargetSize(400, 400, (1.0,))
    assert target_size(400, 600, aspect="2:1") == TargetSize(300, 600, (2.0,))
    assert target_size(400, 600, aspect="1:2", size=100) == TargetSize(100, 50, (0.5,))


def test_an_aspect_is_cropped_before_the_paper():
    """On paper, what `aspect` leaves is fitted or cropped as a photograph of that shape would be, turned with it."""
    assert target_size(400, 600, aspect="1:2", print_size="3x2in", dpi=10) == TargetSize(30, 15, (0.5,))
    cropped = target_size(400, 600, aspect="1:2", print_size="3x2in", dpi=10, fit="crop")
    assert cropped == TargetSize(30, 20, (0.5, 20 / 30))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"photo_height": 0}, "got a photograph of 600 x 0 px, wanted at least 1 px a side"),
        ({"size": 0}, "got size 0, wanted at least 1 px"),
        ({"size": -5}, "got size -5, wanted at least 1 px"),
        ({"width": 0}, "got width 0, wanted at least 1 px"),
        ({"height": -1, "aspect": "1:1"}, "got height -1, wanted at least 1 px"),
        ({"width": 5, "height": -1}, "got width 5 and height -1, wanted sides of at least 1 px"),
        ({"width": MAX_SIDE_PX + 1}, "got a painting of 1000001 x 666667 px, wanted at most 1000000 px a side"),
        ({"width": 10, "height": MAX_SIDE_PX + 1}, "wanted at most 1000000 px a side"),
        ({"size": 100, "width": 100}, "got size 100 and width or height 100, wanted only one of them"),
        ({"print_size": "6x9cm", "height": 100}, "got print size '6x9cm' and width or height 100, wanted only one"),
        ({"width": 800, "height": 500, "aspect": "4:3"}, "got width 800 and height 500, which contradict aspect 4:3"),
        ({"aspect": "0:3"}, "got aspect '0:3', wanted sides above 0"),
        ({"size": MAX_SIDE_PX + 1}, "got a painting of 1000001 x 666667 px, wanted at most 1000000 px a side"),
        ({"size": 100, "print_size": "6x9cm"}, "got size 100 and print size '6x9cm', wanted only one of them"),
        ({"print_size": "6x9"}, "got print size '6x9', wanted"),
        ({"print_size": "6x9cm", "dpi": 0}, "got 0 dpi, wanted more than 0 and at most 10000"),
        ({"print_size": "6x9cm", "dpi": -300}, "got -300 dpi"),
        ({"print_size": "6x9cm", "dpi": 10_001}, "got 10001 dpi"),
        ({"print_size": "6x9cm", "dpi": float("nan")}, "got nan dpi"),
        ({"print_size": "99x99m", "dpi": 300}, "got print size '99x99m', wanted"),
        ({"print_size": "9000x9000cm", "dpi": 300}, "wanted at most 1000000 px a side"),
        ({"print_size": "9000x9000cm", "fit": "crop"}, "wanted at most 1000000 px a side"),
        (
            {"print_size": "A33"},
            "got print size 'A33', wanted two lengths and a unit (mm, cm, in) such as 60x90cm, or a paper",
        ),
        ({"print_size": "A2 upright"}, "got print size 'A2 upright'"),
        ({"bleed": "3mm"}, "got bleed '3mm' without a print size, wanted one"),
        ({"wrap": "3cm", "size": 500}, "got wrap '3cm' without a print size, wanted one"),
        ({"print_size": "A3", "bleed": "3"}, "got bleed '3', wanted a length above 0 and up to 1000 mm, with its unit"),
        ({"print_size": "A3", "bleed": "0mm"}, "got bleed '0mm', wanted a length above 0"),
        ({"print_size": "A3", "bleed": "2000mm"}, "got bleed '2000mm', wanted a length above 0 and up to 1000 mm"),
        (
            {"print_size": "60x90cm", "wrap": "31cm"},
            "got wrap 31cm for a picture of 90.0 x 60.0 cm, wanted at most half",
        ),
        ({"print_size": "6x9cm", "wrap": "3cm", "bleed": "31mm"}, "got bleed 31mm, wanted less"),
    ],
)
def test_absurd_targets_are_refused(arguments, message):
    """Every number that makes no sense is named with what was wanted."""
    with pytest.raises(SettingsError) as caught:
        target_size(**{"photo_height": 400, "photo_width": 600} | arguments)
    assert message in str(caught.value)


def test_a_huge_photograph_cannot_keep_its_size():
    """The limit holds for a photograph's own size too."""
    with pytest.raises(SettingsError, match=r"\b1000000 px"):
        target_size(10, MAX_SIDE_PX + 1)


@given(SIDES, SIDES, PAPERS)
def test_a_fitted_painting_touches_the_paper_from_inside(height, width, paper):
    """It lies inside the paper that `crop` fills, touches two of its edges and keeps its shape."""
    fitted = target_size(height, width, print_size=paper)
    filled = target_size(height, width, print_size=paper, fit="crop")
    assert fitted.height <= filled.height
    assert fitted.width <= filled.width
    assert fitted.height == filled.height or fitted.width == filled.width
    assert abs(fitted.height * width - fitted.width * height) <= max(height, width)


@example(273, 7800, "3x65in", "fit")  # half a pixel, to the last bit
@given(SIDES, SIDES, PAPERS, st.sampled_from(["fit", "crop"]))
def test_a_turned_photograph_gives_a_turned_painting(height, width, paper, fit):
    """Height and width change places with those of the photograph, unless it is square."""
    if height != width:
        upright = target_size(height, width, print_size=paper, fit=fit)
        turned = target_size(width, height, print_size=paper, fit=fit)
        assert (upright.height, upright.width) == (turned.width, turned.height)


@given(SIDES, SIDES, st.integers(1, 20), st.integers(1, 20), st.integers(100, 5000))
def test_a_cropped_painting_has_its_shape(height, width, across, down, long_side):
    """Whatever the photograph, the painting's sides agree with the aspect to a pixel."""
    target = target_size(height, width, aspect=f"{across}:{down}", size=long_side)
    check_sides(target.width, target.height, f"{across}:{down}")
    assert max(target.height, target.width) == long_side


@given(SIDES, SIDES, st.integers(1, MAX_SIDE_PX))
def test_a_sized_painting_has_the_long_side_asked_for(height, width, size):
    """The long side is exact and the short side at least a pixel, whatever the shape."""
    target = target_size(height, width, size=size)
    assert max(target.height, target.width) == size
    assert min(target.height, target.width) >= 1


@pytest.mark.parametrize(
    ("text", "paper"),
    [
        ("A1", Paper(594, 841, 1)),
        ("a4 landscape", Paper(210, 297, 1, "landscape")),
        ("Letter  PORTRAIT", Paper(215.9, 279.4, 1, "portrait")),
        ("30x40in landscape", Paper(30, 40, 25.4, "landscape")),
        ("2A0", Paper(1189, 1682, 1)),
    ],
)
def test_papers_by_name(text, paper):
    """The usual papers have names; landscape or portrait may follow any size."""
    assert parse_print(text) == paper


def test_how_a_paper_lies():
    """It is turned as the photograph lies, unless it says how."""
    sizes = {text: target_size(400, 600, print_size=text, dpi=25.4, fit="crop") for text in ("A4", "A4 portrait")}
    assert (sizes["A4"].height, sizes["A4"].width) == (210, 297)
    assert (sizes["A4 portrait"].height, sizes["A4 portrait"].width) == (297, 210)
    square = target_size(500, 500, print_size="20x30cm", dpi=25.4, fit="crop")
    assert (square.height, square.width) == (300, 200)


def test_what_is_beyond_the_trim():
    """Bleed and wrap come on top of the print size; they are painted, but for a wrap of another kind."""
    made = target_size(400, 600, print_size="20x30cm", dpi=254, bleed="3mm", wrap="4cm")
    assert (made.height, made.width, made.bleed, made.wrap, made.border, made.painted) == (
        2000,
        3000,
        30,
        400,
        430,
        430,
    )
    mirrored = target_size(400, 600, print_size="20x30cm", dpi=254, wrap="4cm", wrap_edge="mirror")
    assert (mirrored.border, mirrored.painted) == (400, 0)
    bleeding = target_size(400, 600, print_size="20x30cm", dpi=254, bleed="3mm", wrap_edge="mirror")
    assert (bleeding.border, bleeding.painted) == (30, 30)
