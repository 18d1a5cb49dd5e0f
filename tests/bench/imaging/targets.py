"""What is aimed at, and whether it is reached."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from tests.bench.imaging.measure import Results, ratio
from tests.bench.imaging.pictures import Photo

# Peer, least ratio of images per CPU second, on JPEG alone.
_RATIOS: Final = (("sharp", 2.0, True), ("sharp-cascade", 1.3, True), ("pyvips-cascade", 1.0, False))
_FLOOR: Final = 0.75
_LIKE_DB: Final = 0.3
_LIKE_BYTES: Final = 0.03
# Against the same codec settings on a reference reduced in one step: what shrinking in steps may cost.
_LOST_DB: Final = 0.5
_LOST_SSIM: Final = 0.005
_THUMBNAIL: Final = 3.0


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
        if (photo.name, "pillow") in results:
            plain = results[photo.name, "pillow"]
            pairs = [(each, plain.quality[name]) for name, each in ours.quality.items()]
            worst_db = max(b.psnr - a.psnr for a, b in pairs)
            worst_ssim = max(b.ssim - a.ssim for a, b in pairs)
            name = "issue 3.2: dB lost to a full decode, worst variant"
            verdicts.append(Verdict(name, photo.title, worst_db, _LOST_DB, "dB", at_most=True))
            name = "issue 3.2: SSIM lost to a full decode, worst variant"
            verdicts.append(Verdict(name, photo.title, worst_ssim, _LOST_SSIM, "", at_most=True))
    return verdicts


def thumbnail(value: float, photo: Photo) -> Verdict:
    """Target 5."""
    return Verdict("5. thumbnail alone to full decode", photo.title, value, _THUMBNAIL)
