"""No output carries anything of the file but its pixels: exiftool says so, of every output of every file."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from image_svc.pipeline.presets import Preset
from image_svc.pipeline.types import Rejected
from tests.support import telltale
from tests.support.developing import DATA, PHOTOS, run

# What a picture's own structure says: its size, how it is coded, that it is sRGB. By the places that exiftool names.
STRUCTURE = {
    "ExifTool": {"ExifToolVersion"},
    "File": {
        *("FileType", "FileTypeExtension", "MIMEType", "ImageWidth", "ImageHeight", "EncodingProcess"),
        *("BitsPerSample", "ColorComponents", "YCbCrSubSampling"),
    },
    "Composite": {"ImageSize", "Megapixels"},
    "JFIF": {"JFIFVersion", "ResolutionUnit", "XResolution", "YResolution"},
    "PNG": {"ImageWidth", "ImageHeight", "BitDepth", "ColorType", "Compression", "Filter", "Interlace"},
    "RIFF": {
        *("ImageWidth", "ImageHeight", "VP8Version", "HorizontalScale", "VerticalScale", "WebP_Flags", "AlphaIsUsed"),
        *("AnimationLoopCount", "BackgroundColor", "Duration", "FrameCount", "AlphaPreprocessing", "AlphaFiltering"),
        *("AlphaCompression",),
    },
    "Meta": {"PrimaryItemReference"},
    "QuickTime": {
        *("MajorBrand", "MinorVersion", "CompatibleBrands", "HandlerType", "MediaData", "MediaDataOffset"),
        *("MediaDataSize", "ImageSpatialExtent", "ImagePixelDepth", "AV1ConfigurationVersion", "SeqProfile"),
        *("SeqTier0", "ChromaFormat", "ChromaSamplePosition", "InitialDelaySamples", "AuxiliaryImageType"),
        # The box that says sRGB, by its numbers.
        *("ColorProfiles", "ColorPrimaries", "TransferCharacteristics", "MatrixCoefficients"),
        "QuickTime_ColorRep_0x000a",
    },
}
OUTPUTS = (
    *(Preset(name=f"{format_}", width=300, height=300, format=format_) for format_ in ("webp", "jpeg", "avif", "png")),
    Preset(name="moving", width=120, height=120, format="webp", animated=True, max_frames=200),
)


def inputs() -> Iterator[tuple[str, bytes]]:
    yield from telltale.files()
    for path in sorted([*DATA.iterdir(), *PHOTOS.iterdir()]):
        if path.suffix in {".jpg", ".png", ".gif", ".webp", ".avif", ".heic"}:
            yield path.name, path.read_bytes()


def read(folder: Path) -> list[dict[str, Any]]:
    """What exiftool finds, the unknown and the repeated too."""
    command = ["exiftool", "-json", "-G1", "-a", "-u", "-U", "-r", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert isinstance(found, list)
    return found


def beyond_structure(tags: Mapping[str, Any]) -> list[str]:
    found = []
    for tag, value in tags.items():
        group, _, name = tag.partition(":")
        if group in {"SourceFile", "System"}:  # of the file system
            continue
        if name not in STRUCTURE.get(group, ()) or telltale.WORD in str(value):
            found.append(f"{tags['SourceFile']}: {tag} = {value}")
    return found


@pytest.fixture(scope="module")
def developed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("outputs")
    for name, content in inputs():
        try:
            _, outputs = run(content, *OUTPUTS)
        except Rejected:
            continue
        for preset, output in zip(OUTPUTS, outputs, strict=True):
            assert telltale.WORD.encode() not in output
            (folder / f"{name}.{preset.name}.{preset.extension}").write_bytes(output)
    return folder


def test_the_files_to_try_carry_what_must_not_come_along(tmp_path: Path) -> None:
    for name, content in telltale.files():
        (tmp_path / name).write_bytes(content)
    kinds: dict[str, set[str]] = {}
    for tags in read(tmp_path):
        marked = [tag for tag, value in tags.items() if telltale.WORD in str(value)]
        assert marked, tags["SourceFile"]
        assert beyond_structure(tags)
        kinds[Path(tags["SourceFile"]).name] = {tag.partition(":")[0].rstrip("0123456789") for tag in tags}
    assert {"IFD", "ExifIFD", "GPS", "XMP-dc", "IPTC", "ICC_Profile"} <= kinds["jpeg"]
    assert {"IFD", "GPS", "XMP-dc", "ICC_Profile", "PNG"} <= kinds["png"]
    for name in ("webp", "avif", "heif"):
        assert {"IFD", "ExifIFD", "GPS", "XMP-dc", "ICC_Profile"} <= kinds[name]
    assert {"GIF", "XMP-dc"} <= kinds["gif"]
    assert {"IFD", "XMP-dc", "IPTC", "ICC_Profile"} <= kinds["tiff"]


def test_no_output_carries_anything_beyond_its_own_structure(developed: Path) -> None:
    found = read(developed)
    assert len(found) >= 5 * 25
    assert {tags["File:FileType"] for tags in found} == {"WEBP", "Extended WEBP", "JPEG", "AVIF", "PNG"}
    extra = [line for tags in found for line in beyond_structure(tags)]
    assert not extra, "\n".join(extra)


def test_the_colours_that_an_avif_names_are_srgb(developed: Path) -> None:
    for tags in read(developed):
        if tags["File:FileType"] == "AVIF":
            assert tags["QuickTime:ColorPrimaries"] == "BT.709"
            assert "sRGB" in tags["QuickTime:TransferCharacteristics"]
