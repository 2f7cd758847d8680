#!/usr/bin/env python3
"""Checks that a bad program is refused, in the words that its `// expect:` lines promise, and in few lines."""

import argparse
import os
import re
import subprocess
import sys
from pathlib import Path

FEWER_LINES_THAN = 20


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--compiler", required=True)
    parser.add_argument("--include", required=True)
    parser.add_argument("program", type=Path)
    arguments = parser.parse_args()

    expected = re.findall(r"^// expect: *(.+?) *$", arguments.program.read_text(), re.MULTILINE)
    if not expected:
        sys.exit(f"{arguments.program} has no line `// expect: some words`")

    command = [arguments.compiler, "-std=c++20", "-fsyntax-only", f"-I{arguments.include}", str(arguments.program)]
    outcome = subprocess.run(
        command,
        env=os.environ | {"LC_ALL": "C"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    message = outcome.stdout

    complaints = []
    if outcome.returncode == 0:
        complaints.append("it compiles")
    else:
        words = " ".join(message.split())
        complaints += [f"nothing says: {e}" for e in expected if " ".join(e.split()) not in words]
        lines = len(message.splitlines())
        if lines >= FEWER_LINES_THAN:
            complaints.append(f"the message has {lines} lines, should have fewer than {FEWER_LINES_THAN}")

    print(message)
    for complaint in complaints:
        print(f"{arguments.program.name}: {complaint}")
    sys.exit(1 if complaints else 0)


if __name__ == "__main__":
    main()
