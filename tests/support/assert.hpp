// Turns rota's invariants on in the tests. Included by the build before everything else in every translation unit of a
// test program (see tests/CMakeLists.txt), so that the whole program agrees on what ROTA_ASSERT means.
#pragma once

#include <cstdio>
#include <cstdlib>

/// A broken invariant is a bug of rota: say which, and stop where a debugger can see it.
[[noreturn]] inline void rota_test_invariant_broken(char const* invariant, char const* file, int line) {
    std::fprintf(stderr, "%s:%d: invariant broken: %s\n", file, line, invariant);
    std::abort();
}

#define ROTA_ASSERT(condition) \
    ((condition) ? static_cast<void>(0) : ::rota_test_invariant_broken(#condition, __FILE__, __LINE__))
