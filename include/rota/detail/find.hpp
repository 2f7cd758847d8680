// What rota needs of <algorithm>, which brings the ranges and the parallel version of all it has along and so costs
// whoever includes it nearly a third of what all else in rota does. Sorting is left to ordered containers; std::min and std::max
// come with <string> and <vector> in every standard library.
#pragma once

namespace rota::detail {

/// The first element that `fits`, or the end.
template <typename Container, typename Predicate>
[[nodiscard]] auto find_where(Container& elements, Predicate const& fits) {
    auto at = elements.begin();
    while (at != elements.end() && !fits(*at)) ++at;
    return at;
}

}  // namespace rota::detail
