"""Text: plain and Markdown."""

from spearhead.media.text.modality import TextModality

MODALITY = TextModality()
