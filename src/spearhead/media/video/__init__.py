"""Video: MP4."""

from spearhead.media.video.modality import VideoModality

MODALITY = VideoModality()
