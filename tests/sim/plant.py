#!/usr/bin/env python3
"""Copies of product files with the bugs of planted_bugs.txt in them, each behind its own switch.

    plant.py --files BUGS                     the files that are needed, one a line
    plant.py BUGS SOURCE-FOLDER OUT-FOLDER    writes OUT-FOLDER/<path> for each, and OUT-FOLDER/bugs.inc
"""

import os
import sys


def read(path):
    bugs, places, old, new = [], [], [], []

    def close():
        if old:
            places.append((len(bugs) - 1, file, "\n".join(old), "\n".join(new)))
        old.clear(), new.clear()

    for line in open(path, encoding="utf-8"):
        line = line.rstrip("\n")
        if line.startswith("bug "):
            close()
            name, what = line[4:].split(": ", 1)
            bugs.append((name, what))
        elif line.startswith("file "):
            close()
            file = line[5:]
        elif line.startswith("-"):
            old.append(line[1:])
        elif line.startswith("+"):
            new.append(line[1:])
    close()
    return bugs, places


def main():
    if sys.argv[1] == "--files":
        print("\n".join(sorted({file for _, file, _, _ in read(sys.argv[2])[1]})))
        return 0
    path, source, out = sys.argv[1:]
    bugs, places = read(path)
    texts = {}
    for bug, file, old, new in places:
        text = texts.get(file) or open(os.path.join(source, file), encoding="utf-8").read()
        if text.count(old) != 1:
            print(f"{path}: bug {bugs[bug][0]}: these lines stand {text.count(old)} times in {file}, not once; "
                  f"change the bug with the code:\n{old}", file=sys.stderr)
            return 1
        texts[file] = text.replace(old, new.replace("PLANTED", f"weir::sim::planted({bug})"))
    for file, text in texts.items():
        target = os.path.join(out, file)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        with open(target, "w", encoding="utf-8") as stream:
            stream.write('#include "tests/sim/planted.h"\n#line 1 "' + file + '"\n' + text)
    with open(os.path.join(out, "bugs.inc"), "w", encoding="utf-8") as stream:
        for name, what in bugs:
            stream.write(f'{{"{name}", "{what}"}},\n')
    return 0


if __name__ == "__main__":
    sys.exit(main())
