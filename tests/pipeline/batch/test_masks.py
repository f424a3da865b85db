"""Masks named by templates: every photograph has its own, or is painted without."""

import json
from pathlib import Path

import numpy as np
import pytest
from pictures import TINY, painting, photograph, save

from muralist.pipeline.batch.driver import BatchOptions
from muralist.pipeline.batch.items import Item, find_items
from muralist.pipeline.batch.manifest import read_manifest
from muralist.pipeline.batch.masks import with_own_masks
from muralist.pipeline.batch.run import run_batch
from muralist.pipeline.errors import SettingsError
from muralist.pipeline.settings import Settings

MASK = np.zeros((96, 128), np.uint8)
MASK[:, :64] = 255


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two photographs, one of which has a mask beside it, and two style pictures elsewhere."""
    (tmp_path / "photos").mkdir()
    for number, name in enumerate("ab"):
        save(tmp_path / "photos" / f"{name}.png", photograph(seed=number))
    save(tmp_path / "photos" / "a.sky.png", MASK)
    for seed, name in ((1, "style"), (7, "other")):
        save(tmp_path / f"{name}.png", painting(seed=seed))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def items(**settings: object) -> list[Item]:
    """What a batch of the folder paints."""
    return with_own_masks(find_items(["photos"], [Path("style.png")], Path("out")), Settings(**settings))


def test_every_photograph_has_its_own_masks(folder):
    """Templates are filled in and looked for beside each photograph; what is not there is left out, and told."""
    regions = ["{stem}.sky.png=other.png,scale=2", "{stem}.land.png=other.png"]
    a, b = items(regions=regions, protect=["{stem}.sky.png#ffffff", "all.png"])
    assert a.overrides["regions"] == ["photos/a.sky.png=other.png,scale=2.0"]
    assert a.overrides["protect"] == ("photos/a.sky.png#ffffff", "all.png")
    assert a.missing == ("a.land.png",)
    assert (b.overrides["regions"], b.overrides["protect"]) == (None, ("all.png",))
    assert b.missing == ("b.sky.png", "b.land.png", "b.sky.png#ffffff")
    assert [item.content.name for item in (a, b)] == ["a.png", "b.png"]  # and no mask


def test_masks_without_a_template_are_for_all(folder):
    """A mask with a plain name is left as it is, and without templates items are as they were."""
    named = items(regions=["photos/a.sky.png=other.png"])
    assert [item.content.name for item in named] == ["a.png", "a.sky.png", "b.png"]
    assert not any(item.overrides or item.missing for item in named)


def test_folders_may_be_part_of_a_template(folder):
    """A mask may lie in a folder beside the photographs, and carry their folder's name."""
    (folder / "photos" / "masks").mkdir()
    save(folder / "photos" / "masks" / "photos-b.png", MASK)
    found = {item.content.name: item for item in items(strength_map="masks/{folder}-{stem}.png")}
    assert found["b.png"].overrides["strength_map"] == "photos/masks/photos-b.png"
    assert found["a.png"].missing == ("photos-a.png",)
    assert "photos-b.png" not in found


def test_a_template_with_another_field(folder):
    """A field that is none is told with those there are."""
    with pytest.raises(SettingsError, match=r"got mask '\{name\}\.png'; .*\{stem\}, \{folder\}"):
        items(protect="{name}.png")


def test_masks_of_a_manifest_count_from_its_folder(folder):
    """Masks and styles of regions lie where the manifest does; templates and what cannot be read stay as they are."""
    said = {"regions": ["m.png#00ff00=s.jpg,style-mask=p.png", "{stem}.m.png=s.jpg", "no region"]}
    said |= {"protect": ["a=b/k.png", "faces"]}
    Path("photos/list.jsonl").write_text(json.dumps({"content": "a.png", **said}))
    (entry,) = read_manifest(Path("photos/list.jsonl"))
    assert entry.overrides == {
        "regions": [
            "photos/m.png#00ff00=photos/s.jpg,style-mask=photos/p.png",
            "{stem}.m.png=photos/s.jpg",
            "no region",
        ],
        "protect": ["photos/a=b/k.png", "faces"],
    }


def test_a_manifest_may_ask_for_masks(folder):
    """What a manifest's line says of masks comes before what the batch says, templates included."""
    Path("photos/list.jsonl").write_text('{"content": "a.png", "regions": ["{stem}.sky.png=../other.png"]}')
    found = find_items(["photos/list.jsonl"], [Path("style.png")], Path("out"))
    (item,) = with_own_masks(found, Settings(regions=["{stem}.none.png=other.png"]))
    assert item.overrides["regions"] == ["photos/a.sky.png=photos/../other.png"]
    assert item.missing == ()


def test_a_batch_with_masks(folder, scheduler):
    """The photograph with a mask is painted with it, the other one whole, as the report says; then all is skipped."""
    settings = {**TINY, "scheduler": scheduler, "regions": ["{stem}.sky.png=other.png"]}
    options = BatchOptions(flags=settings)
    for status in ("done", "skipped"):
        report = run_batch(["photos"], [Path("style.png")], folder / "out", options).as_dict()
        assert (report[status], report["failures"]) == (2, [])
        rows = [json.loads(line) for line in (folder / "out" / "report.jsonl").read_text().splitlines()]
        reasons = {Path(row["input"]).name: row["reason"] for row in rows}
        without = "painted without b.sky.png: there is no such file"
        wanted = {"done": {"a.png": None, "b.png": without}, "skipped": dict.fromkeys(reasons, "painted already")}
        assert reasons == wanted[status]
    record = json.loads((folder / "out" / "a.png.json").read_text())
    assert [mask["name"] for mask in record["inputs"]["masks"]] == ["photos/a.sky.png"]
    assert "masks" not in json.loads((folder / "out" / "b.png.json").read_text())["inputs"]
