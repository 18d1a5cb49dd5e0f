"""At start-up it is checked which codecs are loaded: the wrong ones stop the service, with words that help."""

from __future__ import annotations

import platform

import PIL
import pytest
from PIL import features

from image_svc.pipeline import codecs
from image_svc.sandbox import Sandbox, SandboxError


def test_the_build_is_named_with_every_codec() -> None:
    build = codecs.verify()
    for part in ("pipeline ", "pillow ", "simd ", "libjpeg_turbo ", "webp ", "heif ", "avif "):
        assert part in build
    assert ("simd avx2" in build) == (platform.machine() == "x86_64")
    assert build == codecs.verify()


def test_a_pillow_that_has_replaced_pillow_simd_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(PIL, "__version__", "12.1.1")
    with pytest.raises(codecs.CodecError, match="replaced pillow-simd"):
        codecs.verify()


def test_a_build_without_avx2_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(PIL, "__version__", "12.1.1.post0")
    monkeypatch.setattr("PIL._imaging.__file__", codecs.__file__)  # some file without such code
    with pytest.raises(codecs.CodecError, match="AVX2"):
        codecs.verify()


@pytest.mark.parametrize("codec", ["jpg", "zlib", "webp", "littlecms2", "libtiff"])
def test_a_codec_that_is_missing_is_named(codec: str, monkeypatch: pytest.MonkeyPatch) -> None:
    there = features.check
    monkeypatch.setattr(features, "check", lambda name: name != codec and there(name))
    with pytest.raises(codecs.CodecError, match=codec):
        codecs.verify()


async def test_a_helper_with_the_wrong_codecs_does_not_start(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The helper takes its libraries from the parent's path: another `PIL` before ours is what a bad install leaves."""
    folder = tmp_path_factory.mktemp("replaced")
    (folder / "PIL").mkdir()
    (folder / "PIL" / "__init__.py").write_text('__version__ = "0"\n')
    monkeypatch.syspath_prepend(str(folder))
    with pytest.raises(SandboxError):
        async with await Sandbox.start():
            pass
