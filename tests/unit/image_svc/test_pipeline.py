"""The pipeline: right pixels, right sizes, nothing of the file but pixels, and a reason for what is refused."""

from __future__ import annotations

import io
import mmap
import os
import zlib
from collections.abc import Sequence
from typing import Any

import msgspec
import pillow_avif  # noqa: F401  # importing it teaches Pillow AVIF
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms
from PIL.PngImagePlugin import PngImageFile

from image_svc.pipeline import decode
from image_svc.pipeline.fingerprint import fingerprint
from image_svc.pipeline.geometry import plan
from image_svc.pipeline.presets import Preset, PresetError, default_presets, parse_presets
from image_svc.pipeline.types import Reason, Rejected
from tests.support.developing import CAPS, EXACT, PHOTOS, drawn, encoded, made, picture, psnr, refused, run
from tests.support.rasters import chunk

TURNED = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


@pytest.mark.parametrize("orientation", TURNED)
@pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_a_picture_stands_upright_whatever_the_camera_noted(orientation: int, format_: str) -> None:
    upright = drawn()
    turn = TURNED[orientation]
    stored = upright if turn is None else upright.transpose(turn)
    exif = Image.Exif()
    exif[0x0112] = orientation
    result, (content,) = run(encoded(stored, format_, exif=exif.tobytes(), quality=95), EXACT)
    assert (result.facts.width, result.facts.height) == upright.size
    assert psnr(picture(content), upright) > 30


def test_the_notes_of_a_png_count_wherever_they_stand() -> None:
    exif = bytes.fromhex("4d4d002a00000008" + "0001" + "011200030000000100060000" + "00000000")
    png = encoded(drawn((160, 120)).transpose(Image.Transpose.ROTATE_90), "PNG")
    for at in (33, len(png) - 12):  # before the pixels, and behind them
        assert psnr(made(png[:at] + chunk(b"eXIf", exif) + png[at:]), drawn((160, 120))) > 60


def test_the_pixels_of_a_png_wait_for_the_checks_before_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PngImageFile, "load", lambda self: pytest.fail("decoded before it was checked"))
    content = encoded(drawn(), "PNG")
    with mmap.mmap(-1, len(content)) as data:
        data[:] = content
        assert decode.open_file(data, None, CAPS).upright == (640, 480)


@pytest.mark.parametrize("format_", ["JPEG", "WEBP", "AVIF"])
def test_a_note_in_xmp_turns_nothing(format_: str) -> None:
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/" tiff:Orientation="6"/>'
    assert psnr(made(encoded(drawn(), format_, xmp=xmp, quality=95)), drawn()) > 28


@pytest.mark.parametrize("size", [(4032, 3024), (3001, 1999), (1, 3000), (2500, 7), (640, 427), (1, 1)])
def test_sizes_follow_from_the_original_alone(size: tuple[int, int]) -> None:
    result, _ = run(encoded(Image.new("RGB", size, (9, 99, 199)), "JPEG"), *default_presets())
    thumb, *others = result.made
    assert (thumb.width, thumb.height) == (min(256, size[0]), min(256, size[1]))
    for variant, side in zip(others, (640, 1280, 2048), strict=True):
        scale = min(1.0, side / max(size))
        assert abs(variant.width - size[0] * scale) <= max(0.5, 1 - size[0] * scale) + 1e-9
        assert abs(variant.height - size[1] * scale) <= max(0.5, 1 - size[1] * scale) + 1e-9


sides = st.integers(1, 20_000)


@given(
    box=st.tuples(st.integers(1, 8192), st.integers(1, 8192)),
    original=st.tuples(sides, sides),
    fit=st.sampled_from(["inside", "cover", "pad"]),
    enlarge=st.booleans(),
)
def test_whatever_the_sizes_a_plan_keeps_its_promises(
    box: tuple[int, int], original: tuple[int, int], fit: Any, enlarge: bool
) -> None:
    made = plan(Preset(name="x", width=box[0], height=box[1], format="png", fit=fit, enlarge=enlarge), original)
    assert all(side >= 1 for size in (made.whole, made.window, made.canvas) for side in size)
    assert all(part <= whole for part, whole in zip(made.window, made.whole, strict=True))
    assert all(side <= most for side, most in zip(made.canvas, box, strict=True))
    if not enlarge:
        assert all(side <= most for side, most in zip(made.whole, original, strict=True))


@pytest.mark.parametrize("name", ["Samsung_SM-G935L_Galaxy_S7_Edge.jpg", "Apple_iPhone_5.jpg", "Canon_EOS_7D.jpg"])
def test_reduced_copies_are_as_good_as_from_a_full_decode(name: str) -> None:
    content = (PHOTOS / name).read_bytes()
    full: Image.Image = Image.open(io.BytesIO(content))
    profile = full.info.get("icc_profile")
    full.load()
    if profile:
        srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
        converted = ImageCms.profileToProfile(full, ImageCms.ImageCmsProfile(io.BytesIO(profile)), srgb)
        assert converted is not None
        full = converted
    turn = {3: Image.Transpose.ROTATE_180}.get(full.getexif().get(0x0112, 1))
    upright = full if turn is None else full.transpose(turn)
    for side in (2048, 640):
        ours = made(content, Preset(name="x", width=side, height=side, format="png"))
        assert psnr(ours, upright.resize(ours.size, Image.Resampling.LANCZOS)) > 38


@pytest.mark.parametrize("format_", ["PNG", "JPEG"])
def test_a_preset_that_enlarges_takes_nothing_from_the_others(format_: str) -> None:
    content = encoded(Image.blend(drawn(), Image.effect_noise((640, 480), 90).convert("RGB"), 0.3), format_)
    small = Preset(name="small", width=300, height=300, format="png")
    enlarged = Preset(name="enlarged", width=1000, height=1000, format="png", enlarge=True)
    alone, together = run(content, EXACT, small)[1], run(content, enlarged, EXACT, small)[1]
    assert picture(together[0]).size == (1000, 750)
    assert together[1:] == alone


def test_facts_are_of_the_original_even_where_it_was_shrunk_while_decoded() -> None:
    small = Preset(name="small", width=300, height=300, format="webp")
    result, _ = run((PHOTOS / "Samsung_SM-G935L_Galaxy_S7_Edge.jpg").read_bytes(), small)
    assert (result.facts.width, result.facts.height) == (4032, 3024)
    assert (result.made[0].width, result.made[0].height) == (300, 225)


def test_a_wide_gamut_is_converted_and_not_only_forgotten() -> None:
    content = (PHOTOS / "exif-at-eof.heic").read_bytes()
    small = Preset(name="x", width=200, height=200, format="png")
    opened = Image.open(io.BytesIO(content))
    profile = ImageCms.ImageCmsProfile(io.BytesIO(opened.info["icc_profile"]))
    naive = opened.convert("RGB").resize((150, 200), Image.Resampling.LANCZOS)
    right = ImageCms.profileToProfile(naive, profile, ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")))
    assert right is not None
    ours = made(content, small)
    assert psnr(ours, right) > psnr(ours, naive) + 3


def test_a_broken_profile_is_no_reason_to_refuse_a_picture() -> None:
    for profile in (b"", b"nonsense", b"\0" * 200):
        assert psnr(made(encoded(drawn(), "JPEG", icc_profile=profile, quality=95)), drawn()) > 30


def test_sixteen_bit_grey_keeps_its_steps() -> None:
    deep = Image.new("I;16", (256, 8))
    for x in range(256):
        for y in range(8):
            deep.putpixel((x, y), x * 257)
    ours = made(encoded(deep, "PNG")).convert("L")
    assert [ours.getpixel((x, 4)) for x in range(256)] == list(range(256))


def test_cmyk_and_grey_and_palettes_keep_their_colours() -> None:
    cmyk = Image.new("CMYK", (64, 64), (0, 255, 255, 0))
    red = made(encoded(cmyk, "JPEG", quality=95)).getpixel((32, 32))
    assert isinstance(red, tuple)
    assert red[0] > 200
    assert max(red[1:3]) < 60
    assert made(encoded(Image.new("L", (64, 64), 77), "PNG")).convert("L").getpixel((9, 9)) == 77
    palette = drawn().quantize(64)
    assert psnr(made(encoded(palette, "PNG")), palette.convert("RGB")) > 60
    assert psnr(made(encoded(palette, "GIF")), palette.convert("RGB")) > 60


def test_transparency_stays_where_it_can_and_lies_on_the_presets_colour_where_it_cannot() -> None:
    clear = Image.new("RGBA", (64, 64), (255, 0, 0, 0))
    webp = made(encoded(clear, "PNG"), Preset(name="x", width=64, height=64, format="webp"))
    assert webp.mode == "RGBA"
    assert webp.getchannel("A").getextrema() == (0, 0)
    jpeg = made(encoded(clear, "PNG"), Preset(name="x", width=64, height=64, format="jpeg", background="#00ff00"))
    red, green, blue = jpeg.getpixel((5, 5))  # type: ignore[misc]  # of an RGB picture it is a triple
    assert green > 240
    assert max(red, blue) < 20


def test_pad_fills_the_box_and_cover_cuts_to_it() -> None:
    wide = encoded(drawn((800, 200)), "PNG")
    pad = made(wide, Preset(name="x", width=100, height=100, format="png", fit="pad", background="#0000ff"))
    assert pad.size == (100, 100)
    assert pad.convert("RGB").getpixel((50, 2)) == (0, 0, 255)
    assert made(wide, Preset(name="x", width=100, height=100, format="png", fit="cover")).size == (100, 100)


@pytest.mark.parametrize("format_", ["webp", "jpeg", "avif", "png"])
def test_no_output_carries_anything_of_the_file_but_pixels(format_: Any) -> None:
    for name in ("Apple_iPhone_5.jpg", "exif-at-eof.heic", "Canon_EOS_7D.jpg"):
        _, (content,) = run((PHOTOS / name).read_bytes(), Preset(name="x", width=300, height=300, format=format_))
        opened = picture(content)
        assert not dict(opened.getexif())
        assert not {"icc_profile", "exif", "xmp", "comment", "photoshop"} & set(opened.info)
        for trace in (b"Exif", b"Apple", b"GPS", b"adobe", b"Photoshop", b"http", b"ICC_PROFILE"):
            assert trace not in content


def test_the_format_is_the_bytes_own_and_an_announcement_must_agree() -> None:
    png = encoded(drawn(), "PNG")
    assert run(png, EXACT, announced="image/png; charset=x")[0].facts.format == "PNG"
    assert refused(png, "image/jpeg") is Reason.CONTENT_TYPE_MISMATCH
    heic = (PHOTOS / "exif-at-eof.heic").read_bytes()
    assert run(heic, EXACT, announced="image/heif")[0].facts.format == "HEIF"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", Reason.NOT_AN_IMAGE),
        (b"<html><img src=x>", Reason.NOT_AN_IMAGE),
        (b"%PDF-1.7\n", Reason.NOT_AN_IMAGE),
        (b"PK\x03\x04" + b"\0" * 100, Reason.NOT_AN_IMAGE),
        (b"\0\0\0\x18ftypmp42" + b"\0" * 64, Reason.NOT_AN_IMAGE),
        (b'<?xml version="1.0"?><svg xmlns="x"/>', Reason.UNSUPPORTED_FORMAT),
        (b"BM" + b"\0" * 100, Reason.UNSUPPORTED_FORMAT),
        (b"8BPS" + b"\0" * 100, Reason.UNSUPPORTED_FORMAT),
        (os.urandom(0) + b"\x01" * 5000, Reason.NOT_AN_IMAGE),
    ],
)
def test_what_is_no_accepted_picture_is_refused_with_its_reason(content: bytes, reason: Reason) -> None:
    assert refused(content) is reason


FORMATS = ["JPEG", "PNG", "WEBP", "GIF", "AVIF", "HEIF", "TIFF"]


@pytest.mark.parametrize("format_", FORMATS)
def test_a_file_cut_anywhere_is_a_picture_or_refused_and_never_a_failure(format_: str) -> None:
    content = encoded(drawn((200, 150)), format_)
    verdicts = set()
    for percent in range(100):
        try:
            run(content[: len(content) * percent // 100], *default_presets())
        except Rejected as verdict:
            verdicts.add(verdict.reason)
    assert Reason.TRUNCATED in verdicts
    assert verdicts <= {Reason.TRUNCATED, Reason.NOT_AN_IMAGE}


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "GIF", "TIFF"])
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_file_with_flipped_bits_is_a_picture_or_refused(format_: str, data: st.DataObject) -> None:
    content = bytearray(encoded(drawn((80, 60)), format_))
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        run(bytes(content), EXACT)
    except Rejected:
        return


def test_a_picture_with_too_many_pixels_is_refused_by_its_header_alone() -> None:
    header = (60_000).to_bytes(4, "big") * 2 + bytes([8, 6, 0, 0, 0])
    assert refused(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"")) is Reason.TOO_MANY_PIXELS
    # 98 megapixels fit the cap on pixels, but with alpha not the memory that resampling takes.
    header = (9_900).to_bytes(4, "big") * 2 + bytes([8, 6, 0, 0, 0])
    assert refused(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"")) is Reason.TOO_MANY_PIXELS


def test_chunks_that_inflate_without_end_are_refused() -> None:
    png = encoded(drawn((8, 8)), "PNG")
    bomb = chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(50_000_000), 9))
    assert refused(png[:33] + bomb + png[33:]) is Reason.TOO_COMPLEX
    for flag in (b"\1", b"\2"):
        bomb = chunk(b"iTXt", b"k\0" + flag + b"\0\0\0" + zlib.compress(bytes(50_000_000), 9))
        assert refused(png[:33] + bomb + png[33:]) is Reason.TOO_COMPLEX


@pytest.mark.parametrize(
    ("kind", "start"),
    [(b"zTXt", b"Raw profile type xmp\0\0"), (b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0"), (b"iCCP", b"k\0\0")],
)
def test_what_a_png_notes_may_be_as_long_as_editors_and_printers_make_it(kind: bytes, start: bytes) -> None:
    """Editors keep a picture's history in XMP; the profile of a printer has up to 3 MB."""
    png = encoded(drawn((8, 8)), "PNG")
    notes = [chunk(kind, start + zlib.compress(os.urandom(3_000_000).hex().encode()))]
    notes += [chunk(b"tEXt", b"k\0" + b"long" * 5_000_000)] * 4
    assert psnr(made(png[:33] + b"".join(notes) + png[33:]), drawn((8, 8))) > 60


def frame_header(width: int, height: int, marker: int = 0xC0) -> bytes:
    body = (
        bytes([8]) + height.to_bytes(2, "big") + width.to_bytes(2, "big") + b"\x03\x01\x22\x00\x02\x11\x01\x03\x11\x01"
    )
    return bytes([0xFF, marker]) + (len(body) + 2).to_bytes(2, "big") + body


@pytest.mark.parametrize("place", ["before", "after"])
@pytest.mark.parametrize("marker", [0xC0, 0xC2, 0xC3, 0xC9, 0xDE], ids=hex)
@pytest.mark.parametrize("width", [8, 6000])
def test_a_jpeg_whose_readers_could_disagree_on_its_width_is_refused(place: str, marker: int, width: int) -> None:
    """Pillow allots a row as wide as its Python reads it, and libjpeg writes one as wide as its own reader found."""
    jpeg = encoded(drawn((640, 480)), "JPEG")
    at = jpeg.index(b"\xff\xc0") + (0 if place == "before" else 19)
    assert refused(jpeg[:at] + frame_header(width, 480, marker) + jpeg[at:]) in {
        Reason.NOT_AN_IMAGE,
        Reason.UNSUPPORTED_FORMAT,
    }


@pytest.mark.parametrize("extents", [(0, 0, 65, 48), (-1, 0, 64, 48), (2**31 - 1, 0, 2**31 + 63, 48), (0, 48, 64, 48)])
def test_a_tile_outside_the_picture_is_refused(extents: tuple[int, int, int, int]) -> None:
    opened = PngImageFile(io.BytesIO(encoded(drawn((64, 48)), "PNG")))
    decode._check_tiles(opened)
    opened.tile = [opened.tile[0]._replace(extents=extents)]
    with pytest.raises(Rejected):
        decode._check_tiles(opened)


def test_scans_without_end_are_refused() -> None:
    progressive = encoded(drawn((64, 64)), "JPEG", progressive=True)
    first = progressive.index(b"\xff\xda")
    second = progressive.index(b"\xff\xda", first + 2)
    bomb = progressive[:first] + progressive[first:second] * 500 + progressive[second:]
    assert refused(bomb) is Reason.TOO_COMPLEX


def test_frames_without_end_are_refused() -> None:
    frames = [Image.new("P", (8, 8), number % 256) for number in range(1200)]
    for number, frame in enumerate(frames):
        frame.putpixel((number % 8, number // 8 % 8), 3)
    gif = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:], disposal=2)
    assert refused(gif) is Reason.TOO_MANY_FRAMES


def test_an_animation_counts_its_frames_and_shows_its_first() -> None:
    frames: Sequence[Image.Image] = [Image.new("RGB", (40, 40), color) for color in ("red", "lime", "blue")]
    for format_ in ("GIF", "WEBP"):
        content = encoded(frames[0], format_, save_all=True, append_images=frames[1:], duration=100, lossless=True)
        result, (first,) = run(content, EXACT)
        assert result.facts.frames == 3
        assert picture(first).convert("RGB").getpixel((20, 20)) == (255, 0, 0)


MOVING = Preset(name="moving", width=100, height=100, format="webp", animated=True, max_frames=6)


def moving(format_: str, count: int, **options: Any) -> bytes:
    frames = [Image.new("RGB", (200, 150), (40 * number, 255 - 40 * number, 90)) for number in range(count)]
    return encoded(frames[0], format_, save_all=True, append_images=frames[1:], **options)


@pytest.mark.parametrize("format_", ["GIF", "WEBP", "PNG", "AVIF"])
@pytest.mark.parametrize("fit", ["inside", "cover", "pad"])
def test_an_animation_goes_on_moving_where_the_preset_lets_it(format_: str, fit: Any) -> None:
    preset = msgspec.structs.replace(MOVING, fit=fit)
    result, (content,) = run(moving(format_, 6, duration=[50, 70, 90, 110, 130, 150]), preset)
    seen = Image.open(io.BytesIO(content))
    assert (result.facts.frames, getattr(seen, "n_frames", 1)) == (6, 6)
    assert seen.size == (result.made[0].width, result.made[0].height) == {"inside": (100, 75)}.get(fit, (100, 100))
    for number, milliseconds in enumerate([50, 70, 90, 110, 130, 150]):
        seen.seek(number)
        seen.load()
        assert seen.info["duration"] == milliseconds
        color = seen.convert("RGB").getpixel((50, 40))
        assert isinstance(color, tuple)
        assert all(abs(a - b) < 12 for a, b in zip(color, (40 * number, 255 - 40 * number, 90), strict=True))


def test_an_animation_longer_than_its_preset_allows_stands_still() -> None:
    result, (content,) = run(moving("GIF", 7, duration=50), MOVING)
    assert result.facts.frames == 7
    assert getattr(picture(content), "n_frames", 1) == 1


def test_copies_of_a_picture_have_nearly_the_same_hash_and_others_do_not() -> None:
    content = (PHOTOS / "Apple_iPhone_5.jpg").read_bytes()
    result, (large, thumb) = run(
        content, default_presets()[2], Preset(name="x", width=300, height=300, format="jpeg", quality=40)
    )
    hashes = [run(copy, EXACT)[0].facts.perceptual_hash for copy in (large, thumb)]
    assert all((value ^ result.facts.perceptual_hash).bit_count() <= 6 for value in hashes)
    other = run((PHOTOS / "Canon_EOS_7D.jpg").read_bytes(), EXACT)[0].facts.perceptual_hash
    assert (other ^ result.facts.perceptual_hash).bit_count() > 14


def test_a_fingerprint_stands_for_source_preset_and_build() -> None:
    preset = default_presets()[0]
    same = fingerprint(b"\1" * 32, preset, "a")
    assert same == fingerprint(b"\1" * 32, preset, "a")
    assert len(same) == 16
    other = Preset(name="thumb", width=256, height=256, format="webp", quality=81, fit="cover")
    assert (
        len(
            {
                same,
                fingerprint(b"\2" * 32, preset, "a"),
                fingerprint(b"\1" * 32, preset, "b"),
                fingerprint(b"\1" * 32, other, "a"),
            }
        )
        == 4
    )


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("{}", "presets"),
        ("[]", "1-32"),
        ('[{"name":"A","width":1,"height":1,"format":"webp"}]', "A"),
        ('[{"name":"a","width":0,"height":1,"format":"webp"}]', "width"),
        ('[{"name":"a","width":1,"height":1,"format":"gif"}]', "gif"),
        ('[{"name":"a","width":1,"height":1,"format":"webp","size":1}]', "size"),
        (
            '[{"name":"a","width":1,"height":1,"format":"webp"},{"name":"a","width":1,"height":1,"format":"png"}]',
            "twice",
        ),
        ('[{"name":"a","width":1,"height":1,"format":"jpeg","animated":true}]', "webp"),
    ],
)
def test_presets_that_make_no_sense_are_refused_by_name(text: str, named: str) -> None:
    with pytest.raises(PresetError, match=named):
        parse_presets(text)
