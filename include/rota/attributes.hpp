// What a schedule asks of its node, and what a node says of itself, beyond weight and capacity; and `traits`, the text
// that this has in operations, events and on the server: fields `name=value` joined by `;`, lists joined by `,`, in a
// fixed order, nothing for what is left out. Equal attributes have equal texts, so that whoever only passes them on, or
// compares them, need not read them.
//
//   of a schedule   p=<pin>;g=<group>;r=<required labels>;f=<forbidden labels>
//   of a node       z=<zone>;l=<labels>;m=<reported load>
#pragma once

#include <charconv>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "result.hpp"
#include "types.hpp"

namespace rota {

/// Longest name of a label, zone or group, in bytes, and most labels in one list.
inline constexpr std::size_t max_label_size = 64;
inline constexpr std::size_t max_labels = 16;

/// Which nodes a schedule may be on. Heeded by strategies that say so (constrained<S>); others ignore it.
struct placement_rules {
    std::string pin{};                     ///< the node_id it must be on; empty: any
    std::string group{};                   ///< no two schedules of a group are to be on one node; empty: none
    std::vector<std::string> required{};   ///< labels that its node must have, all of them
    std::vector<std::string> forbidden{};  ///< labels that its node must not have

    [[nodiscard]] bool empty() const noexcept {
        return pin.empty() && group.empty() && required.empty() && forbidden.empty();
    }
    friend bool operator==(placement_rules const&, placement_rules const&) = default;
};

/// A schedule to register.
struct schedule {
    std::string id{};         ///< opaque bytes, 1..512
    double weight = 1;        ///< its share of load; finite, > 0
    placement_rules rules{};  ///< where it may be
};

/// What a node says of itself. All of it can be changed while it is a member.
struct node_attributes {
    std::optional<std::uint32_t> capacity{};  ///< most schedules that it may own; none: unlimited
    std::string zone{};                       ///< what fails together: a rack, a data centre; empty: a zone of its own
    std::vector<std::string> labels{};        ///< what schedules may require or forbid

    friend bool operator==(node_attributes const&, node_attributes const&) = default;
};

namespace detail {

/// Writes traits. Bytes that could be taken for part of the form are written as %XX.
template <typename = void>
class traits_writer {
public:
    void field(char name, std::string_view value) {
        if (value.empty()) return;
        begin(name);
        escaped(value);
    }
    // Sorted and each once: the order in which they were given means nothing.
    void field(char name, std::vector<std::string> const& values) {
        if (values.empty()) return;
        std::vector<std::string_view> sorted;
        for (auto const& value : values) {
            auto at = sorted.begin();
            while (at != sorted.end() && *at < value) ++at;
            if (at == sorted.end() || *at != value) sorted.insert(at, value);
        }
        begin(name);
        for (auto const& value : sorted) {
            if (&value != sorted.data()) text_ += ',';
            escaped(value);
        }
    }
    [[nodiscard]] std::string take() { return std::move(text_); }

private:
    void begin(char name) {
        if (!text_.empty()) text_ += ';';
        text_ += name;
        text_ += '=';
    }
    void escaped(std::string_view value) {
        constexpr char digits[] = "0123456789ABCDEF";
        for (char const c : value) {
            auto const byte = static_cast<unsigned char>(c);
            bool const plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
                               c == '_' || c == '.' || c == ':' || c == '/' || c == '@' || c == '+';
            if (plain) {
                text_ += c;
            } else {
                text_ += '%';
                text_ += digits[byte >> 4];
                text_ += digits[byte & 15];
            }
        }
    }

    std::string text_;
};

/// Reads traits, leniently: fields that it does not know are passed over, so that older nodes can live with newer ones.
template <typename = void>
class traits_reader {
public:
    explicit traits_reader(std::string_view text) : rest_{text} {}

    /// The next field; false: there is none.
    bool next() {
        if (rest_.empty()) return false;
        auto const end = rest_.find(';');
        auto const field = rest_.substr(0, end);
        rest_.remove_prefix(end == std::string_view::npos ? rest_.size() : end + 1);
        name_ = field.size() >= 2 && field[1] == '=' ? field[0] : '\0';
        value_ = field.size() >= 2 ? field.substr(2) : std::string_view{};
        return true;
    }
    [[nodiscard]] char name() const { return name_; }
    [[nodiscard]] std::string value() const { return plain(value_); }
    [[nodiscard]] std::vector<std::string> list() const {
        std::vector<std::string> all;
        for (auto left = value_; !left.empty();) {
            auto const end = left.find(',');
            all.push_back(plain(left.substr(0, end)));
            left.remove_prefix(end == std::string_view::npos ? left.size() : end + 1);
        }
        return all;
    }
    /// The value as a number; `otherwise` if it is none.
    [[nodiscard]] double number(double otherwise) const {
        double parsed = 0;
#if defined(__cpp_lib_to_chars)
        auto const end = value_.data() + value_.size();
        auto const r = std::from_chars(value_.data(), end, parsed);
        bool const read = r.ec == std::errc{} && r.ptr == end;
#else
        // A library that lacks it: what the program's locale takes for a decimal point must be one.
        std::string const copy{value_};
        char* end = nullptr;
        parsed = std::strtod(copy.c_str(), &end);
        bool const read = !copy.empty() && end == copy.c_str() + copy.size();
#endif
        return read && parsed - parsed == 0 ? parsed : otherwise;
    }

private:
    static std::string plain(std::string_view text) {
        auto const digit = [](char c) { return c <= '9' ? c - '0' : c - 'A' + 10; };
        std::string out;
        for (std::size_t i = 0; i < text.size(); ++i) {
            if (text[i] == '%' && i + 2 < text.size()) {
                out += static_cast<char>(digit(text[i + 1]) * 16 + digit(text[i + 2]));
                i += 2;
            } else {
                out += text[i];
            }
        }
        return out;
    }

    std::string_view rest_;
    std::string_view value_;
    char name_ = '\0';
};

}  // namespace detail

/// The traits of a schedule with these rules.
template <typename = void>
[[nodiscard]] std::string to_traits(placement_rules const& rules) {
    detail::traits_writer<> w;
    w.field('p', rules.pin);
    w.field('g', rules.group);
    w.field('r', rules.required);
    w.field('f', rules.forbidden);
    return w.take();
}

/// The rules that a schedule's traits hold.
template <typename = void>
[[nodiscard]] placement_rules rules_of(std::string_view traits) {
    placement_rules rules;
    for (detail::traits_reader<> r{traits}; r.next();) {
        switch (r.name()) {
            case 'p': rules.pin = r.value(); break;
            case 'g': rules.group = r.value(); break;
            case 'r': rules.required = r.list(); break;
            case 'f': rules.forbidden = r.list(); break;
            default: break;
        }
    }
    return rules;
}

/// The traits of a node. `reported`: the load that it measures itself; none: it reports none.
template <typename = void>
[[nodiscard]] std::string to_traits(node_attributes const& node, std::optional<double> reported = {}) {
    detail::traits_writer<> w;
    w.field('z', node.zone);
    w.field('l', node.labels);
    if (reported) {
        char digits[32];
        auto const end = std::to_chars(digits, digits + sizeof digits, *reported).ptr;
        w.field('m', std::string_view{digits, static_cast<std::size_t>(end - digits)});
    }
    return w.take();
}

/// The zone and labels that a node's traits hold (its capacity stands beside them).
template <typename = void>
[[nodiscard]] node_attributes attributes_of(std::string_view traits) {
    node_attributes node;
    for (detail::traits_reader<> r{traits}; r.next();) {
        if (r.name() == 'z') node.zone = r.value();
        if (r.name() == 'l') node.labels = r.list();
    }
    return node;
}

/// The load that a node's traits report; none if they do not.
template <typename = void>
[[nodiscard]] std::optional<double> reported_load_of(std::string_view traits) {
    for (detail::traits_reader<> r{traits}; r.next();) {
        if (r.name() != 'm') continue;
        auto const load = r.number(-1);
        if (load >= 0) return load;
    }
    return std::nullopt;
}

}  // namespace rota
