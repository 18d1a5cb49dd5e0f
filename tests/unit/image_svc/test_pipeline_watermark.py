"""A watermark lies where the preset says, on every kind of output, and belongs to the fingerprint."""

from __future__ import annotations

import base64
import io
import json
import os
from typing import Any

import msgspec
import numpy as np
import pytest
from PIL import Image

from image_svc.pipeline.fingerprint import fingerprint
from image_svc.pipeline.presets import Preset, PresetError, Watermark, parse_presets
from image_svc.sandbox import Sandbox
from tests.support.developing import drawn, encoded, made, run
from tests.support.rasters import chunk

MARK = base64.b64encode(encoded(Image.new("RGBA", (40, 20), (255, 0, 0, 255)), "PNG")).decode()
GREY = encoded(Image.new("RGB", (400, 300), (128, 128, 128)), "PNG")
PLAIN = Preset(name="x", width=400, height=300, format="png")


def marked(**changed: Any) -> Preset:
    mark: dict[str, Any] = {"image": MARK, "opacity": 100, "size": 20}
    return msgspec.structs.replace(PLAIN, watermark=Watermark(**mark | changed))


def red(picture: Image.Image) -> Any:
    pixels = np.array(picture.convert("RGB")).astype(int)
    return (pixels[:, :, 0] > 200) & (pixels[:, :, 1] < 60)


@pytest.mark.parametrize(
    ("position", "left", "top"),
    [
        ("top-left", 8, 8),
        ("top-right", 312, 8),
        ("bottom-left", 8, 252),
        ("bottom-right", 312, 252),
        ("center", 160, 130),
    ],
)
def test_a_mark_lies_where_the_preset_says_and_nowhere_else(position: Any, left: int, top: int) -> None:
    seen = red(made(GREY, marked(position=position)))
    rows, columns = np.nonzero(seen)
    assert (columns.min(), rows.min()) == (left, top)
    assert seen.sum() == 80 * 40  # a fifth of the width, in its own shape


def test_tiles_cover_the_whole_picture() -> None:
    seen = red(made(GREY, marked(position="tile", size=10)))
    for rows in np.array_split(seen, 3):
        for part in np.array_split(rows, 4, axis=1):
            assert 0.15 < part.mean() < 0.4


@pytest.mark.parametrize(("opacity", "expected"), [(100, (255, 0, 0)), (50, (192, 64, 64)), (1, (129, 127, 127))])
def test_a_mark_is_as_strong_as_the_preset_says(opacity: int, expected: tuple[int, int, int]) -> None:
    seen = made(GREY, marked(position="center", opacity=opacity)).convert("RGB").getpixel((200, 150))
    assert isinstance(seen, tuple)
    assert all(abs(a - b) <= 2 for a, b in zip(seen, expected, strict=True))


@pytest.mark.parametrize("format_", ["webp", "jpeg", "avif", "png"])
def test_every_format_carries_the_mark_over_what_is_transparent_too(format_: Any) -> None:
    clear = encoded(Image.new("RGBA", (400, 300), (0, 0, 0, 0)), "PNG")
    preset = msgspec.structs.replace(marked(position="center"), format=format_)
    seen = made(clear, preset).convert("RGBA")
    red_, green, _, alpha = seen.getpixel((200, 150))  # type: ignore[misc]  # of an RGBA picture it has four values
    assert (red_ > 220, green < 40, alpha) == (True, True, 255)


def test_every_frame_of_an_animation_carries_it() -> None:
    frames = [drawn((200, 150)).rotate(20 * turn) for turn in range(4)]
    gif = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:], duration=60)
    preset = msgspec.structs.replace(marked(position="center"), format="webp", animated=True, width=200, height=150)
    moving = Image.open(io.BytesIO(run(gif, preset)[1][0]))
    assert getattr(moving, "n_frames", 1) == 4
    for number in range(4):
        moving.seek(number)
        assert red(moving)[70:80, 90:110].mean() > 0.9


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (400, 1)])
def test_no_picture_is_too_small_for_it(size: tuple[int, int]) -> None:
    for position in ("tile", "center", "bottom-right"):
        assert made(encoded(Image.new("RGB", size), "PNG"), marked(position=position, size=100)).size == size


def test_a_mark_belongs_to_the_fingerprint() -> None:
    presets = [PLAIN, marked(), marked(opacity=40), marked(position="center")]
    assert len({fingerprint(b"\1" * 32, preset, "build") for preset in presets}) == 4
    assert run(GREY, marked())[1] == run(GREY, marked())[1]


@pytest.mark.parametrize(
    ("mark", "named"),
    [
        ({"image": "no base64!"}, "base64"),
        ({"image": base64.b64encode(b"GIF89a" + bytes(40)).decode()}, "PNG"),
        ({"image": MARK, "opacity": 0}, "opacity is 0, not 1-100"),
        ({"image": MARK, "size": 101}, "size is 101, not 1-100"),
        ({"image": MARK, "position": "left"}, "position"),
        ({"image": MARK, "text": "mine"}, "text"),
        ({"image": base64.b64encode(encoded(Image.effect_noise((99, 99), 90), "PNG")).decode()}, "bytes"),
    ],
)
def test_a_mark_that_makes_no_sense_is_refused_by_name(mark: dict[str, Any], named: str) -> None:
    given = [{"name": "a", "width": 9, "height": 9, "format": "webp", "watermark": mark}]
    with pytest.raises(PresetError, match=named) as caught:
        parse_presets(json.dumps(given))
    assert "preset a" in str(caught.value)


def test_a_mark_that_cannot_be_decoded_is_refused_with_its_preset_and_not_with_every_photo() -> None:
    png = encoded(Image.new("RGBA", (40, 20), (255, 0, 0, 255)), "PNG")
    pixels = png.index(b"IDAT")
    for broken in (
        png[:40],
        png[:-12],
        png[:pixels] + b"IDOT" + png[pixels + 4 :],
        png[: pixels + 9] + bytes([png[pixels + 9] ^ 4]) + png[pixels + 10 :],
        png[:8] + chunk(b"IHDR", png[16:24] + b"\x05" + png[25:29]) + png[33:],
        png[: pixels - 4] + chunk(b"IDAT", b"no pixels") + png[-12:],
    ):
        mark = {"image": base64.b64encode(broken).decode()}
        given = [{"name": "a", "width": 9, "height": 9, "format": "webp", "watermark": mark}]
        with pytest.raises(PresetError, match="damaged or ends too early"):
            parse_presets(json.dumps(given))


@pytest.mark.parametrize("mode", ["1", "L", "I;16", "LA", "P", "RGB", "RGBA"])
def test_a_mark_of_every_kind_of_png_has_its_tones(mode: str) -> None:
    value = {"1": 1, "I;16": 200 * 257}.get(mode)
    stamp = Image.new(mode, (40, 20), value) if value else Image.new("L", (40, 20), 200).convert(mode)
    mark = base64.b64encode(encoded(stamp, "PNG")).decode()
    seen = made(GREY, marked(position="center", image=mark)).convert("RGB").getpixel((200, 150))
    assert isinstance(seen, tuple)
    assert all(abs(value - (255 if mode == "1" else 200)) <= 4 for value in seen)


async def test_as_many_marks_as_there_may_be_reach_the_sandbox() -> None:
    noise = Image.effect_noise((62, 62), 90)
    mark = Watermark(image=base64.b64encode(encoded(noise, "PNG")).decode())
    assert len(mark.content) > 3500
    presets = [Preset(name=f"p{number}", width=9, height=9, format="webp", watermark=mark) for number in range(32)]
    source = os.memfd_create("source")
    try:
        os.write(source, GREY)
        async with await Sandbox.start() as sandbox:
            with await sandbox.develop(source, None, presets) as done:
                assert len(done.variants) == 32
    finally:
        os.close(source)
