"""Damaged files: READY only with the pixels of the whole one, whatever was cut, closed, blanked or flipped."""

from __future__ import annotations

import random
import re
import struct
import subprocess
import sys
import zlib
from collections.abc import Iterator
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from image_svc.pipeline import heif
from image_svc.pipeline.codecs import CodecError, verify
from image_svc.pipeline.presets import Preset
from image_svc.pipeline.types import Reason, Rejected
from tests.support import hostile, mutation, rasters
from tests.support.developing import EXACT, drawn, encoded, made, picture, psnr, refused, run

SEEDS = mutation.seeds()
GRAIN = np.random.default_rng(1).normal(128, 60, (150, 200)).clip(0, 255).astype(np.uint8)
NOISE = Image.blend(drawn((200, 150)), Image.fromarray(GRAIN).convert("RGB"), 0.4)  # the same in every run


MOVING = Preset(name="moving", width=4096, height=4096, format="webp", animated=True)


def made_if_whole(content: bytes) -> Image.Image | None:
    try:
        return made(content)
    except Rejected:
        return None


@pytest.mark.parametrize("format_", SEEDS)
def test_a_file_cut_anywhere_is_refused_or_loses_nothing_that_can_be_seen(format_: str) -> None:
    for content in SEEDS[format_]:
        whole = made_if_whole(content)
        if whole is None:  # the broken ones among them
            continue
        for percent in range(3, 100, 8):
            ours = made_if_whole(content[: len(content) * percent // 100])
            assert ours is None or psnr(ours, whole) > 40, f"{format_} cut at {percent} %"


@pytest.mark.parametrize("percent", [20, 50, 80, 97])
def test_a_jpeg_that_was_closed_too_early_is_truncated(percent: int) -> None:
    jpeg = encoded(NOISE, "JPEG")
    assert refused(jpeg[: len(jpeg) * percent // 100] + b"\xff\xd9") is Reason.TRUNCATED


def test_a_progressive_jpeg_without_all_its_scans_is_truncated() -> None:
    jpeg = encoded(NOISE, "JPEG", progressive=True)
    last = jpeg.rindex(b"\xff\xda")
    starts = [at for at in range(len(jpeg) - 1) if jpeg[at : at + 2] == b"\xff\xda"]
    for at in starts[1:]:
        assert refused(jpeg[:at] + b"\xff\xd9") is Reason.TRUNCATED
    # In the last scan the lowest bits are refined: without half of these there would be a picture, but not this one.
    half = jpeg[: last + (len(jpeg) - last) // 2]
    assert refused(half) is refused(half + b"\xff\xd9") is Reason.TRUNCATED


def test_every_whole_jpeg_is_taken_for_whole() -> None:
    """Of all sizes, samplings, qualities and tables: nothing of what looks for a missing end may find one here."""
    random_ = random.Random(7)
    for _ in range(120):
        size = random_.randint(1, 70), random_.randint(1, 70)
        image = Image.effect_noise(size, random_.choice([0, 5, 60, 120])).convert(random_.choice(["L", "RGB", "CMYK"]))
        sampling = {"subsampling": random_.choice([0, 1, 2])} if image.mode == "RGB" else {}
        restarts = {"restart_marker_blocks": random_.randint(1, 9)} if random_.random() < 0.3 else {}
        options = {"quality": random_.randint(1, 100), "optimize": random_.random() < 0.5}
        jpeg = encoded(image, "JPEG", progressive=random_.random() < 0.3, **options, **sampling, **restarts)
        run(jpeg, EXACT)
        run(jpeg + b"what came after", EXACT)


def test_a_jpeg_that_lacks_nothing_but_its_end_marker_is_a_picture() -> None:
    jpeg = encoded(NOISE, "JPEG")
    assert psnr(made(jpeg[:-2]), made(jpeg)) > 60


@pytest.mark.parametrize("rows", [0, 1, 75, 149])
@pytest.mark.parametrize("interlaced", [False, True])
def test_a_png_whose_pixels_end_in_good_order_but_too_early_is_truncated(rows: int, interlaced: bool) -> None:
    content = rasters.png(np.array(NOISE), rows=min(rows, 18) if interlaced else rows, interlaced=interlaced)
    assert refused(content) is Reason.TRUNCATED


def test_a_gif_whose_codes_end_in_good_order_but_too_early_is_truncated() -> None:
    assert refused(hostile.gif_of_literals(40, 30, 1199)) is Reason.TRUNCATED
    run(hostile.gif_of_literals(40, 30, 1200), EXACT)


@pytest.mark.parametrize("format_", ["PNG", "GIF"])
def test_what_is_black_below_is_whole_all_the_same(format_: str) -> None:
    image = Image.new("RGB", (300, 300))
    image.paste(NOISE, (0, 0))
    black = image if format_ == "PNG" else image.quantize(255)
    assert psnr(made(encoded(black, format_)), black.convert("RGB")) > 60
    index = Image.new("P", (200, 200), 0)
    index.putpalette(bytes(range(256)) * 3)
    run(encoded(index, format_, transparency=0), EXACT)


def test_a_flipped_bit_in_the_pixels_of_a_png_is_found() -> None:
    png = bytearray(encoded(NOISE, "PNG"))
    at = png.index(b"IDAT") + 4 + 2000
    png[at] ^= 4
    assert refused(bytes(png)) is Reason.TRUNCATED


def with_flips(content: bytes, count: int, start: float = 0.4) -> Iterator[bytes]:
    """Copies with a bit of the coded pixels flipped, each another one."""
    random_ = random.Random(5)
    for _ in range(count):
        flipped = bytearray(content)
        flipped[random_.randrange(int(len(content) * start), len(content) * 9 // 10)] ^= 1 << random_.randrange(8)
        yield bytes(flipped)


@pytest.mark.parametrize(
    ("format_", "options"),
    [
        ("JPEG", {"subsampling": 0, "quality": 90}),
        ("JPEG", {"subsampling": 0, "quality": 90, "progressive": True}),
        ("WEBP", {}),
        ("WEBP", {"lossless": True}),
        ("PNG", {}),
        ("GIF", {}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("AVIF", {}),
        ("HEIF", {}),
    ],
)
def test_a_file_with_a_flipped_bit_shows_what_its_format_says_or_is_refused(
    format_: str, options: dict[str, Any]
) -> None:
    """Where nothing contradicts it the file is one of other pixels, and these are the right ones."""
    for flipped in with_flips(encoded(NOISE, format_, **options), 40):
        ours = made_if_whole(flipped)
        assert ours is None or psnr(ours, picture(flipped)) > 40


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"restart_marker_blocks": 16}])
def test_a_flipped_bit_in_a_jpeg_is_found_where_its_codes_do_not_fit_the_picture_any_more(
    options: dict[str, Any], tmp_path: Path
) -> None:
    """libjpeg says so, in the words of djpeg; data that are left may be a few bytes that an editor has put there."""
    told = found = 0
    for flipped in with_flips(encoded(NOISE, "JPEG", quality=90, **options), 150):
        file = tmp_path / "flipped.jpg"
        file.write_bytes(flipped)
        said = subprocess.run(["djpeg", "-verbose", file], capture_output=True, check=False).stderr.decode("latin-1")
        left = max(map(int, re.findall(r"Corrupt JPEG data: (\d+) extraneous", said)), default=0)
        if "bad Huffman code" in said or "premature end" in said or left > 30:
            told += 1
            found += made_if_whole(flipped) is None
    assert told > 10
    assert found > 0.9 * told  # a picture of this size has few pixels to fall into step again


@pytest.mark.parametrize("size", [(200, 150), (20, 15)])
@pytest.mark.parametrize(
    "left", [b"\0", b"\r\n", b"camera model X100, firmware 1.02 " * 9, b"\xfe\xdc\xba\x98" * 500, bytes(range(255))]
)
def test_what_a_camera_has_left_before_the_end_marker_is_no_damage(left: bytes, size: tuple[int, int]) -> None:
    jpeg, preset = encoded(NOISE, "JPEG"), Preset(name="small", width=size[0], height=size[1], format="png")
    assert psnr(made(jpeg[:-2] + left + jpeg[-2:], preset), made(jpeg, preset)) > 35


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP", "AVIF", "HEIF", "GIF"])
@pytest.mark.parametrize("percent", [30, 60, 90])
def test_a_hole_that_a_download_left_is_found(format_: str, percent: int) -> None:
    large = Image.effect_noise((400, 300), 80).convert("RGB")
    content = encoded(large, format_, quality=95)
    kept = content[: len(content) * percent // 100]
    assert refused(kept + bytes(len(content) - len(kept))) is Reason.TRUNCATED


@pytest.mark.parametrize(
    ("format_", "options"),
    [
        ("JPEG", {}),
        ("JPEG", {"progressive": True}),
        ("JPEG", {"restart_marker_blocks": 8}),
        ("PNG", {}),
        ("GIF", {}),
        ("WEBP", {}),
        ("WEBP", {"lossless": True}),
        ("AVIF", {}),
        ("HEIF", {}),
        ("HEIF", {"tile_size": 256}),
    ],
)
@pytest.mark.parametrize("percent", [25, 50, 75])
def test_a_hole_in_the_middle_is_found(format_: str, options: dict[str, Any], percent: int) -> None:
    content = encoded(Image.effect_noise((600, 400), 80).convert("RGB"), format_, quality=95, **options)
    at = len(content) * percent // 100
    assert refused(content[:at] + bytes(4096) + content[at + 4096 :]) in {Reason.TRUNCATED, Reason.NOT_AN_IMAGE}


@pytest.mark.parametrize(("lossless", "size"), [(False, 300), (False, 1000), (True, 1000)])
def test_a_small_hole_in_a_webp_is_found_though_libwebp_takes_any_bytes_for_pixels(lossless: bool, size: int) -> None:
    content = encoded(NOISE, "WEBP", lossless=lossless, quality=90)
    for percent in (30, 50, 70):
        at = len(content) * percent // 100
        assert refused(content[:at] + bytes(size) + content[at + size :]) is Reason.TRUNCATED


@pytest.mark.parametrize("moving", [False, True])
def test_a_flipped_bit_in_a_lossy_webp_is_found_by_the_data_that_are_left_or_missing(moving: bool) -> None:
    frames = {"save_all": True, "append_images": [NOISE.rotate(180)], "duration": 60} if moving else {}
    content = encoded(NOISE, "WEBP", quality=85, **frames)
    whole, unseen = made(content), 0
    for flipped in with_flips(content[: len(content) // 2 if moving else None], 150, 0.1):
        ours = made_if_whole(flipped + content[len(flipped) :])
        unseen += ours is not None and psnr(ours, whole) < 40
    assert unseen <= 6


# As telephones write it: one slice, whose rows of blocks do not end with marks of their own.
SLICE = {"x265:wpp": "0"}


@pytest.mark.parametrize(
    ("format_", "options"),
    [
        ("HEIF", {}),
        ("HEIF", {"tile_size": 64}),
        ("HEIF", {"enc_params": SLICE}),
        ("HEIF", {"enc_params": SLICE | {"x265:sao": "0"}}),
        ("AVIF", {}),
    ],
)
def test_a_flipped_bit_in_a_heic_or_avif_is_found_by_what_a_decoder_says(format_: str, options: dict[str, Any]) -> None:
    content = encoded(NOISE, format_, quality=85, **options)
    whole, unseen = made(content), 0
    for flipped in with_flips(content, 120):
        ours = made_if_whole(flipped)
        unseen += ours is not None and psnr(ours, whole) < 40
    assert unseen <= 2
    assert psnr(made(content), whole) == 99.0  # what was said of the one before is forgotten


@pytest.mark.parametrize("tiled", [False, True])
def test_a_flipped_bit_in_a_deflated_tiff_is_found_by_its_check_sum(tiled: bool) -> None:
    content = rasters.tiff(np.asarray(NOISE), rasters.RGB, deflate=True, tile=64 if tiled else None)
    for flipped in with_flips(content, 40):
        assert refused(flipped) in {Reason.TRUNCATED, Reason.NOT_AN_IMAGE}


def unseen(content: bytes, flips: int) -> int:
    """How many flips lead to other pixels, and not to a refusal."""
    whole = made(content)
    results = [made_if_whole(flipped) for flipped in with_flips(content, flips)]
    return sum(result is not None and psnr(result, whole) < 40 for result in results)


def test_a_flipped_bit_in_a_gif_is_found_by_where_its_codes_end() -> None:
    assert unseen(encoded(NOISE, "GIF"), 60) < 20  # where it stands for as many pixels of other colours it is not


def test_a_flipped_bit_in_a_tiff_of_lzw_is_found_by_where_its_codes_end() -> None:
    assert unseen(encoded(drawn((200, 150)), "TIFF", compression="tiff_lzw"), 60) < 12


def packed(bits: str, rest: str) -> bytes:
    """Bits as bytes; `rest` fills the last one."""
    count = -(-len(bits) // 8)
    return int(bits.ljust(count * 8, rest), 2).to_bytes(count, "big")


def strip_tiff(size: tuple[int, int], compression: int, strip: bytes) -> bytes:
    """A grey TIFF in one strip."""
    tags = {256: size[0], 257: size[1], 258: 8, 259: compression, 262: 1}
    tags |= {273: 8, 277: 1, 278: size[1], 279: len(strip)}
    directory = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    return struct.pack("<2sHI", b"II", 42, 8 + len(strip)) + strip + struct.pack("<H", len(tags)) + directory + bytes(4)


def lzw_tiff(size: tuple[int, int], samples: bytes) -> bytes:
    """In the plainest of codes: a clear before each sample."""
    codes = [code for sample in samples for code in (256, sample)] + [257]
    return strip_tiff(size, 5, packed("".join(f"{code:09b}" for code in codes), "0"))


# Codes of K.3 of ITU-T T.81 for luminance: first coefficients of so many bits, then others.
FIRST = {0: "00", 10: "11111110", 11: "111111110"}
SIXTEEN_ZEROS, LAST, BEYOND, END = "11111111001", "1111111111101011", "1111111111110101", "1010"
PLAIN = FIRST[0] + END


def grey_jpeg(*blocks: str) -> bytes:
    """A JPEG of 64 by 64 pixels, in steps of one, that begins with these blocks and goes on as they end."""
    whole = encoded(Image.new("L", (64, 64)), "JPEG", quality=100)
    start = whole.index(b"\xff\xda") + 10
    bits = "".join(blocks) + PLAIN * (64 - len(blocks))
    return whole[:start] + packed(bits, "1").replace(b"\xff", b"\xff\0") + b"\xff\xd9"


WHITE = FIRST[10] + "1" * 10 + END  # 1023: as white as a block can be, and a little more
LAST_OF_64 = FIRST[0] + SIXTEEN_ZEROS * 3 + LAST + "1"  # after it no end is coded


@pytest.mark.parametrize("side", [4, 64])  # the smaller one is made by a decoder of its own
@pytest.mark.parametrize(
    ("blocks", "verdict"),
    [
        ([WHITE], None),
        ([LAST_OF_64], None),
        ([FIRST[0] + SIXTEEN_ZEROS * 3 + BEYOND + "1"], Reason.TRUNCATED),
        ([FIRST[0] + SIXTEEN_ZEROS * 4], Reason.TRUNCATED),
        ([FIRST[11] + "1" * 11 + END], Reason.TRUNCATED),
        ([WHITE, WHITE], Reason.TRUNCATED),  # a difference to the one before
        ([PLAIN] * 64 + [PLAIN] * 40, Reason.TRUNCATED),
    ],
)
def test_a_jpeg_has_no_coefficients_but_those_that_a_picture_can_have(
    blocks: list[str], verdict: Reason | None, side: int
) -> None:
    preset = Preset(name="one", width=side, height=side, format="png")
    for content in (grey_jpeg(*blocks), strip_tiff((64, 64), 7, grey_jpeg(*blocks))):
        if verdict is None:
            run(content, preset)
        else:
            with pytest.raises(Rejected) as refusal:
                run(content, preset)
            assert refusal.value.reason is verdict


@pytest.mark.parametrize(("more", "verdict"), [(0, None), (1, None), (40, None), (2, Reason.TRUNCATED)])
def test_a_strip_of_lzw_may_have_what_writers_leave_and_nothing_else(more: int, verdict: Reason | None) -> None:
    grey = NOISE.convert("L").resize((40, 30))
    content = lzw_tiff(grey.size, grey.tobytes() + bytes(more))
    if verdict is None:
        assert psnr(made(content), grey) == 99.0
    else:
        assert refused(content) is verdict


def test_codes_behind_the_last_pixel_of_a_gif_are_damage() -> None:
    gif = hostile.sample("GIF")
    short = bytearray(gif)
    at = gif.index(b",\0\0\0\0") + 7  # the height of its frame
    rows = int.from_bytes(gif[at : at + 2], "little")
    short[at : at + 2] = (rows - 1).to_bytes(2, "little")
    assert refused(bytes(short)) is Reason.TRUNCATED


@pytest.mark.parametrize("format_", ["AVIF", "HEIF"])
def test_a_flipped_bit_in_what_says_how_transparent_a_picture_is_is_found(format_: str) -> None:
    clear = NOISE.copy()
    clear.putalpha(Image.fromarray(GRAIN))
    content = encoded(clear, format_, quality=60)
    whole, unseen, refusals = np.asarray(made(content)), 0, 0
    for flipped in with_flips(content, 60, 0.1):
        ours = made_if_whole(flipped)
        refusals += ours is None
        unseen += ours is not None and np.abs(np.asarray(ours).astype(int) - whole).mean() > 1
    assert unseen <= 3
    assert refusals > 30


def test_libheif_that_was_loaded_before_it_can_be_heard_is_an_error() -> None:
    """What it asks of libde265 is bound when it is loaded."""
    program = "import pillow_heif, image_svc.pipeline.heif"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert "pillow_heif was imported before" in ended.stderr


def test_a_decoder_that_cannot_be_heard_is_found_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heif, "load", lambda _: 0)
    with pytest.raises(CodecError, match="cannot be listened to"):
        verify()


def test_a_flipped_bit_in_a_later_frame_of_a_webp_is_found_where_it_is_shown() -> None:
    content = encoded(NOISE, "WEBP", quality=85, save_all=True, append_images=[NOISE.rotate(180)], duration=60)
    flipped = bytearray(content)
    flipped[len(content) * 3 // 4] ^= 4
    assert psnr(made(bytes(flipped)), made(content)) == 99.0
    with pytest.raises(Rejected) as refusal:
        run(bytes(flipped), MOVING)
    assert refusal.value.reason is Reason.TRUNCATED


@pytest.mark.parametrize("clear", [False, True])
def test_a_flipped_bit_in_a_later_frame_of_an_avif_is_found_where_it_is_shown(clear: bool) -> None:
    first = NOISE.copy()
    if clear:
        first.putalpha(Image.fromarray(GRAIN))
    frames = [first.rotate(turn) for turn in (180, 90, 270)]
    content = encoded(first, "AVIF", quality=70, save_all=True, append_images=frames, duration=60)
    still, moving = made(content), run(content, MOVING)[1]
    unseen = 0
    for flipped in with_flips(content, 30, 0.5):
        if not clear:  # how transparent the first one is comes after all colours
            assert psnr(made(flipped), still) == 99.0
        with suppress(Rejected):
            unseen += run(flipped, MOVING)[1] != moving
    assert unseen <= 1


@pytest.mark.parametrize("gone", ["an interval", "the end of one"])
def test_what_is_gone_between_two_restarts_of_a_jpeg_is_found(gone: str) -> None:
    jpeg = encoded(NOISE, "JPEG", restart_marker_blocks=5)
    first, second = jpeg.index(b"\xff\xd2"), jpeg.index(b"\xff\xd3")
    start = first if gone == "an interval" else (first + second) // 2
    assert refused(jpeg[:start] + jpeg[second:]) is Reason.TRUNCATED


def test_a_scan_of_a_progressive_jpeg_that_ends_early_is_found() -> None:
    jpeg = encoded(NOISE, "JPEG", progressive=True)
    scans = [at for at in range(len(jpeg) - 1) if jpeg[at : at + 2] == b"\xff\xda"]
    for start, end in pairwise(scans[:3]):
        tables = jpeg.find(b"\xff\xc4", start, end)  # those of the next scan
        stop = end if tables < 0 else tables
        assert refused(jpeg[: (start + stop) // 2] + jpeg[stop:]) is Reason.TRUNCATED


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"restart_marker_blocks": 8}])
def test_a_jpeg_whose_data_are_zeros_where_it_is_plain_is_whole(options: dict[str, Any]) -> None:
    picture = Image.new("L", (1200, 900), 200)
    picture.paste(NOISE.convert("L"), (300, 300))
    jpeg = encoded(picture, "JPEG", optimize=True, **options)
    assert options or bytes(32) in jpeg
    assert psnr(made(jpeg), picture.convert("RGB")) > 30
    filled = jpeg[:-2] + bytes(500) + jpeg[-2:]  # up to the end marker
    assert psnr(made(filled), made(jpeg)) == 99.0
    assert psnr(made(jpeg + b"appended " * 99), made(jpeg)) == 99.0


@pytest.mark.parametrize("compression", ["tiff_ccitt", "group4"])
@pytest.mark.parametrize("place", [20, 40, 60, 80])
def test_a_code_that_is_none_is_found_where_lines_do_not_end_with_themselves(compression: str, place: int) -> None:
    content = encoded(drawn((400, 300)).convert("1"), "TIFF", compression=compression)
    hole = hostile.tiff_with_hole(content, place)
    at = next(at for at, (byte, other) in enumerate(zip(content, hole, strict=True)) if byte != other)
    assert refused(content[:at] + bytes(2) + content[at + 2 :]) is Reason.TRUNCATED


def test_a_broken_line_of_a_fax_that_came_over_the_telephone_is_no_reason() -> None:
    content = encoded(drawn((400, 300)).convert("1"), "TIFF", compression="group3")
    hole = hostile.tiff_with_hole(content, 50)
    at = next(at for at, (byte, other) in enumerate(zip(content, hole, strict=True)) if byte != other)
    broken = bytearray(content)
    broken[at] ^= 4
    assert psnr(made(bytes(broken)), made(content)) > 20


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP", "AVIF", "HEIF", "GIF", "TIFF"])
@pytest.mark.parametrize("behind", [b"\r\n", bytes(3000), b"<!-- sent by a telephone -->", b"\xfe\xdc\xba\x98" * 500])
def test_what_was_appended_to_a_whole_file_is_no_damage(format_: str, behind: bytes) -> None:
    content = encoded(drawn((200, 150)), format_, quality=95)
    assert psnr(made(content + behind), made(content)) > 90


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP", "AVIF", "HEIF"])
def test_room_that_a_camera_leaves_in_its_notes_is_no_hole(format_: str) -> None:
    notes = Image.Exif()
    notes[0x010F] = "Camera"
    content = encoded(NOISE, format_, exif=notes.tobytes() + bytes(20_000))
    assert bytes(20_000) in content or format_ == "PNG"
    assert psnr(made(content), made(encoded(NOISE, format_))) == 99.0


def test_an_animation_that_lacks_frames_is_truncated() -> None:
    for format_ in ("GIF", "WEBP", "PNG", "AVIF"):
        content = hostile.moving(format_)
        assert refused(content[: len(content) * 3 // 4]) is Reason.TRUNCATED
    gif = hostile.moving("GIF")
    run(gif[:-1], EXACT)  # many a GIF lacks its last byte


def test_a_check_sum_that_was_made_to_fit_is_not_the_last_word() -> None:
    png = encoded(NOISE, "PNG")
    at = png.index(b"IDAT")
    length = int.from_bytes(png[at - 4 : at], "big")
    body = bytearray(png[at : at + 4 + length])
    body[2000:2100] = bytes(100)
    forged = png[:at] + bytes(body) + zlib.crc32(bytes(body)).to_bytes(4, "big") + png[at + 8 + length :]
    assert refused(forged) in {Reason.NOT_AN_IMAGE, Reason.TRUNCATED}
