#!/usr/bin/env python3
"""Counts test results from a log for scripts/test.

    tally.py ctest LOG NAME         LOG is the output of `ctest -V`
    tally.py lines LOG NAME CODE    LOG holds `ok …`, `not ok …`, `ok … # SKIP …`; CODE is the exit code

Prints one line: PASSED FAILED SKIPPED, then a word for each failure. A doctest executable counts by its test
cases, any other test as one. What failed is shown, with its output, on standard error.
"""

import re
import sys

END = re.compile(r"^ *\d+/\d+ Test +#(\d+): (\S+) \.*\s*(\*\*\*)?\s*(Passed|Skipped|Not Run|Failed|Timeout|Exception\S*|\S+)")
OUTPUT = re.compile(r"^(\d+): (.*)$")
CASES = re.compile(r"\[doctest\] test cases: +(\d+) \| +(\d+) passed \| +(\d+) failed")
ESCAPES = re.compile(r"\x1b\[[0-9;]*m")


def tally_ctest(lines, name):
    output, counts, failures = {}, [0, 0, 0], []
    for line in lines:
        if match := OUTPUT.match(line):
            output.setdefault(match[1], []).append(match[2])
        elif match := END.match(line):
            number, test, outcome = match[1], match[2], match[4]
            cases = CASES.search("\n".join(output.get(number, [])))
            good, bad = (int(cases[2]), int(cases[3])) if cases else (0, 0)
            if outcome == "Skipped":
                counts[2] += 1
            elif outcome == "Passed":
                counts[0] += max(good, 1)
            else:
                # A crash prints no summary, or one without a failed case: it still is a failure.
                counts[0] += good
                counts[1] += max(bad, 1)
                failures.append(f"{name}/{test}")
                print("\n".join(output.get(number, [])[-150:]), f"\n{test}: {outcome}", file=sys.stderr)
    if sum(counts) == 0:
        print("\n".join(lines[-50:]), file=sys.stderr)
        counts[1], failures = 1, [f"{name}/ctest"]
    return counts, failures


def tally_lines(lines, name, code):
    counts, failures = [0, 0, 0], []
    for line in lines:
        if line.startswith("not ok "):
            counts[1] += 1
            failures.append(f"{name}/" + line[7:].strip().replace(" ", "-"))
        elif line.startswith("ok "):
            counts[2 if "# SKIP" in line else 0] += 1
    if code != 0 and counts[1] == 0:
        counts[1] += 1
        failures.append(f"{name}/exit-code-{code}")
    if sum(counts) == 0:
        counts[0] = 1
    return counts, failures


def main():
    kind, log, name = sys.argv[1:4]
    with open(log, encoding="utf-8", errors="replace") as file:
        lines = [ESCAPES.sub("", line.rstrip("\n")) for line in file]
    counts, failures = tally_ctest(lines, name) if kind == "ctest" else tally_lines(lines, name, int(sys.argv[4]))
    print(*counts, *failures)


if __name__ == "__main__":
    main()
