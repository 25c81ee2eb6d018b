"""Promises of files and folders that exist whole or not at all."""

import os
import shutil
from pathlib import Path

import pytest

from spearhead.core.files import whole_folder


def make(place: Path, words: str) -> None:
    with whole_folder(place) as draft:
        (draft / "words").write_text(words)


def test_a_folder_is_replaced_whole_and_one_whose_making_fails_changes_nothing(tmp_path: Path) -> None:
    place = tmp_path / "made"
    make(place, "first")
    with pytest.raises(ZeroDivisionError), whole_folder(place) as draft:
        (draft / "words").write_text("half")
        _ = 1 / 0
    assert (place / "words").read_text() == "first"
    make(place, "second")
    assert (place / "words").read_text() == "second" and list(tmp_path.iterdir()) == [place]
    (tmp_path / "file").write_text("no folder")
    make(tmp_path / "file", "third")
    assert (tmp_path / "file" / "words").read_text() == "third"


@pytest.mark.parametrize("there", [False, True])
def test_several_who_make_a_folder_at_the_same_moment_meet_no_error_and_the_last_one_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: bool
) -> None:
    place, replace, others = tmp_path / "made", os.replace, iter(["the second", "the third"])
    if there:
        make(place, "an old one")

    def overtaken(source: Path, target: Path) -> None:
        if target == place and (words := next(others, None)):
            make(place, words)  # another is done right before
        replace(source, target)

    monkeypatch.setattr(os, "replace", overtaken)
    make(place, "the first")
    assert (place / "words").read_text() == "the first" and list(tmp_path.iterdir()) == [place]


def test_a_folder_that_another_takes_away_at_the_same_moment_is_put_there_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, replace = tmp_path / "made", os.replace
    make(place, "an old one")

    def overtaken(source: Path, target: Path) -> None:
        if source == place:
            shutil.rmtree(place)
        replace(source, target)

    monkeypatch.setattr(os, "replace", overtaken)
    make(place, "a new one")
    assert (place / "words").read_text() == "a new one" and list(tmp_path.iterdir()) == [place]


def test_what_may_stay_stays_untouched_where_another_was_first(tmp_path: Path) -> None:
    place = tmp_path / "made"
    with whole_folder(place, stays=lambda there: (there / "words").read_text() == "the same") as draft:
        (draft / "words").write_text("the same")
        make(place, "the same")
        first = (place / "words").stat().st_ino
    assert (place / "words").stat().st_ino == first and list(tmp_path.iterdir()) == [place]
    with whole_folder(place, stays=lambda there: (there / "words").read_text() == "another") as draft:
        (draft / "words").write_text("another")
    assert (place / "words").read_text() == "another" and list(tmp_path.iterdir()) == [place]
