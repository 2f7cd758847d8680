// The hashes of strategies that place by hash: the same on every platform, compiler and version of rota, since two
// leaders that hash differently would move everything back and forth. Not for secrets, nor against chosen ids.
//
// mix() is the finaliser of SplitMix64 (Steele, Lea, Flood 2014, with the constants of Stafford's variant 13), a
// bijection in which each bit of the input changes each bit of the result with a chance of about one half.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace rota::detail {

[[nodiscard]] constexpr std::uint64_t mix(std::uint64_t x) noexcept {
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9U;
    x = (x ^ x >> 27) * 0x94d049bb133111ebU;
    return x ^ x >> 31;
}

/// Eight bytes a step, put together by shifts so that the order of bytes in memory does not matter.
[[nodiscard]] constexpr std::uint64_t hash_of_id(std::string_view id) noexcept {
    auto const word = [&](std::size_t from, std::size_t bytes) {
        std::uint64_t read = 0;
        for (std::size_t i = 0; i < bytes; ++i) {
            read |= std::uint64_t{static_cast<unsigned char>(id[from + i])} << 8 * i;
        }
        return read;
    };
    auto hash = mix(id.size() + 0x9e3779b97f4a7c15U);
    std::size_t at = 0;
    for (; id.size() - at >= 8; at += 8) hash = mix(hash ^ word(at, 8)) + 0x9e3779b97f4a7c15U;
    return mix(hash ^ word(at, id.size() - at));
}

/// The score of a pair, from the hashes of both ids: as good as drawn at random, uniformly, for each pair.
[[nodiscard]] constexpr std::uint64_t pair_hash(std::uint64_t schedule, std::uint64_t node) noexcept {
    return mix(schedule ^ node);
}

inline constexpr unsigned log_fraction_bits = 26;

/// -ln(hash / 2^64) in units of 2^-26, a few of them off at most, and never more than two below (2^64 - 1 - hash) / 2^64;
/// at most 45 x 2^26. Integers only: what <cmath> answers may differ in the last bit from one C library to the next. The
/// binary logarithm comes bit by bit, by squaring (after Knuth, TAOCP volume 1, 1.2.2); some 50 ns.
[[nodiscard]] constexpr std::uint32_t minus_log(std::uint64_t hash) noexcept {
    constexpr std::uint64_t ln2 = 744261118;  // x 2^30
    auto const zeros = static_cast<unsigned>(std::countl_zero(hash | 1));
    auto mantissa = (hash | 1) << zeros >> 32;  // 1 <= mantissa x 2^-31 < 2
    std::uint64_t fraction = 0;
    for (unsigned bit = 0; bit < log_fraction_bits + 2; ++bit) {
        auto const square = mantissa * mantissa;
        auto const carry = square >> 63;
        fraction = fraction << 1 | carry;
        mantissa = square >> (31 + carry);
    }
    auto const whole = std::uint64_t{zeros + 1} << (log_fraction_bits + 2);
    return static_cast<std::uint32_t>((whole - fraction) * ln2 >> 32);
}

}  // namespace rota::detail
