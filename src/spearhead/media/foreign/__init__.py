"""Files that nothing here makes and people bring: GIF, TIFF, AVI, FLV, Word, PowerPoint, Excel; of PDF the reading."""

from spearhead.media.foreign.modality import ForeignModality

MODALITY = ForeignModality()
