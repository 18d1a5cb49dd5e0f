"""The corpus: each real file gives the facts, sizes and colours that were looked at, and pictures as good as can be."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from image_svc.pipeline.presets import Preset, default_presets
from image_svc.pipeline.types import Rejected
from image_svc.sandbox import Sandbox
from tests.bench.imaging.quality import Reference
from tests.support.corpus import EXPECTED, files, seen
from tests.support.developing import DATA, EXACT, PHOTOS, run

FACTS: dict[str, dict[str, Any]] = json.loads(EXPECTED.read_text())
# Other builds of the codecs round otherwise; a wrong turn, profile or part is further off by far.
COLOR_STEPS = 8
HASH_BITS = 4
# What `similar_to` takes for the same picture is 10 bits apart at most. Seen here: copies 2, others 24.
COPY_BITS, OTHER_BITS = 6, 20


@pytest.fixture(scope="module")
async def sandbox() -> AsyncIterator[Sandbox]:
    async with await Sandbox.start() as started:
        yield started


def apart(one: str, other: str) -> int:
    return max(abs(a - b) for a, b in zip(bytes.fromhex(one[1:]), bytes.fromhex(other[1:]), strict=True))


def test_every_file_of_the_corpus_is_expected() -> None:
    assert {path.name for path in files()} == set(FACTS)


@pytest.mark.parametrize("path", list(files()), ids=lambda path: path.name)
async def test_a_file_gives_what_was_looked_at(sandbox: Sandbox, path: Path) -> None:
    expected, found = FACTS[path.name], await seen(sandbox, path)
    for field in ("verdict", "reason", "format", "size", "frames", "variants"):
        assert found.get(field) == expected.get(field), field
    if found["verdict"] == "READY":
        assert apart(found["color"], expected["color"]) <= COLOR_STEPS
        bits = int(found["perceptual_hash"], 16) ^ int(expected["perceptual_hash"], 16)
        assert bits.bit_count() <= HASH_BITS
        assert len(found["thumbhash"]) == len(expected["thumbhash"])
        assert max(map(apart, found["colors"], expected["colors"])) <= COLOR_STEPS


@pytest.mark.parametrize(
    "path",
    [
        PHOTOS / "Samsung_SM-G935L_Galaxy_S7_Edge.jpg",
        PHOTOS / "Apple_iPhone_5.jpg",
        PHOTOS / "Canon_EOS_7D.jpg",
        PHOTOS / "exif-at-eof.heic",
        DATA / "Landscape_6.jpg",
        DATA / "P3-sRGB-color-ring.jpg",
        DATA / "Issue_649.avif",
    ],
    ids=["12 MP", "8 MP, turned", "Adobe RGB", "HEIC, Display P3", "turned", "DCI-P3", "AVIF"],
)
def test_a_variant_is_as_good_as_one_of_a_full_decode_and_a_single_reduction(path: Path, tmp_path: Path) -> None:
    presets = [preset for preset in default_presets() if preset.fit == "inside"]
    _, outputs = run(path.read_bytes(), *presets)
    reference = Reference(path)
    for preset, output in zip(presets, outputs, strict=True):
        file = tmp_path / f"{preset.name}.{preset.extension}"
        file.write_bytes(output)
        ours, best = reference.judge(file, preset), reference.ideal(file, preset)
        assert ours.psnr >= best.psnr - 0.5, preset.name
        assert ours.ssim >= best.ssim - 0.005, preset.name


def photos() -> list[Path]:
    """Pictures of something: what shows a gradient of a few levels has no structure that a hash could hold."""
    return [path for path in files() if FACTS[path.name]["verdict"] == "READY" and not path.name.startswith("basn")]


@pytest.mark.parametrize("path", photos(), ids=lambda path: path.name)
def test_a_copy_of_other_size_format_and_quality_has_nearly_the_same_hash(path: Path) -> None:
    copies = [
        Preset(name="a", width=1280, height=1280, format="webp"),
        Preset(name="b", width=300, height=300, format="jpeg", quality=35),
        Preset(name="c", width=128, height=128, format="png"),
        Preset(name="d", width=500, height=500, format="avif", quality=40),
    ]
    result, outputs = run(path.read_bytes(), *copies)
    for output in outputs:
        copy = run(output, EXACT)[0].facts.perceptual_hash
        assert (copy ^ result.facts.perceptual_hash).bit_count() <= COPY_BITS


def test_pictures_of_other_things_have_hashes_far_apart() -> None:
    hashes = [int(FACTS[path.name]["perceptual_hash"], 16) for path in photos()]
    assert min((one ^ other).bit_count() for one, other in combinations(hashes, 2)) >= OTHER_BITS


def test_what_the_corpus_refuses_is_refused_in_any_preset() -> None:
    for path in files():
        if FACTS[path.name]["verdict"] == "REJECTED":
            with pytest.raises(Rejected) as verdict:
                run(path.read_bytes(), EXACT)
            assert verdict.value.reason.value == FACTS[path.name]["reason"]
