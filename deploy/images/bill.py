"""An image's bill of materials, as CycloneDX 1.6 (https://cyclonedx.org/docs/1.6/json/). Runs inside the build stage.

Deterministic: components are sorted, and the serial number is derived from them, so that equal images have equal bills.
"""

from __future__ import annotations

import hashlib
import json
import re
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from email.message import Message
from email.parser import HeaderParser
from pathlib import Path
from typing import Any
from urllib.parse import quote


@dataclass(frozen=True, order=True)
class Component:
    """One library. `purl` is its package URL; `license` what its own metadata says, empty where it says nothing."""

    name: str
    version: str
    purl: str
    license: str = ""

    def as_json(self) -> dict[str, Any]:
        """The component's CycloneDX object."""
        found: dict[str, Any] = {
            "type": "library",
            "bom-ref": self.purl,
            "name": self.name,
            "version": self.version,
            "purl": self.purl,
        }
        if self.license:
            found["licenses"] = [{"license": {"name": self.license}}]
        return found


def python_components(site: Path) -> list[Component]:
    """What is installed in a `site-packages`-like folder."""
    found = []
    for metadata in site.glob("*.dist-info/METADATA"):
        headers = HeaderParser().parsestr(metadata.read_text(encoding="utf-8"), headersonly=True)
        name, version = headers["Name"], headers["Version"]
        found.append(Component(name, version, f"pkg:pypi/{canonical(name)}@{quote(version)}", _license(headers)))
    return sorted(found)


def canonical(name: str) -> str:
    """A Python package's name as PEP 503 and package URLs write it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def debian_components(packages: Mapping[str, str]) -> list[Component]:
    """Debian packages, version by name."""
    return sorted(
        Component(name, version, f"pkg:deb/debian/{quote(name)}@{quote(version)}") for name, version in packages.items()
    )


def bill(service: str, components: Iterable[Component]) -> dict[str, Any]:
    """The whole document of a service's image."""
    listed = [component.as_json() for component in sorted(set(components))]
    digest = hashlib.sha256(json.dumps([service, listed]).encode()).hexdigest()
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, digest)}",
        "version": 1,
        "metadata": {"component": {"type": "container", "name": f"darkroom/{service}", "bom-ref": service}},
        "components": listed,
        "dependencies": [{"ref": service, "dependsOn": [component["bom-ref"] for component in listed]}],
    }


def _license(headers: Message) -> str:
    """The SPDX expression where a package has one (PEP 639), else its classifier, else its free text in one line."""
    if expression := headers.get("License-Expression"):
        return str(expression)
    for classifier in headers.get_all("Classifier", []):
        if classifier.startswith("License :: OSI Approved :: "):
            return str(classifier.rsplit(" :: ", 1)[1])
    text = str(headers.get("License", "")).strip()
    return text if "\n" not in text else ""
