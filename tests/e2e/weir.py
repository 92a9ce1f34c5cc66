"""The process under test."""

import os
import re
import signal
import subprocess
import time

from suite import check, until


class Weir:
    """One pipeline file and its state folder; started and ended as often as a test likes."""

    def __init__(self, suite, name, text, state=None):
        self.suite, self.name = suite, name
        self.file = suite.folder / f"{name}.yaml"
        self.file.write_text(text)
        self.state = state or suite.folder / f"{name}-state"
        self.log_file = suite.folder / f"{name}.log"
        self.process = None

    def start(self, *arguments, crash_at="", admin="none", **faults):
        """`faults`: what faults.cc does to it, by the second half of the variables' names."""
        environment = dict(os.environ)
        if crash_at:
            environment["WEIR_CRASH_AT"] = crash_at
        if faults:
            environment["LD_PRELOAD"] = str(self.suite.tools / "weir_faults.so")
            environment.update({f"WEIR_FAULT_{name.upper()}": str(value) for name, value in faults.items()})
        command = [self.suite.weir, "run", self.file, "--state-dir", self.state, "--admin-listen", admin,
                   "--log-format", "text", *arguments]
        with open(self.log_file, "ab") as log:
            self.run_begins_at = log.tell()
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment)
        return self

    def run(self, *arguments, seconds=180, crash_at="", **faults):
        """Runs it to its end; returns the exit code."""
        self.start(*arguments, crash_at=crash_at, **faults)
        return self.wait(seconds)

    def keep_alive(self):
        """What a supervisor does: weir asks for a new process (75) when it was fenced, or recovered too often."""
        if not self.alive():
            check(self.process.returncode == 75, f"exit code {self.process.returncode}\n{self.last_lines()}")
            self.start()

    def catch_up(self, seconds=600):
        """Reads what is there, ends cleanly, and returns (seconds, CPU seconds)."""
        start = time.monotonic()
        self.start("--exit-when-caught-up")
        usage, status = {}, {}

        def ended():
            pid, code, used = os.wait4(self.process.pid, os.WNOHANG)
            if pid:
                usage["used"], status["code"] = used, os.waitstatus_to_exitcode(code)
            return pid
        try:
            until(ended, seconds, f"`weir run --exit-when-caught-up` ends; log {self.log_file}")
        except AssertionError:
            self.kill()
            raise
        self.process.returncode = status["code"]
        check(status["code"] == 0, f"exit code {status['code']}\n{self.last_lines()}")
        check("the record ledger does not balance" not in self.log(), f"the ledger; log {self.log_file}")
        used = usage["used"]
        return time.monotonic() - start, used.ru_utime + used.ru_stime

    def alive(self):
        return self.process is not None and self.process.poll() is None

    def wait(self, seconds):
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"weir did not end within {seconds} s\n{self.last_lines()}") from None

    def signal(self, number=signal.SIGTERM):
        self.process.send_signal(number)

    def kill(self):
        if self.alive():
            self.process.kill()
        if self.process is not None:
            self.process.wait()

    def log(self):
        """Of all runs."""
        return self.log_file.read_text(errors="replace")

    def last_log(self):
        """Of the present or last run."""
        with open(self.log_file, "rb") as log:
            log.seek(self.run_begins_at)
            return log.read().decode(errors="replace")

    def last_lines(self, count=15):
        return "\n".join(self.last_log().splitlines()[-count:])

    def expect_exit(self, code, *patterns, seconds=120):
        actual = self.wait(seconds)
        check(actual == code, f"exit code {actual}, expected {code}\n{self.last_lines()}")
        self.expect_log(*patterns)

    def expect_log(self, *patterns):
        log = self.last_log()
        for pattern in patterns:
            check(re.search(pattern, log), f"the log does not say /{pattern}/\n{self.last_lines()}")
