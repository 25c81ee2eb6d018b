"""A short sound in each format, made from numbers: for trying things out."""

import io
import math
import struct
import wave

from spearhead.core.media import Media
from spearhead.media.sound import mp3, wav


def wave_file(frames: int = 8000, *, rate: int = 8000, channels: int = 1) -> Media:
    """A tone as a WAV file of 16 bits."""
    values = [round(9000 * math.sin(number / 5)) for number in range(frames) for _ in range(channels)]
    out = io.BytesIO()
    with wave.open(out, "wb") as writer:
        writer.setnchannels(channels)
        writer.setsampwidth(2)
        writer.setframerate(rate)
        writer.writeframes(struct.pack(f"<{len(values)}h", *values))
    return Media("sound", wav.MIME, out.getvalue())


def silence(frames: int = 38, *, tag: bytes = b"") -> Media:
    """An MP3 file of that many silent frames, 1152 samples each: MPEG-1, 128 kbit/s, 44.1 kHz, one channel."""
    return Media("sound", mp3.MIME, tag + (b"\xff\xfb\x90\xc0" + bytes(413)) * frames)


def sample(mime: str) -> Media:
    """About a second in this format."""
    return wave_file() if mime == wav.MIME else silence()
