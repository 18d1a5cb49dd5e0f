"""The reconciler's words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum


class Bucket(Enum):
    """The two buckets, by what they hold; the value is what every key starts with."""

    INCOMING = "incoming/"
    MEDIA = "media/"


@dataclass(frozen=True, slots=True)
class Version:
    """One version of an object, or a delete marker. A bucket that keeps no versions has one of each key, "null"."""

    key: str
    id: str
    modified: datetime
    newest: bool
    marker: bool = False


@dataclass(frozen=True, slots=True)
class Page:
    """Versions in the order of their keys, newest first; `after` asks for the next page, None after the last."""

    versions: Sequence[Version]
    after: tuple[str, str] | None


@dataclass(frozen=True, slots=True)
class Upload:
    """A multipart upload that was begun and not completed."""

    key: str
    id: str
    begun: datetime


@dataclass(frozen=True, slots=True)
class UploadPage:
    """Uploads in the order of their keys; `after` as of a `Page`."""

    uploads: Sequence[Upload]
    after: tuple[str, str] | None


@dataclass(frozen=True, slots=True)
class Object:
    """A key with all its versions, newest first."""

    key: str
    versions: tuple[Version, ...]

    @property
    def there(self) -> bool:
        """Whether it has bytes: under a delete marker, they can be brought back."""
        return any(not version.marker for version in self.versions)

    @property
    def modified(self) -> datetime:
        """When it last changed."""
        return max(version.modified for version in self.versions)


class Verdict(Enum):
    """What metadata_svc says of an object."""

    UNDECIDED = "undecided"
    KEEP = "keep"
    REMOVE = "remove"
    ORDERED = "ordered"


class Outcome(Enum):
    """What metadata_svc says of objects that are missing."""

    NONE = "none"
    REMADE = "remade"
    FORGOTTEN = "forgotten"


@dataclass(frozen=True, slots=True)
class Missing:
    """What an image's row names and the bucket was not seen to have."""

    tenant_id: str
    image_id: str
    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Comparison:
    """The answer to one stretch: a verdict for each object, and where the next one begins."""

    verdicts: Sequence[Verdict]
    missing: Sequence[Missing]
    position: str
    done: bool


@dataclass(slots=True)
class Report:
    """What a run saw and did; with `dry_run`, what it would have done."""

    dry_run: bool
    # Looked at.
    versions: int = 0
    # Removed: keys that no row needs, versions beneath or beside the one that counts, uploads nobody can complete.
    originals_removed: int = 0
    variants_removed: int = 0
    versions_removed: int = 0
    uploads_aborted: int = 0
    # Rows: given to the workers because their upload went unnoticed, because variants are lost, or corrected because
    # nothing can bring back what they named.
    ordered: int = 0
    remade: int = 0
    forgotten: int = 0
    # Why the run ended before its end.
    stopped: str = field(default="")

    @property
    def found(self) -> int:
        """How many things were not as they should be."""
        removed = self.originals_removed + self.variants_removed + self.versions_removed + self.uploads_aborted
        return removed + self.ordered + self.remade + self.forgotten
