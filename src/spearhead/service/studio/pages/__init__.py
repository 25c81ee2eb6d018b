"""The pages, a module each: its `ROUTES`, and a line here for those that the navigation leads to."""

from spearhead.service.studio.page import Place

PLACES = (
    Place("make", "/make", ("creator",)),
    Place("gallery", "/gallery", ("creator", "auditor")),
    Place("review", "/review", ("reviewer", "auditor")),
    Place("scenarios", "/scenarios", ("creator", "reviewer", "operator", "auditor")),
    Place("usage", "/usage", ("creator", "operator", "auditor")),
    Place("keys", "/keys", ("creator", "operator", "auditor")),
    Place("audit", "/audit", ("auditor", "operator")),
    Place("verify", "/verify"),
)
"""In the order of the navigation."""
PAGES = (
    "home",
    "login",
    "password",
    "manner",
    "appeal",
    "keys",
    "make",
    "gallery",
    "review",
    "scenarios",
    "usage",
    "audit",
    "verify",
)
"""Modules of this folder."""
