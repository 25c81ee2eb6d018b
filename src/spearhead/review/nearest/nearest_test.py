"""Pictures: a training picture is found in any size and format and held or blocked; another one is not."""

from pathlib import Path

import numpy as np
import pytest

from spearhead.core.catalogue import Catalogue
from spearhead.core.errors import InputError
from spearhead.core.media import Media
from spearhead.core.review import Context, Decision, Direction, Policy, Rule
from spearhead.index.copies import CopyIndex
from spearhead.index.pictures import PictureIndex, Pixels
from spearhead.media.image import codec
from spearhead.review import categories
from spearhead.review.nearest import CHECK
from spearhead.review.reviewer import Reviewer

OUTPUT = Context("s", Direction.OUTPUT)
HOLD = Policy(("nearest",), (Rule("*", Direction.OUTPUT, hold=0.5, block=0.9),))


def drawn(seed: int) -> Pixels:
    """A picture of 28 x 28 in eight colours, uint8 (28, 28, 3)."""
    areas = np.random.default_rng(seed).integers(0, 256, (7, 7, 3), dtype=np.uint8)
    return np.kron(areas, np.ones((4, 4, 1), np.uint8))


def png(pixels: Pixels) -> Media:
    return codec.write(pixels)


@pytest.fixture
def index(tmp_path: Path) -> Path:
    PictureIndex.build((f"record-{seed}", drawn(seed)) for seed in range(5)).save(tmp_path)
    return tmp_path


def test_a_training_picture_is_held_in_any_size_format_and_light_with_its_record(index: Path) -> None:
    reviewer = Reviewer(HOLD, index=index)
    noisy = np.clip(drawn(3) + np.random.default_rng(0).normal(0, 5, (28, 28, 3)), 0, 255).astype(np.uint8)
    big = codec.enlarge(drawn(3), 256)
    for item in (png(drawn(3)), png(big), codec.write(big, mime="image/jpeg"), png(noisy)):
        verdict = reviewer.review(item, OUTPUT)
        assert verdict.decision is Decision.HOLD
        [found] = verdict.findings
        assert found.category == "intellectual-property" and str(found.reason).endswith(
            "like the training record record-3"
        )
    assert reviewer.review(png(drawn(9)), OUTPUT).decision is Decision.ALLOW
    block = Policy(("nearest",), (Rule("intellectual-property", Direction.OUTPUT, block=0.7),))
    assert Reviewer(block, index=index).review(png(drawn(3)), OUTPUT).decision is Decision.BLOCK


def test_the_limit_is_the_scenarios(index: Path) -> None:
    mixed = (0.8 * drawn(2) + 0.2 * drawn(8)).astype(np.uint8)
    like = PictureIndex.load(index).nearest(mixed).similarity
    assert 0.6 < like < 0.9
    for limit, decision in ((like - 0.01, Decision.HOLD), (like + 0.01, Decision.ALLOW)):
        policy = Policy(HOLD.checks, HOLD.rules, options={"nearest": {"similarity": limit}})
        assert Reviewer(policy, index=index).review(png(mixed), OUTPUT).decision is decision


def test_without_an_index_outputs_are_held_and_prompts_are_not(index: Path, tmp_path: Path) -> None:
    verdict = Reviewer(HOLD).review(png(drawn(9)), OUTPUT)
    assert (verdict.decision, verdict.findings[0].category) == (Decision.HOLD, categories.UNREADABLE)
    assert CHECK.against(index)(png(drawn(3)), Context("s", Direction.DATA)) == []
    PictureIndex.build([("r", drawn(0))]).save(tmp_path / "damaged")
    (tmp_path / "damaged" / "pictures.npz").unlink()
    with pytest.raises(InputError, match="build it again"):
        Reviewer(HOLD, index=tmp_path / "damaged")


def test_a_release_of_one_kind_has_no_index_of_the_other(index: Path, tmp_path: Path) -> None:
    both = Policy(("copies", "nearest"), HOLD.rules)
    reviewer = Reviewer(both, index=index)
    assert reviewer.review(png(drawn(9)), OUTPUT).decision is Decision.ALLOW
    texts = tmp_path / "texts"
    CopyIndex.build([("r", "a text of some words")]).save(texts)
    assert Reviewer(both, index=texts).review(png(drawn(9)), OUTPUT).decision is Decision.HOLD
    copies = Catalogue("spearhead.review", "CHECK")["copies"]
    assert copies.against(index).index is None and copies.against(texts).index == texts


@pytest.mark.parametrize("options", [{"similarity": 0.4}, {"similarity": True}, {"words": 8}])
def test_options_that_are_none_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(InputError, match="check nearest"):
        CHECK.configured(options)
