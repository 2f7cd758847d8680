#!/usr/bin/env python3
"""Writes the single headers single_include/rota/rota.hpp and single_include/rota/sim.hpp from include/rota/.

Includes of rota's own headers are replaced by their text, each once, where it is first needed. What is inside
`#if ... #endif` stays inside: nothing is hoisted. A header that is first needed under a condition, and later where that
condition may not hold, would be missing there; that is refused, with the place to mend. sim.hpp includes "rota.hpp"
for all that rota.hpp holds.

    amalgamate.py                              write the files
    amalgamate.py --check                      write nothing; fail if they differ from what would be written
    amalgamate.py --forwarding-headers FOLDER  make FOLDER/rota/... a copy of include/rota/... in which each header just
                                               includes the single header that holds it (to test the single headers)
"""

import argparse
import difflib
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
INCLUDE = ROOT / "include"
OUTPUT = ROOT / "single_include" / "rota"
FIX = "python3 single_include/amalgamate.py"

INCLUDE_LINE = re.compile(r'\s*#\s*include\s*(?:"([^"]+)"|<([^>]+)>)')
DIRECTIVE = re.compile(r"\s*#\s*(if|ifdef|ifndef|elif|else|endif|pragma)\b\s*(.*)")


def fail(message):
    sys.exit(f"amalgamate.py: {message}")


def name_of(path):
    return path.relative_to(INCLUDE).as_posix()


class CodeLines:
    """Tells which lines of a file begin in code, that is not within a comment or a string; only those can be
    directives. Block comments and raw strings (which hold Lua) are what may span lines."""

    def __init__(self):
        self.ends_with = None  # what closes the comment or raw string that is open
        self.continued = False  # the last line ended in a backslash

    def begins_in_code(self, line):
        result = self.ends_with is None and not self.continued
        self._scan(line)
        self.continued = line.endswith("\\") and self.ends_with is None
        return result

    def _scan(self, line):
        at = 0
        while at < len(line):
            if self.ends_with is not None:
                end = line.find(self.ends_with, at)
                if end < 0:
                    return
                at = end + len(self.ends_with)
                self.ends_with = None
                continue
            raw = re.compile(r'(?<![A-Za-z0-9_])(?:u8|u|U|L)?R"([^()\\ ]{0,16})\(').match(line, at)
            if raw:
                self.ends_with = ")" + raw.group(1) + '"'
                at = raw.end()
            elif line.startswith("/*", at):
                self.ends_with = "*/"
                at += 2
            elif line.startswith("//", at):
                return
            elif line[at] == '"' or (line[at] == "'" and not (at and (line[at - 1].isalnum() or line[at - 1] == "_"))):
                quote, at = line[at], at + 1
                while at < len(line) and line[at] != quote:
                    at += 2 if line[at] == "\\" else 1
                at += 1
            else:
                at += 1


class SingleHeader:
    """The text of one single header, made by inlining from `root`. `given` are the headers that rota.hpp already holds,
    with the conditions under which it does."""

    def __init__(self, root, given=None):
        self.lines = []
        self.inlined = {}  # header -> the conditions under which its text stands
        self.kept = {}  # #include line that stays -> the conditions under which it stands
        self.stack = []  # the files being read, for messages and against circles
        self.given = given or {}
        self.conditions = []  # per open #if: the conditions of its present branch
        self._inline(root)

    def _holds(self):
        return frozenset(text for branch in self.conditions for text in branch)

    def _resolve(self, file, quoted, angled):
        """The file of ours that an #include means, or None if it is not ours."""
        if angled is not None:
            path = INCLUDE / angled
            if not angled.startswith("rota/"):
                return None
        else:
            path = (file.parent / quoted).resolve()
            if not path.is_file():
                path = INCLUDE / quoted
        if not path.is_file():
            fail(f'{name_of(file)} includes "{quoted or angled}", which is no file')
        return path.resolve()

    def _inline(self, file):
        self.inlined[file] = self._holds()
        self.stack.append(file)
        depth = len(self.conditions)
        text = file.read_text(encoding="utf-8").splitlines()
        code = CodeLines()
        self._emit("")
        self._emit(f"// {'-' * 4} {name_of(file)} {'-' * max(4, 110 - len(name_of(file)))}")
        for number, line in enumerate(text, 1):
            if code.begins_in_code(line):
                self._line(file, number, line)
            else:
                self.lines.append(line)
        if len(self.conditions) != depth:
            fail(f"{name_of(file)}: #if without #endif")
        self.stack.pop()

    def _line(self, file, number, line):
        include = INCLUDE_LINE.match(line)
        directive = DIRECTIVE.match(line)
        if include:
            self._include(file, number, line, *include.groups())
        elif directive and directive.group(1) == "pragma" and directive.group(2).split()[:1] == ["once"]:
            pass
        else:
            if directive:
                self._track(file, number, *directive.groups())
            self._emit(line)

    def _track(self, file, number, word, rest):
        rest = re.sub(r"\s+", " ", re.sub(r"//.*|/\*.*?\*/", "", rest)).strip()
        if word in ("ifdef", "ifndef"):
            word, rest = "if", ("" if word == "ifdef" else "!") + f"defined({rest})"
        if word == "if":
            self.conditions.append([rest])
        elif word in ("elif", "else", "endif"):
            if not self.conditions:
                fail(f"{name_of(file)}:{number}: #{word} without #if")
            if word == "endif":
                self.conditions.pop()
            else:
                branch = self.conditions[-1]
                branch[-1] = f"!({branch[-1]})"
                if word == "elif":
                    branch.append(rest)

    def _include(self, file, number, line, quoted, angled):
        header = self._resolve(file, quoted, angled)
        if header is None:
            self._once(line)
        elif header in self.given:
            self._demand(file, number, header, self.given[header])
            self._once('#include "rota.hpp"')
        elif header not in self.inlined:
            self._inline(header)
        elif header in self.stack:
            circle = self.stack[self.stack.index(header) :] + [header]
            fail("circle of includes: " + " -> ".join(map(name_of, circle)))
        else:
            self._demand(file, number, header, self.inlined[header])

    def _demand(self, file, number, header, conditions):
        """The text of `header` stands under `conditions`: they must hold here."""
        missing = conditions - self._holds()
        if missing:
            fail(
                f"{name_of(file)}:{number} needs {name_of(header)}, whose text comes earlier under a condition that "
                f"need not hold here: {', '.join(sorted(missing))}.\nInclude {name_of(header)} before that condition."
            )

    def _once(self, line):
        """An include that stays; dropped if it is sure to stand earlier."""
        key = re.sub(r"\s+|//.*", "", line)
        seen = self.kept.get(key)
        if seen is None or not seen <= self._holds():
            self._emit(line)
            self.kept[key] = self._holds() if seen is None else seen & self._holds()

    def _emit(self, line):
        # One empty line at most where directives fell out.
        if line.strip() or (self.lines and self.lines[-1].strip()):
            self.lines.append(line.rstrip())

    def text(self, what):
        notice = [
            f"rota {version()}: {what}, all in one file.",
            "Generated from include/rota/ by single_include/amalgamate.py; do not edit.",
            "",
            "SPDX-License-Identifier: MIT",
            "",
            *(ROOT / "LICENSE").read_text(encoding="utf-8").splitlines(),
        ]
        head = [("// " + line).rstrip() for line in notice] + ["", "#pragma once", ""]
        return "\n".join(head + self.lines).rstrip("\n") + "\n"


def version():
    text = (INCLUDE / "rota" / "version.hpp").read_text(encoding="utf-8")
    numbers = (re.search(rf"#define ROTA_VERSION_{part} (\d+)", text) for part in ("MAJOR", "MINOR", "PATCH"))
    return ".".join(number.group(1) for number in numbers)


def single_headers():
    """The single headers: file name -> SingleHeader."""
    result = {"rota.hpp": SingleHeader((INCLUDE / "rota" / "rota.hpp").resolve())}
    simulator = INCLUDE / "rota" / "sim.hpp"
    if simulator.is_file():
        result["sim.hpp"] = SingleHeader(simulator.resolve(), given=result["rota.hpp"].inlined)
    return result


WHAT = {"rota.hpp": "the library", "sim.hpp": "the simulator"}


def write_if_changed(path, text):
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="\n")


def check(texts):
    """Fails if a file differs from its text, or should not be there."""
    wrong = [OUTPUT / name for name in texts if not (OUTPUT / name).is_file()]
    for path in wrong:
        print(f"{path.relative_to(ROOT)} is missing")
    for path in sorted(OUTPUT.glob("*")):
        expected = texts.get(path.name)
        if expected is None:
            print(f"{path.relative_to(ROOT)} is no single header: remove it")
            wrong.append(path)
            continue
        present = path.read_text(encoding="utf-8")
        if present != expected:
            relative = path.relative_to(ROOT).as_posix()
            print(f"{relative} is not what include/ gives:")
            lines = present.splitlines(), expected.splitlines()
            difference = list(difflib.unified_diff(*lines, relative, "generated", n=1, lineterm=""))
            print("\n".join(difference[:40]))
            if len(difference) > 40:
                print(f"... and {len(difference) - 40} more lines")
            wrong.append(path)
    if wrong:
        sys.exit(f"\nThe single headers are out of date. To bring them up to date:\n\n    {FIX}\n")
    print("The single headers are up to date.")


def forward(headers, folder):
    """Makes `folder` an include folder in which every header is the single one that holds it; those that none holds
    (what a program opts into) are copied."""
    expected = set()
    for name, single_header in headers.items():
        single = (OUTPUT / name).as_posix()
        for header in single_header.inlined:
            path = folder / name_of(header)
            expected.add(path)
            write_if_changed(path, f'#pragma once\n#include "{single}"\n')
    for header in INCLUDE.rglob("*.hpp"):
        path = folder / name_of(header)
        if path not in expected:
            expected.add(path)
            write_if_changed(path, header.read_text(encoding="utf-8"))
    for path in folder.rglob("*.hpp"):
        if path not in expected:
            path.unlink()


def main():
    parser = argparse.ArgumentParser(description="Generates the single headers.")
    parser.add_argument("--check", action="store_true", help="only compare; fail on any difference")
    parser.add_argument("--forwarding-headers", metavar="FOLDER", type=Path, help="make an include folder for tests")
    arguments = parser.parse_args()

    headers = single_headers()
    texts = {name: header.text(WHAT[name]) for name, header in headers.items()}
    if arguments.check:
        check(texts)
    elif arguments.forwarding_headers:
        forward(headers, arguments.forwarding_headers.resolve())
    else:
        for name, text in texts.items():
            write_if_changed(OUTPUT / name, text)


if __name__ == "__main__":
    main()
