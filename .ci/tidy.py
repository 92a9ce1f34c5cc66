#!/usr/bin/env python3
"""What a reviewer should not have to look for: layers, style, forbidden calls, dead links. Python's library only.

    .ci/tidy.py [FOLDER]      checks the repository (default: this one); exit code 1 and one line per finding

The allowed includes stand in .ci/layers.txt, exceptions with their reasons in .ci/allow.txt.
"""

import os
import re
import sys

WIDTH = 110
LINES = 600
SKIPPED = {".git", "build", ".cache", "__pycache__"}
PRODUCT = ("base", "config", "state", "processor", "connectors", "cmd")
CODE = (".h", ".cc", ".h.in")
TEXT = CODE + (".md", ".yaml", ".yml", ".txt", ".py", ".sh", ".cmake", ".json", ".tpl", "")

# rule, pattern, where it applies, where it is at home, what to do instead
BANNED = [
    ("sleep", r"\b(sleep_for|sleep_until|usleep|nanosleep|sleep)\s*\(", PRODUCT + ("tests", "bench"), ("base/time.cc",),
     "time is a parameter: Clock::sleep_ms"),
    ("system", r"(?<![\w.:>])(std::)?(system|popen)\s*\(", PRODUCT, (), "start no shells"),
    ("swallow", r"catch\s*\(\s*\.\.\.\s*\)\s*\{\s*\}", PRODUCT + ("tests", "bench"), (), "an error has a name and a way out"),
    ("clock", r"\b(system_clock|steady_clock|high_resolution_clock|clock_gettime|gettimeofday)\b", PRODUCT,
     ("base/time.cc",), "time is a parameter: base/time.h"),
    ("kafka", r"\brd_kafka_\w+", PRODUCT, ("connectors/",), "only connectors/ knows Kafka's client"),
    ("yaml", r"\bYAML::", PRODUCT, ("config/",), "only config/ knows YAML"),
    ("file", r"(?<![\w.:>])(::)?(openat|pread|pwrite|fdatasync|fsync|fallocate|posix_fallocate|ftruncate|renameat|unlinkat|mkdirat)\s*\(",
     PRODUCT, ("state/file.cc", "connectors/file_"), "files are a parameter: state/file.h"),
    ("file", r"(?<![\w.:>])(::(open|rename|unlink|mkdir)|fopen)\s*\(", PRODUCT, ("state/file.cc", "connectors/file_"),
     "files are a parameter: state/file.h"),
]
FORBIDDEN = re.compile("|".join([r"\bTO" "DO\\b", r"\bFIX" "ME\\b", r"\bXX" "X\\b", r"\b[Ss]tu" "b(s|bed)?\\b"]))
MACHINE_PATH = re.compile(r"(?<![\w.~}/])/(work|home|root|Users)/[\w.]+")
NAMES = re.compile(r"\b(?:class|struct)\s+(\w*(?:Utils?|Helpers?|Common))\b")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s#]+)(?:#[^)]*)?\)")
DOC_PATH = re.compile(r"\b(?:docs|tests|examples|scripts|helm|bench)/[\w./-]*\w\.(?:md|yaml|cc|h|py)\b")
TEST_CASE = re.compile(r'TEST_CASE\w*\(\s*((?:"(?:\\.|[^"\\])*"\s*)+)')
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')
STANDARD = re.compile(r"^[a-z_0-9]+$|^(sys|netinet|arpa|linux|bits)/|^(unistd|fcntl|dlfcn|dirent|poll|pthread|sched|signal|"
                      r"errno|string|stdlib|stdio|time|quadmath|getopt|termios|spawn|emmintrin|immintrin|nmmintrin|x86intrin|"
                      r"arm_acle|cpuid|malloc)\.h$")


class Tidy:
    def __init__(self, root):
        self.root = root
        self.findings = []
        self.allowed = self.read_allowed()
        self.used = set()
        self.layers, self.parts = self.read_layers()

    def read(self, path):
        with open(os.path.join(self.root, path), encoding="utf-8", errors="replace") as file:
            return file.read().splitlines()

    def read_allowed(self):
        allowed = {}
        for line in self.read(".ci/allow.txt"):
            if line.strip() and not line.startswith("#"):
                rule, path, reason = (cell.strip() for cell in line.split("|", 2))
                allowed[rule, path] = reason
        return allowed

    def read_layers(self):
        layers, parts = {}, {}
        for line in self.read(".ci/layers.txt"):
            if line.startswith("#") or not line.strip():
                continue
            if "=" in line:
                part, headers = line.split("=")
                for header in headers.split():
                    parts[header] = part.strip()
            else:
                folder, ours, third = line.split("|")
                layers[folder.strip()] = (set(ours.split()), set(third.split()))
        return layers, parts

    def report(self, rule, path, line, text):
        if (rule, path) in self.allowed:
            self.used.add((rule, path))
        else:
            self.findings.append(f"{path}:{line}: {rule}: {text}")

    def paths(self):
        for folder, folders, files in os.walk(self.root):
            folders[:] = sorted(name for name in folders if name not in SKIPPED)
            for name in sorted(set(files) - SKIPPED):  # `.git` is a file in a worktree of its own.
                yield os.path.relpath(os.path.join(folder, name), self.root)

    def check_include(self, path, number, quote, target):
        folder = path.split("/")[0]
        mine = self.parts.get(path, folder)
        if mine not in self.layers:
            return
        ours, third = self.layers[mine]
        if quote == '"':
            theirs = target.split("/")[0]
            if "/" not in target:
                if mine not in ("tests", "bench"):  # There a bare name is a neighbour.
                    self.report("include", path, number, f'write the full path of "{target}"')
            elif theirs not in (mine, folder) and theirs not in ours and self.parts.get(target) not in ours:
                self.report("layer", path, number, f'{mine} may not include "{target}"')
        elif not STANDARD.match(target):
            library = re.split(r"[/.]", target)[0]
            if library not in third:
                self.report("layer", path, number, f"{mine} may not include <{target}>")

    def check_code(self, path, lines):
        formatted = True
        if path.endswith(".h") and "#pragma once" not in lines:
            self.report("guard", path, 1, "#pragma once is missing")
        if path.endswith(".h") and not (lines and lines[0].startswith("//")):
            self.report("contract", path, 1, "a header opens with what it is, its units, thread, ownership and failure")
        for number, line in enumerate(lines, 1):
            if "clang-format" in line:
                formatted = "clang-format on" in line
            if formatted and len(line) > WIDTH:
                self.report("width", path, number, f"{len(line)} columns, at most {WIDTH}")
            if match := INCLUDE.match(line):
                self.check_include(path, number, match[1], match[2])
            code = re.sub(r'"(\\.|[^"\\])*"', '""', line).split("//")[0]
            for rule, pattern, where, home, advice in BANNED:
                if path.startswith(tuple(f"{folder}/" for folder in where)) and not path.startswith(home or "\0") \
                        and re.search(pattern, code):
                    self.report(rule, path, number, f"{line.strip()[:60]} — {advice}")
            if match := NAMES.search(code):
                self.report("name", path, number, f"{match[1]} says nothing")
        if len(lines) > LINES:
            self.report("length", path, len(lines), f"more than {LINES} lines: split it, or give a reason in .ci/allow.txt")

    def check_text(self, path, lines):
        fenced = False
        for number, line in enumerate(lines, 1):
            if line != line.rstrip() or "\t" in line and not path.endswith(".tsv"):
                self.report("space", path, number, "a tab, or space at the end of the line")
            if match := FORBIDDEN.search(line):
                self.report("unfinished", path, number, f"{match[0]}: finish it, or write what is missing as a limit")
            if match := MACHINE_PATH.search(line):
                self.report("machine", path, number, f"{match[0]} exists on one machine only")
            if path.endswith(".md"):
                fenced ^= line.startswith("```")
                for target in LINK.findall("" if fenced else line):
                    if "://" not in target and not target.startswith("mailto:"):
                        place = os.path.normpath(os.path.join(self.root, os.path.dirname(path), target))
                        if not os.path.exists(place):
                            self.report("link", path, number, f"{target} does not exist")
            if path.startswith("CHANGELOG"):
                continue
            for name in set(DOC_PATH.findall(line)):
                local = os.path.join(self.root, path.split("/")[0], name)
                if not os.path.exists(os.path.join(self.root, name)) and not os.path.exists(local):
                    self.report("path", path, number, f"{name} does not exist")

    def check_guarantees(self, paths):
        """What is guaranteed names the program or the test case that fails when it is false."""
        path, rows, cases = "docs/exactly_once.md", False, set()
        for source in paths:
            if source.startswith("tests/") and source.endswith(".cc"):
                for texts in TEST_CASE.findall("\n".join(self.read(source))):
                    cases.add("".join(re.findall(r'"((?:\\.|[^"\\])*)"', texts)))
        for number, line in enumerate(self.read(path), 1):
            rows = line.startswith("|") and (rows or line == "| guarantee | shown by |")
            if not rows or line in ("| guarantee | shown by |", "|---|---|"):
                continue
            names = re.findall(r"`([^`]+)`", line.split("|")[2])
            if not names:
                self.report("guarantee", path, number, "which test fails when this is false?")
            for name in names:
                program = name.split()[0]
                if name not in cases and program not in paths and f"{program}.cc" not in paths:
                    self.report("guarantee", path, number, f"no test is called `{name}`")

    def check_readmes(self, paths):
        for folder in sorted({os.path.dirname(path) for path in paths if path.endswith(CODE + (".yaml",))}):
            top = folder.split("/")[0]
            if folder and folder == top and folder not in ("cmake",) and f"{folder}/README.md" not in paths:
                self.report("readme", folder, 1, "where does this folder stand on the record's path?")

    def check_changelog(self):
        lines = self.read("CHANGELOG.md")
        first = next((i for i, line in enumerate(lines) if line.startswith("## ")), len(lines))
        second = next((i for i in range(first + 1, len(lines)) if lines[i].startswith("## ")), len(lines))
        headings = [line[4:] for line in lines[first:second] if line.startswith("### ")]
        if first == len(lines) or not lines[first].startswith("## [Unreleased]"):
            self.report("changelog", "CHANGELOG.md", 1, "the first section is [Unreleased]")
        elif headings != ["Behaviour", "Formats", "Added", "Fixed"]:
            self.report("changelog", "CHANGELOG.md", first + 1, "headings are Behaviour, Formats, Added, Fixed")

    def run(self):
        paths = list(self.paths())
        for path in paths:
            if path == "LICENSE" or not path.endswith(TEXT):
                continue
            lines = self.read(path)
            if path.endswith(CODE):
                self.check_code(path, lines)
            if not path.startswith((".ci/tidy.py", "tests/config/cases", "tests/fuzz/corpus", "tests/helm/golden")):
                self.check_text(path, lines)
        self.check_readmes(set(paths))
        self.check_guarantees(set(paths))
        self.check_changelog()
        for rule, path in sorted(set(self.allowed) - self.used):
            self.findings.append(f".ci/allow.txt: nothing needs the exception `{rule} | {path}`")
        for rule, path in sorted(self.used):
            if len(self.allowed[rule, path]) < 20:
                self.findings.append(f".ci/allow.txt: `{rule} | {path}` needs a reason")
        return self.findings


def main():
    root = sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
    findings = Tidy(os.path.normpath(root)).run()
    print("\n".join(findings) if findings else "tidy")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
