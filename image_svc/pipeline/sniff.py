"""What a file is, by its bytes alone.

Accepted: the raster formats of the contract. Another picture (SVG, BMP, JPEG XL, camera raw ...) is refused as
`unsupported_format`: its owner can convert it. What is no picture (HTML, PDF, video, an archive, noise) is
`not_an_image`.
"""

from __future__ import annotations

import re
from typing import Final

from image_svc.pipeline.types import Format, Reason, Rejected

# As much as is looked at. SVG may start with comments and a doctype.
HEAD_BYTES: Final = 4096


_CONTENT_TYPES: Final[dict[str, Format]] = {
    "image/jpeg": Format.JPEG,
    "image/jpg": Format.JPEG,
    "image/pjpeg": Format.JPEG,
    "image/png": Format.PNG,
    "image/apng": Format.PNG,
    "image/webp": Format.WEBP,
    "image/gif": Format.GIF,
    "image/avif": Format.AVIF,
    "image/avif-sequence": Format.AVIF,
    "image/heic": Format.HEIF,
    "image/heif": Format.HEIF,
    "image/heic-sequence": Format.HEIF,
    "image/heif-sequence": Format.HEIF,
    "image/tiff": Format.TIFF,
}
# https://mp4ra.org/registered-types/brands
_AVIF_BRANDS: Final = {b"avif", b"avis"}
_HEVC_BRANDS: Final = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"}
_STRUCTURE_BRANDS: Final = {b"mif1", b"msf1", b"miaf", b"mif2", b"1pic"}
_RAW_BRANDS: Final = {b"crx ": "Canon raw (CR3)"}
_OTHER_CODECS: Final = {b"j2ki", b"j2is", b"jpeg", b"jpgs", b"avci", b"avcs", b"vvic", b"evbi"}

# Pictures that are not accepted, by how they start.
_OTHER_PICTURES: Final[tuple[tuple[bytes, str], ...]] = (
    (b"BM", "BMP"),
    (b"\x00\x00\x01\x00", "ICO"),
    (b"\xff\x0a", "JPEG XL"),
    (b"\x00\x00\x00\x0cJXL ", "JPEG XL"),
    (b"\x00\x00\x00\x0cjP  ", "JPEG 2000"),
    (b"\xff\x4f\xff\x51", "JPEG 2000"),
    (b"8BPS", "Photoshop"),
    (b"FUJIFILMCCD-RAW", "Fujifilm raw"),
    (b"IIRO", "Olympus raw"),
    (b"IIU\x00", "Panasonic raw"),
    (b"II\xbc\x01", "JPEG XR"),
    (b"\x76\x2f\x31\x01", "OpenEXR"),
    (b"#?RADIANCE", "Radiance HDR"),
    (b"qoif", "QOI"),
    (b"gimp xcf", "GIMP"),
)
_SVG: Final = re.compile(
    rb"(?:\xef\xbb\xbf)?\s*(?:<\?xml.*?|<!--.*?-->\s*|<!DOCTYPE\s+svg.*?)*<svg[\s>]", re.DOTALL | re.IGNORECASE
)
_PNM: Final = re.compile(rb"P[1-7][\s#]")


def sniff(head: bytes) -> Format:
    """The format of a file from its first `HEAD_BYTES`. Raises `Rejected` for anything that is not accepted."""
    if head.startswith(b"\xff\xd8\xff"):
        return Format.JPEG
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return Format.PNG
    if head.startswith((b"GIF87a", b"GIF89a")):
        return Format.GIF
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return Format.WEBP
    if head.startswith((b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")):
        if head[8:10] == b"CR":
            raise _unsupported("Canon raw (CR2)")
        return Format.TIFF
    if head[4:8] == b"ftyp":
        return _iso_media(head)
    for start, name in _OTHER_PICTURES:
        if head.startswith(start):
            raise _unsupported(name)
    if _PNM.match(head):
        raise _unsupported("PNM")
    if _SVG.match(head):
        raise _unsupported("SVG")
    raise Rejected(Reason.NOT_AN_IMAGE, "The file's bytes are not those of an image.")


def check_content_type(announced: str | None, format_: Format) -> None:
    """Raises `Rejected` when another format was announced; parameters and case do not count, None announces none."""
    if announced is None:
        return
    media_type = announced.partition(";")[0].strip().lower()
    if _CONTENT_TYPES.get(media_type) is not format_:
        raise Rejected(
            Reason.CONTENT_TYPE_MISMATCH, f"The file was announced as {media_type[:100]} but is {format_.value}."
        )


def _unsupported(name: str) -> Rejected:
    return Rejected(
        Reason.UNSUPPORTED_FORMAT, f"{name} is not accepted; send JPEG, PNG, WebP, GIF, AVIF, HEIC or TIFF."
    )


def _iso_media(head: bytes) -> Format:
    """AVIF, HEIC and everything else in ISO 14496-12 boxes, by the brands of the `ftyp` box."""
    end = min(int.from_bytes(head[:4], "big"), len(head))
    major = head[8:12]
    brands = {major} | {head[at : at + 4] for at in range(16, end - 3, 4)}
    if major in _AVIF_BRANDS:
        return Format.AVIF
    if major in _HEVC_BRANDS:
        return Format.HEIF
    if major in _OTHER_CODECS:
        raise _unsupported("HEIF with this codec")
    if major in _STRUCTURE_BRANDS:
        if brands & _AVIF_BRANDS:
            return Format.AVIF
        if brands & _HEVC_BRANDS:
            return Format.HEIF
        raise _unsupported("HEIF with this codec")
    if major in _RAW_BRANDS:
        raise _unsupported(_RAW_BRANDS[major])
    raise Rejected(Reason.NOT_AN_IMAGE, "The file is a video or another medium, not an image.")
