import asyncio
import sys

from tests.fuzz.imaging import main

sys.exit(asyncio.run(main()))
