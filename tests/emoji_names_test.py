"""Stickers by name: the source that the emoji scenario's README shows meets the pictures, in Chinese."""

import re
import tomllib
from pathlib import Path
from typing import Any

import numpy as np

from spearhead.core.files import write_whole
from spearhead.media.image import codec
from spearhead.pipeline import road
from spearhead.pipeline.show import drive
from spearhead.scenario import read
from spearhead.store.home import Home

FOLDER = Path(__file__).parents[1] / "scenarios" / "emoji"


def written(value: Any) -> str:
    """A value as TOML."""
    import json

    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(k)} = {written(v)}" for k, v in value.items()) + "}"
    return json.dumps(value, ensure_ascii=False)


def test_the_readmes_source_gives_every_sticker_its_chinese_name(tmp_path: Path) -> None:
    text = (FOLDER / "scenario.toml").read_text(encoding="utf-8")
    shown = re.findall(r"```toml\n(.*?)```", (FOLDER / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    (names,) = tomllib.loads(shown[0])["data"]["sources"]
    _, pictures = tomllib.loads(text)["data"]["sources"]
    assert (names["registry"], names["member"]) == ("npm", "package/zh/data.json")
    assert names["part"] == "input" and pictures["part"] == "output"
    # The same two sources over files: rows as the package has them, pictures named by code point.
    rng = np.random.default_rng(0)
    codes = [f"1f{600 + number}" for number in range(40)]
    for code in codes:
        picture = codec.write(rng.integers(0, 255, (16, 16, 3)).astype(np.uint8))
        write_whole(tmp_path / "pictures" / f"{code}.png", picture.data)
    rows = ", ".join(f'{{"label": "名字{code[-3:]}", "hexcode": "{code.upper()}", "group": 0}}' for code in codes)
    write_whole(tmp_path / "data.json", f"[{rows}]")
    for source, path in ((names, "data.json"), (pictures, "pictures")):
        for key in ("registry", "package", "version", "sha256", "member"):
            source.pop(key)
        source |= {"kind": "files", "path": path}
    before, after = text[: text.index("[[data.sources]]")], text[text.index("\n[model]") :]
    sources = [
        "\n".join(["[[data.sources]]", *(f"{k} = {written(v)}" for k, v in source.items())])
        for source in (names, pictures)
    ]
    write_whole(tmp_path / "scenario.toml", "\n\n".join([before, *sources, after]))
    loaded = read.load(tmp_path, changes=("data.validation=0.2", "data.test=0.2", "data.pictures.near=1.0"))
    home = Home(root=tmp_path / "home", cache=tmp_path / "cache")
    dataset = drive(road.walk(loaded, home=home, until="data"), quiet=True).dataset
    found = [record.parts for split in ("train", "validation", "test") for record in dataset.read(split)]
    assert len(found) == 40
    told = {parts["input"].text for parts in found}
    assert told == {f"名字{code[-3:]}" for code in codes}
