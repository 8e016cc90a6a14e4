"""`python -m tests.simulation`: `SIM_SEEDS` says how many seeds, `SIM_FIRST` where they begin."""

import os
import secrets
import sys

from tests.simulation.run import known_seeds, run_seeds


def main() -> int:
    """Exit with 0 if every seed held."""
    count = int(os.environ.get("SIM_SEEDS") or 1000)
    first = int(os.environ.get("SIM_FIRST") or secrets.randbelow(1_000_000_000))
    print(f"SIM_FIRST={first} SIM_SEEDS={count} make simulate", flush=True)
    report = run_seeds([*known_seeds(), *range(first, first + count)])
    print(report)
    return 1 if report.failures else 0


if __name__ == "__main__":
    sys.exit(main())
