// Nodes by weight, the first one on top: a binary heap that knows where each node is, so that a weight can change and a
// node can go. Among equals, the lower index is first. add, update and remove take O(log nodes), all others O(1).
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "late.hpp"

namespace rota::detail {

template <typename T>
class node_heap {
public:
    explicit node_heap(bool heaviest_first) : sign_{heaviest_first ? -1.0 : 1.0} {}

    void begin(std::size_t nodes) { places_.assign(nodes, absent); }
    /// In any order, and for the heap as a whole; then order_all().
    void add_unordered(std::uint32_t node, double weight) {
        places_[node] = static_cast<std::uint32_t>(members_.size());
        members_.push_back({sign_ * weight, node});
    }
    void order_all() {
        for (auto i = members_.size() / 2; i > 0; --i) sink(static_cast<std::uint32_t>(i - 1));
    }
    void clear() {
        for (auto const& one : members_) places_[one.node] = absent;
        members_.clear();
    }

    [[nodiscard]] bool empty() const { return members_.empty(); }
    [[nodiscard]] std::uint32_t top() const { return members_.front().node; }
    [[nodiscard]] bool holds(std::uint32_t node) const { return places_[node] != absent; }

    void insert(std::uint32_t node, double weight) {
        add_unordered(node, weight);
        rise(places_[node]);
    }
    void remove(std::uint32_t node) {
        auto const place = places_[node];
        places_[node] = absent;
        auto const last = members_.back();
        members_.pop_back();
        if (last.node == node) return;
        put(place, last);
        rise(place);
        sink(places_[last.node]);
    }
    /// Its weight has changed.
    void update(std::uint32_t node, double weight) {
        members_[places_[node]].key = sign_ * weight;
        rise(places_[node]);
        sink(places_[node]);
    }

private:
    static constexpr auto absent = ~std::uint32_t{0};

    struct member {
        double key;
        std::uint32_t node;
        [[nodiscard]] bool before(member const& other) const {
            return key < other.key || (key == other.key && node < other.node);
        }
    };

    void rise(std::uint32_t place) {
        auto const risen = members_[place];
        for (; place > 0 && risen.before(members_[(place - 1) / 2]); place = (place - 1) / 2) {
            put(place, members_[(place - 1) / 2]);
        }
        put(place, risen);
    }
    void sink(std::uint32_t place) {
        auto const sunk = members_[place];
        for (auto child = 2 * place + 1; child < members_.size(); child = 2 * place + 1) {
            if (child + 1 < members_.size() && members_[child + 1].before(members_[child])) ++child;
            if (!members_[child].before(sunk)) break;
            put(place, members_[child]);
            place = child;
        }
        put(place, sunk);
    }
    void put(std::uint32_t place, member const& one) {
        members_[place] = one;
        places_[one.node] = place;
    }

    std::vector<member> members_;
    std::vector<late<std::uint32_t, T>> places_;
    double sign_;
};

}  // namespace rota::detail
