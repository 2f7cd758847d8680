// Reads what the scripts answer: the elements of an array (redis_array_reader), and the parts of a stored record such
// as "12|34|text" (redis_record_reader). Neither trusts what it reads: every bound and type is checked, a mistake is
// remembered, and what comes after it reads as nothing, so that a caller asks once, at the end.
#pragma once

#if __has_include(<hiredis/hiredis.h>) && !defined(ROTA_NO_HIREDIS)

#include <charconv>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <hiredis/hiredis.h>

#include "../../types.hpp"

namespace rota::detail {

/// Reads numbers and text out of the elements of an array, in order. A mistake is remembered: ask done() at the end.
class redis_array_reader {
public:
    explicit redis_array_reader(redisReply const* array) : array_{array} {
        if (!array || array->type != REDIS_REPLY_ARRAY || (array->elements > 0 && !array->element)) fail();
    }

    [[nodiscard]] bool ok() const noexcept { return array_ != nullptr; }
    [[nodiscard]] bool done() const noexcept { return ok() && at_ == array_->elements; }
    [[nodiscard]] std::size_t left() const noexcept { return ok() ? array_->elements - at_ : 0; }
    void fail() noexcept { array_ = nullptr; }

    redisReply const* next() noexcept {
        if (left() == 0 || !array_->element[at_]) {
            fail();
            return nullptr;
        }
        return array_->element[at_++];
    }
    /// Nothing if it is nil.
    [[nodiscard]] bool skip_nil() noexcept {
        if (left() == 0 || !array_->element[at_] || array_->element[at_]->type != REDIS_REPLY_NIL) return false;
        ++at_;
        return true;
    }
    std::string_view text() noexcept {
        auto const* element = next();
        if (!element || element->type != REDIS_REPLY_STRING || !element->str) {
            fail();
            return {};
        }
        return {element->str, element->len};
    }
    std::uint64_t number() noexcept {
        auto const* element = next();
        if (element && element->type == REDIS_REPLY_INTEGER && element->integer >= 0) {
            return static_cast<std::uint64_t>(element->integer);
        }
        std::uint64_t value = 0;
        if (!element || element->type != REDIS_REPLY_STRING || !element->str ||
            !parse({element->str, element->len}, value)) {
            fail();
        }
        return value;
    }
    microseconds duration() noexcept { return to_duration(number()); }
    /// -1 means never.
    microseconds duration_or_never() noexcept {
        if (left() > 0 && array_->element[at_] && array_->element[at_]->type == REDIS_REPLY_INTEGER &&
            array_->element[at_]->integer == -1) {
            ++at_;
            return microseconds::max();
        }
        return duration();
    }
    template <typename Enum>
    Enum enumerator(Enum last) noexcept {
        auto const value = number();
        if (value > static_cast<std::uint64_t>(last)) {
            fail();
            return {};
        }
        return static_cast<Enum>(value);
    }
    std::vector<fencing_token> numbers() {
        std::vector<fencing_token> values;
        redis_array_reader inner{next()};
        values.reserve(inner.left());
        while (inner.left() > 0) values.push_back(inner.number());
        if (!inner.done()) fail();
        return values;
    }

    [[nodiscard]] static bool parse(std::string_view text, std::uint64_t& value) noexcept {
        auto const [end, problem] = std::from_chars(text.data(), text.data() + text.size(), value);
        return problem == std::errc{} && end == text.data() + text.size();
    }
    [[nodiscard]] static microseconds to_duration(std::uint64_t count) noexcept {
        constexpr auto most = static_cast<std::uint64_t>(microseconds::max().count());
        return microseconds{static_cast<std::int64_t>(count < most ? count : most)};
    }

private:
    redisReply const* array_;
    std::size_t at_ = 0;
};

/// Reads the parts of "12|34|text" one by one. A mistake is remembered: ask ok() or done() at the end.
class redis_record_reader {
public:
    explicit redis_record_reader(std::string_view text) : rest_{text} {}

    [[nodiscard]] bool ok() const noexcept { return ok_; }
    [[nodiscard]] bool done() const noexcept { return ok_ && ended_; }
    void fail() noexcept { ok_ = false; }

    std::uint64_t number() noexcept {
        std::uint64_t value = 0;
        if (!redis_array_reader::parse(part(), value)) ok_ = false;
        return value;
    }
    microseconds duration() noexcept { return redis_array_reader::to_duration(number()); }
    /// a-b, as an entry of a stream is named.
    std::pair<std::uint64_t, std::uint64_t> stream_id() noexcept {
        auto const text = part();
        auto const dash = text.find('-');
        std::pair<std::uint64_t, std::uint64_t> id{};
        if (dash == std::string_view::npos || !redis_array_reader::parse(text.substr(0, dash), id.first) ||
            !redis_array_reader::parse(text.substr(dash + 1), id.second)) {
            ok_ = false;
        }
        return id;
    }
    /// Any number of them, each with a comma after it.
    std::vector<std::uint64_t> numbers() {
        std::vector<std::uint64_t> values;
        for (auto list = part(); !list.empty();) {
            auto const end = list.find(',');
            std::uint64_t value = 0;
            if (end == std::string_view::npos || !redis_array_reader::parse(list.substr(0, end), value)) {
                ok_ = false;
                break;
            }
            values.push_back(value);
            list.remove_prefix(end + 1);
        }
        return values;
    }
    template <typename Enum>
    Enum enumerator(Enum last) noexcept {
        auto const value = number();
        if (value > static_cast<std::uint64_t>(last)) {
            ok_ = false;
            return {};
        }
        return static_cast<Enum>(value);
    }
    std::uint32_t capacity() noexcept {
        auto const value = number();
        if (value > unlimited) ok_ = false;
        return static_cast<std::uint32_t>(value);
    }
    /// weight, weight;traits or weight;t=token;traits: the others are left for traits() and triggered().
    double weight() noexcept {
        auto text = part();
        auto const end_of_weight = text.find(';');
        traits_ = end_of_weight == std::string_view::npos ? std::string_view{} : text.substr(end_of_weight + 1);
        triggered_ = 0;
        if (traits_.substr(0, 2) == "t=") {
            auto const end = traits_.find(';');
            if (!redis_array_reader::parse(traits_.substr(2, end == std::string_view::npos ? end : end - 2),
                                           triggered_)) {
                ok_ = false;
            }
            traits_ = end == std::string_view::npos ? std::string_view{} : traits_.substr(end + 1);
        }
        text = text.substr(0, end_of_weight);
        double value = 0;
#if defined(__cpp_lib_to_chars)
        auto const [end, problem] = std::from_chars(text.data(), text.data() + text.size(), value);
        bool const read = problem == std::errc{} && end == text.data() + text.size();
#else
        // A library that lacks it: what the program's locale takes for a decimal point must be one.
        std::string const copy{text};
        char* end = nullptr;
        value = std::strtod(copy.c_str(), &end);
        bool const read = !copy.empty() && end == copy.c_str() + copy.size();
#endif
        bool const digit = !text.empty() && text.front() >= '0' && text.front() <= '9';
        if (!read || !digit || !(value > 0) || value - value != 0) {  // not a finite number
            ok_ = false;
            return 1;
        }
        return value;
    }
    /// Those that came with the last weight.
    [[nodiscard]] std::string_view traits() const noexcept { return traits_; }
    [[nodiscard]] fencing_token triggered() const noexcept { return triggered_; }
    /// Of 16 digits at most, and as text unlike that of any other.
    fencing_token token() noexcept {
        auto const text = part();
        std::uint64_t value = 0;
        if (text.size() > 16 || (text.size() > 1 && text.front() == '0') || !redis_array_reader::parse(text, value)) {
            ok_ = false;
        }
        return value;
    }
    /// Whether length:text comes next, and not a part.
    [[nodiscard]] bool at_counted() const noexcept {
        auto const end = rest_.find_first_of("|:");
        return end == std::string_view::npos || rest_[end] == ':';
    }
    /// length:text. What follows is the next part, without a | between.
    std::string_view counted() noexcept {
        auto const end = rest_.find(':');
        std::uint64_t length = 0;
        if (ended_ || end == std::string_view::npos || !redis_array_reader::parse(rest_.substr(0, end), length) ||
            length > rest_.size() - end - 1) {
            ok_ = false;
            return {};
        }
        auto const found = rest_.substr(end + 1, static_cast<std::size_t>(length));
        rest_.remove_prefix(end + 1 + found.size());
        ended_ = rest_.empty();
        return found;
    }
    /// All that is left, | included.
    std::string_view rest() noexcept {
        if (ended_) ok_ = false;
        ended_ = true;
        return std::exchange(rest_, {});
    }

private:
    std::string_view part() noexcept {
        if (ended_) ok_ = false;
        auto const end = rest_.find('|');
        auto const found = rest_.substr(0, end);
        if (end == std::string_view::npos) {
            ended_ = true;
            rest_ = {};
        } else {
            rest_.remove_prefix(end + 1);
        }
        return found;
    }

    std::string_view rest_;
    std::string_view traits_;
    std::uint64_t triggered_ = 0;
    bool ok_ = true;
    bool ended_ = false;
};

}  // namespace rota::detail

#endif
