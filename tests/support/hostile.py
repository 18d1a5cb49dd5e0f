"""Files that were made to harm: bombs, loops, lies and two-faced files, each with the verdicts that are right for it.

Everything is generated, and the same in every run. `READY` among the verdicts means: with the pixels of the sample.
"""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import numpy as np
from PIL import Image

from image_svc.pipeline.types import Reason
from tests.support import rasters
from tests.support.developing import drawn, encoded
from tests.support.rasters import chunk

READY: Final = "READY"
_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_HUGE: Final = 0x7FFFFFFF


@dataclass(frozen=True, slots=True)
class Hostile:
    """A file with its name and the verdicts that are right: `READY` or reasons."""

    name: str
    content: bytes
    verdicts: frozenset[str]


@cache
def sample(format_: str, **options: object) -> bytes:
    """A small honest file of a format."""
    return encoded(drawn((160, 120)), format_, **options)


@cache
def moving(format_: str, frames: int = 5) -> bytes:
    """A small animation."""
    pictures = [Image.effect_noise((48, 40), 10 + 9 * number).convert("RGB") for number in range(frames)]
    return encoded(pictures[0], format_, save_all=True, append_images=pictures[1:], duration=60)


_makers: list[tuple[frozenset[str], Callable[[], Iterator[tuple[str, bytes]]]]] = []


def _ends(*verdicts: str) -> Callable[[Callable[[], Iterator[tuple[str, bytes]]]], None]:
    def register(maker: Callable[[], Iterator[tuple[str, bytes]]]) -> None:
        _makers.append((frozenset(map(str, verdicts)), maker))

    return register


def files() -> Iterator[Hostile]:
    """All of them, one after the other: some are large."""
    for verdicts, maker in _makers:
        for name, content in maker():
            yield Hostile(name, content, verdicts)


def _header(width: int, height: int, bits: int = 8, color: int = 6) -> bytes:
    return _SIGNATURE + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, color, 0, 0, 0))


def _patched(content: bytes, at: int, new: bytes) -> bytes:
    return content[:at] + new + content[at + len(new) :]


def _box(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body) + 8) + kind + body


@_ends(Reason.TOO_MANY_PIXELS)
def _pixel_bombs() -> Iterator[tuple[str, bytes]]:
    yield "png-header", _header(60_000, 60_000) + chunk(b"IDAT", b"")
    zeros = zlib.compressobj(9)
    data = b"".join(zeros.compress(bytes(1 << 20)) for _ in range(700)) + zeros.flush()
    yield "png-rgba-13370", _header(13_370, 13_370) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    jpeg = sample("JPEG")
    yield "jpeg-65500", _patched(jpeg, jpeg.index(b"\xff\xc0") + 5, struct.pack(">HH", 65_500, 65_500))
    gif = sample("GIF")
    yield "gif-canvas", _patched(gif, 6, b"\xff\xff\xff\xff")
    yield "gif-canvas-of-two-frames", _patched(moving("GIF"), 6, b"\xff\xff\xff\xff")
    tiff = rasters.tiff(np.zeros((8, 8, 3), np.uint8), rasters.RGB)
    for tag in (256, 257):
        tiff = tiff.replace(struct.pack("<HHII", tag, 4, 1, 8), struct.pack("<HHII", tag, 4, 1, 90_000))
    yield "tiff-90000", tiff
    for format_ in ("AVIF", "HEIF"):
        content = sample(format_)
        at = content.index(b"ispe") + 8
        yield f"{format_}-ispe", _patched(content, at, struct.pack(">II", 30_000, 30_000))
        yield f"{format_}-ispe-largest", _patched(content, at, b"\xff" * 8)
    yield "webp-canvas", _patched(moving("WEBP"), 24, b"\xff\x3f\0\xff\x3f\0")
    yield "webp-lossy", _patched(sample("WEBP"), 26, b"\xff\x3f\xff\x3f")
    yield "webp-lossless", _patched(encoded(drawn((160, 120)), "WEBP", lossless=True), 21, b"\xff\xff\xff\x0f")


@_ends(READY, Reason.TOO_MANY_PIXELS, Reason.NOT_AN_IMAGE, Reason.TRUNCATED)
def _lying_dimensions() -> Iterator[tuple[str, bytes]]:
    for format_ in ("AVIF", "HEIF"):
        content = sample(format_)
        at = content.index(b"ispe") + 8
        yield f"{format_}-ispe-none", _patched(content, at, bytes(8))
    webp = moving("WEBP")
    at = webp.index(b"ANMF")
    yield "webp-frame-outside", _patched(webp, at + 8, b"\xff\xff\0\xff\xff\0")
    yield "webp-frame-larger", _patched(webp, at + 14, b"\xff\x3f\0\xff\x3f\0")
    yield "webp-frame-length", _patched(webp, at + 4, b"\xff\xff\xff\x7f")
    still = sample("WEBP")
    yield "webp-riff-length", _patched(still, 4, b"\xff\xff\xff\xff")
    png = rasters.png(np.zeros((30, 30, 3), np.uint8))
    short = png.index(b"IDAT") - 4
    yield "png-larger-than-its-data", _header(300, 300, color=2) + png[short:]
    yield "png-of-no-width", _header(0, 300, color=2) + png[short:]
    yield "gif-of-no-width", _patched(sample("GIF"), 6, bytes(4))
    jpeg = sample("JPEG")
    yield "jpeg-larger-than-its-data", _patched(jpeg, jpeg.index(b"\xff\xc0") + 5, struct.pack(">HH", 3000, 3000))


@_ends(Reason.TOO_COMPLEX)
def _inflating_chunks() -> Iterator[tuple[str, bytes]]:
    png = sample("PNG")
    bomb = zlib.compress(bytes(40_000_000), 9)
    for name, body in (
        ("zTXt", b"k\0\0" + bomb),
        ("iTXt", b"k\0\1\0\0\0" + bomb),
        ("iCCP", b"k\0\0" + bomb),
    ):
        yield f"png-{name}", png[:33] + chunk(name.encode(), body) + png[33:]
    many = chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(1_000_000), 9)) * 40
    yield "png-many-zTXt", png[:33] + many + png[33:]
    yield "png-empty-chunks", png[:33] + chunk(b"abCd", b"") * 300_000 + png[33:]


@_ends(Reason.TOO_COMPLEX)
def _endless_scans() -> Iterator[tuple[str, bytes]]:
    progressive = sample("JPEG", progressive=True)
    first = progressive.index(b"\xff\xda")
    second = progressive.index(b"\xff\xda", first + 2)
    for count in (80, 500, 4000):
        yield f"jpeg-{count}-scans", progressive[:first] + progressive[first:second] * count + progressive[second:]


@_ends(Reason.TOO_MANY_FRAMES)
def _endless_frames() -> Iterator[tuple[str, bytes]]:
    gif = moving("GIF")
    frame = gif[gif.rindex(b"\x21\xf9") : -1]
    yield "gif-10000-frames", gif[:-1] + frame * 10_000 + b";"
    webp = moving("WEBP")
    at = webp.rindex(b"ANMF")
    body = webp + webp[at:] * 5_000
    yield "webp-5000-frames", body[:4] + struct.pack("<I", len(body) - 8) + body[8:]
    apng = moving("PNG")
    at = apng.index(b"acTL")
    yield "apng-billions", apng[: at - 4] + chunk(b"acTL", struct.pack(">II", _HUGE, 0)) + apng[at + 16 :]


@_ends(Reason.TRUNCATED, Reason.NOT_AN_IMAGE)
def _frames_that_are_not_there() -> Iterator[tuple[str, bytes]]:
    apng = moving("PNG")
    at = apng.index(b"acTL")
    yield "apng-lying", apng[: at - 4] + chunk(b"acTL", struct.pack(">II", 900, 0)) + apng[at + 16 :]


@_ends(READY)
def _two_faces() -> Iterator[tuple[str, bytes]]:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("take.txt", "me along")
    for format_ in ("JPEG", "PNG", "GIF", "WEBP", "TIFF"):
        yield f"{format_}-and-zip", sample(format_) + archive.getvalue()
        yield f"{format_}-and-html", sample(format_) + b"<script>alert(1)</script>"
        yield f"{format_}-and-pdf", sample(format_) + b"%PDF-1.7\n1 0 obj\n<<>>\nendobj\n"
    gif = sample("GIF")
    script = b"*/=1;alert(document.domain);/*"
    comment = b"\x21\xfe" + bytes([len(script)]) + script + b"\0"
    at = 13 + 3 * 2 ** ((gif[10] & 7) + 1)
    yield "gif-and-script", gif[:at] + comment + gif[at:]
    jpeg = sample("JPEG")
    inside = sample("TIFF")[:60_000]
    yield "jpeg-with-tiff-in-exif", jpeg[:2] + _app(0xE1, b"Exif\0\0" + inside) + jpeg[2:]
    yield "jpeg-with-page", jpeg[:2] + _app(0xFE, b"--><script>alert(1)</script><!--") + jpeg[2:]
    yield "jpeg-with-jpeg-in-it", jpeg[:2] + _app(0xE0, b"JFXX\0\x10" + sample("JPEG")) + jpeg[2:]
    yield "jpeg-second-picture", jpeg + jpeg
    png = sample("PNG")
    yield "png-with-png-in-it", png[:33] + chunk(b"teSt", png) + png[33:]


@_ends(Reason.NOT_AN_IMAGE, Reason.TRUNCATED)
def _other_faces_first() -> Iterator[tuple[str, bytes]]:
    yield "pdf-and-jpeg", b"%PDF-1.7\n" + sample("JPEG")
    yield "html-and-png", b"<html>" + sample("PNG")
    yield "zip-and-gif", b"PK\3\4" + sample("GIF")
    yield "gif-script", b"GIF89a/*" + b" " * 300 + b"*/=1;alert(1)"


def _app(marker: int, body: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body


@_ends(Reason.TOO_COMPLEX)
def _endless_segments() -> Iterator[tuple[str, bytes]]:
    jpeg = sample("JPEG")
    yield "jpeg-a-million-comments", jpeg[:2] + _app(0xFE, b"") * 1_000_000 + jpeg[2:]


@_ends(READY, Reason.NOT_AN_IMAGE, Reason.TOO_COMPLEX, Reason.TRUNCATED)
def _busy_headers() -> Iterator[tuple[str, bytes]]:
    jpeg = sample("JPEG")
    yield "jpeg-a-million-fills", jpeg[:2] + b"\xff" * 1_000_000 + jpeg[2:]
    yield "jpeg-profile-pieces", jpeg[:2] + _app(0xE2, b"ICC_PROFILE\0\1\xff" + bytes(65_000)) * 255 + jpeg[2:]
    yield "jpeg-many-exifs", jpeg[:2] + _app(0xE1, b"Exif\0\0II*\0\x08\0\0\0" + bytes(60_000)) * 200 + jpeg[2:]
    loop = rasters.directory([(0x8769, 4, [8]), (0x8825, 4, [8])], 8, following=8)
    yield "jpeg-exif-loop", jpeg[:2] + _app(0xE1, b"Exif\0\0II*\0\x08\0\0\0" + loop) + jpeg[2:]
    long = struct.pack("<HHIIHI", 1, 0x0112, 0xFFFFFFFF, 8, 0, 0)
    yield "jpeg-exif-count", jpeg[:2] + _app(0xE1, b"Exif\0\0II*\0\x08\0\0\0" + long) + jpeg[2:]
    xmp = b"http://ns.adobe.com/xap/1.0/\0<x:xmpmeta>" + b'tiff:Orientation="' * 3000
    yield "jpeg-xmp", jpeg[:2] + _app(0xE1, xmp) * 50 + jpeg[2:]
    for count in (0xFFFF, 0xFFFFFFFF):
        profile = bytearray(encoded(drawn((8, 8)), "JPEG"))
        lying = bytes(16) + b"RGB XYZ " + bytes(12) + b"acsp" + bytes(88) + struct.pack(">I", count) + bytes(12 * 50)
        yield f"jpeg-profile-{count}-tags", bytes(profile[:2]) + _app(0xE2, b"ICC_PROFILE\0\1\1" + lying) + jpeg[2:]
    png = sample("PNG")
    yield "png-exif-loop", png[:33] + chunk(b"eXIf", b"II*\0\x08\0\0\0" + loop) + png[33:]
    yield "png-empty-data", png[:33] + chunk(b"IDAT", b"") * 100_000 + png[33:]
    gif = sample("GIF")
    at = 13 + 3 * 2 ** ((gif[10] & 7) + 1)
    yield "gif-comments", gif[:at] + (b"\x21\xfe" + (b"\xff" + b"a" * 255) * 4 + b"\0") * 3000 + gif[at:]


@_ends(READY, Reason.NOT_AN_IMAGE, Reason.TRUNCATED, Reason.TOO_COMPLEX, Reason.UNSUPPORTED_FORMAT)
def _directories() -> Iterator[tuple[str, bytes]]:
    grey = np.full((16, 16, 1), 90, np.uint8)
    tiff = rasters.tiff(grey, rasters.BLACK_IS_ZERO)
    (at,) = struct.unpack_from("<I", tiff, 4)
    (entries,) = struct.unpack_from("<H", tiff, at)
    end = at + 2 + 12 * entries
    yield "tiff-loop", _patched(tiff, end, struct.pack("<I", at))
    yield "tiff-directory-beyond", _patched(tiff, 4, b"\xff\xff\xff\xff")
    yield "tiff-65535-entries", _patched(tiff, at, b"\xff\xff")
    for tag, count in ((258, _HUGE), (273, 0xFFFFFFFF), (279, 0xFFFFFF), (320, 0xFFFFFFFF), (34675, 0xFFFFFFFF)):
        extra = rasters.tiff(grey, rasters.BLACK_IS_ZERO, tags=[(tag, 4, [8])] if tag not in {258, 273, 279} else [])
        (at,) = struct.unpack_from("<I", extra, 4)
        for entry in range(struct.unpack_from("<H", extra, at)[0]):
            place = at + 2 + 12 * entry
            if struct.unpack_from("<H", extra, place) == (tag,):
                extra = _patched(extra, place + 4, struct.pack("<I", count))
        yield f"tiff-tag-{tag}-count", extra
    yield "tiff-rows-per-strip", rasters.tiff(grey, 1, tags=[(278, 4, [0xFFFFFFFF])])
    yield "tiff-exif-loop", rasters.tiff(grey, 1, tags=[(0x8769, 4, [8]), (330, 4, [8, 8, 8, 8])])
    bomb = rasters.tiff(np.zeros((64, 64, 1), np.uint8), 1, deflate=True)
    packed = zlib.compress(bytes(64 * 64), 9)
    yield "tiff-inflating", bomb.replace(packed, zlib.compress(bytes(30_000_000), 9)[: len(packed)])
    yield "bigtiff-far-away", b"II+\0\x08\0\0\0" + b"\xff" * 8
    big = encoded(drawn((16, 16)), "TIFF", big_tiff=True)
    yield "bigtiff-count", _patched(big, struct.unpack_from("<Q", big, 8)[0] + 12, b"\xff" * 8)


@_ends(READY)
def _heads_upon_heads() -> Iterator[tuple[str, bytes]]:
    heads = _app(0xE1, b"Exif\0\0" * 10_900)
    yield "jpeg-exif-heads", sample("JPEG")[:2] + heads * 200 + sample("JPEG")[2:]


@_ends(READY, Reason.TOO_COMPLEX)
def _heads_in_chunks() -> Iterator[tuple[str, bytes]]:
    heads = b"Exif\0\0" * 500_000
    png, webp = sample("PNG"), encoded(drawn((160, 120)), "WEBP", exif=b"Exif\0\0" + b"A" * len(heads))
    yield "png-exif-heads", png[:33] + chunk(b"eXIf", heads) + png[33:]
    yield "webp-exif-heads", webp.replace(b"A" * len(heads), heads)


@_ends(Reason.NOT_AN_IMAGE, Reason.TRUNCATED)
def _two_readings() -> Iterator[tuple[str, bytes]]:
    """Of one directory, by Pillow and by libtiff: one makes room for what the other reads."""
    pixels = np.full((64, 64, 3), 90, np.uint8)
    for tag, value in ((258, 16), (277, 4), (256, 32), (322, 256)):
        yield f"tiff-twice-{tag}", rasters.tiff(pixels, rasters.RGB, tile=32, tags=[(tag, 3, [value])])
    without = rasters.tiff(pixels, rasters.RGB, tile=32)
    yield "tiff-no-samples", without.replace(struct.pack("<HHI", 277, 3, 1), struct.pack("<HHI", 276, 3, 1))
    floats = struct.pack("<HHI", 277, 11, 1)  # a number of samples that is no whole one
    yield "tiff-float-samples", without.replace(struct.pack("<HHI", 277, 3, 1), floats)
    coded = encoded(drawn((64, 64)), "TIFF", compression="jpeg")
    small = encoded(drawn((64, 16)), "TIFF", compression="jpeg")
    for name, content in (("short", small), ("narrow", encoded(drawn((16, 64)), "TIFF", compression="jpeg"))):
        at, tables = content.index(b"\xff\xd8"), coded.index(b"\xff\xd8")
        strip = coded.index(b"\xff\xc0", tables)
        size = content[content.index(b"\xff\xc0", at) + 5 :][:4]
        yield f"tiff-{name}-jpeg", _patched(coded, strip + 5, size)


@_ends(READY, Reason.NOT_AN_IMAGE, Reason.TRUNCATED, Reason.TOO_COMPLEX, Reason.TOO_MANY_PIXELS)
def _boxes() -> Iterator[tuple[str, bytes]]:
    for format_, brand in (("HEIF", b"heic"), ("AVIF", b"avif")):
        content = sample(format_)
        head = _box(b"ftyp", brand + bytes(4) + b"mif1" + brand)
        nested = b""
        for _ in range(20_000):
            nested = _box(b"meta", bytes(4) + nested) if len(nested) < 400_000 else nested
        yield f"{format_}-nested", head + nested
        ipco = b""
        for _ in range(3_000):
            ipco = _box(b"ipco", ipco)
        yield f"{format_}-nested-properties", head + _box(b"meta", bytes(4) + _box(b"iprp", ipco))
        yield f"{format_}-many-boxes", head + _box(b"free", b"") * 100_000
        yield (
            f"{format_}-many-items",
            head + _box(b"meta", bytes(4) + _box(b"iinf", bytes(4) + b"\xff\xff" + bytes(99))),
        )
        at = content.index(b"iloc")
        yield f"{format_}-places", _patched(content, at + 12, b"\xff" * 12)
        at = content.index(b"ipma")
        yield f"{format_}-associations", _patched(content, at + 8, b"\xff\xff\xff\xff")
        yield f"{format_}-no-end", content[:4] + content[4:].replace(b"meta", b"skip", 1)
    content = sample("HEIF")
    at = content.index(b"mdat") + 4
    yield "heif-endless-units", content[:at] + bytes(len(content) - at - 1) + b"\1"
    yield "heif-item-upon-item", _patched(content, content.index(b"iloc") + 4, b"\0\0\0\0\x44\0\xff\xff")
    grid = encoded(drawn((300, 200)), "HEIF", tile_size=128)
    at = grid.index(b"dimg") + 4
    item = grid[at : at + 2]
    yield "heif-grid-of-itself", _patched(grid, at + 4, item * 6)
    yield "heif-grid-of-grids", _patched(grid, at + 2, b"\xff\xff")


@_ends(Reason.TRUNCATED)
def _pixels_that_end_early() -> Iterator[tuple[str, bytes]]:
    pixels = np.array(drawn((160, 120)))
    for interlaced in (False, True):
        yield f"png-rows-{interlaced}", rasters.png(pixels, rows=4, interlaced=interlaced)
    jpeg = sample("JPEG")
    progressive = sample("JPEG", progressive=True)
    for percent in (30, 60, 90):
        yield f"jpeg-closed-early-{percent}", jpeg[: len(jpeg) * percent // 100] + b"\xff\xd9"
        yield f"jpeg-hole-{percent}", (cut := jpeg[: len(jpeg) * percent // 100]) + bytes(len(jpeg) - len(cut))
    yield "jpeg-progressive-closed-early", progressive[: len(progressive) // 3] + b"\xff\xd9"
    yield "gif-codes-end", gif_of_literals(40, 30, 700)
    for format_ in ("WEBP", "AVIF", "HEIF"):
        content = encoded(Image.effect_noise((300, 200), 90).convert("RGB"), format_, quality=95)
        cut = content[: len(content) // 2]
        yield f"{format_}-hole", cut + bytes(len(content) - len(cut))
    content = encoded(Image.effect_noise((300, 200), 90).convert("RGB"), "HEIF", quality=95)
    at = content.index(b"mdat") + 4
    length = len(content) - at
    half = struct.pack(">I", length // 2)
    yield "heif-small-hole", _patched(content, at + length // 2, bytes(3))
    yield "heif-half-an-item", _patched(content, content.index(struct.pack(">I", length)), half)
    grid = encoded(Image.effect_noise((500, 300), 90).convert("RGB"), "HEIF", quality=95, tile_size=256)
    yield "heif-hole-in-a-tile", _patched(grid, len(grid) // 2, bytes(16))
    for compression in ("tiff_ccitt", "group4", "jpeg"):
        content = encoded(
            drawn((160, 120)).convert("RGB" if compression == "jpeg" else "1"), "TIFF", compression=compression
        )
        for percent in (30, 60, 90):
            yield f"tiff-{compression}-hole-{percent}", tiff_with_hole(content, percent)
        taller = _retagged(_retagged(content, 257, 200), 278, 200)
        yield f"tiff-{compression}-taller", taller


def tiff_with_hole(content: bytes, percent: int) -> bytes:
    """A TIFF that Pillow has written, with zeros from a part of its last strip on."""
    with Image.open(io.BytesIO(content)) as picture:
        tags: Any = picture.tag_v2  # type: ignore[attr-defined]  # a TIFF has it
        start, length = tags[273][-1], tags[279][-1]
    kept = length * percent // 100
    return _patched(content, start + kept, bytes(length - kept))


def _retagged(content: bytes, tag: int, value: int) -> bytes:
    """A little-endian TIFF with another value of a tag that has one."""
    (at,) = struct.unpack_from("<I", content, 4)
    (entries,) = struct.unpack_from("<H", content, at)
    places = range(at + 2, at + 2 + 12 * entries, 12)
    (place,) = (place for place in places if struct.unpack_from("<H", content, place) == (tag,))
    return _patched(content, place + 8, struct.pack("<I", value))


@_ends(Reason.TRUNCATED, Reason.NOT_AN_IMAGE)
def _endless_codes() -> Iterator[tuple[str, bytes]]:
    yield "gif-codes-without-picture", gif_of_literals(9_000, 9_000, 200_000)


def gif_of_literals(width: int, height: int, pixels: int) -> bytes:
    """A GIF of so many pixels, whatever its dimensions say, and then the code that ends it in good order."""
    stream, bits = bytearray(), ""
    for number in range(pixels):
        if number % 200 == 0:
            bits = format(256, "09b") + bits
        bits = format(number % 250 + 1, "09b") + bits
        while len(bits) >= 8:
            stream.append(int(bits[-8:], 2))
            bits = bits[:-8]
    bits = (format(257, "09b") + bits).rjust(24, "0")
    stream += int(bits, 2).to_bytes(3, "little")
    blocks = b"".join(bytes([len(part)]) + part for part in (stream[i : i + 255] for i in range(0, len(stream), 255)))
    size = struct.pack("<HH", width, height)
    palette = bytes(range(256)) * 3
    return b"GIF89a" + size + b"\xf7\0\0" + palette + b"," + bytes(4) + size + b"\0\x08" + blocks + b"\0;"
