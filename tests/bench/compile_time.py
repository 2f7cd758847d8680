#!/usr/bin/env python3
"""What including rota costs a compiler: user time at -O0, next to a fixed list of headers.

Each round compiles every program once, in turn, so that a busy machine disturbs all alike; the figures are medians, and
the ratio is the median of the rounds' ratios. What is only reported is compiled twice, afterwards.

    compile_time.py [--compiler g++] [--rounds 15] [--include DIR] [--flags=...]
"""

import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TARGET = 1.6
SECONDS = 30.0  # no further round is begun after that

FIXED_LIST = ["string", "vector", "functional", "chrono", "stop_token", "unordered_map", "fmt/core.h"]


def including(headers):
    return "".join(f"#include <{header}>\n" for header in headers)


def smallest_program():
    """The first C++ block of the README that is a whole program."""
    blocks = re.findall(r"^```cpp\n(.*?)^```", (ROOT / "README.md").read_text(encoding="utf-8"), re.M | re.S)
    return next(block for block in blocks if "int main(" in block)


def user_time(command):
    """Seconds of user time of a command and what it starts."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}\n{output}")
    return usage.ru_utime


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--compiler", default="g++")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--include", default=str(ROOT / "include"), help="where rota/rota.hpp is")
    parser.add_argument("--flags", default="", help="more flags, e.g. where fmt is")
    arguments = parser.parse_args()

    no_hiredis = ["-DROTA_NO_HIREDIS"]
    programs = {  # name: (source, flags)
        "the fixed list": (including(FIXED_LIST), []),
        "rota/rota.hpp, no hiredis": (including(["rota/rota.hpp"]), no_hiredis),
        "rota/rota.hpp": (including(["rota/rota.hpp"]), []),
        "the README's smallest program": (smallest_program(), []),
    }
    base, figure = "the fixed list", "rota/rota.hpp, no hiredis"

    times = {name: [] for name in programs}
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="rota-compile-time-") as folder:
        def compile_all(names):
            for name in names:
                source, flags = programs[name]
                (Path(folder) / "program.cpp").write_text(source, encoding="utf-8")
                command = [arguments.compiler, "-std=c++20", "-O0", "-c", f"{folder}/program.cpp",
                           "-o", f"{folder}/out.o", "-I", arguments.include, *flags, *arguments.flags.split()]
                times[name].append(user_time(command))

        compile_all([base, figure])  # warms up, and does not count
        times = {name: [] for name in programs}
        while len(times[figure]) < arguments.rounds and (len(times[figure]) < 3 or time.monotonic() - began < SECONDS):
            compile_all([base, figure])
        for _ in range(2):
            compile_all(name for name in programs if name not in (base, figure))

    rounds = len(times[figure])
    ratio = statistics.median(a / b for a, b in zip(times[figure], times[base]))
    print(f"{arguments.compiler} -O0, user time, median of {rounds} rounds")
    for name in programs:
        seconds = statistics.median(times[name])
        print(f"  {name:<32} {seconds:6.2f} s  {seconds / statistics.median(times[base]):6.2f} x")
    print(f"rota.hpp without hiredis / the fixed list: {ratio:.2f}   target <= {TARGET}   "
          f"{'met' if ratio <= TARGET else 'MISSED'}")


if __name__ == "__main__":
    try:
        main()
    except (RuntimeError, OSError, StopIteration) as problem:
        print(f"compile_time.py: could not measure: {problem}", file=sys.stderr)
        sys.exit(1)
