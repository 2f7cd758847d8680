// A small strict JSON reader for tests: one object per line, as `scheduling_node --json` prints them.
//
// Strict, because it stands in for every reader of those lines: RFC 8259 and nothing more, no name twice in an object,
// integers within 64 bits, nothing before or after the object. Not strict about UTF-8: ids may hold any byte.
#pragma once

#include <charconv>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <variant>
#include <vector>

namespace rota::test {

/// A line is no JSON object, or not one with what was asked of it. The message names what and where.
struct json_error : std::runtime_error {
    using std::runtime_error::runtime_error;
};

class json_value;

/// An object in the order of the text.
struct json_object {
    std::vector<std::string> names;
    std::vector<json_value> values;
};

using json_array = std::vector<json_value>;

/// A JSON value. The accessors throw json_error if it is of another kind.
class json_value {
public:
    using content = std::variant<std::nullptr_t, bool, std::int64_t, double, std::string, json_array, json_object>;

    json_value() = default;
    explicit json_value(content value) : content_{std::move(value)} {}

    [[nodiscard]] bool is_null() const { return std::holds_alternative<std::nullptr_t>(content_); }
    [[nodiscard]] bool boolean() const { return get<bool>("a boolean"); }
    [[nodiscard]] std::int64_t integer() const { return get<std::int64_t>("an integer"); }
    [[nodiscard]] std::string const& string() const { return get<std::string>("a string"); }
    [[nodiscard]] json_array const& array() const { return get<json_array>("an array"); }
    [[nodiscard]] json_object const& object() const { return get<json_object>("an object"); }

    /// An integer or a number with a fraction or exponent.
    [[nodiscard]] double number() const {
        if (auto const* whole = std::get_if<std::int64_t>(&content_)) return static_cast<double>(*whole);
        return get<double>("a number");
    }

    /// The member of that name; null if there is none.
    [[nodiscard]] json_value const* find(std::string_view name) const {
        auto const& members = object();
        for (std::size_t i = 0; i < members.names.size(); ++i) {
            if (members.names[i] == name) return &members.values[i];
        }
        return nullptr;
    }
    [[nodiscard]] json_value const& at(std::string_view name) const {
        if (auto const* found = find(name)) return *found;
        throw json_error("no member \"" + std::string{name} + "\"");
    }

private:
    template <typename T>
    [[nodiscard]] T const& get(char const* kind) const {
        if (auto const* value = std::get_if<T>(&content_)) return *value;
        throw json_error(std::string{"the value is not "} + kind);
    }

    content content_{nullptr};
};

namespace detail {

class json_parser {
public:
    explicit json_parser(std::string_view text) : text_{text} {}

    json_value whole_line() {
        skip_space();
        if (peek() != '{') fail("expected an object");
        auto value = parse_value(0);
        skip_space();
        if (at_ != text_.size()) fail("text after the object");
        return value;
    }

private:
    static constexpr int max_depth = 16;

    [[noreturn]] void fail(std::string const& what) const {
        throw json_error(what + " at byte " + std::to_string(at_) + " of: " + std::string{text_.substr(0, 300)});
    }

    [[nodiscard]] char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }
    char next() {
        if (at_ == text_.size()) fail("the line ends too early");
        return text_[at_++];
    }
    bool accept(char c) {
        if (at_ == text_.size() || text_[at_] != c) return false;
        ++at_;
        return true;
    }
    void expect(char c) {
        if (!accept(c)) fail(std::string{"expected '"} + c + "'");
    }
    void skip_space() {
        while (at_ < text_.size() && std::string_view{" \t\r\n"}.find(text_[at_]) != std::string_view::npos) ++at_;
    }
    bool accept_word(std::string_view word) {
        if (text_.substr(at_, word.size()) != word) return false;
        at_ += word.size();
        return true;
    }

    json_value parse_value(int depth) {
        if (depth > max_depth) fail("nested too deep");
        skip_space();
        if (peek() == '{') return json_value{parse_object(depth)};
        if (peek() == '[') return json_value{parse_array(depth)};
        if (peek() == '"') return json_value{parse_string()};
        if (accept_word("true")) return json_value{true};
        if (accept_word("false")) return json_value{false};
        if (accept_word("null")) return json_value{nullptr};
        return parse_number();
    }

    json_object parse_object(int depth) {
        json_object result;
        expect('{');
        skip_space();
        if (accept('}')) return result;
        do {
            skip_space();
            auto name = parse_string();
            for (auto const& earlier : result.names) {
                if (earlier == name) fail("the name \"" + name + "\" comes twice");
            }
            skip_space();
            expect(':');
            result.values.push_back(parse_value(depth + 1));
            result.names.push_back(std::move(name));
            skip_space();
        } while (accept(','));
        expect('}');
        return result;
    }

    json_array parse_array(int depth) {
        json_array result;
        expect('[');
        skip_space();
        if (accept(']')) return result;
        do {
            result.push_back(parse_value(depth + 1));
            skip_space();
        } while (accept(','));
        expect(']');
        return result;
    }

    std::string parse_string() {
        std::string result;
        expect('"');
        while (!accept('"')) {
            char const c = next();
            if (static_cast<unsigned char>(c) < 0x20) fail("a control character in a string");
            if (c == '\\') {
                parse_escape(result);
            } else {
                result += c;
            }
        }
        return result;
    }

    void parse_escape(std::string& result) {
        constexpr std::string_view letters = "\"\\/bfnrt";
        constexpr std::string_view meanings = "\"\\/\b\f\n\r\t";
        char const letter = next();
        if (auto const index = letters.find(letter); index != std::string_view::npos) {
            result += meanings[index];
            return;
        }
        if (letter != 'u') fail("an unknown escape");
        unsigned code = parse_hex();
        if (code >= 0xDC00 && code < 0xE000) fail("half a surrogate pair");
        if (code >= 0xD800 && code < 0xDC00) {
            if (!accept_word("\\u")) fail("half a surrogate pair");
            unsigned const low = parse_hex();
            if (low < 0xDC00 || low >= 0xE000) fail("half a surrogate pair");
            code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
        }
        append_utf8(result, code);
    }

    unsigned parse_hex() {
        unsigned value = 0;
        for (int i = 0; i < 4; ++i) {
            char const digit = next();
            unsigned worth = 0;
            if (std::from_chars(&digit, &digit + 1, worth, 16).ec != std::errc{}) {
                fail("expected four hexadecimal digits");
            }
            value = value * 16 + worth;
        }
        return value;
    }

    static void append_utf8(std::string& result, unsigned code) {
        auto const put = [&](unsigned byte) { result += static_cast<char>(static_cast<unsigned char>(byte)); };
        if (code < 0x80) {
            put(code);
        } else if (code < 0x800) {
            put(0xC0 | (code >> 6));
            put(0x80 | (code & 0x3F));
        } else if (code < 0x10000) {
            put(0xE0 | (code >> 12));
            put(0x80 | ((code >> 6) & 0x3F));
            put(0x80 | (code & 0x3F));
        } else {
            put(0xF0 | (code >> 18));
            put(0x80 | ((code >> 12) & 0x3F));
            put(0x80 | ((code >> 6) & 0x3F));
            put(0x80 | (code & 0x3F));
        }
    }

    void skip_digits() {
        auto const start = at_;
        while (peek() >= '0' && peek() <= '9') ++at_;
        if (at_ == start) fail("expected a digit");
    }

    json_value parse_number() {
        auto const start = at_;
        bool whole = true;
        accept('-');
        if (!accept('0')) skip_digits();
        if (accept('.')) {
            whole = false;
            skip_digits();
        }
        if (accept('e') || accept('E')) {
            whole = false;
            if (!accept('+')) accept('-');
            skip_digits();
        }
        auto const digits = text_.substr(start, at_ - start);
        return whole ? json_value{converted<std::int64_t>(digits)} : json_value{converted<double>(digits)};
    }

    template <typename Number>
    Number converted(std::string_view digits) const {
        Number value{};
        auto const [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
        if (error != std::errc{} || end != digits.data() + digits.size()) fail("a number out of range");
        return value;
    }

    std::string_view text_;
    std::size_t at_ = 0;
};

}  // namespace detail

/// The object that the line holds; throws json_error if it holds anything else.
[[nodiscard]] inline json_value parse_json_line(std::string_view line) {
    return detail::json_parser{line}.whole_line();
}

}  // namespace rota::test
