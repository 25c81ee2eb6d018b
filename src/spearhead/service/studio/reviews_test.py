"""Promises of what reviewers are shown: places of findings, characters nobody sees, the nearest training item."""

import json
from pathlib import Path

import numpy as np
import pytest

from spearhead.core import media
from spearhead.core.media import Media
from spearhead.core.review import Finding
from spearhead.engine.loaded import read_policy
from spearhead.index.copies import CopyIndex
from spearhead.index.pictures import PictureIndex
from spearhead.media.image import codec
from spearhead.review import policy
from spearhead.service.studio import reviews
from spearhead.store import database
from spearhead.store.home import Home
from spearhead.store.tables import settings


def kinds(text: str, **more: object) -> list[tuple[str, str]]:
    return [(span.kind, span.text) for span in reviews.spans(text, **more)]  # type: ignore[arg-type]


def test_a_finding_is_shown_where_it_lies_in_what_the_model_said() -> None:
    own = "Write to ada@example.org now"
    found = Finding("personal", "privacy", 0.5, "an address", start=9, end=24)
    head, tail = "---\nlabel\n---\n\n", "\n\nAI-generated"
    assert kinds(head + own + tail, own=own, findings=[found]) == [
        ("label", head),
        ("plain", "Write to "),
        ("found", "ada@example.org"),
        ("plain", " now"),
        ("label", tail),
    ]
    without = Finding("harm", "hate", 0.9, "all of it")
    beyond = Finding("terms", "hate", 0.9, "a prompt's place", start=20, end=400)
    assert kinds(own, own=own, findings=[without, beyond]) == [("plain", own)]
    assert kinds(own, own="another text", findings=[found]) == [("plain", own)], "places of another text mark nothing"


@pytest.mark.parametrize("character", ["\u200b", "\u202e", "\ufeff", "\U000e0061", "\ufe0f", "\x1b", "\ue000"])
def test_characters_that_nobody_sees_are_counted_and_never_drawn(character: str) -> None:
    spans = reviews.spans(f"a{character * 3}b")
    assert [(span.kind, span.count) for span in spans] == [("plain", 1), ("hidden", 3), ("plain", 1)]
    assert character not in "".join(span.text for span in spans)
    assert reviews.bare(f"a{character}b") == "ab"


def test_a_text_is_what_it_was_but_for_what_nobody_sees() -> None:
    text = "Ümläut 你好\n\tand \U0001f600 more"
    assert "".join(span.text for span in reviews.spans(text)) == text == reviews.bare(text)


def test_the_nearest_text_comes_with_what_both_share(tmp_path: Path) -> None:
    learnt = [
        ("a" * 64, "In the beginning, God created the heaven and the earth."),
        ("b" * 64, "床前明月光，疑是地上霜。"),
    ]
    CopyIndex.build(learnt).save(tmp_path / "parts" / "index")
    like = reviews.nearest(media.text("And God created the heaven. So it was!"), tmp_path)
    assert like is not None and like.record == "a" * 64 and like.shared == 4
    assert [(span.kind, span.text) for span in like.spans] == [
        ("plain", "in the beginning "),
        ("found", "god created the heaven"),
        ("plain", " and the earth"),
    ]
    like = reviews.nearest(media.text("明月光"), tmp_path)
    assert like is not None and [span.text for span in like.spans] == ["床前", "明月光", "疑是地上霜"]
    assert reviews.nearest(media.text("!!"), tmp_path) is None
    assert (
        reviews.nearest(media.text("God"), tmp_path / "elsewhere") is None
        and reviews.nearest(media.text("God"), None) is None
    )


def test_the_nearest_picture_is_shown_as_small_as_it_is_kept(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    known = [np.kron(rng.integers(0, 255, (16, 16, 3), np.uint8), np.ones((4, 4, 1), np.uint8)) for _ in range(3)]
    PictureIndex.build((str(number) * 64, one) for number, one in enumerate(known)).save(tmp_path / "parts" / "index")
    like = reviews.nearest(codec.write(known[2]), tmp_path)
    assert like is not None and like.record == "2" * 64 and like.similarity == 1.0
    shown = codec.read(Media("image", "image/png", like.png))
    assert np.array_equal(shown, known[2][::4, ::4]), "each of its areas is one colour"
    assert reviews.nearest(media.text("no picture"), tmp_path) is None


def test_a_policy_is_found_by_its_digest_in_settings_and_in_the_release(tmp_path: Path) -> None:
    home = Home(tmp_path, tmp_path / "cache")
    database.migrate(home.database_url)
    store = database.connect(home.database_url)
    old, new = ({"checks": ["terms"], "rules": [], "held_hours": hours} for hours in (5, 6))
    with store.begin() as connection:
        for value in (old, new):
            row = {"scenario": "s", "kind": "policy", "value": json.dumps(value), "actor": "a", "created": "2026"}
            connection.execute(settings.insert().values(row))
    wanted = policy.digest_of(read_policy(old))
    with store.connect() as connection:
        found = reviews.policy_of(connection, "s@1", digest=wanted, home=home)
        assert found is not None and found.held_hours == 5, "not the newest: the one that decided"
        assert reviews.policy_of(connection, "t@1", digest=wanted, home=home) is None, "another scenario's"
        assert reviews.policy_of(connection, "../s@1", digest=wanted, home=home) is None
        broken = home.releases / "s" / "1" / "manifest.json"
        broken.parent.mkdir(parents=True)
        broken.write_text("{")
        assert reviews.policy_of(connection, "s@1", digest="0" * 64, home=home) is None
    store.dispose()
