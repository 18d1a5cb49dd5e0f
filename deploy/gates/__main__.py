"""`make gates [VARIANTS="dev prod"]`: synthesises every variant of the stacks and judges it."""

import io
import sys
import tempfile
import time
from pathlib import Path

from deploy.gates.gate import VARIANTS, judge, synthesise_variant


def main() -> int:
    """Prints what is wrong; the exit status says whether anything is."""
    chosen = sys.argv[1:] or list(VARIANTS)
    if unknown := sorted(set(chosen) - set(VARIANTS)):
        print(f"gates: there is no {', '.join(unknown)}; allowed: {', '.join(VARIANTS)}", file=sys.stderr)
        return 2
    started = time.monotonic()
    # cdk-nag tells of every finding on standard error, of the acknowledged ones too. Node's words come by a thread,
    # and late: it stays redirected, unless something fails.
    sys.stderr = kept = io.TextIOWrapper(io.BytesIO(), write_through=True)
    try:
        with tempfile.TemporaryDirectory() as folder:
            made = {variant: synthesise_variant(variant, Path(folder, "made")) for variant in chosen}
            judged = judge(made, Path(folder, "bare"))
    except BaseException:
        sys.stderr = sys.__stderr__
        kept.seek(0)
        print(kept.read(), file=sys.stderr)
        raise
    for line in judged.wrong:
        print(line)
    print(
        f"gates: {judged.templates} templates with {judged.resources} resources ({', '.join(chosen)}), "
        f"{judged.found} findings, {judged.acknowledged} acknowledged with a reason, {len(judged.wrong)} wrong; "
        f"{time.monotonic() - started:.0f} s"
    )
    return bool(judged.wrong)


sys.exit(main())
