"""Video: MP4 and QuickTime."""

from spearhead.media.video.modality import VideoModality

MODALITY = VideoModality()
