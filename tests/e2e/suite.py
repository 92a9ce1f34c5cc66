"""What every end-to-end suite shares: its seed, its scratch folder, its cases and their count.

A suite prints `ok NAME`, `not ok NAME` or `ok NAME # SKIP why` per case and ends with `N passed, N failed`.
"""

import argparse
import contextlib
import os
import random
import shutil
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


class Skip(Exception):
    """The machine does not permit this case."""


class Suite:
    def __init__(self, what, options=()):
        """`options`: (name, default, what it is) of further numbers on the command line."""
        self.name = Path(sys.argv[0]).name
        parser = argparse.ArgumentParser(description=what)
        parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1, 1 << 31))
        parser.add_argument("--only", default="", help="run only cases whose name contains this text")
        parser.add_argument("--keep", action="store_true", help="keep the scratch folder")
        parser.add_argument("--row", default="", help="end with a line of scripts/torture: ROW NAME pass|fail FIGURES")
        for name, default, help_text in options:
            parser.add_argument(f"--{name}", type=int, default=default, help=f"{help_text} ({default})")
        self.arguments = parser.parse_args()
        self.seed = self.arguments.seed
        self.random = random.Random(self.seed)
        self.run_id = f"{self.name.replace('_', '-')}-{os.getpid()}"
        self.folder = Path(tempfile.mkdtemp(prefix=f"{self.run_id}."))
        self.passed = self.failed = self.skipped = 0
        self.figures = []
        self.weir = Path(os.environ.get("WEIR_BIN", REPOSITORY / "build/release/weir")).resolve()
        # The tools are built beside the binary.
        self.tools = Path(os.environ.get("WEIR_E2E_TOOLS", self.weir.parent / "tests/e2e"))
        replay = [f"tests/e2e/{self.name}", f"--seed={self.seed}"]
        replay += [f"--{name}={value}" for name, default, _ in options
                   if (value := getattr(self.arguments, name.replace("-", "_"))) != default]
        print(f"{self.name}: {what}", flush=True)
        print(f"seed {self.seed}; replay: {' '.join(replay)}", flush=True)

    def note(self, text):
        print(f"   {text}", flush=True)

    def figure(self, text):
        """What was measured, for the row of the scoreboard."""
        self.figures.append(text)
        self.note(text)

    @contextlib.contextmanager
    def case(self, name):
        """A case fails by an exception, most often of `check`; later cases still run."""
        start = time.monotonic()
        try:
            yield
        except Skip as reason:
            self.skipped += 1
            print(f"ok {name} # SKIP {reason}", flush=True)
        except Exception as error:  # Whatever it is, it is this case's failure and not the end of the suite.
            self.failed += 1
            self.figures.append(f"failed: {name}")
            if not isinstance(error, AssertionError):
                traceback.print_exc(file=sys.stdout)
            print(f"   {error}\nnot ok {name}", flush=True)
        else:
            self.passed += 1
            print(f"ok {name} ({time.monotonic() - start:.1f} s)", flush=True)

    def wanted(self, name):
        return self.arguments.only in name

    def finish(self):
        if self.failed or self.arguments.keep:
            print(f"   kept: {self.folder}")
        else:
            shutil.rmtree(self.folder, ignore_errors=True)
        skipped = f", {self.skipped} skipped" if self.skipped else ""
        print(f"{self.passed} passed, {self.failed} failed{skipped}", flush=True)
        good = self.passed and not self.failed
        if self.arguments.row:
            good = good and not self.skipped  # What was not run was not shown.
            print(f"ROW {self.arguments.row} {'pass' if good else 'fail'} {', '.join(self.figures)}", flush=True)
        sys.exit(0 if good else 1)


def check(condition, text):
    if not condition:
        raise AssertionError(text)


def until(condition, seconds, what):
    """Waits for the world outside this process, which offers no event to wait for."""
    deadline = time.monotonic() + seconds
    while not (result := condition()):
        check(time.monotonic() < deadline, f"not within {seconds} s: {what}")
        time.sleep(0.05)
    return result


def check_same_records(name, actual, expected):
    """Equal as multisets: nothing lost, nothing twice, nothing else."""
    actual, expected = Counter(actual), Counter(expected)
    missing, surplus = expected - actual, actual - expected
    if missing or surplus:
        twice = sum(count for line, count in surplus.items() if line in expected)
        examples = [f"missing {line!r}"[:400] for line in list(missing)[:3]]
        examples += [f"surplus {line!r}"[:400] for line in list(surplus)[:3]]
        raise AssertionError(f"{name}: {expected.total()} expected, {actual.total()} read; {missing.total()} missing, "
                             f"{surplus.total()} surplus, of them {twice} duplicates\n   " + "\n   ".join(examples))
