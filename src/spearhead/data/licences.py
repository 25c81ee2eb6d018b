"""What an SPDX licence expression allows: train on it, share it, sell what comes of it. Unknown means no.

Knows well-known licences; gives no legal advice, and reads no licence texts. The rights are the cautious reading:
a licence against derivatives does not allow training, one against commerce does not allow selling.
"""

import difflib
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING

from spearhead.core.rights import Licence, Right

if TYPE_CHECKING:
    from license_expression import Licensing

ALL = Right.TRAIN | Right.SHARE | Right.SELL
NONCOMMERCIAL = Right.TRAIN | Right.SHARE

# Licences that ask for nothing back, not even a name.
FREE = (
    "LicenseRef-Public-Domain", "LicenseRef-Proprietary-Own", "CC0-1.0", "CC-PDDC", "CC-PDM-1.0", "PDDL-1.0",
    "Unlicense", "0BSD", "MIT-0", "WTFPL", "SAX-PD", "NIST-PD", "blessing",
)  # fmt: skip
# Licences that ask for credit or the same terms, and allow all three.
CREDITED = (
    "MIT", "Apache-2.0", "Apache-1.1", "BSD-2-Clause", "BSD-3-Clause", "BSD-4-Clause", "BSD-3-Clause-Clear", "BSL-1.0",
    "ISC", "Zlib", "X11", "NCSA", "HPND", "PSF-2.0", "Python-2.0", "Artistic-1.0", "Artistic-2.0", "AFL-3.0",
    "Unicode-DFS-2016", "Unicode-3.0", "W3C", "OFL-1.1", "LicenseRef-WordNet-3.0", "ECL-2.0", "MulanPSL-2.0",
    "CC-BY-1.0", "CC-BY-2.0", "CC-BY-2.5", "CC-BY-3.0", "CC-BY-4.0",
    "CC-BY-SA-1.0", "CC-BY-SA-2.0", "CC-BY-SA-2.5", "CC-BY-SA-3.0", "CC-BY-SA-4.0",
    "ODC-By-1.0", "ODbL-1.0", "CDLA-Permissive-1.0", "CDLA-Permissive-2.0", "CDLA-Sharing-1.0", "O-UDA-1.0",
    "OGL-UK-1.0", "OGL-UK-2.0", "OGL-UK-3.0", "OGL-Canada-2.0", "etalab-2.0", "DL-DE-BY-2.0",
    "GPL-2.0-only", "GPL-2.0-or-later", "GPL-3.0-only", "GPL-3.0-or-later",
    "LGPL-2.0-only", "LGPL-2.0-or-later", "LGPL-2.1-only", "LGPL-2.1-or-later", "LGPL-3.0-only", "LGPL-3.0-or-later",
    "AGPL-3.0-only", "AGPL-3.0-or-later", "MPL-1.1", "MPL-2.0", "EPL-1.0", "EPL-2.0", "EUPL-1.1", "EUPL-1.2",
    "GFDL-1.1-only", "GFDL-1.1-or-later", "GFDL-1.2-only", "GFDL-1.2-or-later", "GFDL-1.3-only", "GFDL-1.3-or-later",
)  # fmt: skip
VERSIONS = ("1.0", "2.0", "2.5", "3.0", "4.0")


def table() -> Mapping[str, Right]:
    """Rights by SPDX identifier (or LicenseRef of ours)."""
    rights = dict.fromkeys((*FREE, *CREDITED), ALL)
    for version in VERSIONS:
        rights[f"CC-BY-NC-{version}"] = NONCOMMERCIAL
        rights[f"CC-BY-NC-SA-{version}"] = NONCOMMERCIAL
        rights[f"CC-BY-ND-{version}"] = Right.SHARE | Right.SELL
        rights[f"CC-BY-NC-ND-{version}"] = Right.SHARE
    rights["LicenseRef-Proprietary"] = Right(0)
    return rights


def read(expression: str, *, credit: str, wanted: Right = ALL) -> Licence:
    """The licence that `expression` names, with the rights it gives: AND intersects, OR is the best single option.

    `wanted` decides which option of an OR is best. Raises ValueError with the reason when the expression is not SPDX,
    names a licence that is not in the table, or asks for a credit that is not there.

    >>> read("MIT AND CC-BY-NC-4.0", credit="A. Person").rights.names
    ['train', 'share']
    """
    if not expression.strip():
        raise ValueError("no licence is named: wanted an SPDX expression such as CC0-1.0")
    if len(expression) > 1000:
        raise ValueError("the licence expression is longer than 1000 characters")
    try:
        tree = _spdx().parse(expression)
    except Exception as error:  # the library raises several kinds, some of them bare
        raise ValueError(f"{expression!r} is not an SPDX licence expression: {str(error).splitlines()[0]}") from error
    known = {name.lower(): (name, rights) for name, rights in table().items()}
    leaves = [_identifier(leaf) for leaf in tree.literals]
    if unknown := [leaf for leaf in leaves if leaf.lower() not in known]:
        near = difflib.get_close_matches(unknown[0], table(), 1)
        hint = f"; did you mean {near[0]!r}?" if near else "; wanted an SPDX identifier, or LicenseRef-Proprietary-Own"
        raise ValueError(f"licence {unknown[0]!r} is not known here, and unknown means no{hint}")
    if not credit.strip() and any(known[leaf.lower()][0] not in FREE for leaf in leaves):
        raise ValueError(f"{expression} asks for credit: say in `credit` who is to be named")
    options = _options(tree, {name: rights for name, (_, rights) in known.items()})
    best = max(options, key=lambda rights: (wanted in rights, rights.value.bit_count(), rights.value))
    return Licence(_render(tree, {leaf.lower(): known[leaf.lower()][0] for leaf in leaves}), best, credit.strip())


def unfit(licence: Licence, wanted: Right) -> str:
    """Why a licence does not allow what is wanted, or an empty text when it does."""
    missing = wanted & ~licence.rights
    return f"{licence.spdx} does not allow to {' and '.join(missing.names)}" if missing else ""


def both(first: Licence, second: Licence) -> Licence:
    """The licence of what is made of two things: both licences, the rights they share, both credits."""
    if first == second:
        return first
    left, right = (f"({one.spdx})" if " OR " in one.spdx else one.spdx for one in (first, second))
    spdx = " AND ".join(dict.fromkeys([*left.split(" AND "), *right.split(" AND ")])) if "(" not in left + right else ""
    credits = [credit for credit in dict.fromkeys([first.credit, second.credit]) if credit]
    return Licence(spdx or f"{left} AND {right}", first.rights & second.rights, "; ".join(credits))


@cache
def _spdx() -> "Licensing":
    """All of SPDX's identifiers, which take 50 ms to read."""
    from license_expression import get_spdx_licensing  # half a second

    return get_spdx_licensing()


def _identifier(leaf: object) -> str:
    """The SPDX identifier of a leaf; `X WITH exception` has at least the rights of `X`."""
    base = getattr(leaf, "license_symbol", leaf)
    return str(base.key)  # type: ignore[attr-defined]


def _options(tree: object, rights: Mapping[str, Right]) -> set[Right]:
    """The combinations of rights one may choose from."""
    arguments = getattr(tree, "args", ())
    if not arguments:
        return {rights[_identifier(tree).lower()]}
    parts = [_options(argument, rights) for argument in arguments]
    if type(tree).__name__ == "OR":
        return set().union(*parts)
    chosen = parts[0]
    for part in parts[1:]:
        chosen = {one & other for one in chosen for other in part}
    return chosen


def _render(tree: object, names: Mapping[str, str]) -> str:
    """The expression in canonical spelling, without repeated members."""
    arguments = getattr(tree, "args", ())
    if not arguments:
        name = names[_identifier(tree).lower()]
        exception = getattr(tree, "exception_symbol", None)
        return f"{name} WITH {exception.key}" if exception is not None else name
    joint = f" {type(tree).__name__} "
    parts = [_render(argument, names) for argument in arguments]
    wrapped = [
        f"({part})" if getattr(argument, "args", ()) else part for part, argument in zip(parts, arguments, strict=True)
    ]
    return joint.join(dict.fromkeys(wrapped))
