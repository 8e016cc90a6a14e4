"""`python -m bench`: run the cases, check every invariant, print the table."""

import argparse
import os
import sys
from pathlib import Path

import uvloop

from bench import cases
from bench.cases import FUNDED, Bench
from bench.checks import broken_invariants
from bench.machine import spin_ms
from bench.report import Row, print_table, write_json
from bench.stack import running_stack
from bench.traffic import Books
from bench.world import make_world

CASES = ("1000", "4000", "10000", "batches", "auth", "dedupe", "lost", "memory")


def main() -> int:
    """Run; the exit code is 0 when every must is reached and every invariant holds."""
    options = _options()
    uvloop.install()
    folder = Path(options.out)
    folder.mkdir(parents=True, exist_ok=True)
    chosen = options.cases.split(",")
    with running_stack(options.database_url, options.redis_url, folder, options.shards) as stack:
        print(f"{stack.kind}, {os.cpu_count()} cores, spin {spin_ms():.0f} ms", flush=True)
        for program in stack.programs:
            program.profile = program.name in options.profile.split(",")
        world = make_world(stack.database_url, options.accounts, FUNDED, options.shards)
        stack.restart_programs()
        bench = Bench(stack, world, Books(), options.seconds)
        cases.warm_up(bench)
        _run(bench, chosen, options)
        broken = broken_invariants(
            stack.database_url, stack.redis_url, world, bench.books, options.shards
        )
        bench.add(Row("broken invariants", len(broken), "", 0, 0, detail={"broken": broken}))
        kind = stack.kind
    print()
    print_table(bench.rows)
    for one in broken:
        print(f"BROKEN: {one}")
    file = write_json(folder, bench.rows, {"server": kind, "options": vars(options)})
    print(
        f"\n{len(bench.books.accepted):,} requests with {bench.books.accepted_events:,} events "
        f"were answered as accepted. Details: {file}"
    )
    return 0 if all(row.reaches(row.must) for row in bench.rows) and not broken else 1


def _run(bench: Bench, chosen: list[str], options: argparse.Namespace) -> None:
    if "1000" in chosen:
        cases.singles(bench, 1_000, 20, 8)
    if "4000" in chosen:
        cases.singles(bench, 4_000, 50, None)
    if "10000" in chosen:
        cases.singles(bench, 10_000, None, 25)
    if "auth" in chosen:
        cases.authorisations(bench)
    if "batches" in chosen:
        cases.batches(bench)
    if "dedupe" in chosen:
        cases.dedupe_memory(bench)
    if "lost" in chosen:
        cases.redis_lost(bench)
    if "memory" in chosen:
        cases.memory(bench, options.memory_minutes)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    variable = os.environ.get
    parser.add_argument("--database-url", default=variable("BENCH_DATABASE_URL"))
    parser.add_argument("--redis-url", default=variable("BENCH_REDIS_URL"))
    parser.add_argument("--seconds", type=float, default=float(variable("BENCH_SECONDS", "60")))
    parser.add_argument(
        "--memory-minutes", type=float, default=float(variable("BENCH_MEMORY_MINUTES", "10"))
    )
    parser.add_argument("--accounts", type=int, default=int(variable("BENCH_ACCOUNTS", "10000")))
    parser.add_argument("--shards", type=int, default=int(variable("BENCH_SHARDS", "1")))
    parser.add_argument("--cases", default=variable("BENCH_CASES", ",".join(CASES)))
    parser.add_argument("--profile", default="", help="api, writer: sample these while they run")
    parser.add_argument("--out", default=variable("BENCH_OUT", ".local/bench"))
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
