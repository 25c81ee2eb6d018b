"""Files that nothing here makes and that people bring: GIF, TIFF, AVI, Word, PowerPoint, Excel; of PDF the reading."""

from spearhead.media.foreign.modality import ForeignModality

MODALITY = ForeignModality()
