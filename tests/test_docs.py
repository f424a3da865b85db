"""What the pages in docs/ say is what muralist does: their commands are taken out of them and run."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from click import Command, Group
from dask_processes import free_port
from distributed import Security
from distributed.cli import dask_scheduler, dask_worker
from pictures import TINY, assignments

from muralist.cli import main
from muralist.pipeline.batch.items import find_items
from muralist.pipeline.batch.manifest import read_manifest
from muralist.pipeline.batch.naming import FIELDS
from muralist.pipeline.errors import SettingsError
from muralist.pipeline.presets import load_settings
from muralist.pipeline.records.batch_report import Result, Status
from muralist.pipeline.workers.local import ALLOCATOR

ROOT = Path(__file__).resolve().parents[1]
PAGES = {path.name: path.read_text() for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))}
CLUSTERS, ARCHIVES = PAGES["clusters.md"], PAGES["archives.md"]
FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
DASK = {"scheduler": dask_scheduler.main, "worker": dask_worker.main}
FOREIGN = {"--kill-on-bad-exit"}  # of srun


def blocks(page: str, language: str) -> list[str]:
    """The code blocks in one language."""
    return [block for found, block in FENCED.findall(page) if found == language]


def section(page: str, heading: str) -> str:
    """What is under a heading."""
    return page.split(f"\n## {heading}\n")[1].split("\n## ")[0]


def column(page: str, heading: str) -> list[str]:
    """The names in backticks in the first column of the table with this first heading."""
    (table,) = re.findall(rf"^\| {heading} \|.*\n\|---.*\n((?:\|.*\n)+)", page, re.MULTILINE)
    return [name for row in table.splitlines() for name in re.findall(r"`([^`]+)`", row.split("|")[1])]


# ----------------------------------------------------------------------------------------------------- what is named


def spoken(page: str) -> list[list[str]]:
    """The commands on a page, as words: in blocks of shell and in indented lines, up to what the shell adds."""
    indented = re.findall(r"^    .*$", FENCED.sub("", page), re.MULTILINE)
    text = "\n".join([*blocks(page, "sh"), *blocks(page, "bash"), *indented])
    text = re.sub(r"<<'END'.*?^END$", "", text.replace("\\\n", " "), flags=re.DOTALL | re.MULTILINE)
    found = re.findall(r"(?:^|[\s/;])((?:muralist|dask) [a-z][^\n]*)", text)
    return [shlex.split(re.split(r"[;&|>]", line)[0], comments=True) for line in found]


def contained() -> list[list[str]]:
    """The commands of the containers in the Kubernetes manifests."""
    (manifests,) = blocks(CLUSTERS, "yaml")
    specs = [each["spec"]["template"]["spec"] for each in yaml.safe_load_all(manifests) if "template" in each["spec"]]
    return [container["args"] for spec in specs for container in spec["containers"]]


def spellings(command: Command) -> set[str]:
    """All options of a command."""
    return {"--help"}.union(*((*each.opts, *each.secondary_opts) for each in command.params))


def find(words: list[str]) -> Command:
    """The command that some words call."""
    command: Command = main if words[0] == "muralist" else DASK[words[1]]
    return command.commands[words[1]] if isinstance(command, Group) else command


COMMANDS = [words for page in PAGES.values() for words in spoken(page)] + contained()


@pytest.mark.parametrize("words", [words for words in COMMANDS if words[:2] != ["dask", "cuda"]], ids=" ".join)
def test_options_in_commands_are_there(words: list[str]) -> None:
    """Every command on the pages exists, and has all the options that are given to it."""
    assert {word.partition("=")[0] for word in words if re.match("--?[a-z]", word)} <= spellings(find(words))


def test_the_commands_are_found() -> None:
    """Commands of all kinds of blocks are looked at."""
    called = [tuple(words[:2]) for words in COMMANDS]
    assert {("muralist", name) for name in ("render", "batch", "plan", "presets", "networks")} <= set(called)
    assert min(called.count(("dask", name)) for name in DASK) >= 3


def test_options_in_sentences_are_there() -> None:
    """Every option that the text names is one of muralist's or of dask's."""
    known = FOREIGN.union(*map(spellings, [*main.commands.values(), *DASK.values()]))
    for name, page in PAGES.items():
        found = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", FENCED.sub("", page)))
        assert found <= known, f"{name}: {found - known}"


@pytest.mark.parametrize("name", PAGES)
def test_links_lead_somewhere(name: str) -> None:
    """Every file and every heading that a page links to is there."""
    page = ROOT / name if name == "README.md" else ROOT / "docs" / name
    links = [link for link in re.findall(r"\]\(([^)]+)\)", FENCED.sub("", PAGES[name])) if not link.startswith("http")]
    assert links
    for link in links:
        file, _, anchor = link.partition("#")
        target = (page.parent / file).resolve() if file else page
        assert target.exists(), link
        headings = re.findall(r"^#+ (.*)$", target.read_text(), re.MULTILINE) if anchor else []
        assert not anchor or anchor in [re.sub(r"[^\w -]", "", each).lower().replace(" ", "-") for each in headings]


def test_messages_are_those_of_the_code() -> None:
    """What the table of faults quotes is what muralist says, where "..." stands for anything."""
    quoted = re.findall(r"\*(\w[^*\n]*)\*", section(CLUSTERS, "When something breaks"))
    said = "".join(path.read_text() for folder in ("pipeline", "model") for path in (ROOT / folder).rglob("*.py"))
    said = re.sub(r'"\s*\n\s*f?"', "", said + (ROOT / "cli.py").read_text())
    assert len(quoted) > 15
    missing = [part for text in quoted for part in text.split("...") if part.strip("; ") not in said]
    assert missing == []


def test_the_allocator_is_set_as_for_our_own_workers() -> None:
    """Wherever a page sets the allocator's variables, they have the values that muralist gives its workers."""
    for name, value in ALLOCATOR.items():
        found = re.findall(rf"{name}(?:=|, value: \")(\d+)", CLUSTERS)
        assert set(found) == {value}
        assert len(found) >= 3


# ------------------------------------------------------------------------------------------------------------ clusters


@contextmanager
def running(script: str, folder: Path, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """A script in a session of its own, which ends with the block."""
    usual = {"PATH": f"{folder}:{Path(sys.executable).parent}:{os.environ['PATH']}"}
    with (
        (folder / "log").open("a+") as log,
        subprocess.Popen(
            ["bash", "-c", script],
            start_new_session=True,
            text=True,
            cwd=folder,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=os.environ | usual | environment,
        ) as process,
    ):
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):  # all of them have ended
                os.killpg(process.pid, signal.SIGTERM)


def told(script: str, changes: dict[str, str]) -> str:
    """A script with every one of some texts, all of which are in it, replaced."""
    for text, other in changes.items():
        assert text in script, text
        script = script.replace(text, other)
    return script


PAINT_TINY = shlex.join(assignments(TINY))


def test_the_cluster_by_hand_paints(painted: Any, tmp_path: Path) -> None:
    """Scheduler, workers and muralist, started by the page's commands, paint the same bytes and leave nothing."""
    scheduler, workers, paint = blocks(section(CLUSTERS, "A cluster by hand"), "sh")
    port = str(free_port())
    scheduler = told(scheduler, {"10.0.0.1": "127.0.0.1", "8786": port})
    workers = told(workers, {"10.0.0.1:8786": f"127.0.0.1:{port}", "/tmp/muralist": str(tmp_path / "dask")})
    paint = told(
        paint,
        {
            "10.0.0.1:8786": f"127.0.0.1:{port}",
            "/shared/scratch": str(tmp_path / "scratch"),
            "photo.jpg": str(painted.content),
            "painting.jpg": str(painted.style),
            "poster.tif": f"poster.png {PAINT_TINY}",  # which beats --device cuda
        },
    )
    with running(scheduler, tmp_path), running(workers, tmp_path), running(paint, tmp_path) as painting:
        assert painting.wait(300) == 0, (tmp_path / "log").read_text()
    assert (tmp_path / "poster.png").read_bytes() == painted.output.read_bytes()
    assert json.loads((tmp_path / "poster.png.json").read_text())["settings"]["scheduler"] == f"tcp://127.0.0.1:{port}"
    assert os.listdir(tmp_path / "scratch") == []


def test_the_slurm_file_paints(painted: Any, tmp_path: Path) -> None:
    """The SLURM file, with a stand-in for srun, paints the same bytes and leaves nothing in the scratch folder."""
    (script,) = blocks(CLUSTERS, "bash")
    assert subprocess.run(["bash", "-n"], input=script, text=True, check=False).returncode == 0
    (tmp_path / "activate").touch()
    srun = tmp_path / "srun"
    srun.write_text('#!/bin/bash\nwhile [ "$1" != dask ]; do shift; done\nexec "$@"\n')
    srun.chmod(0o755)
    (tmp_path / "photos").mkdir()
    shutil.copy(painted.content, tmp_path / "photos" / "photo.png")
    changes = {
        "/shared/muralist/.venv/bin/activate": str(tmp_path / "activate"),
        "/shared/painting.jpg": str(painted.style),
        "/shared": str(tmp_path),
        "--local-directory /tmp": f"--local-directory {tmp_path}/dask --host 127.0.0.1",
        "--port 0": "--port 0 --host 127.0.0.1",
        "--device cuda": PAINT_TINY,
    }
    job = {"SLURM_JOB_ID": "7", "SLURM_NTASKS": "1", "SLURM_CPUS_PER_TASK": "1"}
    with running(told(script, changes), tmp_path, **job) as running_job:
        assert running_job.wait(300) == 0, (tmp_path / "log").read_text()
    assert (tmp_path / "painted" / "photo.png").read_bytes() == painted.output.read_bytes()
    assert os.listdir(tmp_path / "scratch") == []


def test_the_manifests_of_kubernetes_fit_together() -> None:
    """Services and deployments choose the pods that are meant, and all speak to the service by its name."""
    (manifests,) = blocks(CLUSTERS, "yaml")
    documents = list(yaml.safe_load_all(manifests))
    assert [each["kind"] for each in documents] == ["Service", "Deployment", "Deployment", "Job"]
    service, scheduler, worker, _ = documents
    for deployment in (scheduler, worker):
        labels = deployment["spec"]["template"]["metadata"]["labels"]
        assert deployment["spec"]["selector"]["matchLabels"] == labels
    assert service["spec"]["selector"] == scheduler["spec"]["template"]["metadata"]["labels"]
    address = f"tcp://{service['metadata']['name']}:{service['spec']['ports'][0]['port']}"
    assert [address in args for args in contained()] == [False, True, True]
    assert worker["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == 1


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")
def test_the_certificates_serve(tmp_path: Path) -> None:
    """The page's commands make an authority and a certificate of it that dask takes."""
    make, _ = blocks(section(CLUSTERS, "Encryption"), "sh")
    subprocess.run(["bash", "-ec", make], cwd=tmp_path, check=True, capture_output=True)
    authority, certificate, key = (str(tmp_path / name) for name in ("ca.pem", "cert.pem", "key.pem"))
    subprocess.run(["openssl", "verify", "-CAfile", authority, certificate], check=True, capture_output=True)
    security = Security(require_encryption=True, tls_ca_file=authority, tls_client_cert=certificate, tls_client_key=key)
    assert security.get_connection_args("client")["ssl_context"].get_ca_certs()[0]["subject"]


# ------------------------------------------------------------------------------------------------------------ archives


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_the_manifests_are_read(tmp_path: Path, kind: str) -> None:
    """Both examples mean the same three pictures, with settings that are good."""
    (text,) = blocks(ARCHIVES, kind)
    path = tmp_path / f"list.{kind}"
    path.write_text(text)
    assert len(read_manifest(path)) == 3
    items = find_items([str(path)], [tmp_path / "starry.jpg"], tmp_path / "painted")
    assert [str(item.output.relative_to(tmp_path)) for item in items] == [
        "painted/2024/beach.jpg",
        "painted/towers/tower-starry+wave.png",
        "painted/2025/wall.jpg",
    ]
    settings = [load_settings(item.preset or "default", {}, (), item.overrides, item.place) for item in items]
    assert settings[0].size == 3000
    assert settings[2].steps == (300, 200, 100)


def test_the_error_of_a_manifest_is_the_one_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong key in the third line is told as the page says."""
    monkeypatch.chdir(tmp_path)
    Path("list.jsonl").write_text('{"content": "a.jpg"}\n{"content": "b.jpg"}\n{"content": "c.jpg", "sise": 3}\n')
    (shown,) = re.findall(r"`(list\.jsonl:3: .*)`", ARCHIVES)
    with pytest.raises(SettingsError) as caught:
        find_items(["list.jsonl"], [], Path("painted"))
    assert str(caught.value) == shown


def test_the_fields_of_names_are_described() -> None:
    """The page lists all that a template may ask for."""
    named = column(section(ARCHIVES, "What to paint"), "field")
    assert sorted(named) == sorted(f"{{{name}}}" for name in FIELDS)


def test_the_report_is_described() -> None:
    """The page lists the fields of the report and every status, and its example line has these fields."""
    named = [*(field.name for field in fields(Result)), "time"]
    page = section(ARCHIVES, "Exit codes and report")
    assert sorted(column(page, "field")) == sorted(named)
    (line,) = blocks(page, "json")
    assert list(json.loads(line)) == named
    (row,) = re.findall(r"^\| `status` \|.*$", page, re.MULTILINE)
    assert set(get_args(Status)) <= set(re.findall(r"`(\w+)`", row))


@pytest.mark.skipif(shutil.which("jq") is None, reason="needs jq")
def test_the_questions_to_the_report_are_answered(tmp_path: Path) -> None:
    """Every line with jq finds what it says."""
    rows = [
        Result("a.jpg", "out/a.jpg", "done", seconds=5, seam_score=1.2, seam_threshold=1.1),
        Result("f.jpg", "out/f.jpg", "skipped", seam_score=1.4, seam_threshold=1.5),
        Result("e.jpg", "out/e.jpg", "done", seconds=0.5, seam_score=1.3),
        Result("b.jpg", "out/b.jpg", "failed", reason="it is broken"),
        Result("c.jpg", "out/c.jpg", "left", seconds=1),
        Result("d.heic", "", "unsupported"),
    ]
    (tmp_path / "painted").mkdir()
    lines = "".join(json.dumps(vars(row)) + "\n" for row in rows)
    (tmp_path / "painted" / "report.jsonl").write_text(lines)
    questions = [block for block in blocks(ARCHIVES, "sh") if block.startswith("jq")]
    done = subprocess.run(["bash", "-ec", *questions], cwd=tmp_path, check=True, capture_output=True, text=True)
    assert [line.strip() for line in done.stdout.splitlines()] == [
        *("2 done", "1 failed", "1 left", "1 skipped", "1 unsupported"),
        "b.jpg: it is broken",
        "c.jpg",
        "d.heic",
        "1.2 out/a.jpg",
        "1.3 out/e.jpg",
        *("5 s a.jpg", "1 s c.jpg", "0.5 s e.jpg", "0 s f.jpg", "0 s b.jpg", "0 s d.heic"),
    ]
