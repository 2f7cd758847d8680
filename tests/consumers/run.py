#!/usr/bin/env python3
"""Builds and runs one of the consumer projects in this folder, from nothing, in a folder of its own.

Nearly all is compiled without optimisation, so that whatever a compiler might emit without need shows up at link time:
a program that uses no Redis must link without hiredis even where hiredis' headers are found.
"""

import argparse
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
FLAGS = ["-std=c++20", "-O0", "-Wall", "-Wextra", "-Wpedantic", "-Werror"]
CONSUMERS = [
    "install",
    "find_package",
    "pkg_config",
    "add_subdirectory",
    "single_file",
    "single_file_no_hiredis",
    "two_translation_units",
    "simulator",
]


class Run:
    def __init__(self, arguments):
        self.source = arguments.source
        self.build = arguments.build
        self.cmake = arguments.cmake
        self.generator = arguments.generator
        self.compiler = arguments.compiler
        self.hiredis = arguments.hiredis
        self.prefix = arguments.folder / "installed"
        self.project = HERE / arguments.consumer
        self.folder = arguments.folder / arguments.consumer
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)

    # --- steps

    def command(self, *words, env=None):
        words = [str(word) for word in words]
        print("$", shlex.join(words), flush=True)
        outcome = subprocess.run(words, cwd=self.folder, env=os.environ | (env or {}))
        if outcome.returncode != 0:
            sys.exit(f"failed with {outcome.returncode}")

    def output_of(self, *words, env=None):
        return subprocess.run(words, env=os.environ | (env or {}), check=True, stdout=subprocess.PIPE, text=True).stdout

    def compile_and_run(self, name, *words):
        self.command(self.compiler, *FLAGS, *words, "-o", name)
        self.command(self.folder / name)

    def cmake_project(self, programs, *definitions):
        build = self.folder / "build"
        self.command(
            self.cmake, "-S", self.project, "-B", build, "-G", self.generator, "-DCMAKE_BUILD_TYPE=Debug",
            f"-DCMAKE_CXX_COMPILER={self.compiler}", *definitions,
        )  # fmt: skip
        self.command(self.cmake, "--build", build)
        for program in programs:
            self.command(build / program)

    def libraries(self, hiredis):
        return (["-lhiredis"] if hiredis else []) + ["-lfmt", "-pthread"]

    # --- consumers

    def install(self):
        shutil.rmtree(self.prefix, ignore_errors=True)
        self.command(self.cmake, "--install", self.build, "--prefix", self.prefix)

    def find_package(self):
        programs = ["without_redis", *(["with_redis"] if self.hiredis else [])]
        expect = f"-DEXPECT_HIREDIS={'ON' if self.hiredis else 'OFF'}"
        self.cmake_project(programs, f"-DCMAKE_PREFIX_PATH={self.prefix}", expect)

    def add_subdirectory(self):
        program = "with_redis" if self.hiredis else "without_redis"
        self.cmake_project([program], f"-DROTA_SOURCE_DIR={self.source}")

    def pkg_config(self):
        path = {"PKG_CONFIG_PATH": str(self.prefix / "share" / "pkgconfig")}
        flags = shlex.split(self.output_of("pkg-config", "--cflags", "--libs", "rota", env=path))
        if not self.hiredis:
            self.compile_and_run("without_redis", HERE / "find_package" / "without_redis.cpp", *flags)
            return
        flags = shlex.split(self.output_of("pkg-config", "--cflags", "--libs", "rota", "hiredis", env=path))
        self.compile_and_run("with_redis", HERE / "find_package" / "with_redis.cpp", *flags)

    def copy_single_file(self):
        shutil.copy(self.source / "single_include" / "rota" / "rota.hpp", self.folder)
        shutil.copy(self.project / "main.cpp", self.folder)

    def single_file(self):
        self.copy_single_file()
        # As services are released: some warnings come with optimisation only.
        self.compile_and_run("program", "-O3", "-DNDEBUG", "main.cpp", *self.libraries(hiredis=True))

    def single_file_no_hiredis(self):
        self.copy_single_file()
        self.compile_and_run("opted_out", "-DROTA_NO_HIREDIS", "main.cpp", *self.libraries(hiredis=False))
        self.compile_and_run("just_not_linked", "main.cpp", *self.libraries(hiredis=False))

    def two_translation_units(self):
        units = [self.project / "main.cpp", self.project / "other.cpp"]
        where = f"-I{self.source / 'single_include'}"
        self.compile_and_run("program", where, *units, *self.libraries(self.hiredis))

    def simulator(self):
        """The two single files and a main.cpp. What is simulated is the same whatever compiled it."""
        for name in ("rota.hpp", "sim.hpp"):
            shutil.copy(self.source / "single_include" / "rota" / name, self.folder)
        shutil.copy(self.project / "main.cpp", self.folder)
        other = shutil.which("g++" if "clang" in Path(self.compiler).name else "clang++-19")
        builds = {
            "not_optimised": [self.compiler, "main.cpp"],
            "optimised": [self.compiler, "-O2", "-DNDEBUG", "main.cpp"],
            "other_compiler": [other, "-O1", "main.cpp"],
        }
        outputs = set()
        for name, (compiler, *words) in builds.items():
            if compiler is None:
                print("no other compiler here")
                continue
            self.command(compiler, *FLAGS, *words, *self.libraries(hiredis=False), "-o", name)
            for _ in range(2):
                outputs.add(self.output_of(self.folder / name))
        print("\n".join(outputs))
        if len(outputs) != 1:
            sys.exit("the same seeds gave different runs")


def main():
    parser = argparse.ArgumentParser(description="Builds and runs one consumer project.")
    parser.add_argument("consumer", choices=CONSUMERS)
    parser.add_argument("--source", type=Path, required=True, help="rota's source folder")
    parser.add_argument("--build", type=Path, required=True, help="a build folder of rota, to install from")
    parser.add_argument("--folder", type=Path, required=True, help="where to work")
    parser.add_argument("--cmake", required=True)
    parser.add_argument("--generator", required=True)
    parser.add_argument("--compiler", required=True)
    parser.add_argument("--hiredis", action="store_true", help="hiredis is there: build what needs it, too")
    arguments = parser.parse_args()
    os.nice(19)  # tests in real time may run beside this
    getattr(Run(arguments), arguments.consumer)()


if __name__ == "__main__":
    main()
