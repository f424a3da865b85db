"""MATLAB files: what scipy reads of them is the measure; files made to harm do none."""

import io
import struct
import tracemalloc
import zlib

import numpy as np
import pytest
from layouts import matconvnet, random_weights
from scipy.io import loadmat, savemat

from muralist.model.architecture import architecture
from muralist.model.matfile import DEEPEST, read_mat, unpacked_size


def saved(content, compress=False):
    file = io.BytesIO()
    savemat(file, content, do_compression=compress)
    return file.getvalue()


def cells(*values):
    made = np.empty((1, len(values)), object)
    for i, value in enumerate(values):
        made[0, i] = value
    return made


NUMBERS = [
    np.arange(24.0).reshape(2, 3, 4),
    np.arange(6, dtype=np.float32).reshape(3, 2),
    np.array([[1, -2, 3]], np.int8),
    np.array([[1, 2**40]], np.int64),
    np.array([[7]], np.uint16),
    np.array([[True, False]]),
    np.zeros((0, 3)),
]


@pytest.mark.parametrize("compress", [True, False])
@pytest.mark.parametrize("number", NUMBERS, ids=lambda number: f"{number.dtype} {number.shape}")
def test_numbers_are_read(number, compress):
    """Shape, type and order are those that scipy reads."""
    content = saved({"x": number}, compress)
    wanted = loadmat(io.BytesIO(content))["x"]
    given = read_mat(content)["x"]
    assert (given.dtype, given.shape) == (wanted.dtype, wanted.shape)
    assert np.array_equal(given, wanted)


@pytest.mark.parametrize("compress", [True, False])
def test_cells_structs_and_texts_are_read(compress):
    """Cells become lists, structs dictionaries, an array of structs a list of them."""
    several = np.array([(1.0, "a"), (2.0, "b")], dtype=[("number", object), ("letter", object)])
    content = saved(
        {"a": cells("text", cells("é", 3.0)), "b": {"name": "n", "inner": {"deep": 1.0}}, "c": several}, compress
    )
    found = read_mat(content)
    assert list(found) == ["a", "b", "c"]
    assert (found["a"][0], found["a"][1][0], found["a"][1][1].item()) == ("text", "é", 3.0)
    assert (found["b"]["name"], found["b"]["inner"]["deep"].item()) == ("n", 1.0)
    assert [(each["number"].item(), each["letter"]) for each in found["c"]] == [(1.0, "a"), (2.0, "b")]


def test_whole_numbers_that_stand_for_fractions_are_read():
    """MATLAB stores an array of doubles as bytes if it can."""
    body = struct.pack("<IIII", 6, 8, 7, 0) + struct.pack("<IIII", 5, 8, 1, 3) + struct.pack("<HHI", 1, 1, ord("x"))
    body += struct.pack("<HHBBBx", 2, 3, 10, 20, 30)
    given = read_mat(headed(struct.pack("<II", 14, len(body)) + body))["x"]
    assert (given.dtype, given.tolist()) == (np.float32, [[10, 20, 30]])


def test_big_endian_files_are_read():
    """A file may come from a machine that writes the other way round."""
    body = (
        struct.pack(">IIII", 6, 8, 6, 0) + struct.pack(">IIII", 5, 8, 1, 1) + struct.pack(">HHI", 1, 1, ord("x") << 24)
    )
    body += struct.pack(">IId", 9, 8, 1.5)
    content = b"MATLAB 5.0 MAT-file".ljust(124) + b"\x01\x00MI" + struct.pack(">II", 14, len(body)) + body
    assert read_mat(content)["x"].tolist() == loadmat(io.BytesIO(content))["x"].tolist() == [[1.5]]


@pytest.mark.parametrize("old", [True, False])
def test_a_matconvnet_file_is_read_as_scipy_reads_it(old):
    """Layer by layer, in both editions."""
    content = matconvnet(random_weights(architecture("compact")), old=old)
    layers = loadmat(io.BytesIO(content), squeeze_me=True, struct_as_record=False)["layers"]
    for given, wanted in zip(read_mat(content)["layers"], layers, strict=True):
        assert list(given) == wanted._fieldnames
        assert given["name"] == wanted.name
        if "filters" in given:
            assert np.array_equal(given["filters"], wanted.filters)
        if "weights" in given:
            assert np.array_equal(given["weights"][0], wanted.weights[0])


def test_the_size_is_told_before_anything_is_unpacked():
    """The sum of what the compressed variables say; what is not compressed takes no more than it does."""
    x = {"x": np.zeros(100_000)}
    assert 800_000 < unpacked_size(saved(x, True)) < 800_200
    assert unpacked_size(saved(x)) == 0


# ------------------------------------------------------------------------------------------------------ made to harm


def headed(*variables):
    return b"MATLAB 5.0 MAT-file".ljust(124) + b"\x00\x01IM" + b"".join(variables)


def matrix(kind, rows, data):
    body = struct.pack("<IIII", 6, 8, kind, 0) + struct.pack("<IIII", 5, 8, rows, 1) + struct.pack("<II", 1, 0) + data
    return struct.pack("<II", 14, len(body)) + body


def nested(depth):
    """Cells in cells, built from the inside."""
    heads, size = [], 0
    for _ in range(depth):
        head = struct.pack("<IIIIIIIIII", 6, 8, 1, 0, 5, 8, 1, 1, 1, 0)
        size += len(head)
        heads.append(struct.pack("<II", 14, size) + head)
        size += 8
    return headed(b"".join(reversed(heads)))


@pytest.mark.parametrize("depth", [DEEPEST + 1, 300_000])
def test_cells_nested_too_deep_are_refused(depth):
    """Where scipy would crash."""
    with pytest.raises(ValueError, match=r"cells.*\b16\b"):
        read_mat(nested(depth))


@pytest.mark.parametrize("kind", [1, 2, 6])
def test_what_claims_to_be_huge_is_refused(kind):
    """Where scipy would make room for two thousand million values, no memory is taken."""
    data = struct.pack("<IIII", 5, 4, 8, 0) + struct.pack("<II8s", 1, 8, b"a") if kind == 2 else b""
    tracemalloc.start()
    try:
        with pytest.raises((ValueError, EOFError, LookupError, struct.error)):
            read_mat(headed(matrix(kind, 2**31 - 1, data)))
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_a_matrix_of_too_many_axes_is_refused():
    """A shape is not a place for a million numbers."""
    body = struct.pack("<IIII", 6, 8, 6, 0) + struct.pack("<II", 1, 800) + bytes(800)
    with pytest.raises(ValueError, match=r"\b800\b.*\b16\b"):
        read_mat(headed(struct.pack("<II", 14, len(body)) + body))


def test_other_kinds_are_nothing():
    """An object, a function or a sparse matrix is no weight, and does not hinder."""
    content = headed(matrix(16, 1, b""), saved({"x": np.ones(1)})[128:])
    assert read_mat(content)[""] is None
    assert read_mat(content)["x"].item() == 1


@pytest.mark.parametrize("element", [struct.pack("<II", 9, 0), struct.pack("<II", 15, 0)])
def test_what_is_no_variable_is_refused(element):
    """A file of variables holds variables only."""
    with pytest.raises((ValueError, struct.error)):
        read_mat(headed(element))


def test_damage_to_a_compressed_variable_is_noticed():
    """A flipped bit does not go into a picture."""
    content = bytearray(saved({"x": np.random.default_rng(0).random(1000)}, True))
    content[-20] ^= 1
    with pytest.raises((ValueError, zlib.error)):
        read_mat(bytes(content))
