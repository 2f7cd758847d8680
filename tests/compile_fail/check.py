#!/usr/bin/env python3
"""Checks that a bad program is refused, in the words that its `// expect:` lines promise, and in few lines."""

import argparse
import os
import re
import subprocess
import sys
from pathlib import Path

FEWER_LINES_THAN = 20


def precompiled_header(compiler, folder):
    """What to write, and the words that use it."""
    if "clang" in Path(compiler).name:
        header = folder / "precompiled.pch"
        return header, ["-include-pch", str(header)]
    return folder / "precompiled.hpp.gch", ["-Winvalid-pch", "-include", str(folder / "precompiled.hpp")]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--compiler", required=True)
    parser.add_argument("--include", required=True)
    parser.add_argument("--precompiled", type=Path, required=True, help="a folder for the precompiled header")
    parser.add_argument("--precompile", action="store_true", help="make it, of the header given as the program")
    parser.add_argument("program", type=Path)
    arguments = parser.parse_args()
    os.nice(19)  # tests in real time may run beside this
    compile_it = [arguments.compiler, "-std=c++20", f"-I{arguments.include}"]
    header, use_it = precompiled_header(arguments.compiler, arguments.precompiled)

    if arguments.precompile:
        arguments.precompiled.mkdir(parents=True, exist_ok=True)
        sys.exit(subprocess.run([*compile_it, "-x", "c++-header", arguments.program, "-o", header]).returncode)

    program = arguments.program.read_text()
    expected = re.findall(r"^// expect: *(.+?) *$", program, re.MULTILINE)
    if not expected:
        sys.exit(f"{arguments.program} has no line `// expect: some words`")
    alone = re.search(r"^// alone$", program, re.MULTILINE)

    command = [*compile_it, *([] if alone else use_it), "-fsyntax-only", str(arguments.program)]
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
