// Whether a node may have a schedule of some kind, as far as that can be said of the two alone: pin and labels. Groups
// (no two of one on a node) depend on what else the node has.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "../cluster_view.hpp"

namespace rota {

namespace detail {

/// How many of the wanted labels are there; both are sorted.
inline std::size_t labels_found(std::span<std::string const> wanted, std::span<std::string const> there) noexcept {
    std::size_t found = 0;
    std::size_t at = 0;
    for (std::size_t i = 0; i < wanted.size(); ++i) {
        while (at < there.size() && there[at] < wanted[i]) ++at;
        if (at < there.size() && there[at] == wanted[i]) ++found;
    }
    return found;
}

}  // namespace detail

/// Whether `node` (an index) may have schedules of `kind` (an index; what has no rules may be anywhere).
[[nodiscard]] inline bool allows(cluster_view const& view, std::uint32_t kind, std::uint32_t node) noexcept {
    if (kind >= view.kinds.size()) return true;
    auto const& rules = view.kinds[kind];
    auto const& there = view.nodes[node];
    if (!rules.pin.empty() && rules.pin != there.id) return false;
    return detail::labels_found(rules.required, there.labels) == rules.required.size() &&
           detail::labels_found(rules.forbidden, there.labels) == 0;
}

}  // namespace rota
