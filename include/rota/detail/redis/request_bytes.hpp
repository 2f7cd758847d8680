// Requests as bytes: Redis' protocol (RESP), of which a client needs no more than arrays of bulk strings. No I/O.
// Written out instead of redisFormatCommandArgv, which takes its words from memory that must be there at the same time,
// and copies them: a lock's request is the hottest thing that a busy node writes.
#pragma once

#include <algorithm>
#include <charconv>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

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

/// Bytes that are only appended to. Unlike in a string, room for them is not filled with zeroes first: a request for many
/// locks is hundreds of short words.
class byte_buffer {
public:
    byte_buffer() = default;
    byte_buffer(byte_buffer&& other) noexcept
        : bytes_{std::move(other.bytes_)},
          size_{std::exchange(other.size_, 0)},
          capacity_{std::exchange(other.capacity_, 0)} {}
    byte_buffer& operator=(byte_buffer other) noexcept {
        std::swap(bytes_, other.bytes_);
        std::swap(size_, other.size_);
        std::swap(capacity_, other.capacity_);
        return *this;
    }
    ~byte_buffer() = default;

    [[nodiscard]] std::string_view view() const noexcept { return {bytes_.get(), size_}; }
    void clear() noexcept { size_ = 0; }
    /// Where that many bytes are to be written at once.
    [[nodiscard]] char* room_for(std::size_t more) {
        if (more > capacity_ - size_) grow(more);
        return bytes_.get() + std::exchange(size_, size_ + more);
    }

private:
    void grow(std::size_t more) {
        auto const capacity = std::max({std::size_t{1024}, 2 * capacity_, size_ + more});
        auto bigger = std::make_unique_for_overwrite<char[]>(capacity);
        if (size_ != 0) std::memcpy(bigger.get(), bytes_.get(), size_);
        bytes_ = std::move(bigger);
        capacity_ = capacity;
    }

    std::unique_ptr<char[]> bytes_;
    std::size_t size_ = 0;
    std::size_t capacity_ = 0;
};

[[nodiscard]] inline char* room_in(byte_buffer& out, std::size_t more) { return out.room_for(more); }
[[nodiscard]] inline char* room_in(std::string& out, std::size_t more) {
    auto const before = out.size();
    out.resize(before + more);
    return out.data() + before;
}

/// One bulk string, which is what the parts are one after the other.
template <typename Buffer, std::convertible_to<std::string_view>... Parts>
void append_bulk(Buffer& out, Parts const&... parts) {
    std::size_t const size = (std::string_view{parts}.size() + ...);
    digits_of const length{size};
    auto* at = room_in(out, 1 + length.text().size() + 2 + size + 2);
    auto const put = [&at](std::string_view text) {
        if (!text.empty()) std::memcpy(at, text.data(), text.size());
        at += text.size();
    };
    *at++ = '$';
    put(length.text());
    *at++ = '\r', *at++ = '\n';
    (put(parts), ...);
    *at++ = '\r', *at++ = '\n';
}

inline void append_command(std::string& out, std::initializer_list<std::string_view> words) {
    append_header(out, '*', words.size());
    for (auto const word : words) append_bulk(out, word);
}

}  // namespace rota::detail
