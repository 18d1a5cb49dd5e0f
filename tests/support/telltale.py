"""Files that carry all that a file can carry beside its pixels, each piece marked with a word to look for."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator

from PIL import ExifTags, Image, ImageCms, TiffImagePlugin

from image_svc.pipeline import spaces
from tests.support.developing import drawn, encoded
from tests.support.rasters import chunk

WORD = "TELLTALE"
_XMP = (
    f'<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF '
    f'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="" '
    f'xmlns:dc="http://purl.org/dc/elements/1.1/" dc:creator="{WORD} xmp"/></rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
).encode()


def files() -> Iterator[tuple[str, bytes]]:
    """One of each accepted format and of each animated one, by name."""
    picture = drawn((320, 240))
    yield "jpeg", _jpeg(picture)
    yield "png", _png(picture)
    yield "webp", encoded(picture, "WEBP", exif=_exif(picture), xmp=_XMP, icc_profile=_profile())
    yield "gif", _gif(encoded(picture, "GIF", comment=f"{WORD} comment".encode()))
    for format_ in ("AVIF", "HEIF"):
        yield format_.lower(), encoded(picture, format_, exif=_exif(picture), xmp=_XMP, icc_profile=_profile())
    yield "tiff", _tiff(picture)
    frames = {"save_all": True, "append_images": [picture.rotate(90), picture.rotate(180)], "duration": 70}
    yield "moving.webp", encoded(picture, "WEBP", exif=_exif(picture), xmp=_XMP, icc_profile=_profile(), **frames)
    yield "moving.gif", _gif(encoded(picture, "GIF", comment=f"{WORD} comment".encode(), **frames))
    yield "moving.png", encoded(picture, "PNG", exif=_exif(picture), icc_profile=_profile(), **frames)


def _exif(picture: Image.Image) -> bytes:
    """Camera, owner, place, a maker's notes and a small copy of the picture."""
    exif = Image.Exif()
    exif[ExifTags.Base.Make] = f"{WORD} make"
    exif[ExifTags.Base.Artist] = f"{WORD} artist"
    exif[ExifTags.Base.ImageDescription] = f"{WORD} description"
    inner = exif.get_ifd(ExifTags.IFD.Exif)
    inner[ExifTags.Base.UserComment] = b"ASCII\0\0\0" + f"{WORD} user comment".encode()
    inner[ExifTags.Base.BodySerialNumber] = f"{WORD} serial"
    inner[ExifTags.Base.MakerNote] = f"{WORD} maker note".encode() * 20
    gps = exif.get_ifd(ExifTags.IFD.GPSInfo)
    gps[ExifTags.GPS.GPSLatitudeRef], gps[ExifTags.GPS.GPSLatitude] = "N", (37.0, 33.0, 59.0)
    gps[ExifTags.GPS.GPSLongitudeRef], gps[ExifTags.GPS.GPSLongitude] = "E", (126.0, 58.0, 41.0)
    first = exif.tobytes()
    small = io.BytesIO()
    picture.resize((64, 48)).save(small, "JPEG", comment=f"{WORD} thumbnail".encode())
    # A second directory holds the thumbnail (EXIF 2.32, 4.5.4); Pillow writes none, so it is hung on behind.
    body = bytearray(first[6:])
    order = ">" if body[:2] == b"MM" else "<"
    (at,) = struct.unpack_from(order + "I", body, 4)
    (entries,) = struct.unpack_from(order + "H", body, at)
    body += bytes(len(body) % 2)
    struct.pack_into(order + "I", body, at + 2 + 12 * entries, len(body))
    where = len(body) + 2 + 12 * 3 + 4
    body += struct.pack(order + "H", 3)
    for tag, kind, value in ((0x103, 3, 6), (0x201, 4, where), (0x202, 4, small.tell())):
        body += struct.pack(order + "HHI", tag, kind, 1)
        body += struct.pack(order + ("HH" if kind == 3 else "I"), *((value, 0) if kind == 3 else (value,)))
    body += bytes(4) + small.getvalue()
    return b"Exif\0\0" + bytes(body)


def _profile() -> bytes:
    """A wide gamut with a text of its own."""
    made = bytearray(spaces.of_code_points(9, 4) or b"")
    text = b"desc\0\0\0\0" + struct.pack(">I", 30) + f"{WORD} profile".encode().ljust(30, b"\0") + bytes(79)
    count = struct.unpack_from(">I", made, 128)[0]
    table = 132 + 12 * count
    for entry in range(count):
        place = 132 + 12 * entry + 4
        struct.pack_into(">I", made, place, struct.unpack_from(">I", made, place)[0] + 12)
    made[table:table] = struct.pack(">4sII", b"desc", len(made) + 12, len(text))
    struct.pack_into(">I", made, 128, count + 1)
    made += text
    struct.pack_into(">I", made, 0, len(made))
    made[8:12] = b"\x02\x10\0\0"  # texts of this kind belong to version 2
    ImageCms.ImageCmsProfile(io.BytesIO(bytes(made)))
    return bytes(made)


def _photoshop() -> bytes:
    iptc = b"".join(
        b"\x1c\x02" + bytes([number]) + struct.pack(">H", len(text)) + text
        for number, text in ((5, f"{WORD} title".encode()), (80, f"{WORD} byline".encode()))
    )
    return b"Photoshop 3.0\x008BIM\x04\x04\0\0" + struct.pack(">I", len(iptc)) + iptc + bytes(len(iptc) % 2)


def _app(marker: int, body: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body


def _jpeg(picture: Image.Image) -> bytes:
    jpeg = encoded(picture, "JPEG", exif=_exif(picture), icc_profile=_profile(), comment=f"{WORD} comment".encode())
    xmp = b"http://ns.adobe.com/xap/1.0/\0" + _XMP
    unknown = f"{WORD} of a maker".encode()
    return jpeg[:2] + _app(0xE1, xmp) + _app(0xED, _photoshop()) + _app(0xEA, unknown) + jpeg[2:] + unknown


def _png(picture: Image.Image) -> bytes:
    png = encoded(picture, "PNG", icc_profile=_profile(), dpi=(72, 72))
    notes = (
        chunk(b"tEXt", f"Author\0{WORD} text".encode())
        + chunk(b"zTXt", b"Comment\0\0" + zlib.compress(f"{WORD} packed text".encode()))
        + chunk(b"iTXt", b"Title\0\0\0\0\0" + f"{WORD} international text".encode())
        + chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + _XMP)
        + chunk(b"tIME", bytes([7, 0xE8, 1, 2, 3, 4, 5]))
        + chunk(b"eXIf", _exif(picture)[6:])
        + chunk(b"prVt", f"{WORD} private".encode())
    )
    return png[:33] + notes + png[33:-12] + chunk(b"tEXt", f"Late\0{WORD} late".encode()) + png[-12:]


def _gif(gif: bytes) -> bytes:
    at = 13 + 3 * 2 ** ((gif[10] & 7) + 1)
    magic = b"\x01" + bytes(range(255, -1, -1)) + b"\0"
    return gif[:at] + b"\x21\xff\x0bXMP DataXMP" + _XMP + magic + gif[at:]


def _tiff(picture: Image.Image) -> bytes:
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    for number, text in ((270, "description"), (271, "make"), (305, "software"), (315, "artist"), (33432, "rights")):
        tags[number] = f"{WORD} {text}"
    for number, content in ((700, _XMP), (33723, _photoshop()[26:]), (34377, _photoshop()[14:])):
        tags[number] = content
        tags.tagtype[number] = 1
    return encoded(picture, "TIFF", tiffinfo=tags, icc_profile=_profile())
