"""Files whose picture is whole, though something beside it is not; and what Pillow's own readers take amiss."""

from __future__ import annotations

import io
import mmap
import struct
import zlib
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
import pytest
from PIL import Image

from image_svc.pipeline import decode
from image_svc.pipeline.types import Reason
from tests.support import rasters
from tests.support.developing import CAPS, EXACT, drawn, encoded, made, picture, psnr, refused, run
from tests.support.rasters import chunk

SMALL = drawn((64, 48))
MOVING = msgspec.structs.replace(EXACT, format="webp", animated=True)


def laid(content: bytes) -> list[tuple[Image.Image, float]]:
    """The frames of an animation."""
    with mmap.mmap(-1, len(content)) as data:
        data[:] = content
        return list(decode.frames(decode.open_file(data, None, CAPS)))


# ---- WebP


@pytest.mark.parametrize("method", [0, 2, 4, 6])
@pytest.mark.parametrize("quality", [40, 80])
def test_a_webp_that_ends_in_one_colour_is_whole_though_it_ends_in_zeros(method: int, quality: int) -> None:
    page = Image.new("RGB", (1600, 1600), "white")
    page.paste(drawn((800, 300)), (400, 40))
    content = encoded(page, "WEBP", quality=quality, method=method)
    if method == 4:
        assert content.endswith(bytes(64))
    assert psnr(made(content), page) > 30


@pytest.mark.parametrize("place", [(0, 0), (900, 700)])
@pytest.mark.parametrize("options", [{"lossless": True}, {"quality": 100}, {"quality": 100, "alpha": 0}])
def test_a_webp_with_a_large_plain_area_is_whole_though_its_data_are_zeros(
    place: tuple[int, int], options: dict[str, Any]
) -> None:
    """As the fastest method writes it, up to a bit a pixel."""
    picture = Image.new("RGB", (1500, 1200), "white")
    picture.paste(Image.effect_noise((300, 300), 90).convert("RGB"), place)
    if "alpha" in options:
        picture.putalpha(200)
    content = encoded(picture, "WEBP", method=0, **{name: options[name] for name in options if name != "alpha"})
    assert bytes(300) in content
    assert psnr(made(content), picture.convert("RGB")) > 25


def test_zeros_behind_the_pixels_of_a_webp_fill_its_chunk() -> None:
    content = encoded(drawn((300, 200)), "WEBP")
    padded = b"RIFF%bWEBPVP8 %b" % (
        (len(content) - 8 + 500).to_bytes(4, "little"),
        (len(content) - 20 + 500).to_bytes(4, "little"),
    )
    assert content[8:16] == b"WEBPVP8 "
    assert psnr(made(padded + content[20:] + bytes(500)), made(content)) > 90


def test_a_moving_webp_whose_frames_end_in_one_colour_is_whole() -> None:
    pages = [Image.new("RGB", (1600, 1200), "white") for _ in range(2)]
    pages[0].paste(SMALL, (0, 0))
    pages[1].paste(SMALL, (900, 0))
    content = encoded(pages[0], "WEBP", save_all=True, append_images=pages[1:], duration=80)
    assert run(content, MOVING)[0].facts.frames == 2


def test_a_webp_with_a_hole_at_its_end_is_damaged() -> None:
    content = encoded(Image.effect_noise((900, 700), 90).convert("RGB"), "WEBP", quality=90)
    assert refused(content[:-5000] + bytes(5000)) is Reason.TRUNCATED


# ---- PNG


def _png(*chunks: bytes, after: bytes = b"") -> bytes:
    """A small picture with chunks before its pixels, and behind them."""
    content = encoded(SMALL, "PNG")
    at, end = content.index(b"IDAT") - 4, content.index(b"IEND") - 4
    return content[:at] + b"".join(chunks) + content[at:end] + after + content[end:]


def _unsound(kind: bytes, body: bytes) -> bytes:
    """A chunk whose check sum is another's."""
    return chunk(kind, body)[:-4] + b"\1\2\3\4"


@pytest.mark.parametrize(
    "note",
    [
        _unsound(b"tEXt", b"Comment\0hello"),
        _unsound(b"gAMA", struct.pack(">I", 220_000)),
        _unsound(b"pHYs", struct.pack(">IIB", 1, 1, 0)),
        _unsound(b"eXIf", b"II*\0"),
        chunk(b"gAMA", b"\0\0"),
        chunk(b"cHRM", b"\0"),
        chunk(b"sRGB", b""),
        chunk(b"pHYs", b"\0"),
        chunk(b"iCCP", b"profile\0\7nothing"),
        chunk(b"iCCP", b"profile"),
        chunk(b"zTXt", b"Comment\0\7nothing"),
        chunk(b"iTXt", b"Comment"),
        chunk(b"tRNS", b"\0"),
        chunk(b"acTL", b"\0\0\0"),
    ],
)
@pytest.mark.parametrize("behind", [False, True])
def test_a_fault_in_a_note_is_not_the_pictures(note: bytes, *, behind: bool) -> None:
    content = _png(after=note) if behind else _png(note)
    assert psnr(made(content), SMALL) == 99.0


def test_a_note_that_has_no_end_leaves_the_picture_before_it_whole() -> None:
    cut = _png(after=chunk(b"tEXt", b"Comment\0" + bytes(900)))[:-500]
    assert psnr(made(cut), SMALL) == 99.0
    assert refused(_png(chunk(b"tEXt", b"Comment\0" + bytes(900)))[:200]) is Reason.TRUNCATED


def test_others_in_this_process_still_read_notes_with_pillow() -> None:
    content = _png(chunk(b"tEXt", b"Comment\0hello"))
    made(content)
    assert picture(content).info["Comment"] == "hello"


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_a_grey_that_stands_for_none_is_found_at_every_depth(bits: int) -> None:
    most = (1 << bits) - 1
    samples = np.array([[[0], [most], [most // 2 if bits > 1 else 0]]] * 2)
    clear = made(rasters.png(samples, bits, chunks=[(b"tRNS", struct.pack(">H", most))]))
    assert np.array(clear.convert("RGBA"))[0, :, 3].tolist() == [255, 0, 255]


@pytest.mark.parametrize("bits", [8, 16])
def test_a_colour_that_stands_for_none_is_found_at_every_depth(bits: int) -> None:
    key = (0x12, 0x80, 0xFE) if bits == 8 else (0x1234, 0x8000, 0xFEDC)
    samples = np.array([[key, (0, 0, 0), key]] * 2)
    clear = made(rasters.png(samples, bits, chunks=[(b"tRNS", struct.pack(">HHH", *key))]))
    assert np.array(clear.convert("RGBA"))[0, :, 3].tolist() == [0, 255, 0]


def _control(number: int, box: Sequence[int], after: int, over: int) -> bytes:
    left, top, width, height = box
    return chunk(b"fcTL", struct.pack(">IIIIIHHBB", number, width, height, left, top, 8, 100, after, over))


def _rows(colour: bytes, width: int, height: int) -> bytes:
    return zlib.compress((b"\0" + colour * width) * height)


def _apng(
    *frames: tuple[Sequence[int], bytes, int, int], colours: int = 6, shared: bytes = b"", loop: int = 0
) -> bytes:
    """An animation of 4 by 2 pixels. Each frame has a box, the bytes of its colour, what comes after it, and whether it

    is laid over what is there.
    """
    content = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 4, 2, 8, colours, 0, 0, 0)) + shared
    content += chunk(b"acTL", struct.pack(">II", len(frames), loop))
    for number, (box, colour, after, over) in enumerate(frames):
        content += _control(2 * number, box, after, over)
        rows = _rows(colour, *box[2:])
        content += chunk(b"fdAT", struct.pack(">I", 2 * number + 1) + rows) if number else chunk(b"IDAT", rows)
    return content + chunk(b"IEND", b"")


WHOLE, RIGHT = (0, 0, 4, 2), (2, 0, 2, 2)


def _seen(content: bytes) -> list[list[tuple[int, ...]]]:
    return [[tuple(frame.getpixel((x, 1))) for x in (0, 3)] for frame, _ in laid(content)]  # type: ignore[arg-type]


def test_a_frame_of_a_png_is_laid_over_what_is_there_or_takes_its_place() -> None:
    red, glass = bytes((255, 0, 0, 255)), bytes((0, 0, 255, 128))
    over = _seen(_apng((WHOLE, red, 0, 0), (RIGHT, glass, 0, 1)))
    assert over[1] == [(255, 0, 0, 255), (127, 0, 128, 255)]
    instead = _seen(_apng((WHOLE, red, 0, 0), (RIGHT, glass, 0, 0)))
    assert instead[1] == [(255, 0, 0, 255), (0, 0, 255, 128)]


def test_what_becomes_of_the_place_of_a_frame_of_a_png() -> None:
    red, blue, green = (bytes((*colour, 255)) for colour in ((255, 0, 0), (0, 0, 255), (0, 255, 0)))
    left = (0, 0, 1, 1)
    r, b, clear = (255, 0, 0, 255), (0, 0, 255, 255), (0, 0, 0, 0)
    for after, expected in ((0, [r, b]), (1, [r, clear]), (2, [r, r])):
        seen = _seen(_apng((WHOLE, red, 0, 0), (RIGHT, blue, after, 0), (left, green, 0, 0)))
        assert seen[1:] == [[r, b], expected]
    # Before the first one there is nothing to come back to.
    assert _seen(_apng((WHOLE, red, 2, 0), (RIGHT, blue, 0, 1)))[1] == [clear, b]


def test_a_png_with_a_palette_is_cleared_to_nothing() -> None:
    palette = chunk(b"PLTE", bytes(3) + b"\xff\0\0") + chunk(b"tRNS", b"\xff\xff")
    seen = _seen(_apng((WHOLE, b"\1", 1, 0), (RIGHT, b"\1", 0, 0), colours=3, shared=palette))
    assert seen == [[(255, 0, 0, 255)] * 2, [(0, 0, 0, 0), (255, 0, 0, 255)]]


def test_a_colour_that_stands_for_none_is_none_in_a_frame_if_its_note_is_sound() -> None:
    key = chunk(b"tRNS", struct.pack(">HHH", 255, 0, 0))
    frames = (WHOLE, b"\xff\0\0", 0, 0), (RIGHT, b"\0\0\xff", 0, 0)
    assert _seen(_apng(*frames, colours=2, shared=key))[0] == [(255, 0, 0, 0)] * 2
    assert _seen(_apng(*frames, colours=2, shared=key[:-1] + b"?"))[0] == [(255, 0, 0, 255)] * 2


def test_the_pixels_of_a_frame_may_come_in_very_many_pieces() -> None:
    content = _apng((WHOLE, bytes((255, 0, 0, 255)), 0, 0), (RIGHT, bytes((0, 0, 255, 255)), 0, 0))
    at = content.index(b"fdAT") - 4
    pieces = b"".join(
        chunk(b"fdAT", struct.pack(">I", 1) + content[place : place + 1]) for place in range(at + 12, len(content) - 16)
    )
    assert _seen(content[:at] + pieces + content[-12:])[1] == [(255, 0, 0, 255), (0, 0, 255, 255)]


def test_a_still_picture_before_an_animation_is_no_frame_of_it() -> None:
    content = _apng((WHOLE, bytes((255, 0, 0, 255)), 0, 0), (WHOLE, bytes((0, 255, 0, 255)), 0, 0), loop=3)
    first = content.index(b"fcTL") - 4
    pixels = content.index(b"IDAT") - 4
    second = content.index(b"fcTL", pixels) - 4
    # Its pixels first, then the frames: the first one's as it would stand further behind.
    still = chunk(b"IDAT", _rows(bytes((9, 9, 9, 255)), 4, 2))
    moved = chunk(b"fdAT", struct.pack(">I", 1) + _rows(bytes((255, 0, 0, 255)), 4, 2))
    content = content[:first] + still + content[first:pixels] + moved + content[second:]
    assert _seen(content) == [[(255, 0, 0, 255)] * 2, [(0, 255, 0, 255)] * 2]
    assert made(content).getpixel((0, 0)) == (9, 9, 9, 255)
    shown = picture(run(content, MOVING)[1][0])
    assert (shown.n_frames, shown.info["loop"]) == (2, 3)  # type: ignore[attr-defined]


# ---- GIF


def _gif(*, own: bytes, clear: bool = False) -> bytes:
    """A GIF of two pixels, whose common palette has colours, and whose frame has one of its own."""
    common = bytes((255, 0, 0, 0, 255, 0))
    control = b"!\xf9\4" + bytes([clear, 5, 0, 0]) + b"\0"
    local = b"\x80" + own if own else b"\0"
    frame = b"," + struct.pack("<HHHH", 0, 0, 2, 1) + local + b"\2\2\x44\n\0"
    return b"GIF89a" + struct.pack("<HHBBB", 2, 1, 0x80, 0, 0) + common + control + frame + b";"


def test_a_frames_own_greys_take_the_place_of_common_colours() -> None:
    greys = bytes((0, 0, 0, 1, 1, 1))
    assert np.array(made(_gif(own=b"")).convert("RGB")).tolist() == [[[255, 0, 0], [0, 255, 0]]]
    assert np.array(made(_gif(own=greys)).convert("RGB")).tolist() == [[[0, 0, 0], [1, 1, 1]]]
    assert np.array(made(_gif(own=greys, clear=True)).convert("RGBA")).tolist()[0][1] == [1, 1, 1, 255]


def test_a_note_that_is_cut_behind_the_frames_of_a_gif_is_no_part_of_it() -> None:
    whole = _gif(own=b"")
    assert made(whole[:-1] + b"!\xfe\x40half a comment").size == (2, 1)


# ---- TIFF

GREY = np.asarray(SMALL.convert("L"))[:, :, None]


def _beyond(tag: int, kind: int, count: int) -> bytes:
    """A TIFF with a tag whose values lie beyond its end."""
    content = rasters.tiff(GREY, rasters.BLACK_IS_ZERO, tags=[(tag, 4, [1, 2])])
    at = content.index(struct.pack("<HHI", tag, 4, 2))
    return content[:at] + struct.pack("<HHII", tag, kind, count, len(content) + 10_000) + content[at + 12 :]


@pytest.mark.parametrize(("tag", "kind"), [(305, 2), (282, 5), (700, 1), (34377, 7), (33432, 2), (65000, 7)])
def test_a_note_beyond_the_end_of_a_tiff_is_not_the_pictures(tag: int, kind: int) -> None:
    assert psnr(made(_beyond(tag, kind, 900)), SMALL.convert("L").convert("RGB")) == 99.0


@pytest.mark.parametrize("tag", [34665, 34853])
def test_a_directory_of_notes_beyond_the_end_of_a_tiff_is_not_the_pictures(tag: int) -> None:
    content = rasters.tiff(GREY, rasters.BLACK_IS_ZERO, tags=[(tag, 4, [0x7FFFFFFF])])
    assert psnr(made(content), SMALL.convert("L").convert("RGB")) == 99.0


def test_a_note_that_comes_twice_is_one_and_what_bears_on_pixels_may_not() -> None:
    content = rasters.tiff(GREY, rasters.BLACK_IS_ZERO, tags=[(305, 4, [1]), (305, 4, [2])])
    assert psnr(made(content), SMALL.convert("L").convert("RGB")) == 99.0
    content = rasters.tiff(GREY, rasters.BLACK_IS_ZERO, tags=[(266, 3, [1]), (266, 3, [2])])
    assert refused(content) is Reason.NOT_AN_IMAGE


@pytest.mark.parametrize("turn", range(1, 9))
def test_a_tiff_is_turned_by_its_tag_and_by_nothing_else(turn: int) -> None:
    xmp = f'<x:xmpmeta xmlns:x="adobe:ns:meta/" tiff:Orientation="{turn}"/>'.encode().ljust(160)
    note = (700, 4, list(struct.unpack("<40I", xmp)))
    grey = SMALL.convert("L")
    assert psnr(made(rasters.tiff(GREY, rasters.BLACK_IS_ZERO, tags=[note])), grey) == 99.0
    content = rasters.tiff(GREY, rasters.BLACK_IS_ZERO, tags=[note, (274, 3, [turn])])
    upright = grey if turn == 1 else grey.transpose(decode._TURNS[turn])
    assert psnr(made(content), upright) == 99.0


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_large_tiff_of_either_byte_order_is_read(order: str) -> None:
    height, width = GREY.shape[:2]
    tags = [
        *((256, 4, width), (257, 4, height), (258, 3, 8), (259, 3, 1), (262, 3, 1), (273, 16, 16)),
        *((277, 3, 1), (278, 4, height), (279, 16, width * height)),
    ]
    forms = {3: "H6x", 4: "I4x", 16: "Q"}
    entries = b"".join(
        struct.pack(f"{order}HHQ", tag, kind, 1) + struct.pack(order + forms[kind], value) for tag, kind, value in tags
    )
    head = (b"II+\0" if order == "<" else b"MM\0+") + struct.pack(order + "HHQ", 8, 0, 16 + width * height)
    content = head + GREY.tobytes() + struct.pack(order + "Q", len(tags)) + entries + bytes(8)
    assert psnr(made(content), SMALL.convert("L").convert("RGB")) == 99.0


def test_a_palette_of_eight_bits_shows_its_colours() -> None:
    colours = np.asarray(Image.linear_gradient("L"))[:, 0].astype(int)
    channels = [colours, colours[::-1], colours // 2]
    for scale in (1, 257):
        values = [int(value) * scale for channel in channels for value in channel]
        content = rasters.tiff(GREY, rasters.PALETTE, tags=[(320, 3, values)])
        expected = np.stack([channel[GREY[:, :, 0]] for channel in channels], axis=2).astype(np.uint8)
        assert psnr(made(content), Image.fromarray(expected)) == 99.0


def test_a_palette_that_lacks_colours_is_refused() -> None:
    content = rasters.tiff(GREY, rasters.PALETTE, tags=[(320, 3, [7] * 3 * 65)])
    assert refused(content) is Reason.NOT_AN_IMAGE


# ---- JPEG


def test_a_comment_without_a_length_is_passed_over() -> None:
    content = encoded(SMALL, "JPEG", quality=95)
    for length in (0, 1):
        for marker in (0xFE, 0xE5):
            noted = content[:2] + bytes([0xFF, marker, 0, length]) + content[2:]
            assert psnr(made(noted), Image.open(io.BytesIO(content))) > 40


@pytest.mark.parametrize("marker", [0x10, 0xFE, 0xD0, 0xC4])
def test_a_false_marker_in_the_pixels_of_a_jpeg_leaves_the_rest_missing(marker: int) -> None:
    content = encoded(drawn(), "JPEG", quality=95)
    at = content.index(b"\xff\xda") + (len(content) - content.index(b"\xff\xda")) // 2
    assert refused(content[:at] + bytes([0xFF, marker]) + content[at + 2 :]) is Reason.TRUNCATED


# ---- AVIF and HEIF


def test_an_avif_whose_exif_cannot_be_read_is_read_without_it() -> None:
    content = encoded(SMALL, "AVIF", quality=90, exif=b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0\0\0")
    payload = content.rindex(b"II*\0")
    broken = content[:payload] + b"????" + content[payload + 4 :]
    with pytest.raises(ValueError, match="Exif"):
        Image.open(io.BytesIO(broken)).load()
    assert psnr(made(broken), made(content)) == 99.0


@pytest.mark.parametrize("brand", [b"j2ki", b"avci", b"jpeg", b"vvic"])
def test_heif_with_another_codec_is_a_picture_of_a_kind_that_is_not_taken(brand: bytes) -> None:
    assert refused(struct.pack(">I", 24) + b"ftyp" + brand + bytes(4) + b"mif1" + brand) is Reason.UNSUPPORTED_FORMAT
