// Requests as bytes: Redis' protocol (RESP), of which a client needs no more than arrays of bulk strings. No I/O.
// Written out instead of redisFormatCommandArgv, which takes its words from memory that must be there at the same time,
// and copies them: a lock's request is the hottest thing that a busy node writes.
#pragma once

#include <charconv>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <string>
#include <string_view>

namespace rota::detail {

/// A number as text, without memory of its own.
class digits_of {
public:
    explicit digits_of(std::uint64_t value) noexcept
        : size_{static_cast<std::size_t>(std::to_chars(text_, text_ + sizeof text_, value).ptr - text_)} {}
    [[nodiscard]] std::string_view text() const noexcept { return {text_, size_}; }

private:
    char text_[20];
    std::size_t size_;
};

inline void append_number(std::string& out, std::uint64_t value) { out.append(digits_of{value}.text()); }

inline void append_header(std::string& out, char sigil, std::size_t value) {
    out += sigil;
    append_number(out, value);
    out.append("\r\n", 2);
}

/// One bulk string, which is what the parts are one after the other.
inline void append_bulk(std::string& out, std::initializer_list<std::string_view> parts) {
    std::size_t size = 0;
    for (auto const part : parts) size += part.size();
    digits_of const length{size};
    auto const before = out.size();
    out.resize(before + 1 + length.text().size() + 2 + size + 2);
    auto* at = out.data() + before;
    auto const put = [&at](std::string_view text) {
        if (!text.empty()) std::memcpy(at, text.data(), text.size());
        at += text.size();
    };
    *at++ = '$';
    put(length.text());
    put("\r\n");
    for (auto const part : parts) put(part);
    put("\r\n");
}
inline void append_bulk(std::string& out, std::string_view bytes) { append_bulk(out, {bytes}); }

inline void append_command(std::string& out, std::initializer_list<std::string_view> words) {
    append_header(out, '*', words.size());
    for (auto const word : words) append_bulk(out, word);
}

}  // namespace rota::detail
