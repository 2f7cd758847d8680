// Where a Redis is and who asks, from the text that a user writes: host, host:port, [v6]:port,
// redis://[user:password@]host[:port][/db] or unix://[user:password@]/path[?db=N]. Pure text: nothing is resolved here.
// Promises: no message and no description of an address ever holds a user name or a password, not even of a text that
// is malformed in a way that puts the password elsewhere (so messages name the part and the rule, and do not quote).
// Does not: TLS and Sentinel, which are refused with words.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "../result.hpp"

namespace rota::detail {

struct redis_address {
    std::string host{};  ///< name or number, without brackets; empty if `path` is used
    std::uint16_t port = 6379;
    std::string path{};  ///< of a unix socket
    std::string user{};  ///< empty: the default user
    std::string password{};
    bool authenticate = false;  ///< whether the text holds credentials
    std::uint32_t database = 0;

    friend bool operator==(redis_address const&, redis_address const&) = default;
};

/// The address as it may stand in a message: without credentials.
[[nodiscard]] inline std::string redacted(redis_address const& address) {
    std::string text;
    if (address.path.empty()) {
        bool const v6 = address.host.find(':') != std::string::npos;
        text = v6 ? "redis://[" + address.host + "]" : "redis://" + address.host;
        text += ":" + std::to_string(address.port);
        if (address.database != 0) text += "/" + std::to_string(address.database);
    } else {
        text = "unix://" + address.path;
        if (address.database != 0) text += "?db=" + std::to_string(address.database);
    }
    return text;
}

namespace address_text {

inline result<void> malformed(std::string_view why) {
    return {errc::invalid_argument, "Redis URL: " + std::string{why}};
}

// Decimal digits only, up to `most`.
inline bool to_number(std::string_view digits, std::uint32_t most, std::uint32_t& into) {
    if (digits.empty() || digits.size() > 10) return false;
    std::uint64_t value = 0;
    for (char const c : digits) {
        if (c < '0' || c > '9') return false;
        value = value * 10 + static_cast<std::uint64_t>(c - '0');
    }
    if (value > most) return false;
    into = static_cast<std::uint32_t>(value);
    return true;
}

inline int hex_digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

inline bool percent_decode(std::string_view text, std::string& into) {
    into.clear();
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] != '%') {
            into += text[i];
            continue;
        }
        if (i + 2 >= text.size()) return false;
        int const high = hex_digit(text[i + 1]);
        int const low = hex_digit(text[i + 2]);
        if (high < 0 || low < 0) return false;
        into += static_cast<char>(high * 16 + low);
        i += 2;
    }
    return true;
}

inline result<void> credentials(std::string_view text, redis_address& into) {
    auto const colon = text.find(':');
    // Some tools take a lone word for the user, others for the password: a guess would be wrong for half of the users.
    if (colon == std::string_view::npos) {
        return malformed("credentials must be user:password@, or :password@ for the default user");
    }
    if (!percent_decode(text.substr(0, colon), into.user) || !percent_decode(text.substr(colon + 1), into.password)) {
        return malformed("a % in the credentials must be followed by two hexadecimal digits (a plain % is %25)");
    }
    into.authenticate = !into.user.empty() || !into.password.empty();
    return {};
}

inline result<void> host_and_port(std::string_view text, redis_address& into) {
    std::string_view host = text;
    std::string_view port;
    bool has_port = false;
    if (!text.empty() && text.front() == '[') {
        auto const end = text.find(']');
        if (end == std::string_view::npos) return malformed("the [ of an IPv6 address is not closed");
        host = text.substr(1, end - 1);
        auto const rest = text.substr(end + 1);
        has_port = !rest.empty();
        if (has_port && rest.front() != ':') return malformed("after the ] of an IPv6 address only :port may follow");
        if (has_port) port = rest.substr(1);
        for (char const c : host) {
            bool const fits = hex_digit(c) >= 0 || c == ':' || c == '.' || c == '%' || c == '_' || c == '-' ||
                              (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');  // the latter: zone names
            if (!fits) return malformed("the IPv6 address has a character that does not belong there");
        }
        if (host.find(':') == std::string_view::npos) return malformed("in [ ] there must be an IPv6 address");
    } else if (auto const colon = text.find(':'); colon != std::string_view::npos) {
        if (text.find(':', colon + 1) != std::string_view::npos) {
            return malformed("more than one : after the host; write an IPv6 address in brackets, as in [::1]:6379");
        }
        host = text.substr(0, colon);
        port = text.substr(colon + 1);
        has_port = true;
    }
    if (host.empty()) return malformed("the host is missing");
    if (host.size() > 255) return malformed("the host is longer than 255 characters");
    for (char const c : host) {
        auto const byte = static_cast<unsigned char>(c);
        if (byte <= 0x20 || byte == 0x7f || std::string_view{"/\\?#@\"'<>[]{}|^`"}.find(c) != std::string_view::npos) {
            return malformed("the host has a character that does not belong there");
        }
    }
    into.host = host;
    if (has_port) {
        std::uint32_t number = 0;
        if (!to_number(port, 65535, number) || number == 0) {
            return malformed("the port must be a number from 1 to 65535");
        }
        into.port = static_cast<std::uint16_t>(number);
    }
    return {};
}

inline result<void> database(std::string_view text, redis_address& into) {
    if (!to_number(text, 0x7fffffff, into.database)) return malformed("the database must be a number, as in /0");
    return {};
}

inline result<void> network(std::string_view text, redis_address& into) {
    // The last @: a password that was not percent-encoded may hold @, / and ? itself, and must not end up in the host.
    if (auto const at = text.rfind('@'); at != std::string_view::npos) {
        if (auto ok = credentials(text.substr(0, at), into); !ok) return ok;
        text.remove_prefix(at + 1);
    }
    if (text.find_first_of("?#") != std::string_view::npos) {
        return malformed("parameters after ? or # are not supported");
    }
    auto const slash = text.find('/');
    if (auto ok = host_and_port(text.substr(0, slash), into); !ok) return ok;
    if (slash == std::string_view::npos || slash + 1 == text.size()) return {};
    return database(text.substr(slash + 1), into);
}

inline result<void> socket(std::string_view text, redis_address& into) {
    constexpr std::string_view form = "a unix socket needs an absolute path, as in unix:///run/redis/redis.sock";
    if (text.empty()) return malformed(form);
    if (text.front() != '/') {
        auto const at = text.rfind("@/");
        if (at == std::string_view::npos) return malformed(form);
        if (auto ok = credentials(text.substr(0, at), into); !ok) return ok;
        text.remove_prefix(at + 1);
    }
    if (auto const mark = text.find('?'); mark != std::string_view::npos) {
        auto const parameters = text.substr(mark + 1);
        if (parameters.substr(0, 3) != "db=") return malformed("a unix socket takes no parameter but ?db=");
        if (auto ok = database(parameters.substr(3), into); !ok) return ok;
        text = text.substr(0, mark);
    }
    if (!percent_decode(text, into.path)) {
        return malformed("a % in the path must be followed by two hexadecimal digits (a plain % is %25)");
    }
    for (char const c : into.path) {
        if (static_cast<unsigned char>(c) < 0x20) return malformed("the path has a control character");
    }
    if (into.path.size() < 2) return malformed(form);
    if (into.path.size() > 107) return malformed("the path of a unix socket may have 107 bytes at most");
    return {};
}

}  // namespace address_text

/// Reads an address. invalid_argument: malformed or not supported, with what and why.
[[nodiscard]] inline result<redis_address> parse_redis_address(std::string_view text) {
    using address_text::malformed;
    redis_address address;
    result<void> outcome;
    if (text.empty()) {
        outcome = malformed("it is empty; write host:port or redis://host:port");
    } else if (auto const end = text.find("://"); end != std::string_view::npos) {
        std::string scheme;
        for (char const c : text.substr(0, end))
            scheme += (c >= 'A' && c <= 'Z') ? static_cast<char>(c - 'A' + 'a') : c;
        auto const rest = text.substr(end + 3);
        if (scheme == "redis") {
            outcome = address_text::network(rest, address);
        } else if (scheme == "unix") {
            outcome = address_text::socket(rest, address);
        } else if (scheme == "rediss") {
            outcome = malformed("TLS (rediss://) is not supported yet; use redis:// or unix://, or a TLS tunnel");
        } else if (scheme == "redis+sentinel" || scheme == "redis-sentinel" || scheme == "sentinel") {
            outcome = malformed("Sentinel is not supported yet; use redis:// with the address of the primary");
        } else {
            outcome = malformed("the scheme is neither redis:// nor unix://");
        }
    } else if (text.find('@') != std::string_view::npos) {
        outcome = malformed("credentials need the long form, redis://user:password@host:port");
    } else if (text.front() == '/') {
        outcome = malformed("a unix socket is written as unix:///path");
    } else if (text.find('/') != std::string_view::npos) {
        outcome = malformed("a database needs the long form, redis://host:port/db");
    } else {
        outcome = address_text::host_and_port(text, address);
    }
    if (!outcome) return outcome.error();
    return address;
}

}  // namespace rota::detail
