"""Opens a file with the one decoder that its bytes name, and reads its pixels no larger than anybody needs them."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from mmap import mmap
from typing import Any, Final

from PIL import Image, ImageChops
from PIL.WebPImagePlugin import WebPImageFile
from pillow_avif import AvifImagePlugin

from image_svc.pipeline import blocks, heif, jpeg, readers, spaces
from image_svc.pipeline import webp as still_webp
from image_svc.pipeline.caps import Caps
from image_svc.pipeline.color import resizable
from image_svc.pipeline.geometry import Size
from image_svc.pipeline.headers import Header, exif, gif, inspect, isobmff, png, tiff, webp
from image_svc.pipeline.headers.header import After, Frame
from image_svc.pipeline.memory import peak_bytes
from image_svc.pipeline.sniff import HEAD_BYTES, check_content_type, sniff
from image_svc.pipeline.types import Format, Reason, Rejected

# Our caps stand before the decoders, and know more of the file than a number of pixels.
Image.MAX_IMAGE_PIXELS = None
# A child is one thread of work; more threads would only blur what it costs.
heif.pillow_heif.options.DECODE_THREADS = 1
AvifImagePlugin.DEFAULT_MAX_THREADS = 1

# The classes themselves, not `Image.open`: nothing else gets to look at the bytes (no MPO, no second guess). Of a JPEG
# and of a still WebP Pillow sees nothing: `headers/` have read what stands before the pixels, and these are
# `jpeg.reduced`'s and `webp.decoded`'s. That of TIFF is told what `headers/tiff.py` has read.
_OPENERS: Final[dict[Format, Callable[[Any], Image.Image]]] = {
    Format.PNG: readers.PngReader,
    Format.WEBP: WebPImageFile,
    Format.GIF: readers.GifReader,
    Format.AVIF: readers.avif,
    Format.HEIF: heif.HeifImageFile,
}
# EXIF 2.32, 4.6.4: how the stored picture is turned to stand upright.
_TURNS: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# What tells, where a header says that pixels may be missing, or others than were sent, of which the decoder will not.
_LENIENT: Final[dict[Format, Callable[[mmap], None]]] = {
    Format.TIFF: tiff.check_pixels,
    Format.WEBP: webp.check_frame,
    Format.GIF: gif.check_rows,
    Format.AVIF: isobmff.check_pixels,
    Format.HEIF: isobmff.check_pixels,
}
# How an animation is taken apart whose frames are laid over each other here.
_LAID: Final[dict[Format, Callable[[mmap], Iterator[Frame]]]] = {Format.GIF: gif.frames, Format.PNG: png.frames}
# Pixels of the largest frame of an animation that is kept moving, or of a frame that reaches beyond it.
LARGEST_FRAME: Final = 8_000_000
# What Pillow and libheif say of pixels that are well, but not for them.
_OTHER_KINDS: Final = ("unknown pixel mode", "compression format has not been built in", "primary item")
_LYING: Final = frozenset({5, 6, 7, 8})  # width and height change places


# Left, top, right and bottom.
Box = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class Opened:
    """A file whose header is known and within the caps; no pixel is decoded yet."""

    format: Format
    data: mmap
    header: Header
    picture: Image.Image
    # The part of the stored picture that is shown, where it is not all.
    crop: Box | None
    size: Size  # as stored, of what is shown
    orientation: int
    frames: int
    profile: bytes | None  # ICC
    # How often an animation is shown, 0 for without end.
    loop: int

    @property
    def upright(self) -> Size:
        """Width and height after orientation."""
        return self.stored(self.size)

    def stored(self, size: Size) -> Size:
        """An upright size as the stored picture has it, or the other way round."""
        return (size[1], size[0]) if self.orientation in _LYING else size

    def turn(self, picture: Image.Image) -> Image.Image:
        """A copy of the stored picture, upright."""
        turn = _TURNS.get(self.orientation)
        return picture if turn is None else picture.transpose(turn)


def open_file(data: mmap, announced_content_type: str | None, caps: Caps) -> Opened:
    """Decides what the file is and whether it may be decoded. Raises `Rejected`."""
    format_ = sniff(data[:HEAD_BYTES])
    check_content_type(announced_content_type, format_)
    header = inspect(data, format_, caps)
    if header.size is not None:
        caps.check_pixels(header.size[0], header.size[1], 0)
    picture = _picture(data, format_, header)
    # Two readers of one header must agree, or one of them was lied to.
    if header.size is not None and picture.size != header.size and format_ is not Format.GIF:
        raise Rejected(Reason.NOT_AN_IMAGE, "The file's header contradicts itself.")
    frames = header.frames if format_ is not Format.AVIF else _guarded(lambda: int(getattr(picture, "n_frames", 1)))
    caps.check_frames(frames)
    caps.check_pixels(picture.width, picture.height, 0)
    crop = header.crop if format_ is Format.AVIF and frames == 1 else None  # the reader of HEIC does it
    return Opened(
        format_,
        data,
        header,
        picture,
        crop,
        picture.size if crop is None else (crop[2] - crop[0], crop[3] - crop[1]),
        _orientation(format_, header, picture),
        frames,
        _profile(format_, header, picture),
        _loop(format_, header, picture),
    )


def _picture(data: mmap, format_: Format, header: Header) -> Image.Image:
    """An image that has no pixels yet."""
    if header.size is not None and header.mode is not None:
        return blocks.announced(header.mode, header.size)
    picture: Image.Image = _guarded(
        lambda: readers.TiffReader(data, header) if format_ is Format.TIFF else _OPENERS[format_](data)
    )
    return picture


def _orientation(format_: Format, header: Header, picture: Image.Image) -> int:
    """How the stored picture is turned."""
    if format_ is Format.HEIF:  # its reader gives it upright, its dimensions too, and cut as its boxes say
        return 1
    if format_ is Format.TIFF:
        return header.orientation
    # Not by Pillow's `getexif`: of a PNG it would decode all pixels first, and it takes a note in XMP for an order.
    return exif.orientation(header.exif if header.exif is not None else picture.info.get("exif") or b"")


def pixels(opened: Opened, needed: Size, file_bytes: int, caps: Caps) -> Image.Image:
    """The stored picture's pixels, ready to be resampled, at least `needed` (an upright size) where it is that large.

    Raises `Rejected`; MemoryError where the address space is used up.
    """
    picture, full, target = opened.picture, opened.picture.size, opened.stored(needed)
    least = min(target[0], full[0]), min(target[1], full[1])  # a preset that enlarges is not the file's fault
    shrunk = opened.format is Format.JPEG
    painted = _painted(picture)
    alone = opened.format is Format.GIF and painted != (0, 0, *full)
    needs = peak_bytes(
        opened.format,
        picture.mode,
        opened.header,
        full=full,
        decoded=least if shrunk else full,
        needed=least,
        transparent=alone or "transparency" in picture.info,
        file=file_bytes,
    )
    caps.check_pixels(*full, needs)
    if shrunk:
        return jpeg.reduced(opened.data, opened.header, least)
    if opened.header.mode is not None:
        return still_webp.decoded(opened.data, opened.header)
    _check_tiles(picture)
    if opened.format is Format.PNG and png.interlaced(opened.data):
        _guarded(lambda: png.check_rows(opened.data))  # whose last row does not come last
    if opened.header.forgiven:
        _guarded(lambda: _LENIENT[opened.format](opened.data))
    _guarded(lambda: heif.load(picture) if isinstance(picture, heif.HeifImageFile) else picture.load())
    if opened.format is Format.PNG and _may_lack_rows(picture):
        _guarded(lambda: png.check_rows(opened.data))
    ready: Image.Image = _guarded(lambda: resizable(picture))
    if alone and ready.mode != "RGBA":
        return _alone(ready, painted)
    if opened.crop is not None:
        return ready.crop(opened.crop)
    return ImageChops.invert(ready) if opened.header.inverted else ready


def _painted(picture: Image.Image) -> Box:
    """Where the file's pixels are to lie."""
    tiles = getattr(picture, "tile", None)
    left, top, right, bottom = (tiles[0][1] if tiles else None) or (0, 0, *picture.size)
    return left, top, right, bottom


def _alone(picture: Image.Image, box: Box) -> Image.Image:
    """A part of a picture where it was, and nothing around it: Pillow shows the first colour of the palette there."""
    clear = Image.new("RGBA", picture.size, (0, 0, 0, 0))
    clear.paste(picture.crop(box).convert("RGBA"), box)
    return clear


def _may_lack_rows(picture: Image.Image) -> bool:
    """Whether the last row is as Pillow made it before there were pixels: it takes compressed pixels that end too early
    for the end of the picture.
    """
    return not picture.crop((0, picture.height - 1, *picture.size)).tobytes().strip(b"\0")


def frames(opened: Opened) -> Iterator[tuple[Image.Image, float]]:
    """All frames of an animation in order, as stored and ready to be resampled, and for how many milliseconds each is

    shown. To be asked for after `pixels` has checked the size that all of them have. Raises `Rejected`.
    """
    if opened.format in _LAID:
        yield from _laid(opened)
        return
    if opened.format is Format.AVIF:
        _guarded(lambda: isobmff.check_frames(opened.data, opened.frames))
    reader = _reopened(opened)
    for number in range(opened.frames):
        if number and opened.format is Format.WEBP:  # `pixels` has checked the first one
            webp.check_frame(opened.data, number)
        yield _frame(reader, number)


def _laid(opened: Opened) -> Iterator[tuple[Image.Image, float]]:
    """The frames of a GIF or PNG, laid over each other as browsers do it: on nothing, cleared to nothing, cut at the

    edges. Pillow lays a GIF's on the first colour of the palette, clears to another, and remembers from one frame what
    is to become of the next; it mixes transparencies as if they were colours.
    """
    shown = Image.new("RGBA", opened.size, (0, 0, 0, 0))
    missing = opened.frames
    for each in _LAID[opened.format](opened.data):
        before = shown.copy() if each.after is After.UNDONE else None
        place = each.left, each.top, each.left + each.width, each.top + each.height
        if each.width * each.height > LARGEST_FRAME:
            raise Rejected(Reason.NOT_AN_IMAGE, "A frame of the animation is too large, and larger than the picture.")
        if each.width and each.height:
            picture = _guarded(partial(_single, opened.format, each.alone))
            if each.over:
                _lay_over(shown, picture, place)
            else:
                shown.paste(picture, place)
        yield shown.copy(), each.milliseconds
        if before is not None:
            shown = before
        elif each.after is After.CLEARED:
            shown.paste((0, 0, 0, 0), place)
        missing -= 1
    if missing > 0:
        raise _truncated()


def _lay_over(shown: Image.Image, picture: Image.Image, place: Box) -> None:
    """What is transparent lets through what is there; what lies outside is cut."""
    right, bottom = min(place[2], shown.width), min(place[3], shown.height)
    if place[0] < right and place[1] < bottom:
        shown.alpha_composite(picture.crop((0, 0, right - place[0], bottom - place[1])), place[:2])


def _single(format_: Format, content: bytes) -> Image.Image:
    """A file of one frame as RGBA."""
    if format_ is Format.GIF:
        gif.check_rows(content)
    picture = _OPENERS[format_](io.BytesIO(content))
    _check_tiles(picture)
    picture.load()
    return resizable(picture).convert("RGBA")


def _reopened(opened: Opened) -> Opened:
    """The same file with a reader of its own, before its first frame.

    Going back is where readers keep what they should forget: palettes of later frames, storage of another kind
    (CVE-2026-96639). Raises `Rejected`.
    """
    opened.data.seek(0)  # the first reader has read what it needs
    return replace(opened, picture=_guarded(lambda: _OPENERS[opened.format](opened.data)))


def _frame(opened: Opened, number: int) -> tuple[Image.Image, float]:
    """One frame, and for how many milliseconds it is shown. They are asked for in order, each once for a reader."""
    picture = opened.picture
    _guarded(lambda: picture.seek(number))
    _check_tiles(picture)
    _guarded(picture.load)
    if picture.size != opened.size:
        raise Rejected(Reason.NOT_AN_IMAGE, "The frames of the animation differ in size.")
    shown = picture.info.get("duration", 0)
    ready: Image.Image = _guarded(lambda: resizable(picture))
    if ready is picture:  # whoever takes its notes away must not take the reader's, which say where the next one lies
        ready = picture.copy()
    return ready, shown if isinstance(shown, int | float) else 0


def _profile(format_: Format, header: Header, picture: Image.Image) -> bytes | None:
    """What says how the file's numbers stand for colours, if not as in sRGB."""
    embedded = header.profile or picture.info.get("icc_profile") or None
    if header.color is not None and (format_ is Format.PNG or not embedded):  # PNG 3rd edition, 4.3
        return spaces.of_code_points(*header.color)
    if format_ is Format.PNG and not embedded:
        return spaces.of_png(picture.info)
    return embedded


def _loop(format_: Format, header: Header, picture: Image.Image) -> int:
    """How often an animation is shown, 0 for without end: as browsers do it."""
    if format_ is Format.PNG:
        return header.loop if header.loop < 65536 else 0
    if format_ is Format.AVIF:  # its reader does not tell; sequences that do not say go on, and hardly one says
        return 0
    value = picture.info.get("loop")
    if format_ is Format.GIF:
        if value is None:
            return 1
        # It says how often it begins anew, after the first time.
        value = value + 1 if isinstance(value, int) and value else 0
    return value if isinstance(value, int) and 0 <= value < 65536 else 0


def _check_tiles(picture: Image.Image) -> None:
    """Pillow 12.1.1 adds a tile's place and size in 32 bits before it checks them (CVE-2026-42311); this does not."""
    width, height = picture.size
    for tile in getattr(picture, "tile", ()):
        left, top, right, bottom = tile[1] or (0, 0, width, height)
        if not (0 <= left < right <= width and 0 <= top < bottom <= height):
            raise Rejected(Reason.NOT_AN_IMAGE, "The file places pixels outside the picture.")


def _guarded(work: Callable[[], Any]) -> Any:
    """Runs a decoder. What it raises, other than for want of memory, is the file's fault."""
    try:
        return work()
    except (Rejected, MemoryError):
        raise
    except EOFError:
        raise _truncated() from None
    except Exception as error:
        text = str(error).lower()
        if "truncated" in text or "end of file" in text or "eof" in text:
            raise _truncated() from None
        if any(words in text for words in _OTHER_KINDS):
            raise Rejected(Reason.UNSUPPORTED_FORMAT, "Pixels of this kind are not accepted.") from None
        raise Rejected(Reason.NOT_AN_IMAGE, "The file starts like an image, but cannot be decoded.") from error


def _truncated() -> Rejected:
    return Rejected(Reason.TRUNCATED, "The file ends before the picture does.")
