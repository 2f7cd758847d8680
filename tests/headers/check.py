#!/usr/bin/env python3
"""Compiles every header below an include folder alone, and fails if one needs what it does not include, warns, or
cannot be included twice."""

import argparse
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

FLAGS = ["-std=c++20", "-fsyntax-only", "-Wall", "-Wextra", "-Wpedantic", "-Werror"]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--compiler", required=True)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("include", type=Path)
    arguments = parser.parse_args()

    headers = sorted(path.relative_to(arguments.include).as_posix() for path in arguments.include.rglob("*.hpp"))
    if not headers:
        sys.exit(f"no headers in {arguments.include}")

    with tempfile.TemporaryDirectory() as folder:

        def compile_alone(header):
            source = Path(folder) / (header.replace("/", "_") + ".cpp")
            source.write_text(f"#include <{header}>\n#include <{header}>\n")
            command = [arguments.compiler, *FLAGS, f"-I{arguments.include}", str(source)]
            return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")

        with ThreadPoolExecutor(arguments.jobs) as pool:
            outcomes = list(pool.map(compile_alone, headers))

    failures = 0
    for header, outcome in zip(headers, outcomes):
        if outcome.returncode != 0:
            failures += 1
            print(f"{header} does not compile alone:\n{outcome.stdout}")
    print(f"{len(headers) - failures} of {len(headers)} headers compile alone")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
