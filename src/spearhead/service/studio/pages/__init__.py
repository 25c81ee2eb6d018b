"""The pages, a module each: its `ROUTES`, and a line here for those that the navigation leads to."""

from spearhead.service.studio.page import Place

PLACES = (
    Place("review", "/review", ("reviewer", "auditor")),
    Place("verify", "/verify"),
)
"""In the order of the navigation."""
PAGES = ("home", "login", "manner", "review", "verify")
"""Modules of this folder."""
