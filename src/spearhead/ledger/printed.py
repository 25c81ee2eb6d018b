"""An invoice as CSV and as PDF, in any language. Computes nothing: every figure is the invoice's own.

The PDF is drawn by reportlab. Latin text is set in Helvetica; any other in STSong-Light, the Chinese font that the PDF
standard defines and every viewer brings (Adobe-GB1, not embedded), so no font is packaged and Chinese cannot turn into
boxes here. A character that GBK lacks is shown as its code point; CSV and JSON hold it as it is.
"""

import csv
import importlib
import io
from functools import partial
from typing import Any

from spearhead.core import clock, money
from spearhead.core.sentence import LANGUAGES, named
from spearhead.ledger.invoices import Invoice, Line

_HEAD = ("kind", "release", "unit", "prompt_units", "completion_units", "covered", "prompt_price", "completion_price")


def as_csv(invoice: Invoice, *, language: str = LANGUAGES[0]) -> str:
    """A row a line, then the totals; amounts as decimal text, `exact` to the billionth.

    In English the headings are the names of the JSON form, for programs; in another language all is for people, and the
    text begins with a byte order mark, without which spreadsheets take it for another encoding.
    """
    out = io.StringIO()
    if language != LANGUAGES[0]:
        out.write("\ufeff")
    writer = csv.writer(out, lineterminator="\n")
    word = partial(named, "ledger.csv", language=language)
    head = ("invoice", "account", "name", "currency", "starts", "ends", *_HEAD, "exact", "amount")
    writer.writerow(map(word, head))
    said = [invoice.number, invoice.account, invoice.name, invoice.currency, invoice.starts, invoice.ends]
    for line in invoice.lines:
        unit = named("core.units", line.unit, language)
        values = [word(line.kind), line.release, unit, line.prompt_units, line.completion_units, line.covered]
        prices = ["" if value is None else money.show(value) for value in (line.prompt_price, line.completion_price)]
        writer.writerow(
            [*map(_plain, said), *map(_plain, values), *prices, money.show(line.exact), _coins(line.amount)]
        )
    for kind, amount in (("credit", -invoice.credit), ("tax", invoice.tax), ("due", invoice.due)):
        writer.writerow([*map(_plain, said), word(kind), *[""] * 8, _coins(amount)])
    return out.getvalue()


def as_pdf(invoice: Invoice, *, language: str = LANGUAGES[0]) -> bytes:
    """A page or more of A4; the same invoice gives the same bytes."""
    pdfmetrics, canvas = _library("pdfbase.pdfmetrics"), _library("pdfgen.canvas")
    word = partial(named, "ledger.invoice", language=language)
    if _CHINESE not in pdfmetrics.getRegisteredFontNames():
        pdfmetrics.registerFont(_library("pdfbase.cidfonts").UnicodeCIDFont(_CHINESE))
    out = io.BytesIO()
    page = canvas.Canvas(out, pagesize=_A4, invariant=1)
    page.setTitle(f"{word('invoice')} {invoice.number}")
    page.setAuthor("spearhead")

    def put(x: float, y: float, text: str, *, size: float = 9, right: bool = False) -> None:
        runs = _runs(text)
        width = sum(pdfmetrics.stringWidth(part, font, size) for font, part in runs)
        x -= width if right else 0
        for font, part in runs:
            page.setFont(font, size)
            page.drawString(x, y, part)
            x += pdfmetrics.stringWidth(part, font, size)

    put(56, 780, f"{word('invoice')} {invoice.number}", size=16)
    y = 750.0
    for name, value in (
        ("account", f"{invoice.name} ({invoice.account})"),
        ("period", f"{clock.shown(invoice.starts)} – {clock.shown(invoice.ends)}"),
        ("issued", clock.shown(invoice.issued)),
        ("plan", invoice.plan),
    ):
        if value:
            put(56, y, word(name))
            put(150, y, value[:90])
            y -= 14
    y -= 16
    head = (("what", 56, False), ("units", 330, True), ("included", 400, True), ("price", 480, True))
    for name, x, right in (*head, ("amount", 540, True)):
        put(x, y, word(name), right=right)
    page.line(56, y - 4, 540, y - 4)
    for line in invoice.lines:
        y -= 18
        if y < 120:
            page.showPage()
            y = 780
        units = line.prompt_units + line.completion_units
        put(56, y, f"{word(line.kind)} {line.release}"[:56])
        if line.kind != "fee":
            put(330, y, f"{units:,} {named('core.units', line.unit, language)}", right=True)
            put(400, y, f"{line.covered:,}", right=True)
            put(480, y, _prices(line), size=7, right=True)
        put(540, y, _coins(line.amount), right=True)
    page.line(56, y - 6, 540, y - 6)
    rate = money.show(invoice.tax_rate * 100_000)
    totals = [("subtotal", invoice.subtotal), ("credit", -invoice.credit), ("fee", invoice.fee), ("tax", invoice.tax)]
    for name, amount in totals:
        y -= 16
        put(400, y, f"{word(name)} {rate} %" if name == "tax" else word(name), right=True)
        put(540, y, _coins(amount), right=True)
    y -= 20
    put(400, y, f"{word('due')} ({invoice.currency})", size=11, right=True)
    put(540, y, _coins(invoice.due), size=11, right=True)
    page.save()
    return out.getvalue()


def _coins(amount: int) -> str:
    return money.show(amount)


def _prices(line: Line) -> str:
    return " / ".join(money.show(value) for value in (line.prompt_price, line.completion_price) if value is not None)


def _plain(value: object) -> object:
    """A cell that no spreadsheet takes for a formula."""
    text = str(value)
    return f"'{text}" if isinstance(value, str) and text[:1] in ("=", "+", "-", "@", "\t", "\r") else value


_CHINESE = "STSong-Light"
_A4 = (595.28, 841.89)
"""Width and height in points."""


def _library(name: str) -> Any:
    """A part of reportlab, which says nothing of its types."""
    return importlib.import_module(f"reportlab.{name}")


def _runs(text: str) -> list[tuple[str, str]]:
    """The text cut where its font changes."""
    runs: list[tuple[str, str]] = []
    for character in text:
        font, shown = _font(character)
        if runs and runs[-1][0] == font:
            runs[-1] = (font, runs[-1][1] + shown)
        else:
            runs.append((font, shown))
    return runs


def _font(character: str) -> tuple[str, str]:
    try:
        character.encode("cp1252")
        return "Helvetica", character
    except UnicodeEncodeError:
        pass
    try:
        character.encode("gbk")
        return _CHINESE, character
    except UnicodeEncodeError:
        return "Helvetica", f"[U+{ord(character):04X}]"
