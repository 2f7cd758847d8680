#!/usr/bin/env python3
"""Compiles every header below an include folder alone, and fails if one needs what it does not include, warns, or
cannot be included twice."""

import argparse
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

# What adapts something that need not be there is left out where it is not.
NEEDS = {
    "rota/loop/libuv_loop.hpp": "uv.h",
    "rota/loop/libevent_loop.hpp": "event2/event.h",
    "rota/loop/asio_loop.hpp": "asio.hpp",
}

FLAGS = ["-std=c++20", "-fsyntax-only", "-Wall", "-Wextra", "-Wpedantic", "-Werror"]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--compiler", required=True)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("include", type=Path)
    arguments = parser.parse_args()
    os.nice(19)  # tests in real time may run beside this

    headers = sorted(path.relative_to(arguments.include).as_posix() for path in arguments.include.rglob("*.hpp"))
    if not headers:
        sys.exit(f"no headers in {arguments.include}")

    def there(needed):
        probe = f"#if !__has_include(<{needed}>)\n#error\n#endif\n"
        command = [arguments.compiler, "-x", "c++", "-E", "-"]
        return subprocess.run(command, input=probe, text=True, capture_output=True).returncode == 0

    headers = [h for h in headers if h not in NEEDS or there(NEEDS[h])]

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
