"""The calls of README.md and docs/aws.md, pasted into a shell as they stand there."""

from __future__ import annotations

import asyncio
import json
import os
import re
from pathlib import Path

from tests.support.cluster import RunningCluster

ROOT = Path(__file__).parents[2]


async def test_the_five_calls_of_the_readme_work_when_they_are_pasted(cluster: RunningCluster) -> None:
    section = (ROOT / "README.md").read_text().split("## Five calls")[1]
    block = re.search(r"```sh\n(.*?)```", section, re.DOTALL)
    assert block is not None
    # Only where the cluster keeps its variables is another place here.
    script = block[1].replace(".local/cluster.env", str(cluster.cluster.layout.env_file))
    shell = await asyncio.create_subprocess_exec(
        "bash", "-euc", script, cwd=ROOT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, err = await shell.communicate()
    text = out.decode()
    assert shell.returncode == 0, err.decode()
    assert "uploaded: 200" in text
    assert '"state": "READY"' in text
    assert re.search(r"thumb: \d{4,} bytes of image/webp", text)
    assert json.loads(text.splitlines()[-1])["receipt"]


async def test_the_first_upload_of_the_guide_works_when_it_is_pasted(cluster: RunningCluster) -> None:
    section = (ROOT / "docs" / "aws.md").read_text().split("## 8. The first upload")[1]
    block = re.search(r"```sh\n(.*?)```", section, re.DOTALL)
    assert block is not None
    shell = await asyncio.create_subprocess_exec(
        "bash",
        "-euc",
        block[1],
        cwd=ROOT,
        # Earlier steps of the guide have exported these two.
        env={**os.environ, **{name: cluster.env[name] for name in ("DARKROOM_API_URL", "DARKROOM_API_KEY")}},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await shell.communicate()
    assert shell.returncode == 0, err.decode()
    assert "uploaded: 200" in out.decode()
    assert '"state": "READY"' in out.decode()
