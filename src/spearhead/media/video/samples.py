"""Where the samples of a film lie, and how they stay there when its boxes move (ISO 14496-12, 8.7). Knows no label.

Samples are never decoded: what is put in or taken out moves them, and the tables that say where they lie move along.
"""

import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from spearhead.core.errors import InputError
from spearhead.media.video.boxes import Box, Movie, Top, damaged, render

_Numbers = np.ndarray[Any, np.dtype[np.int64]]

OFFSETS: Mapping[bytes, str] = {b"stco": ">u4", b"co64": ">u8"}
"""Tables of where chunks of samples lie in the file, and their numbers."""
_FARTHEST = 2**62  # a place that lies farther is none, and sums of what remains fit into 64 bits


def join(movie: Movie, moov: Box, *, without: Callable[[Top], bool]) -> bytes:
    """The file with another `moov` in its place, and without some of its boxes; the places of all samples follow."""
    kept = [top for top in movie.tops if not without(top)]
    size = len(render(moov))
    places, at = {}, 0
    for top in kept:
        places[top.start] = at
        at += size if top.kind == b"moov" else top.size
    moved = _moved(movie, moov, {top.start: places[top.start] - top.start for top in kept if top.kind == b"mdat"})
    return b"".join(render(moved) if top.kind == b"moov" else movie.data[top.start : top.end] for top in kept)


def _moved(movie: Movie, box: Box, shifts: Mapping[int, int]) -> Box:
    """`box` with every place of a chunk moved by as much as the `mdat` that it lies in (the key is its start)."""
    moves = np.array([shifts.get(top.start, 0) for top in _mdats(movie)], np.int64)

    def moved(table: Box) -> Box:
        if table.kind not in OFFSETS:
            return table if table.inner is None else replace(table, inner=tuple(map(moved, table.inner)))
        places = _offsets(table)
        new = places + moves[_which(movie, places, places)] if places.size else places
        form = np.dtype(OFFSETS[table.kind])
        if new.size and int(new.max()) > np.iinfo(form).max:
            raise InputError("the film would pass 4 GiB, which its tables cannot tell: write them as `co64`")
        return replace(table, data=table.data[:8] + new.astype(form).tobytes())

    return moved(box)


def _mdats(movie: Movie) -> list[Top]:
    return [top for top in movie.tops if top.kind == b"mdat"]


def _which(movie: Movie, starts: _Numbers, ends: _Numbers) -> _Numbers:
    """In which `mdat` each chunk lies, by number; raises InputError when one does not lie within one."""
    first = np.array([top.start + top.header for top in _mdats(movie)], np.int64)
    last = np.array([top.end for top in _mdats(movie)], np.int64)
    found = np.searchsorted(first, starts, "right") - 1
    if starts.size and (not first.size or found.min() < 0 or bool((ends > last[found]).any())):
        raise damaged("a table points to samples outside `mdat`")
    return found


def of_tracks(movie: Movie) -> Iterator[tuple[bytes, bytes]]:
    """Of each track, in order: its kind (`vide`, `soun`) and all its samples, one behind the other.

    Raises InputError when a table lies about them, or when the tracks together hold more than the file.
    """
    left = len(movie.data)
    for trak in (box for box in movie.moov.inner or () if box.kind == b"trak"):
        mdia = trak.first(b"mdia")
        minf, handler = (mdia.first(b"minf"), mdia.first(b"hdlr")) if mdia else (None, None)
        stbl = minf.first(b"stbl") if minf else None
        if stbl is None or handler is None:
            raise damaged("a track has no table of samples")
        places, sizes = _chunks(stbl, most=len(movie.data))
        left -= int(sizes.sum())
        if left < 0:
            raise damaged("its tracks hold more than the file")
        _which(movie, places, places + sizes)
        pieces = zip(places.tolist(), sizes.tolist(), strict=True)
        yield handler.data[8:12], b"".join(movie.data[place : place + size] for place, size in pieces)


def _chunks(stbl: Box, *, most: int) -> tuple[_Numbers, _Numbers]:
    """Place and length of every chunk, by `stco` or `co64`, `stsc` and `stsz`: int64 (n) each."""
    table = next((box for box in stbl.inner or () if box.kind in OFFSETS), None)
    runs, lengths = stbl.first(b"stsc"), stbl.first(b"stsz")
    if table is None or runs is None or lengths is None or len(lengths.data) < 12:
        raise damaged("a track has no table of samples (`stco` or `co64`, `stsc`, `stsz`)")
    places = _offsets(table)
    first, each = _table(runs.data, 8, ">u4", columns=3)[:, :2].T
    alike, count = struct.unpack_from(">II", lengths.data, 4)
    if places.size == 0 or count == 0:
        return places[:0], places[:0]
    spans = np.diff(np.append(first, places.size + 1))
    if first.size == 0 or first[0] != 1 or spans.min() < 0:
        raise damaged("its table of chunks is out of order")
    held = np.repeat(each, spans)  # samples in each chunk
    ends = np.cumsum(held)
    if ends[-1] != count:
        raise damaged("its tables of samples differ")
    if alike:
        if count > most // alike:
            raise damaged("its tracks hold more than the file")
        return places, held * alike
    total = np.concatenate([[0], np.cumsum(_table(lengths.data, 12, ">u4", columns=1)[:, 0])])
    if total.size != count + 1:
        raise damaged("its tables of samples differ")
    return places, np.diff(total[np.concatenate([[0], ends])])


def _offsets(table: Box) -> _Numbers:
    """The numbers in a table of places: int64 (n)."""
    return _table(table.data, 8, OFFSETS[table.kind], columns=1)[:, 0]


def _table(data: bytes, start: int, form: str, *, columns: int) -> _Numbers:
    """The rows of a table, of which the four bytes before `start` are the number: int64 (rows, columns)."""
    width = np.dtype(form).itemsize * columns
    if len(data) < start or len(data) - start != int.from_bytes(data[start - 4 : start], "big") * width:
        raise damaged("a table of samples has another length than it says")
    values = np.frombuffer(data, form, offset=start)
    if values.size and int(values.max()) > _FARTHEST:
        raise damaged("a table points to samples outside `mdat`")
    return values.astype(np.int64).reshape(-1, columns)
