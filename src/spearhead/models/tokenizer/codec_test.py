"""Picture files become codes and come back without torch; a folder that was altered is refused."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime  # type: ignore[import-untyped,unused-ignore]
import pytest
import torch

from spearhead.core import media
from spearhead.core.errors import InputError
from spearhead.media.image import codec as files
from spearhead.models import pictures
from spearhead.models.pictures import Pictures, Shape
from spearhead.models.tokenizer import FAMILY
from spearhead.models.tokenizer.codec import Codec, Form
from spearhead.models.tokenizer.export import export
from spearhead.models.tokenizer.network import Tokenizer, build


@pytest.fixture(scope="module")
def model(shape: Shape) -> Tokenizer:
    return build(FAMILY.presets["debug"], shape, steps=1, seed=0).eval()


@pytest.fixture(scope="module")
def folder(model: Tokenizer, shape: Shape, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tokenizer")
    facts = export(model, path, shape)
    assert facts["codes"] == 25 and facts["codes_a_picture"] == 16
    return path


def test_the_graphs_give_what_the_model_gives(model: Tokenizer, folder: Path, slopes: Pictures) -> None:
    sessions = [onnxruntime.InferenceSession(folder / name) for name in ("encoder.onnx", "decoder.onnx")]
    with torch.no_grad():
        codes = model.encode(slopes.pixels)
        back = model.decode(codes)
    (found,) = sessions[0].run(["codes"], {"pixels": slopes.pixels.numpy()})
    assert found.dtype == np.int64 and np.array_equal(found, codes.numpy())
    (pixels,) = sessions[1].run(["pixels"], {"codes": found})
    assert np.abs(pixels - back.numpy()).max() <= 1e-4


def test_files_become_codes_and_come_back(model: Tokenizer, folder: Path, slopes: Pictures) -> None:
    blocks = pictures.pixels(slopes.pixels[:70])  # more than one run of the graph
    items = [files.write(block) for block in blocks]
    codec: media.Codec = Codec.open(folder)
    codes = codec.encode(items)
    assert codec.modality == "image" and codec.vocab == 25 and codec.shape == (4, 4)
    with torch.no_grad():
        assert np.array_equal(codes, model.encode(slopes.pixels[:70]).numpy())
        want = pictures.pixels(model.decode(torch.from_numpy(codes)))
    back = codec.decode(codes)
    assert [item.mime for item in back] == ["image/png"] * 70
    for item, block in zip(back, want, strict=True):
        assert np.abs(files.read(item, channels=1).astype(int) - block).max() <= 1
    assert codec.encode([]).shape == (0, 4, 4) and codec.decode(codes[:0]) == []


def test_codes_that_are_not_there_are_refused(folder: Path) -> None:
    codec = Codec.open(folder)
    for codes, said in (
        (np.full((1, 4, 4), 25), "outside 0 to 24"),
        (np.full((1, 4, 4), -1), "outside 0 to 24"),
        (np.zeros((1, 4, 5), int), "wanted whole numbers"),
        (np.zeros((1, 4, 4)), "wanted whole numbers"),
    ):
        with pytest.raises(InputError, match=said):
            codec.decode(codes)


def test_what_is_no_picture_is_refused(folder: Path) -> None:
    with pytest.raises(InputError):
        Codec.open(folder).encode([media.Media("image", "image/png", b"not a picture")])


@pytest.mark.parametrize(
    "change",
    [{"vocab": 0}, {"vocab": "25"}, {"vocab": True}, {"grid": [9, 4]}, {"channels": 2}, {"size": [8]}, {"more": 1}],
)
def test_an_altered_description_is_refused(change: dict[str, object]) -> None:
    form = Form((8, 8), 1, (4, 4), 25)
    assert Form.from_json(form.to_json()) == form
    with pytest.raises(InputError, match="tokenizer.json"):
        Form.from_json(json.dumps({**json.loads(form.to_json()), **change}))


def test_a_folder_whose_files_do_not_agree_is_refused(folder: Path, tmp_path: Path) -> None:
    names = ("tokenizer.json", "encoder.onnx", "decoder.onnx")
    whole = {name: (folder / name).read_bytes() for name in names}

    def laid(**changed: bytes) -> Path:
        for name in names:
            (tmp_path / name).write_bytes(changed.get(name.partition(".")[0], whole[name]))
        return tmp_path

    assert Codec.open(laid()).vocab == 25
    with pytest.raises(InputError, match="cannot be read"):
        Codec.open(laid(decoder=whole["decoder.onnx"][:200]))
    with pytest.raises(InputError, match="is not the graph"):
        Codec.open(laid(decoder=whole["encoder.onnx"]))
    with pytest.raises(InputError, match="is not the graph"):
        Codec.open(laid(tokenizer=Form((16, 16), 1, (4, 4), 25).to_json().encode()))
    (tmp_path / "encoder.onnx").unlink()
    with pytest.raises(InputError, match="holds no tokenizer"):
        Codec.open(tmp_path)


def test_the_codec_needs_no_torch(folder: Path, slopes: Pictures, tmp_path: Path) -> None:
    picture = tmp_path / "picture.png"
    picture.write_bytes(files.write(pictures.pixels(slopes.pixels[:1])[0]).data)
    script = (
        "import sys, pathlib\n"
        "sys.modules['torch'] = None\n"
        "from spearhead.core.media import Media\n"
        "from spearhead.models.tokenizer.codec import Codec\n"
        f"codec = Codec.open(pathlib.Path({str(folder)!r}))\n"
        f"item = Media('image', 'image/png', pathlib.Path({str(picture)!r}).read_bytes())\n"
        "print(codec.decode(codec.encode([item]))[0].mime)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "image/png"
