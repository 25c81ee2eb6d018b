"""Sound: WAV and MP3."""

from spearhead.media.sound.modality import SoundModality

MODALITY = SoundModality()
