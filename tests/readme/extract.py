#!/usr/bin/env python3
"""Makes C++ sources of the ```cpp blocks of a README, so that a test can compile what readers copy.

    extract.py README.md FOLDER

A block becomes
  program_<line>.cpp  as it is, if it has a main function;
  file_<line>.cpp     as it is, if it begins with an #include;
  part of pieces.cpp  otherwise: the body of a function, after `#include <rota/rota.hpp>` and the usual usings.

What a piece takes for granted (or how it is to be read) can be said in a comment before it, which readers of the
rendered page do not see:

    <!-- given: rota::coordinator& node; void process(std::string_view); -->
        these declarations come first in the function. `T& name;` becomes a parameter of that function.
    <!-- at file scope -->
        the block is no function body but stands at namespace scope (templates, a namespace of its own).
    <!-- continues -->
        the block goes on in the function of the piece before it, and sees its variables.

Compilers report errors at the lines of the README itself.
"""

import argparse
import re
from pathlib import Path

BLOCK = re.compile(r"^```(?:cpp|c\+\+)[^\n]*\n(.*?)^```[ \t]*$", re.MULTILINE | re.DOTALL)
COMMENT_BEFORE = re.compile(r"<!--(?P<text>(?:(?!-->).)*)-->\s*\Z", re.DOTALL)
MAIN = re.compile(r"^\s*(?:int|auto)\s+main\s*\(", re.MULTILINE)
PARAMETER = re.compile(r"\s*([\w:<>, ]+?)\s*(&&?)\s*(\w+)\s*;")

PROLOGUE = """\
#include <rota/rota.hpp>

#include <chrono>
#include <cstdio>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <fmt/core.h>

using namespace std::chrono_literals;
"""


class Function:
    """A piece: a function whose body is one or more blocks."""

    def __init__(self, line, given):
        self.name = f"line_{line}"
        self.parameters = [f"{kind}{ref} {name}" for kind, ref, name in PARAMETER.findall(given)]
        self.body = [PARAMETER.sub("", given).strip()]

    def source(self):
        opening = f"int {self.name}({', '.join(self.parameters)});\nint {self.name}({', '.join(self.parameters)}) {{"
        return "\n".join(["namespace readme {", opening, *self.body, "return 0;", "}", "}  // namespace readme"])


def sources_of(text, readme):
    """file name -> C++ source."""
    sources = {}
    pieces = []
    for block in BLOCK.finditer(text):
        code = block.group(1)
        line = text.count("\n", 0, block.start(1)) + 1
        located = f'#line {line} "{readme}"\n{code}'
        before = COMMENT_BEFORE.search(text, 0, block.start())
        note = before.group("text").strip() if before else ""

        if MAIN.search(code):
            sources[f"program_{line}.cpp"] = located
        elif code.lstrip().startswith("#include"):
            sources[f"file_{line}.cpp"] = located
        elif note == "at file scope":
            pieces.append(f"namespace readme::line_{line}_ {{\n{located}}}  // namespace")
        elif note == "continues":
            if not pieces or not isinstance(pieces[-1], Function):
                raise SystemExit(f"{readme}:{line}: continues what? There is no piece before this one.")
            pieces[-1].body.append(located)
        else:
            pieces.append(Function(line, note.removeprefix("given:").strip() if note.startswith("given:") else ""))
            pieces[-1].body.append(located)

    if pieces:
        bodies = [piece.source() if isinstance(piece, Function) else piece for piece in pieces]
        sources["pieces.cpp"] = PROLOGUE + "\n" + "\n\n".join(bodies) + "\n"
    return sources


def main():
    parser = argparse.ArgumentParser(description="Makes C++ sources of the C++ blocks of a README.")
    parser.add_argument("readme", type=Path)
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()

    text = arguments.readme.read_text(encoding="utf-8") if arguments.readme.is_file() else ""
    sources = sources_of(text, arguments.readme.as_posix())

    arguments.folder.mkdir(parents=True, exist_ok=True)
    for path in arguments.folder.glob("*.cpp"):
        if path.name not in sources:
            path.unlink()
    for name, source in sources.items():
        path = arguments.folder / name
        if not path.is_file() or path.read_text(encoding="utf-8") != source:
            path.write_text(source, encoding="utf-8")


if __name__ == "__main__":
    main()
