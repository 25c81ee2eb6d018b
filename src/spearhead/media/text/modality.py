"""What one can do with a text: count it, label it, read its label, mark it for people. Knows no model and no review."""

from collections.abc import Mapping
from dataclasses import dataclass

from spearhead.core.errors import InputError
from spearhead.core.media import Label, Media
from spearhead.media import gb45438
from spearhead.media.text import front_matter

MARK = "AI-generated / 人工智能生成"
"""Both elements that GB 45438 chapter 5 asks for, in both languages."""


@dataclass(frozen=True, slots=True)
class TextModality:
    """Plain text and Markdown, UTF-8."""

    name: str = "text"
    mimes: tuple[str, ...] = ("text/plain", "text/markdown")
    unit: str = "token"

    def measure(self, media: Media) -> int:
        """About how many tokens: a quarter of the characters, rounded up; a model's own count is better."""
        return -(-len(_text(media)) // 4)

    def embed(self, media: Media, label: Label) -> Media:
        """A copy with the GB 45438 label in its front matter, and only this label."""
        text = _text(media).removeprefix("\ufeff")
        content = front_matter.without(text)
        members = gb45438.members(label, content.encode())
        return Media("text", media.mime, front_matter.put(content, members).encode())

    def extract(self, media: Media) -> Mapping[str, str] | None:
        """The seven members of the label at the head, as they are written; None when there is none."""
        try:
            return front_matter.read(media.text)
        except UnicodeDecodeError:
            return None

    def content(self, media: Media) -> bytes:
        """The bytes without the label: what ReservedCode1 is the digest of."""
        return front_matter.without(_text(media)).encode()

    def mark(self, media: Media) -> Media:
        """A copy whose last line tells a reader that it is generated; once, however often it is asked for."""
        text = _text(media)
        if self.marked(media):
            return media
        gap = "" if not text else "\n" if text.endswith("\n") else "\n\n"
        return Media("text", media.mime, f"{text}{gap}{MARK}\n".encode())

    def marked(self, media: Media) -> bool:
        """Whether the last line is the mark."""
        return _text(media).rstrip().rpartition("\n")[2] == MARK

    def words(self, media: Media) -> str:
        """What was generated: the text without label and mark."""
        text = front_matter.without(_text(media))
        if not self.marked(media):
            return text
        before, _, _ = text.rstrip().rpartition("\n")
        return before.removesuffix("\n")


def _text(media: Media) -> str:
    try:
        return media.text
    except UnicodeDecodeError as error:
        raise InputError(f"a text must be UTF-8; byte {error.start} is not: convert it first") from error
