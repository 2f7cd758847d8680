// A line for whoever operates the process.
#pragma once

#include <cstdio>
#include <string>

namespace rota::detail {

/// To stderr, as one fwrite. That nobody can read it is no failure.
inline void say(std::string line) {
    line.insert(0, "rota: ") += '\n';
    static_cast<void>(std::fwrite(line.data(), 1, line.size(), stderr));
}

}  // namespace rota::detail
