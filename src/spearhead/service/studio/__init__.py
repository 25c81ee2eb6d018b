"""The studio: pages for people, served beside the API. Server-rendered, no build chain, nothing from elsewhere.

To add a page `shelf`:
1. `pages/shelf.py` with `ROUTES = [Route("/shelf", show), Route("/shelf/add", add, methods=["POST"])]`, where
   `async def show(request): person = await signed_in(request, "creator"); return render(request, "shelf.html", {...})`.
2. `templates/shelf.html` with `{% extends "base.html" %}`, its words from `t("shelf.title")`.
3. `words/en/shelf.toml` and `words/zh/shelf.toml` with the same keys, `title` among them, which the navigation shows.
4. One line in `pages/__init__.py`: `Place("shelf", "/shelf", ("creator",))`: who sees it in the navigation.
A POST begins with `fields = await form(request)`, which refuses what another site sent, and ends with `go("/shelf")`;
its `<form method="post">` holds `<input type="hidden" name="token" value="{{ token }}">`. Database: `studio(request)
.engine.desk.read(work)` and `.write(work)`. Trouble: raise InputError, or `PageError(404, "no_page")` (a sentence of
`words/*/error.toml`). A script is a file in `static/`, included with `<script src="/static/shelf.js" defer>`: no inline
script, style or handler runs here. All of these functions are in `page.py`.
"""
