"""What is aimed at, and whether it is reached."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from tests.bench.imaging.around import Around
from tests.bench.imaging.measure import Results, ratio
from tests.bench.imaging.pictures import Photo
from tests.bench.imaging.steps import HASH

# Peer, least ratio of images per CPU second, on JPEG alone.
_RATIOS: Final = (("sharp", 2.0, True), ("sharp-cascade", 1.3, True), ("pyvips-cascade", 1.0, False))
_FLOOR: Final = 0.75
_LIKE_DB: Final = 0.3
_LIKE_BYTES: Final = 0.03
# Against a full decode reduced in one step and encoded as we encode: what shrinking in steps may cost.
_LOST_DB: Final = 0.5
_LOST_SSIM: Final = 0.005
_THUMBNAIL: Final = 3.0
_AROUND: Final = 15.0  # % of the CPU of the pixels
_ADDED_MS: Final = 40.0
_MEMORY_MB: Final = 200.0
_END_TO_END: Final = 1.5
_DRAINS: Final = 0.9


@dataclass(frozen=True)
class Verdict:
    """One target on one photo. `value` and `bound` are in `unit`; met where the value reaches the bound."""

    target: str
    photo: str
    value: float
    bound: float
    unit: str = "x"
    at_most: bool = False

    @property
    def met(self) -> bool:
        """Whether it is reached."""
        return self.value <= self.bound if self.at_most else self.value >= self.bound


def speed(results: Results, photos: Sequence[Photo], titles: dict[str, str]) -> list[Verdict]:
    """Target 1: against the peers and the floor, for the pixels alone and in the sandbox."""
    verdicts = []
    for ours in ("pixels", "sandboxed"):
        for peer, least, jpeg_alone in _RATIOS:
            for photo in photos:
                if (photo.name, peer) in results and (photo.jpeg or not jpeg_alone):
                    target = f"1. {titles[ours]} to {titles[peer]}"
                    verdicts.append(Verdict(target, photo.title, ratio(results, photo.name, ours, peer), least))
        for photo in photos:
            if (photo.name, "floor") in results:
                target = f"1. {titles[ours]} to {titles['floor']}"
                verdicts.append(Verdict(target, photo.title, ratio(results, photo.name, ours, "floor"), _FLOOR))
    return verdicts


def likeness(results: Results, photos: Sequence[Photo]) -> list[Verdict]:
    """Target 1's condition: not bought with quality or bytes; and what the issue allows against plain Pillow."""
    verdicts = []
    for photo in photos:
        ours = results[photo.name, "pixels"]
        if (photo.name, "sharp-cascade") in results:
            peer = results[photo.name, "sharp-cascade"]
            name = "1. quality: dB behind sharp's cascade"
            verdicts.append(Verdict(name, photo.title, peer.psnr - ours.psnr, _LIKE_DB, "dB", at_most=True))
            more = ours.bytes / peer.bytes - 1
            name = "1. bytes: more than sharp's cascade"
            verdicts.append(Verdict(name, photo.title, more * 100, _LIKE_BYTES * 100, "%", at_most=True))
        pairs = [(each, ours.ideal[name]) for name, each in ours.quality.items()]
        name = "issue 3.2: dB lost to a full decode, worst variant"
        verdicts.append(
            Verdict(name, photo.title, max(b.psnr - a.psnr for a, b in pairs), _LOST_DB, "dB", at_most=True)
        )
        name = "issue 3.2: SSIM lost to a full decode, worst variant"
        verdicts.append(
            Verdict(name, photo.title, max(b.ssim - a.ssim for a, b in pairs), _LOST_SSIM, "", at_most=True)
        )
    return verdicts


def thumbnail(value: float, photo: Photo) -> Verdict:
    """Target 5."""
    return Verdict("5. thumbnail alone to full decode", photo.title, value, _THUMBNAIL)


def around(found: Around, photo: str, large: str) -> list[Verdict]:
    """Targets 2 to 4."""
    share, alone = found.busy.named / found.busy.pixels * 100, found.alone
    added = (alone.added + found.parts[HASH]) * 1000
    return [
        Verdict("2. CPU around the pixels", photo, share, _AROUND, "%", at_most=True),
        Verdict("2. latency added beside S3's own and its event's", photo, added, _ADDED_MS, "ms", at_most=True),
        Verdict(
            "3. memory of a worker with a photo in hand", large, found.memory / 1e6, _MEMORY_MB, "MB", at_most=True
        ),
        Verdict("4. PUT answered to READY, to the bare pipeline", photo, alone.ratio, _END_TO_END, at_most=True),
        Verdict("4. a backlog: share of what the cores give", photo, found.drained.share, _DRAINS),
    ]
