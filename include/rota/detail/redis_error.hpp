// What an error reply of Redis means for rota: the kind of error for the caller, what becomes of the connection, and the
// server's words made readable. One table for every transport to Redis; pure text, no hiredis.
// Promises nothing about effects: an error reply to a script of rota's says that nothing was done, because a script
// checks all that can fail before its first write.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "../error.hpp"

namespace rota::detail {

enum class after_error : std::uint8_t {
    keep,    ///< the connection is good
    close,   ///< connect anew, to wherever the address leads by then
    reload,  ///< the scripts are not there (any more): load them, send the request again
};

struct error_meaning {
    errc code{};
    after_error next{};
};

/// The first word of an error, its kind: "ERR", "WRONGTYPE", "NOPERM"…
[[nodiscard]] inline std::string_view error_kind(std::string_view text) { return text.substr(0, text.find(' ')); }

/// What an error means, by its (readable) text.
[[nodiscard]] inline error_meaning meaning_of(std::string_view text) {
    auto const kind = error_kind(text);
    auto const is = [kind](auto... words) { return ((kind == std::string_view{words}) || ...); };

    if (is("NOSCRIPT")) return {errc::unavailable, after_error::reload};
    // Over in a moment, on this very server.
    if (is("LOADING", "BUSY", "TRYAGAIN")) return {errc::unavailable, after_error::keep};
    // Not the primary, or not one that may write: the address may lead to another by now.
    if (is("READONLY", "UNBLOCKED", "NOREPLICAS", "CLUSTERDOWN", "MASTERDOWN")) {
        return {errc::unavailable, after_error::close};
    }
    // The next attempt must authenticate anew.
    if (is("NOAUTH", "WRONGPASS", "DENIED")) return {errc::refused_by_server, after_error::close};
    if (text.find("max number of clients reached") != std::string_view::npos) {
        return {errc::unavailable, after_error::close};
    }
    if (text.find("Protocol error") != std::string_view::npos) return {errc::protocol, after_error::close};
    return {errc::refused_by_server, after_error::keep};
}

/// The server's words without what only a debugger wants: where in which script (Redis 7: at the end; 6.2: in front), and
/// the arguments of an unknown command, which may hold a password. One line, at most 300 bytes.
[[nodiscard]] inline std::string readable_error(std::string_view text) {
    constexpr auto none = std::string_view::npos;

    if (auto const at = text.find(", with args beginning with"); at != none) text = text.substr(0, at);
    if (auto const at = text.find(" script: "); at != none && text.find(", on @", at) != none)
        text = text.substr(0, at);
    constexpr std::string_view mark = "@user_script:";
    if (text.starts_with("ERR Error running script") || text.starts_with(mark)) {
        // "ERR Error running script (call to f_<sha>): @user_script:12: @user_script: 12: -READONLY You can't…"
        if (auto const last = text.rfind(mark); last != none) {
            if (auto const end = text.find(": ", last + mark.size() + 1); end != none) text.remove_prefix(end + 2);
        }
        if (text.starts_with('-')) text.remove_prefix(1);
    }
    while (!text.empty() && (text.back() == ' ' || text.back() == '\r' || text.back() == '\n')) text.remove_suffix(1);

    std::string words{text.substr(0, 300)};
    for (char& c : words) {
        if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = '?';
    }
    return words;
}

/// `words` without `secret`: servers quote what they do not understand.
[[nodiscard]] inline std::string without(std::string words, std::string_view secret) {
    if (secret.empty()) return words;
    constexpr std::string_view stars = "***";
    for (std::size_t at = words.find(secret); at != std::string::npos; at = words.find(secret, at + stars.size())) {
        words.replace(at, secret.size(), stars);
    }
    return words;
}

}  // namespace rota::detail
