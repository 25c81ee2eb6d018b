"""Which label of a delivered sound or film is still there after what other tools do to the file. Needs ffmpeg.

    python benchmarks/survival_sound_video.py

Makes a WAV, an MP3 and two MP4 files with ffmpeg, seals them as the service does, has ffmpeg and exiftool change
them, and asks `verify` what it still finds. Prints one Markdown table a file; `!` means that a layer was found and
found broken. Exit code 3 when a file as delivered lacks a layer.
"""

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from spearhead.core.errors import InputError
from spearhead.core.media import Label
from spearhead.provenance import seal, signing
from spearhead.provenance.recognise import recognise
from spearhead.provenance.signer import Signer
from spearhead.provenance.verify import verify
from spearhead.store.home import Home

LABEL = Label("survival", "out-1", "survival@1", "2026-11-22T02:00:00Z", visible=False)
SIGNS = {"valid": "1/1", "invalid": "0/1!", "absent": "0/1"}
TONE = ("-f", "lavfi", "-i", "sine=frequency=440:sample_rate=44100:duration=2")
TEST = ("-f", "lavfi", "-i", "testsrc=size=320x240:rate=25:duration=2")
MADE: Mapping[str, Sequence[str]] = {
    "made.wav": TONE,
    "made.mp3": TONE,
    "made.mp4": (*TEST, *TONE, "-pix_fmt", "yuv420p"),
    "faststart.mp4": (*TEST, *TONE, "-pix_fmt", "yuv420p", "-movflags", "+faststart"),
}
COPY = ("-c", "copy", "-map", "0")
SOUND_CHANGES: Mapping[str, Sequence[str]] = {
    "copied by ffmpeg (`-c copy`)": COPY,
    "copied, metadata dropped (`-map_metadata -1`)": (*COPY, "-map_metadata", "-1"),
    "cut to its first second (`-c copy -t 1`)": (*COPY, "-t", "1"),
    "half as loud, encoded anew": ("-af", "volume=0.5"),
}
CHANGES: Mapping[str, Mapping[str, Sequence[str]]] = {
    ".wav": {**SOUND_CHANGES, "encoded as MP3": ("OTHER", ".mp3")},
    ".mp3": {**SOUND_CHANGES, "decoded to WAV": ("OTHER", ".wav")},
    ".mp4": {
        "copied by ffmpeg (`-c copy`)": COPY,
        "copied with `-movflags use_metadata_tags`": (*COPY, "-movflags", "use_metadata_tags"),
        "copied with `-movflags +faststart`": (*COPY, "-movflags", "+faststart"),
        "both flags": (*COPY, "-movflags", "+faststart+use_metadata_tags"),
        "encoded anew with `-movflags use_metadata_tags`": ("-movflags", "use_metadata_tags"),
        "half the size, encoded anew": ("-vf", "scale=160:120"),
    },
}


def main() -> int:
    """Make, seal, change, look, print."""
    if shutil.which("ffmpeg") is None:
        raise InputError("ffmpeg is not installed: `apt-get install ffmpeg` brings it")
    whole = True
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        signer = Signer(signing.ensure(Home(folder, folder)))
        for file, line in MADE.items():
            plain, sealed = folder / file, folder / f"sealed-{file}"
            _ffmpeg(*line, str(plain))
            sealed.write_bytes(seal.seal(recognise(plain.read_bytes()), LABEL, signer=signer).data)
            print(f"| {file} | c2pa | gb45438 |\n|---|---|---|")
            whole &= _row("as delivered", sealed) == {"c2pa": "valid", "gb45438": "valid"}
            for words, change in CHANGES[sealed.suffix].items():
                suffix, change = (change[1], ()) if change[:1] == ("OTHER",) else (sealed.suffix, change)
                changed = folder / f"changed{suffix}"
                _ffmpeg("-i", str(sealed), *change, str(changed))
                _row(words, changed)
            _tagged(sealed, folder / f"tagged{sealed.suffix}")
            edited = folder / f"edited{sealed.suffix}"
            edited.write_bytes(_edited(sealed.read_bytes()))
            _row("one byte of the samples changed", edited)
            print()
    return 0 if whole else 3


def _ffmpeg(*words: str) -> None:
    subprocess.run(["ffmpeg", "-v", "error", "-y", *words], check=True, stdin=subprocess.DEVNULL)


def _tagged(sealed: Path, out: Path) -> None:
    """Where exiftool can write into the format: a title added."""
    if sealed.suffix != ".mp4" or shutil.which("exiftool") is None:
        return
    shutil.copyfile(sealed, out)
    subprocess.run(["exiftool", "-q", "-overwrite_original", "-Title=sea", str(out)], check=True)
    _row("a title added by exiftool", out)


def _edited(data: bytes) -> bytes:
    """Another value amid the samples: in the middle of `mdat` or of `data`, or of the last frames of an MP3."""
    start = max(data.rfind(b"mdat"), data.find(b"data", 12) if data[:4] == b"RIFF" else -1)
    place = start + 2000 if start > 0 else len(data) - 600
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


def _row(words: str, file: Path) -> dict[str, str]:
    """Print what is found; each layer's state."""
    found: dict[str, str] = {layer.name: layer.state for layer in verify(file.read_bytes()) if layer.name != "visible"}
    print(f"| {words} | {' | '.join(SIGNS[state] for state in found.values())} |", flush=True)
    return found


if __name__ == "__main__":
    try:
        sys.exit(main())
    except InputError as error:
        sys.exit(f"survival_sound_video: {error}")
