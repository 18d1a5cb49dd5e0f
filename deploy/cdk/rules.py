"""How the tools' rules are named, and what counts as a reason: known without starting node."""

from __future__ import annotations

import re
from typing import Final

# A reason is at least a sentence: a capital, six words, a full stop.
REASON: Final = re.compile(r"[A-Z\d](?:\S*\s+){5,}.*\.", re.DOTALL)
NAG: Final = re.compile(r"AwsSolutions-[A-Z]+\d+(\[.+\])?")
CHECKOV: Final = re.compile(r"CKV2?_AWS_\d+")
CFN_LINT: Final = re.compile(r"[EWI]\d{4}")
