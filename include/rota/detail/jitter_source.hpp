// Numbers that look random and are the same on every platform, for jitter and nonces.
#pragma once

#include <cstdint>
#include <string>

#include "../types.hpp"

namespace rota::detail {

/// A small generator (xorshift64*, Vigna 2016).
class jitter_source {
public:
    explicit jitter_source(std::uint64_t seed) : state_{seed ? seed : 0x9e3779b97f4a7c15u} {}
    std::uint64_t next() {
        state_ ^= state_ >> 12;
        state_ ^= state_ << 25;
        state_ ^= state_ >> 27;
        return state_ * 0x2545f4914f6cdd1du;
    }
    /// 0 .. most, inclusive.
    microseconds up_to(microseconds most) {
        if (most <= microseconds{}) return {};
        return microseconds{static_cast<microseconds::rep>(next() % (static_cast<std::uint64_t>(most.count()) + 1))};
    }

private:
    std::uint64_t state_;
};

/// FNV-1a, for seeds.
[[nodiscard]] inline std::uint64_t hash_of(std::string const& text) {
    std::uint64_t h = 0xcbf29ce484222325u;
    for (char c : text) h = (h ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
    return h;
}

}  // namespace rota::detail
