"""An invoice as CSV and as PDF, in English or Chinese. Computes nothing: every figure is the invoice's own.

The PDF is drawn by reportlab. Latin text is set in Helvetica; any other in STSong-Light, the Chinese font that the PDF
standard defines and every viewer brings (Adobe-GB1, not embedded), so no font is packaged and Chinese cannot turn into
boxes here. A character that this font lacks is shown as its code point; CSV and JSON hold it as it is.
"""

import csv
import importlib
import io
from typing import Any

from spearhead.core import money
from spearhead.ledger.invoices import Invoice, Line

LANGUAGES = ("en", "zh")
_WORDS = {
    "en": {
        "invoice": "Invoice",
        "account": "Account",
        "period": "Period",
        "issued": "Issued",
        "plan": "Plan",
        "usage": "Usage",
        "correction": "Correction",
        "fee": "Fee of the plan",
        "what": "What",
        "units": "Units",
        "included": "Included",
        "price": "Price a million",
        "amount": "Amount",
        "subtotal": "Usage in all",
        "credit": "Paid before from credit",
        "tax": "Tax",
        "due": "To be paid",
    },
    "zh": {
        "invoice": "账单",
        "account": "账户",
        "period": "期间",
        "issued": "开具时间",
        "plan": "套餐",
        "usage": "用量",
        "correction": "更正",
        "fee": "套餐费",
        "what": "项目",
        "units": "单位数",
        "included": "套餐内",
        "price": "每百万单价",
        "amount": "金额",
        "subtotal": "用量合计",
        "credit": "已由余额支付",
        "tax": "税",
        "due": "应付",
    },
}
_HEAD = ("kind", "release", "unit", "prompt_units", "completion_units", "covered", "prompt_price", "completion_price")


def as_csv(invoice: Invoice) -> str:
    """A row a line, then the totals; amounts as decimal text, `exact` to the billionth."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["invoice", "account", "name", "currency", "starts", "ends", *_HEAD, "exact", "amount"])
    said = [invoice.number, invoice.account, invoice.name, invoice.currency, invoice.starts, invoice.ends]
    for line in invoice.lines:
        values = [getattr(line, name) for name in _HEAD[:-2]]
        prices = ["" if value is None else money.show(value) for value in (line.prompt_price, line.completion_price)]
        writer.writerow(
            [*map(_plain, said), *map(_plain, values), *prices, money.show(line.exact), _coins(line.amount)]
        )
    for kind, amount in (("credit", -invoice.credit), ("tax", invoice.tax), ("due", invoice.due)):
        writer.writerow([*map(_plain, said), kind, *[""] * 8, _coins(amount)])
    return out.getvalue()


def as_pdf(invoice: Invoice, *, language: str = "en") -> bytes:
    """A page or more of A4; the same invoice gives the same bytes."""
    pdfmetrics, canvas = _library("pdfbase.pdfmetrics"), _library("pdfgen.canvas")
    words = _WORDS[language]
    if _CHINESE not in pdfmetrics.getRegisteredFontNames():
        pdfmetrics.registerFont(_library("pdfbase.cidfonts").UnicodeCIDFont(_CHINESE))
    out = io.BytesIO()
    page = canvas.Canvas(out, pagesize=_A4, invariant=1)
    page.setTitle(f"{words['invoice']} {invoice.number}")
    page.setAuthor("spearhead")

    def put(x: float, y: float, text: str, *, size: float = 9, right: bool = False) -> None:
        runs = _runs(text)
        width = sum(pdfmetrics.stringWidth(part, font, size) for font, part in runs)
        x -= width if right else 0
        for font, part in runs:
            page.setFont(font, size)
            page.drawString(x, y, part)
            x += pdfmetrics.stringWidth(part, font, size)

    put(56, 780, f"{words['invoice']} {invoice.number}", size=16)
    y = 750.0
    for name, value in (
        ("account", f"{invoice.name} ({invoice.account})"),
        ("period", f"{invoice.starts} – {invoice.ends}"),
        ("issued", invoice.issued),
        ("plan", invoice.plan),
    ):
        if value:
            put(56, y, words[name])
            put(150, y, value[:90])
            y -= 14
    y -= 16
    head = (("what", 56, False), ("units", 330, True), ("included", 400, True), ("price", 480, True))
    for name, x, right in (*head, ("amount", 540, True)):
        put(x, y, words[name], right=right)
    page.line(56, y - 4, 540, y - 4)
    for line in invoice.lines:
        y -= 18
        if y < 120:
            page.showPage()
            y = 780
        units = line.prompt_units + line.completion_units
        put(56, y, f"{words[line.kind]} {line.release}"[:56])
        if line.kind != "fee":
            put(330, y, f"{units:,} {line.unit}", right=True)
            put(400, y, f"{line.covered:,}", right=True)
            put(480, y, _prices(line), size=7, right=True)
        put(540, y, _coins(line.amount), right=True)
    page.line(56, y - 6, 540, y - 6)
    rate = money.show(invoice.tax_rate * 100_000)
    totals = [("subtotal", invoice.subtotal), ("credit", -invoice.credit), ("fee", invoice.fee), ("tax", invoice.tax)]
    for name, amount in totals:
        y -= 16
        put(400, y, f"{words[name]} {rate} %" if name == "tax" else words[name], right=True)
        put(540, y, _coins(amount), right=True)
    y -= 20
    put(400, y, f"{words['due']} ({invoice.currency})", size=11, right=True)
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
        character.encode("gb2312")
        return _CHINESE, character
    except UnicodeEncodeError:
        return "Helvetica", f"[U+{ord(character):04X}]"
