"""Every kind of file that the accepted formats know: its pixels come out, or it is refused for what it is."""

from __future__ import annotations

import base64
import io
import mmap
import struct
from typing import Any

import msgspec
import numpy as np
import pytest
from PIL import Image, ImageChops

from image_svc.pipeline import decode
from image_svc.pipeline.heif import pillow_heif
from image_svc.pipeline.types import Reason, Rejected
from tests.support import rasters
from tests.support.developing import CAPS, EXACT, drawn, encoded, made, picture, psnr, refused, run

DRAWN = drawn((200, 150))
COLORS = np.array(DRAWN)
GREY = np.array(DRAWN.convert("L"))[:, :, None]
SHAPE = np.array(Image.radial_gradient("L").resize(DRAWN.size))[:, :, None]
CLEAR = np.concatenate([COLORS, SHAPE], axis=2)
INKS = np.array(DRAWN.convert("CMYK"))


def wide(samples: Any) -> Any:
    return samples.astype(np.uint16) * 257


def shown(samples: Any) -> Image.Image:
    return Image.fromarray(samples[:, :, 0] if samples.shape[2] == 1 else samples).convert(
        "RGBA" if samples.shape[2] in {2, 4} else "RGB"
    )


def check(content: bytes, expected: Image.Image, decibels: float = 60) -> None:
    ours = made(content)
    assert psnr(ours, expected) > decibels
    if expected.mode == "RGBA":
        difference = ImageChops.difference(ours.convert("RGBA").getchannel("A"), expected.getchannel("A"))
        assert max(difference.tobytes()) <= 1


# ---- JPEG


def app14(jpeg: bytes, transform: int | None) -> bytes:
    """The file with another word on how its colours were turned, or with none."""
    at = jpeg.index(b"\xff\xee")
    end = at + 2 + int.from_bytes(jpeg[at + 2 : at + 4], "big")
    return jpeg[:at] + jpeg[end:] if transform is None else jpeg[: end - 1] + bytes([transform]) + jpeg[end:]


def test_inks_come_out_in_their_colours_whatever_stands_beside_them() -> None:
    inks = encoded(Image.fromarray(INKS, "CMYK"), "JPEG", quality=95)
    check(inks, DRAWN, 45)
    # Without Adobe's mark, too, they are read as Adobe writes them, as browsers do: strippers of metadata take it away.
    check(app14(inks, None), DRAWN, 45)
    negative = np.array(ImageChops.invert(DRAWN).convert("YCbCr"))
    stored = np.concatenate([negative, np.full_like(GREY, 255)], axis=2)
    # What Pillow writes inverted, libjpeg takes for YCCK by that mark.
    check(app14(encoded(Image.fromarray(255 - stored, "CMYK"), "JPEG", quality=95), 2), DRAWN, 35)


@pytest.mark.parametrize(
    "options",
    [
        {"progressive": True, "subsampling": 0},
        {"restart_marker_blocks": 3, "subsampling": 0},
        {"keep_rgb": True},
        {"optimize": True, "subsampling": 0},
    ],
    ids=["progressive", "restarts", "RGB", "optimised"],
)
def test_every_way_to_code_a_jpeg_gives_its_pixels(options: dict[str, Any]) -> None:
    check(encoded(DRAWN, "JPEG", quality=95, **options), DRAWN, 40)


def test_a_grey_jpeg_is_grey() -> None:
    check(encoded(DRAWN.convert("L"), "JPEG", quality=95), shown(GREY), 45)


@pytest.mark.parametrize(("at", "value"), [(4, 12), (9, 2)], ids=["12 bits", "two components"])
def test_a_jpeg_that_no_browser_shows_is_not_accepted(at: int, value: int) -> None:
    jpeg = bytearray(encoded(DRAWN, "JPEG"))
    jpeg[jpeg.index(b"\xff\xc0") + at] = value
    assert refused(bytes(jpeg)) is Reason.UNSUPPORTED_FORMAT


# ---- PNG


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize(
    ("samples", "bits", "expected"),
    [
        (COLORS, 8, shown(COLORS)),
        (wide(COLORS), 16, shown(COLORS)),
        (CLEAR, 8, shown(CLEAR)),
        (wide(CLEAR), 16, shown(CLEAR)),
        (GREY, 8, shown(GREY)),
        (wide(GREY), 16, shown(GREY)),
        (np.concatenate([GREY, SHAPE], axis=2), 8, shown(np.concatenate([GREY, GREY, GREY, SHAPE], axis=2))),
        (wide(np.concatenate([GREY, SHAPE], axis=2)), 16, shown(np.concatenate([GREY, GREY, GREY, SHAPE], axis=2))),
        (GREY >> 7, 1, shown((GREY >> 7) * 255)),
        (GREY >> 6, 2, shown((GREY >> 6) * 85)),
        (GREY >> 4, 4, shown((GREY >> 4) * 17)),
    ],
    ids=["RGB", "RGB 16", "RGBA", "RGBA 16", "L", "L 16", "LA", "LA 16", "1 bit", "2 bits", "4 bits"],
)
def test_every_type_of_png_gives_its_pixels(samples: Any, bits: int, expected: Image.Image, interlaced: bool) -> None:
    check(rasters.png(samples, bits, interlaced=interlaced), expected)


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize(
    ("samples", "bits", "palette", "key"),
    [
        (COLORS, 8, None, struct.pack(">3H", *map(int, COLORS[5, 5]))),
        (wide(COLORS), 16, None, struct.pack(">3H", *(int(v) * 257 for v in COLORS[5, 5]))),
        (GREY, 8, None, struct.pack(">H", int(GREY[5, 5, 0]))),
        (wide(GREY), 16, None, struct.pack(">H", int(GREY[5, 5, 0]) * 257)),
        (GREY >> 4, 4, bytes(range(48)), bytes(int(GREY[5, 5, 0]) >> 4) + b"\0"),
    ],
    ids=["RGB", "RGB 16", "L", "L 16", "palette"],
)
def test_a_colour_that_stands_for_none_is_transparent_in_a_png(
    samples: Any, bits: int, palette: bytes | None, key: bytes, interlaced: bool
) -> None:
    ours = made(rasters.png(samples, bits, interlaced=interlaced, palette=palette, chunks=[(b"tRNS", key)]))
    alpha = np.array(ours.getchannel("A"))
    matches = (samples == samples[5, 5]).all(axis=2)
    assert (alpha[matches] == 0).all()
    if not palette:
        assert (alpha[~matches] == 255).all()


# ---- TIFF

LAYOUTS: dict[str, dict[str, Any]] = {
    "one strip": {},
    "strips": {"strip": 7},
    "tiles": {"tile": 64},
    "planes": {"planar": True},
    "planes of tiles": {"planar": True, "tile": 32},
    "deflated": {"deflate": True},
    "deflated planes of tiles": {"deflate": True, "planar": True, "tile": 32},
}


@pytest.mark.parametrize("order", ["<", ">"], ids=["little", "big"])
@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_every_layout_of_a_tiff_gives_its_pixels(layout: dict[str, Any], order: str) -> None:
    def tiff(samples: Any, photometric: int, *tags: tuple[int, int, list[int]]) -> bytes:
        return rasters.tiff(samples, photometric, order=order, tags=tags, **layout)

    alpha, inks = (338, 3, [2]), (332, 3, [1])
    for samples, scaled in ((COLORS, COLORS), (wide(COLORS), COLORS)):
        check(tiff(samples, rasters.RGB), shown(scaled))
    for samples in (CLEAR, wide(CLEAR)):
        check(tiff(samples, rasters.RGB, alpha), shown(CLEAR))
    for samples, most in ((GREY, 255), (wide(GREY), 65535)):
        check(tiff(samples, rasters.BLACK_IS_ZERO), shown(GREY))
        check(tiff(most - samples, rasters.WHITE_IS_ZERO), shown(GREY))
    for samples in (INKS, wide(INKS)):
        check(tiff(samples, rasters.SEPARATED, inks), DRAWN)
    video = np.array(DRAWN.convert("YCbCr"))
    check(tiff(video, rasters.YCBCR, (530, 3, [1, 1])), DRAWN, 40)
    premultiplied = np.concatenate([(COLORS * (SHAPE / 255)).astype(np.uint8), SHAPE], axis=2)
    check(tiff(premultiplied, rasters.RGB, (338, 3, [1])), shown(CLEAR), 30)


@pytest.mark.parametrize("order", ["<", ">"], ids=["little", "big"])
@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_a_tiff_of_few_bits_gives_its_pixels(bits: int, order: str) -> None:
    few, most = GREY >> (8 - bits), 2**bits - 1
    expected = shown(few * (255 // most))
    check(rasters.tiff(few, rasters.BLACK_IS_ZERO, bits=bits, order=order), expected)
    check(rasters.tiff(most - few, rasters.WHITE_IS_ZERO, bits=bits, order=order), expected)
    table = [value * (65535 // most) for value in range(most + 1)] * 3
    check(rasters.tiff(few, rasters.PALETTE, bits=bits, order=order, tags=[(320, 3, table)]), expected)


@pytest.mark.parametrize(
    "compression", ["tiff_lzw", "tiff_deflate", "tiff_adobe_deflate", "packbits", "group3", "group4"]
)
def test_every_accepted_compression_of_a_tiff_gives_its_pixels(compression: str) -> None:
    image = DRAWN.convert("1") if compression.startswith("group") else DRAWN
    check(encoded(image, "TIFF", compression=compression), image.convert("RGB"))


def test_a_jpeg_in_a_tiff_and_a_big_tiff_give_their_pixels() -> None:
    check(encoded(DRAWN, "TIFF", compression="jpeg", quality=95), DRAWN, 40)
    check(encoded(DRAWN, "TIFF", big_tiff=True), DRAWN)


def test_the_first_page_of_a_tiff_is_the_picture() -> None:
    pages = encoded(DRAWN, "TIFF", save_all=True, append_images=[DRAWN.rotate(180)] * 3)
    check(pages, DRAWN)
    assert run(pages, EXACT)[0].facts.frames == 1


@pytest.mark.parametrize(
    "content",
    [
        rasters.tiff((GREY / 255).astype(np.float32), rasters.BLACK_IS_ZERO),
        rasters.tiff((COLORS / 255).astype(np.float32), rasters.RGB),
        rasters.tiff((COLORS / 255).astype(np.float16), rasters.RGB, order=">"),
        rasters.tiff(GREY.astype(np.uint32), rasters.BLACK_IS_ZERO),
        rasters.tiff(np.concatenate([GREY, SHAPE], axis=2), 1, planar=True, tags=[(338, 3, [2])]),
        rasters.tiff(COLORS, rasters.YCBCR, planar=True),  # subsampled where nothing else is said
        rasters.tiff(COLORS, rasters.YCBCR, planar=True, tags=[(530, 3, [2, 1])]),
        encoded(DRAWN, "TIFF", compression="jpeg").replace(b"\xff\xc0\x00\x11", b"\xff\xc3\x00\x11"),
        encoded(DRAWN, "TIFF", compression="zstd"),
    ],
    ids=[
        "float",
        "float RGB",
        "half RGB",
        "32 bits",
        "grey and alpha in planes",
        "subsampled planes",
        "planes subsampled across",
        "lossless JPEG",
        "zstd",
    ],
)
def test_a_tiff_of_no_common_kind_is_not_accepted(content: bytes) -> None:
    assert refused(content) is Reason.UNSUPPORTED_FORMAT


# ---- HEIC and AVIF


@pytest.mark.parametrize("format_", ["HEIF", "AVIF"])
@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2", "4:2:0"])
def test_every_subsampling_of_a_video_codec_gives_its_pixels(format_: str, subsampling: str) -> None:
    check(encoded(DRAWN, format_, quality=95, subsampling=subsampling), DRAWN, 30)


@pytest.mark.parametrize("format_", ["HEIF", "AVIF"])
def test_a_video_codec_keeps_grey_and_alpha(format_: str) -> None:
    check(encoded(DRAWN.convert("L"), format_, quality=95), shown(GREY), 40)
    ours = made(encoded(shown(CLEAR), format_, quality=95)).getchannel("A")
    assert psnr(ours, shown(SHAPE).getchannel("R")) > 40


@pytest.mark.parametrize("bits", [10, 12])
def test_deep_colours_of_a_heic_are_scaled_and_not_cut(bits: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pillow_heif.options, "SAVE_HDR_TO_12_BIT", bits == 12)
    deep = pillow_heif.from_bytes("RGB;16", DRAWN.size, wide(COLORS).tobytes())
    buffer = io.BytesIO()
    deep.save(buffer, quality=95, chroma=444)
    check(buffer.getvalue(), DRAWN, 40)


def test_the_tiles_of_a_heic_are_put_together() -> None:
    large = drawn((600, 400))
    check(encoded(large, "HEIF", quality=95, tile_size=256, chroma=444), large, 40)


@pytest.mark.parametrize("format_", ["HEIF", "AVIF"])
@pytest.mark.parametrize("turn", [3, 6])
def test_boxes_say_how_a_picture_is_turned_and_not_the_exif_beside_them(format_: str, turn: int) -> None:
    def orientation(value: int) -> bytes:
        return bytes.fromhex("4d4d002a00000008" + "0001" + "01120003000000010000000000000000").replace(
            b"\0\0\0\0\0\0\0\0", bytes([0, value]) + b"\0\0\0\0\0\0"
        )

    stored = DRAWN.transpose({3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_90}[turn])
    exif = Image.Exif()
    exif[0x0112] = turn
    exif[0x010F] = "Telltale camera"
    content = encoded(stored, format_, exif=exif.tobytes(), quality=95)
    check(content, DRAWN, 30)
    # The boxes hold the turn; an Exif that says another one, as careless editors leave it, changes nothing.
    at = content.index(b"Telltale")
    head = max(content.rfind(b"MM\0*", 0, at), content.rfind(b"II*\0", 0, at))
    entry = content.find(b"\x01\x0f" if content[head : head + 2] == b"MM" else b"\x0f\x01", head)
    big = content[head : head + 2] == b"MM"
    forged = content[:entry] + struct.pack((">" if big else "<") + "HHIHH", 0x0112, 3, 1, 8, 0) + content[entry + 12 :]
    assert forged != content
    check(forged, DRAWN, 30)


# What no writer at hand makes: avifenc -l --clap 24,1,16,1,4,1,-2,1 --irot 1, of the picture that the test draws.
CROPPED = """
    AAAAIGZ0eXBhdmlmAAAAAGF2aWZtaWYxbWlhZk1BMUEAAAElbWV0YQAAAAAAAAAoaGRscgAAAAAAAAAAcGljdAAAAAAAAAAAAAAAAGxpYmF2aWYA
    AAAADnBpdG0AAAAAAAEAAAAeaWxvYwAAAABEAAABAAEAAAABAAABTQAAAJQAAAAoaWluZgAAAAAAAQAAABppbmZlAgAAAAABAABhdjAxQ29sb3IA
    AAAAnWlwcnAAAAB8aXBjbwAAABRpc3BlAAAAAAAAADAAAAAgAAAAEHBpeGkAAAAAAwgICAAAAAxhdjFDgSAAAAAAABNjb2xybmNseAABAA0AAIAA
    AAAoY2xhcAAAABgAAAABAAAAEAAAAAEAAAAEAAAAAf////4AAAABAAAACWlyb3QBAAAAGWlwbWEAAAAAAAAAAQABBgECgwSFhgAAAJxtZGF0EgAK
    CDgVL/sICGgBMoUBEAAA217abYIWdj+ym4UWwaUPMmln5TH6MjaNap87Fs5Lz5zDFomEH7JrOwRF1zTkbzrQx7q2aS1Hy8wCj+cvwgUuCRWfa8FQ
    opPza7k3bgLzpC5NHqCUOegXRIcEm0j9aHa4I7BFdDRSC23gKmsGm/tYAAKaGOziok7cjRnmN97feSFq6A==
"""


def test_only_what_an_avif_is_cut_to_is_shown_and_turned_after_that() -> None:
    columns, rows = np.meshgrid(np.arange(48), np.arange(32))
    stored = np.dstack([columns * 5, rows * 7, np.where(columns < 24, 200, 40)]).astype(np.uint8)
    content = base64.b64decode(CROPPED)
    check(content, Image.fromarray(np.rot90(stored[6:22, 16:40])), 60)
    # What reaches over the edge, or is no whole number of pixels, is no part of the picture to cut out.
    at = content.index(b"clap") + 4
    for place, value in ((at, 480), (at + 4, 7), (at + 4, 0), (at + 16, 40), (at + 24, -9)):
        forged = content[:place] + struct.pack(">i", value) + content[place + 4 :]
        check(forged, Image.fromarray(np.rot90(stored)), 60)


# ---- animations


@pytest.mark.parametrize("format_", ["GIF", "WEBP", "PNG", "AVIF"])
def test_of_an_animation_the_first_frame_is_the_picture(format_: str) -> None:
    frames = [ImageChops.offset(DRAWN, 40 * number) for number in range(4)]
    content = encoded(frames[0], format_, save_all=True, append_images=frames[1:], duration=80, quality=90)
    result, _ = run(content, EXACT)
    assert result.facts.frames == 4
    check(content, DRAWN.quantize(256).convert("RGB") if format_ == "GIF" else DRAWN, 28)


def test_more_frames_than_a_preset_takes_stand_still_and_more_than_the_cap_are_refused() -> None:
    moving = msgspec.structs.replace(EXACT, format="webp", animated=True, max_frames=3)
    frames = [Image.new("RGB", (20, 20), (number, 0, 0)) for number in range(4)]
    content = encoded(frames[0], "WEBP", save_all=True, append_images=frames[1:], duration=80, lossless=True)
    assert getattr(Image.open(io.BytesIO(run(content, moving)[1][0])), "n_frames", 1) == 1


@pytest.mark.parametrize("format_", ["GIF", "WEBP", "PNG", "AVIF"])
def test_an_animation_that_is_read_twice_gives_the_same_frames_twice(format_: str) -> None:
    """A reader that goes back to the first frame remembers the last one's palette: each reading has one of its own."""
    few = 250 if format_ in {"GIF", "PNG"} else 0
    frames = [drawn((90, 60)).rotate(30 * number) for number in range(5)]
    palette = frames[0].quantize(few or 2)
    frames = [frame.quantize(few, palette=palette) if few else frame for frame in frames]
    content = encoded(frames[0], format_, save_all=True, append_images=frames[1:], duration=80)
    moving = msgspec.structs.replace(EXACT, format="webp", animated=True)
    again = msgspec.structs.replace(moving, name="again")
    _, (one, other) = run(content, moving, again)
    assert one == other
    seen = Image.open(io.BytesIO(one))
    assert getattr(seen, "n_frames", 1) == 5
    for number, frame in enumerate(frames):
        seen.seek(number)
        assert psnr(seen.convert("RGB"), frame.convert("RGB")) > 22


@pytest.mark.parametrize("format_", ["GIF", "WEBP", "PNG", "AVIF"])
def test_an_animation_that_is_not_reduced_keeps_its_frames_and_their_times(format_: str) -> None:
    """Its reader goes by notes that stand beside the pixels: an APNG's say where a frame lies, and for how long."""
    frames = [Image.new("RGB", (120, 90), (0, 90, 200)) for _ in range(5)]
    for number, frame in enumerate(frames):
        frame.paste((255, 200 - 30 * number, 0), (10 + 20 * number, 30, 30 + 20 * number, 60))
    times = [50, 70, 90, 110, 130]
    content = encoded(frames[0], format_, save_all=True, append_images=frames[1:], duration=times, quality=95)
    moving = msgspec.structs.replace(EXACT, format="webp", animated=True, quality=95)
    seen = Image.open(io.BytesIO(run(content, moving)[1][0]))
    assert getattr(seen, "n_frames", 1) == 5
    for number, frame in enumerate(frames):
        seen.seek(number)
        assert psnr(seen.convert("RGB"), frame) > 25
        assert seen.info["duration"] == times[number]


@pytest.mark.parametrize(
    ("format_", "said", "shown"),
    [
        *(("GIF", None, 1), ("GIF", 0, 0), ("GIF", 4, 5)),
        *(("WEBP", 0, 0), ("WEBP", 4, 4), ("PNG", 0, 0), ("PNG", 4, 4), ("AVIF", None, 0)),
    ],
)
def test_an_animation_is_shown_as_often_as_its_file_says(format_: str, said: int | None, shown: int) -> None:
    """A GIF says how often it is repeated (https://www.vurdalakov.net/misc/gif/netscape-looping-application-extension),
    the others how often it is shown.
    """
    frames = [Image.new("RGB", (20, 20), color) for color in ("red", "lime")]
    options: dict[str, Any] = {} if said is None else {"loop": said}
    content = encoded(frames[0], format_, save_all=True, append_images=frames[1:], duration=80, **options)
    moving = msgspec.structs.replace(EXACT, format="webp", animated=True)
    assert picture(run(content, moving)[1][0]).info["loop"] == shown


def test_around_a_frame_that_is_smaller_than_its_gif_there_is_nothing() -> None:
    gif = encoded(DRAWN.quantize(200), "GIF")
    at = 13 + 3 * 2 ** ((gif[10] & 7) + 1)
    while gif[at] == 0x21:  # extensions, before the frame
        at += 2
        while gif[at]:
            at += gif[at] + 1
        at += 1
    larger = gif[:6] + struct.pack("<HH", 300, 250) + gif[10 : at + 1] + struct.pack("<HH", 40, 30) + gif[at + 5 :]
    ours = made(larger)
    assert ours.size == (300, 250)
    alpha = np.array(ours.getchannel("A"))
    assert (alpha[30:180, 40:240] == 255).all()
    assert alpha.sum() == 255 * 200 * 150
    assert psnr(ours.crop((40, 30, 240, 180)), DRAWN.quantize(200).convert("RGB")) > 60


def frame_of_gif(
    left: int, color: int, *, size: tuple[int, int] = (16, 16), disposal: int = 0, clear: bool = False
) -> bytes:
    """A frame of one colour of eight at the upper edge; `clear` lets the last colour stand for none."""
    codes = "".join(f"{code:04b}"[::-1] for _ in range(size[0] * size[1]) for code in (8, color)) + "1001"
    bits = codes + "0" * (-len(codes) % 8)
    coded = bytes(int(bits[at : at + 8][::-1], 2) for at in range(0, len(bits), 8))
    blocks = b"".join(bytes([len(coded[at : at + 255])]) + coded[at : at + 255] for at in range(0, len(coded), 255))
    control = b"!\xf9\x04" + struct.pack("<BHB", disposal << 2 | clear, 5, 7) + b"\0"
    return control + b"," + struct.pack("<HHHHB", left, 0, *size, 0) + b"\x03" + blocks + b"\0"


def seen_in_gif(*frames: bytes) -> list[str]:
    """Frames of a GIF of 48 by 16 pixels in words: for each third, a colour of its palette or `.` for none."""
    palette = [(255, 255, 0), (255, 0, 0), (0, 255, 0), (0, 0, 255), *[(9, 9, 9)] * 4]
    names = {bytes((*color, 255)): name for color, name in zip(palette, "yrgbkkkk", strict=True)} | {bytes(4): "."}
    head = b"GIF89a" + struct.pack("<HHBBB", 48, 16, 0x82, 1, 0) + bytes(value for color in palette for value in color)
    content = head + b"".join(frames) + b";"
    with mmap.mmap(-1, len(content)) as data:
        data[:] = content
        opened = decode.open_file(data, None, CAPS)
        words = []
        for picture, milliseconds in decode.frames(opened):
            assert (picture.size, milliseconds) == ((48, 16), 50)
            words.append("".join(names[np.array(picture)[8, x].tobytes()] for x in (8, 24, 40)))
    return words


def test_the_frames_of_a_gif_are_laid_over_each_other_as_browsers_do_it() -> None:
    whole = (48, 16)
    yellow, red, green, blue = range(4)
    # What the first frame does not cover is clear, and stays so.
    assert seen_in_gif(frame_of_gif(16, red), frame_of_gif(32, green)) == [".r.", ".rg"]
    # Cleared means clear, and not the colour of a background, whether or not a colour stands for none.
    for clear in (False, True):
        first = frame_of_gif(0, red, size=whole, disposal=2, clear=clear)
        assert seen_in_gif(first, frame_of_gif(16, blue)) == ["rrr", ".b."]
    # A frame that says nothing stays, though one before it was cleared or taken back.
    for disposal, after in ((2, "b.."), (3, "brr"), (4, "brr")):
        frames = [
            frame_of_gif(0, red, size=whole),
            frame_of_gif(16, green, size=(32, 16), disposal=disposal),
            frame_of_gif(0, blue),
            frame_of_gif(32, yellow),
        ]
        assert seen_in_gif(*frames) == ["rrr", "rgg", after, after[:2] + "y"]


def test_ground_that_no_frame_of_an_animation_covers_is_transparent_to_every_reader() -> None:
    ground = Image.new("RGBA", (48, 16), (0, 0, 0, 0))
    frames = [ground.copy() for _ in range(2)]
    for place, frame in zip(((16, 0), (20, 0)), frames, strict=True):
        frame.paste((255, 0, 0, 255), (*place, place[0] + 16, 16))
    content = encoded(frames[0], "PNG", save_all=True, append_images=frames[1:], duration=80, disposal=1)
    moving = msgspec.structs.replace(EXACT, format="webp", animated=True)
    seen = picture(run(content, moving)[1][0])
    assert seen.mode == "RGBA"
    assert np.array(seen)[8, [8, 24, 40], 3].tolist() == [0, 255, 0]
    opaque = [Image.new("RGB", (48, 16), color) for color in ("red", "lime")]
    content = encoded(opaque[0], "PNG", save_all=True, append_images=opaque[1:], duration=80)
    assert picture(run(content, moving)[1][0]).mode == "RGB"


def test_a_frame_of_a_gif_is_cut_at_the_edge_and_may_have_no_pixels() -> None:
    frames = [
        frame_of_gif(0, 1, size=(48, 16)),
        frame_of_gif(32, 3, size=(32, 16)),
        frame_of_gif(0, 1, size=(0, 0)),
        frame_of_gif(0, 2),
    ]
    assert seen_in_gif(*frames) == ["rrr", "rrb", "rrb", "grb"]
    assert seen_in_gif(frames[0], frame_of_gif(0, 2, size=(60, 40))) == ["rrr", "ggg"]
    with pytest.raises(Rejected, match="larger than the picture"):
        seen_in_gif(frames[0], frame_of_gif(0, 1, size=(4000, 2001)))


# ---- shapes


@pytest.mark.parametrize("size", [(1, 10_000), (10_000, 1), (1, 1), (3, 20_000), (65_000, 2)])
@pytest.mark.parametrize("fit", ["inside", "cover", "pad"])
def test_no_shape_is_so_extreme_that_nothing_is_left(size: tuple[int, int], fit: Any) -> None:
    preset = msgspec.structs.replace(EXACT, width=300, height=200, fit=fit)
    ours = made(encoded(Image.new("RGB", size, (1, 99, 200)), "PNG"), preset)
    assert min(ours.size) >= 1
    if fit == "pad":
        assert ours.size == (300, 200)
    color = ours.convert("RGB").getpixel(((ours.width - 1) // 2, (ours.height - 1) // 2))
    assert isinstance(color, tuple)
    assert all(abs(a - b) <= 1 for a, b in zip(color, (1, 99, 200), strict=True))
