import pytest
from license_expression import get_spdx_licensing

from spearhead.core.rights import Licence, Right
from spearhead.data import licences

ALL = ["train", "share", "sell"]


def rights(expression: str, **options: Right) -> list[str]:
    return licences.read(expression, credit="A. Person", **options).rights.names


@pytest.mark.parametrize(
    ("expression", "names"),
    [
        ("CC0-1.0", ALL),
        ("LicenseRef-Public-Domain", ALL),
        ("CC-BY-4.0", ALL),
        ("CC-BY-SA-4.0", ALL),
        ("PDDL-1.0", ALL),
        ("ODC-By-1.0", ALL),
        ("GPL-3.0-or-later", ALL),
        ("CC-BY-NC-4.0", ["train", "share"]),
        ("CC-BY-NC-SA-3.0", ["train", "share"]),
        ("CC-BY-ND-4.0", ["share", "sell"]),
        ("CC-BY-NC-ND-4.0", ["share"]),
        ("LicenseRef-Proprietary", []),
        ("LicenseRef-Proprietary-Own", ALL),
        ("MIT AND CC-BY-NC-4.0", ["train", "share"]),
        ("CC-BY-ND-4.0 AND CC-BY-NC-4.0", ["share"]),
        ("MIT OR CC-BY-NC-4.0", ALL),
        ("(MIT OR CC-BY-NC-4.0) AND CC-BY-ND-4.0", ["share", "sell"]),
        ("GPL-2.0-only WITH Classpath-exception-2.0", ALL),
        ("apache-2.0", ALL),
    ],
)
def test_and_intersects_rights_and_or_takes_the_best_single_option(expression: str, names: list[str]) -> None:
    assert rights(expression) == names


def test_the_options_of_an_or_are_never_added_up() -> None:
    # One option allows sharing and selling, the other training and sharing: no single one allows all three.
    expression = "CC-BY-ND-4.0 OR CC-BY-NC-4.0"
    assert rights(expression, wanted=Right.TRAIN | Right.SHARE) == ["train", "share"]
    assert rights(expression, wanted=Right.SELL) == ["share", "sell"]


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        ("", "no licence is named"),
        ("  ", "no licence is named"),
        ("Mine-1.0", "'Mine-1.0' is not known here, and unknown means no"),
        ("MIT AND LicenseRef-Whatever", "'LicenseRef-Whatever' is not known"),
        ("MIT OR Mine-1.0", "'Mine-1.0' is not known"),
        ("MIT AND", "is not an SPDX licence expression"),
        ("MIT Apache-2.0", "is not an SPDX licence expression"),
        ("(MIT", "is not an SPDX licence expression"),
        ("MIT " + "OR MIT " * 500, "longer than 1000"),
        ("free for all!", "is not an SPDX licence expression"),
    ],
)
def test_unknown_means_no(expression: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        licences.read(expression, credit="A. Person")


def test_a_licence_that_asks_for_credit_is_refused_without_it() -> None:
    with pytest.raises(ValueError, match="CC-BY-4.0 asks for credit"):
        licences.read("CC-BY-4.0", credit=" ")
    assert licences.read("CC0-1.0", credit="").credit == ""


def test_expressions_come_out_in_canonical_spelling_without_repeats() -> None:
    assert licences.read("mit AND MIT AND apache-2.0", credit="x").spdx == "MIT AND Apache-2.0"
    assert licences.read("mit AND (cc0-1.0 OR Apache-2.0)", credit="x").spdx == "MIT AND (CC0-1.0 OR Apache-2.0)"
    assert (
        licences.read("gpl-2.0-only with classpath-exception-2.0", credit="x").spdx
        == "GPL-2.0-only WITH Classpath-exception-2.0"
    )


def test_a_pair_is_under_both_licences_with_the_rights_they_share() -> None:
    free = Licence("MIT", licences.ALL, "A")
    bound = Licence("CC-BY-NC-4.0", licences.NONCOMMERCIAL, "B")
    assert licences.both(free, bound) == Licence("MIT AND CC-BY-NC-4.0", licences.NONCOMMERCIAL, "A; B")
    assert licences.both(free, free) == free
    same = Licence("MIT", licences.ALL, "B")
    assert licences.both(free, same) == Licence("MIT", licences.ALL, "A; B")
    choice = Licence("MIT OR GPL-3.0-only", licences.ALL, "")
    assert licences.both(choice, bound).spdx == "(MIT OR GPL-3.0-only) AND CC-BY-NC-4.0"


def test_the_reason_names_what_is_not_allowed() -> None:
    bound = licences.read("CC-BY-NC-4.0", credit="B")
    assert licences.unfit(bound, licences.ALL) == "CC-BY-NC-4.0 does not allow to sell"
    assert licences.unfit(bound, Right.TRAIN) == ""


def test_every_name_in_the_table_is_one_that_spdx_lists() -> None:
    ours = [name for name in licences.table() if not name.startswith("LicenseRef-")]
    known = get_spdx_licensing().known_symbols
    assert [name for name in ours if name not in known] == []
