"""The contact sheet shows every file with its verdict, its facts and its pictures."""

import sys
from pathlib import Path

import pytest
from PIL import Image

from image_svc.pipeline.thumbhash import thumbhash
from tests.sheet import __main__ as sheet
from tests.sheet.placeholder import shown
from tests.support.developing import DATA, drawn, psnr


def test_every_file_is_on_the_page_and_in_the_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    chosen = [DATA / name for name in ("flower_small.rgba.png", "xcrn0g04.png", "basn0g16.png")]
    monkeypatch.setattr(sys, "argv", ["sheet", *map(str, chosen), "-o", str(tmp_path)])
    assert sheet.main() == 0
    assert "2 READY" in capsys.readouterr().out
    page = (tmp_path / "index.html").read_text()
    for file in chosen:
        assert file.name in page
    assert page.count("<img class=variant") == 2 * 7
    assert "not_an_image" in page
    for part in page.split('src="variants/')[1:]:
        assert (tmp_path / "variants" / part.partition('"')[0]).stat().st_size > 50
    with Image.open(tmp_path / "sheet.png") as picture:
        assert picture.height > 3 * 100


def test_a_placeholder_looks_like_its_picture() -> None:
    for size in ((96, 64), (64, 96)):
        small = drawn(size)
        preview = shown(thumbhash(small)).convert("RGB")
        assert abs(preview.width / preview.height - size[0] / size[1]) < 0.2
        assert psnr(preview.resize(size), small) > 13
