// Classes of schedules that may be on the same nodes: kinds whose pins and labels come to the same, made once per plan.
// Nodes with the same labels are looked at once, so this takes O(nodes + kinds x label sets), not kinds x nodes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "../cluster_view.hpp"
#include "../strategy/eligibility.hpp"
#include "late.hpp"

namespace rota::detail {

/// Numbers for values, the same for equal ones, in order of their first appearance. The caller keeps the values.
template <typename = void>
class numbering {
public:
    /// The number of a value with this hash; `same(number)` tells whether the value of that number is equal.
    template <typename Same>
    std::uint32_t number_of(std::size_t hash, Same const& same) {
        if (count_ * 2 >= slots_.size()) grow();
        auto at = spread(hash) & (slots_.size() - 1);
        for (; slots_[at].number != none; at = (at + 1) & (slots_.size() - 1)) {
            if (slots_[at].hash == hash && same(slots_[at].number)) return slots_[at].number;
        }
        slots_[at] = {hash, count_};
        return count_++;
    }
    [[nodiscard]] std::uint32_t count() const noexcept { return count_; }

    /// Whether a value with this hash has a number, where the hash says all.
    [[nodiscard]] bool has(std::size_t hash) const noexcept {
        if (slots_.empty()) return false;
        auto at = spread(hash) & (slots_.size() - 1);
        for (; slots_[at].number != none; at = (at + 1) & (slots_.size() - 1)) {
            if (slots_[at].hash == hash) return true;
        }
        return false;
    }

private:
    static constexpr std::uint32_t none = ~std::uint32_t{0};
    struct slot {
        std::size_t hash = 0;
        std::uint32_t number = none;
    };

    static std::size_t spread(std::size_t hash) {
        auto const mixed = hash * 0x9e3779b97f4a7c15U;
        return mixed ^ mixed >> 32;
    }

    void grow() {
        std::vector<slot> larger(slots_.empty() ? 64 : slots_.size() * 2);
        for (auto const& old : slots_) {
            if (old.number == none) continue;
            auto at = spread(old.hash) & (larger.size() - 1);
            while (larger[at].number != none) at = (at + 1) & (larger.size() - 1);
            larger[at] = old;
        }
        slots_.swap(larger);
    }

    std::vector<slot> slots_;
    std::uint32_t count_ = 0;
};

/// The classes of a view. Their numbers, and those of groups, begin at 0, in the order of the view's kinds.
template <typename T = void>
class placement_classes {
    using cluster_view = late<rota::cluster_view, T>;

public:
    static constexpr std::uint32_t none = ~std::uint32_t{0};

    struct placement_class {
        std::uint32_t row = none;          ///< which label sets will do; none: one node alone, or no node at all
        std::uint32_t node = none;         ///< the node that it is pinned to
        std::uint32_t group = none;        ///< at most one schedule of a group on a node
        no_place why = no_place::no_room;  ///< if no node will do: why
        bool nowhere = false;              ///< no node will do
        bool anywhere = false;             ///< each node will do, and it is in no group
    };

    explicit placement_classes(cluster_view const& view) : view_{view} {
        sort_nodes();
        sort_kinds();
    }

    [[nodiscard]] std::uint32_t of_kind(std::uint32_t kind) const noexcept {
        return class_of_kind_[kind < class_of_kind_.size() ? kind : 0];
    }
    [[nodiscard]] std::uint32_t count() const noexcept { return static_cast<std::uint32_t>(classes_.size()); }
    [[nodiscard]] std::uint32_t groups() const noexcept { return groups_; }
    [[nodiscard]] placement_class const& operator[](std::uint32_t c) const noexcept { return classes_[c]; }

    /// Whether pin and labels of the class let it be on the node.
    [[nodiscard]] bool allows(std::uint32_t c, std::uint32_t node) const noexcept {
        auto const& one = classes_[c];
        return one.row == none ? one.node == node : rows_[one.row][label_set_[node]] != 0;
    }

private:
    using labels = std::span<std::string const>;

    static std::size_t hash_of(labels set, std::size_t seed = 0) {
        for (auto const& label : set) seed = (seed ^ std::hash<std::string_view>{}(label)) * 0x9e3779b97f4a7c15U;
        return seed;
    }
    static bool equal(labels a, labels b) {
        if (a.size() != b.size()) return false;
        if (a.data() == b.data()) return true;
        for (std::size_t i = 0; i < a.size(); ++i) {
            if (a[i] != b[i]) return false;
        }
        return true;
    }

    void sort_nodes() {
        auto const& nodes = view_.nodes;
        numbering<> sets;
        label_set_.resize(nodes.size());
        for (std::uint32_t n = 0; n < nodes.size(); ++n) {
            auto const set = nodes[n].labels;
            label_set_[n] = sets.number_of(
                hash_of(set), [&](std::uint32_t known) { return equal(view_.nodes[example_[known]].labels, set); });
            if (label_set_[n] == example_.size()) example_.push_back(n);
        }
    }

    void sort_kinds() {
        std::hash<std::string_view> const text;
        auto const kinds = view_.kinds.empty() ? 1 : static_cast<std::uint32_t>(view_.kinds.size());
        number_ids();
        rows_.emplace_back(example_.size(), '\1');  // of what may be anywhere
        row_numbers_.number_of(std::hash<std::string_view>{}(rows_[0]), [](std::uint32_t) { return false; });

        numbering<> groups, classes;
        std::vector<std::uint32_t> group_examples;
        class_of_kind_.resize(kinds);
        for (std::uint32_t k = 0; k < kinds; ++k) {
            auto made = view_.kinds.empty() ? placement_class{0, none, none, {}, false, true} : whereabouts(k);
            if (!view_.kinds.empty() && !view_.kinds[k].group.empty()) {
                auto const group = view_.kinds[k].group;
                made.group = groups.number_of(text(group), [&](std::uint32_t known) {
                    return view_.kinds[group_examples[known]].group == group;
                });
                if (made.group == group_examples.size()) group_examples.push_back(k);
                made.anywhere = false;
            }
            std::size_t const hash = (std::size_t{made.row} << 40) ^ (std::size_t{made.node} << 20) ^ made.group;
            class_of_kind_[k] = classes.number_of(hash * 0x9e3779b97f4a7c15U, [&](std::uint32_t known) {
                auto const& other = classes_[known];
                return other.row == made.row && other.node == made.node && other.group == made.group &&
                       other.nowhere == made.nowhere && other.why == made.why;
            });
            if (class_of_kind_[k] == classes_.size()) classes_.push_back(made);
        }
        groups_ = groups.count();
    }

    void number_ids() {
        bool pinned = false;
        for (auto const& kind : view_.kinds) pinned = pinned || !kind.pin.empty();
        if (!pinned) return;
        for (auto const& node : view_.nodes) {
            ids_.number_of(std::hash<std::string_view>{}(node.id), [](std::uint32_t) { return false; });
        }
    }

    // The class of a kind, but for its group.
    placement_class whereabouts(std::uint32_t k) {
        auto const& kind = view_.kinds[k];
        auto const nowhere = [](no_place why) { return placement_class{none, none, none, why, true, false}; };
        if (labels_found(kind.required, kind.forbidden) > 0) return nowhere(no_place::rules_conflict);
        if (!kind.pin.empty()) {
            auto const node = ids_.number_of(std::hash<std::string_view>{}(kind.pin), [&](std::uint32_t n) {
                return n < view_.nodes.size() && view_.nodes[n].id == kind.pin;
            });
            if (node >= view_.nodes.size()) return nowhere(no_place::pin_absent);
            if (!rota::allows(view_, k, node)) return nowhere(no_place::rules_conflict);
            return {none, node, none, {}, false, false};
        }
        auto const row = row_of(k);
        if (row == none) return nowhere(no_place::labels_missing);
        return {row, none, none, {}, false, row == 0};
    }

    // The label sets that will do for a kind, as a number; none: no one will.
    std::uint32_t row_of(std::uint32_t k) {
        auto const& kind = view_.kinds[k];
        if (kind.required.empty() && kind.forbidden.empty()) return 0;
        std::string row(example_.size(), '\0');
        bool any = false;
        for (std::size_t set = 0; set < row.size(); ++set) {
            auto const there = view_.nodes[example_[set]].labels;
            if (labels_found(kind.required, there) < kind.required.size()) continue;
            if (labels_found(kind.forbidden, there) > 0) continue;
            row[set] = '\1';
            any = true;
        }
        if (!any) return none;
        auto const number = row_numbers_.number_of(std::hash<std::string_view>{}(row),
                                                   [&](std::uint32_t known) { return rows_[known] == row; });
        if (number == rows_.size()) rows_.push_back(static_cast<std::string&&>(row));
        return number;
    }

    cluster_view const& view_;
    std::vector<std::uint32_t> label_set_;  // of each node
    std::vector<std::uint32_t> example_;    // a node with that label set
    std::vector<std::string> rows_;         // per class, for each label set: will it do?
    std::vector<placement_class> classes_;
    std::vector<std::uint32_t> class_of_kind_;
    numbering<> row_numbers_, ids_;
    std::uint32_t groups_ = 0;
};

}  // namespace rota::detail
