// What the text of INFO says. No I/O.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace rota::detail {

/// The value of a field; empty if it is not there.
[[nodiscard]] inline std::string_view info_field(std::string_view text, std::string_view name) {
    for (std::size_t at = text.find(name); at != std::string_view::npos; at = text.find(name, at + 1)) {
        auto const end = at + name.size();
        if ((at != 0 && text[at - 1] != '\n') || end >= text.size() || text[end] != ':') continue;
        auto const value = text.substr(end + 1);
        return value.substr(0, value.find_first_of("\r\n"));
    }
    return {};
}

/// Which run of which server it is, and whose data it has; empty if the text does not tell. Of the sections `server` and
/// `replication`.
[[nodiscard]] inline std::string server_identity(std::string_view text) {
    std::string identity{info_field(text, "run_id")};
    identity += ' ';
    identity += info_field(text, "master_replid");
    return identity.size() > 1 ? identity : std::string{};
}

}  // namespace rota::detail
