// Random bits that no other process shares, for session numbers and nonces. Not for jitter, which is seeded.
// (std::random_device would do, but <random> costs more to compile than most of rota.)
#pragma once

#include <chrono>
#include <cstdint>

#if defined(__APPLE__)
#include <sys/random.h>
#else
#include <unistd.h>
#endif

namespace rota::detail {

[[nodiscard]] inline std::uint64_t entropy() {
    std::uint64_t bits = 0;
    if (::getentropy(&bits, sizeof bits) == 0) return bits;
    // A kernel without: time and an address that the loader has shuffled.
    auto const now = std::chrono::steady_clock::now().time_since_epoch().count();
    return static_cast<std::uint64_t>(now) * 0x9e3779b97f4a7c15u ^ reinterpret_cast<std::uintptr_t>(&bits);
}

}  // namespace rota::detail
