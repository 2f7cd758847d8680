// The locks of a node that somebody on it has a handle of, or asks for; and what follows from that for who wants to give a
// schedule away: when no run of it can be under way. (Locks that nobody here has a handle of: handed_locks.hpp.)
#pragma once

#include <algorithm>
#include <cstddef>
#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "../operations.hpp"
#include "../types.hpp"
#include "late.hpp"

namespace rota::detail {

struct held_lock {
    fencing_token token = 0;  // 0: not held
    instant until{};          // belief
    bool released = false;    // the handle is gone; the server may still have it
    unsigned asking = 0;      // requests under way for it: several may be, while an earlier one is being released
};

/// For tables of names that are searched by views of them.
struct name_hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view name) const noexcept { return std::hash<std::string_view>{}(name); }
};

template <typename T = void>
class held_locks {
public:
    using entry = std::pair<std::string const, late<held_lock, T>>;

    /// The entry of a lock that is about to be held.
    [[nodiscard]] entry& at(op::lock_kind kind, std::string const& name) {
        auto& table = of(kind);
        if (spare_.empty()) {
            // Now, so that to forget one needs no memory.
            if (spare_.capacity() < op::max_batch) spare_.reserve(std::min(op::max_batch, 2 * spare_.capacity() + 1));
            return *table.try_emplace(name).first;
        }
        auto fresh = std::move(spare_.back());
        spare_.pop_back();
        fresh.key() = name;
        fresh.mapped() = {};
        auto put = table.insert(std::move(fresh));
        if (!put.inserted) spare_.push_back(std::move(put.node));
        return *put.position;
    }

    /// Of schedules: the entries of the items stay where they are until no_longer_asking().
    [[nodiscard]] std::vector<entry*> asking(op::acquire_locks const& request) {
        std::vector<entry*> entries;
        entries.reserve(request.items.size());
        for (auto const& item : request.items) {
            auto& e = at(op::lock_kind::schedule, item.name);
            ++e.second.asking;
            entries.push_back(&e);
        }
        return entries;
    }
    void no_longer_asking(std::vector<entry*> const& entries) noexcept {
        auto& table = of(op::lock_kind::schedule);
        for (auto* const e : entries) {
            if (--e->second.asking == 0 && e->second.token == 0) forget(table, table.find(e->first));
        }
    }

    void granted(entry& e, fencing_token token, instant until) { e.second = {token, until, false, e.second.asking}; }
    /// Until when it may be believed in now.
    instant extended(op::lock_kind kind, std::string const& name, fencing_token token, instant until) {
        auto const l = find(kind, name, token);
        if (l == of(kind).end()) return until;
        if (until > l->second.until) l->second.until = until;
        return l->second.until;
    }
    /// The handle is invalid from now on.
    void releasing(op::lock_kind kind, std::string const& name, fencing_token token) {
        auto const l = find(kind, name, token);
        if (l != of(kind).end()) l->second.released = true;
    }
    void released(op::lock_kind kind, std::string const& name, fencing_token token) {
        auto const l = find(kind, name, token);
        if (l == of(kind).end()) return;
        if (l->second.asking == 0) {
            forget(of(kind), l);
        } else {
            l->second = {.asking = l->second.asking};
        }
    }
    /// All are over. What is asked for stays so until it is answered.
    void drop() {
        for (auto& table : tables_) {
            std::erase_if(table, [](auto const& l) { return l.second.asking == 0; });
            for (auto& [name, l] : table) l = {.asking = l.asking};
        }
    }

    [[nodiscard]] bool has(std::string const& schedule, fencing_token token) {
        return find(op::lock_kind::schedule, schedule, token) != of(op::lock_kind::schedule).end();
    }
    /// From when on no run of that schedule can be under way; min: now, max: a lock is being asked for.
    [[nodiscard]] instant run_ends(std::string const& schedule) const {
        auto const l = tables_[0].find(schedule);
        if (l == tables_[0].end()) return instant::min();
        if (l->second.asking > 0) return instant::max();
        return l->second.released ? instant::min() : l->second.until;
    }

private:
    using lock_table = std::unordered_map<std::string, late<held_lock, T>, name_hash, std::equal_to<>>;

    // Kept for the next: a busy node takes and gives back locks all the time.
    void forget(lock_table& table, typename lock_table::const_iterator which) noexcept {
        auto gone = table.extract(which);
        if (spare_.size() < spare_.capacity()) spare_.push_back(std::move(gone));
    }

    [[nodiscard]] lock_table& of(op::lock_kind kind) { return tables_[kind == op::lock_kind::schedule ? 0 : 1]; }
    // The end: it is not held under that token.
    [[nodiscard]] auto find(op::lock_kind kind, std::string const& name, fencing_token token) {
        auto const l = of(kind).find(name);
        return l != of(kind).end() && l->second.token == token ? l : of(kind).end();
    }

    lock_table tables_[2];
    std::vector<typename lock_table::node_type> spare_;
};

}  // namespace rota::detail
