"""Changes files of a small production and tries the commands on it: `make fuzz`.

Prints counts of tracebacks, hangs and bytes that were read or written outside, and exits 1 if there are any. A case is had
again by its number: `fuzz.py --first NUMBER --cases 1`.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import mutations


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=20_000, help="changed productions to try")
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    parser.add_argument("--seconds", type=float, default=None, help="stop after so many seconds")
    parser.add_argument("--show", type=int, default=5, help="faults of a kind that are shown in full")
    args = parser.parse_args()
    base = Path(tempfile.mkdtemp(prefix="fuzz-"))
    mutations.prepare(base)
    template = mutations.make_production(Path(tempfile.mkdtemp(prefix="fuzz-film-")) / "film")
    counts, shown, exits = Counter[str](), Counter[str](), Counter[int]()
    began = time.monotonic()
    done = 0
    for number in range(args.first, args.first + args.cases):
        if args.seconds is not None and time.monotonic() - began > args.seconds:
            break
        what, tried = mutations.try_case(number, template, base)
        done += 1
        for one in tried:
            exits[one.exit_code] += 1
            for wrong in one.wrong:
                counts[wrong] += 1
                kind = f"{wrong} {one.says.strip().splitlines()[-1][:60] if one.says.strip() else ''}"
                shown[kind] += 1
                if shown[kind] <= args.show:
                    print(
                        f"case {number}: {what}\n  {' '.join(one.command)} ({one.seconds:.1f} s): {wrong}\n{one.says}",
                        flush=True,
                    )
    print(f"{done} changed productions, {sum(exits.values())} commands, exit codes {dict(sorted(exits.items()))}")
    print(
        f"tracebacks {counts['traceback']}, hangs over {mutations.LIMIT_SECONDS:g} s {counts['hang']}, outside {counts['outside']}"
    )
    return 1 if counts else 0


if __name__ == "__main__":
    sys.exit(main())
