"""`python -m tests.chaos`: break the intake for as long as you like, and print what came of it.

`CHAOS_FAULTS` sets how many faults there are, `CHAOS_SEED` which and in which order.
"""

import os
import secrets
import shutil
import sys
import tempfile
from pathlib import Path

from tests.chaos.run import run_chaos


def main() -> int:
    """Exit with 0 if nothing was lost, doubled or strange."""
    seed = int(os.environ.get("CHAOS_SEED") or secrets.randbelow(1_000_000))
    faults = int(os.environ.get("CHAOS_FAULTS") or 60)
    print(f"seed {seed}: CHAOS_SEED={seed} CHAOS_FAULTS={faults} make chaos", flush=True)
    folder = Path(tempfile.mkdtemp(prefix="billing-chaos-"))
    folder.chmod(0o755)
    try:
        report = run_chaos(folder, faults, seed, say=True)
    except Exception:
        print("\nIt broke off. The last lines of every log:")
        for log in sorted(folder.glob("*.log")):
            print(f"--- {log}", *log.read_text(errors="replace").splitlines()[-15:], sep="\n")
        raise
    print(report)
    if report.verdict is not None and report.verdict.is_good:
        shutil.rmtree(folder)
        return 0
    print(f"logs and data are kept in {folder}")
    return 1


if __name__ == "__main__":
    sys.exit(main())
