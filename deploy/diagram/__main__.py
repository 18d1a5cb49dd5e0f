"""`make diagram` writes docs/img/aws.svg and docs/img/aws.png."""

import sys

from deploy.diagram import png
from deploy.diagram.draw import svg
from deploy.diagram.picture import PICTURE
from deploy.setup import environments, system
from deploy.setup.console import SetupError


def main() -> None:
    """Writes both; the PNG's letters are Inter's, which is installed where it is missing."""
    text = svg(PICTURE)
    png.SVG.write_text(text)
    try:
        if not png.FONTS.is_dir():
            system.install(["fonts-inter"], environments.LOGS)
    except SetupError as error:
        sys.exit(f"diagram: {error}")
    png.PNG.write_bytes(png.render(text))
    for path in (png.SVG, png.PNG):
        print(f"wrote {path} ({path.stat().st_size / 1000:.0f} kB)")


main()
