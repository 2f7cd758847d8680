// Sorts by a 64-bit key, lowest first, stable: a radix sort by bytes that passes over those that all keys have in
// common, an insertion sort where there is little to sort. Here since <algorithm> is dear to include, and since plans
// sort long lists of numbers, where this takes about a third of the time of std::sort.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace rota::detail {

/// Sorts items[from..] by key(item). `spare` is grown as needed, its contents mean nothing before or after.
template <typename Item, typename Key>
void radix_sort(std::vector<Item>& items, std::size_t from, std::vector<Item>& spare, Key const& key) {
    auto const count = items.size() - from;
    if (count < 48) {
        for (auto i = from + 1; i < items.size(); ++i) {
            auto const item = items[i];
            auto at = i;
            for (; at > from && key(items[at - 1]) > key(item); --at) items[at] = items[at - 1];
            items[at] = item;
        }
        return;
    }

    std::uint64_t differing = 0;
    auto const first = key(items[from]);
    for (auto i = from; i < items.size(); ++i) differing |= key(items[i]) ^ first;
    if (differing == 0) return;
    if (spare.size() < count) spare.resize(count);
    auto* source = items.data() + from;
    auto* target = spare.data();
    for (unsigned shift = 0; shift < 64; shift += 8) {
        if ((differing >> shift & 0xff) == 0) continue;
        std::size_t start[257] = {};
        for (std::size_t i = 0; i < count; ++i) ++start[(key(source[i]) >> shift & 0xff) + 1];
        for (unsigned digit = 0; digit < 256; ++digit) start[digit + 1] += start[digit];
        for (std::size_t i = 0; i < count; ++i) target[start[key(source[i]) >> shift & 0xff]++] = source[i];
        auto* const sorted = target;
        target = source;
        source = sorted;
    }
    if (source == items.data() + from) return;
    for (std::size_t i = 0; i < count; ++i) items[from + i] = source[i];
}

}  // namespace rota::detail
