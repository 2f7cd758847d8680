// SHA-1 (FIPS 180-4, section 6.1), by which Redis names scripts. Not for secrets: nothing here protects anything.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace rota::detail {

/// One step of SHA-1: a block of 64 bytes into the state.
inline void sha1_block(std::array<std::uint32_t, 5>& state, std::array<std::uint8_t, 64> const& block) noexcept {
    std::array<std::uint32_t, 80> words;
    for (std::size_t i = 0; i < 16; ++i) {
        words[i] = std::uint32_t{block[4 * i]} << 24 | std::uint32_t{block[4 * i + 1]} << 16 |
                   std::uint32_t{block[4 * i + 2]} << 8 | std::uint32_t{block[4 * i + 3]};
    }
    for (std::size_t i = 16; i < 80; ++i) {
        words[i] = std::rotl(words[i - 3] ^ words[i - 8] ^ words[i - 14] ^ words[i - 16], 1);
    }
    auto [a, b, c, d, e] = state;
    for (std::size_t i = 0; i < 80; ++i) {
        std::uint32_t mixed = 0;
        if (i < 20) {
            mixed = ((b & c) | (~b & d)) + 0x5a827999U;
        } else if (i < 40) {
            mixed = (b ^ c ^ d) + 0x6ed9eba1U;
        } else if (i < 60) {
            mixed = ((b & c) | (b & d) | (c & d)) + 0x8f1bbcdcU;
        } else {
            mixed = (b ^ c ^ d) + 0xca62c1d6U;
        }
        auto const next = std::rotl(a, 5) + mixed + e + words[i];
        e = d;
        d = c;
        c = std::rotl(b, 30);
        b = a;
        a = next;
    }
    state = {state[0] + a, state[1] + b, state[2] + c, state[3] + d, state[4] + e};
}

/// The digest of `text` in 40 lower-case hexadecimal digits.
[[nodiscard]] inline std::string sha1_hex(std::string_view text) {
    std::array<std::uint32_t, 5> state{0x67452301U, 0xefcdab89U, 0x98badcfeU, 0x10325476U, 0xc3d2e1f0U};
    std::array<std::uint8_t, 64> block{};
    std::size_t filled = 0;
    auto const put = [&](std::uint8_t byte) {
        block[filled++] = byte;
        if (filled < block.size()) return;
        sha1_block(state, block);
        filled = 0;
    };
    for (char const c : text) put(static_cast<std::uint8_t>(c));
    put(0x80);
    while (filled != block.size() - 8) put(0);
    auto const bits = std::uint64_t{text.size()} * 8;
    for (int shift = 56; shift >= 0; shift -= 8) put(static_cast<std::uint8_t>(bits >> shift));

    std::string digest;
    for (auto const word : state) {
        for (int shift = 28; shift >= 0; shift -= 4) digest += "0123456789abcdef"[word >> shift & 0xfU];
    }
    return digest;
}

}  // namespace rota::detail
