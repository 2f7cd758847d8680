// Locks that came to this node together with their schedules (options::handoff_lock_ttl), until somebody wants them. At
// the server this node holds them; here nobody does. So one is taken without a request while enough is left of it; and
// given back before another lock of that schedule is asked for, or the schedule goes on to somebody else.
#pragma once

#include <algorithm>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "../operations.hpp"
#include "../types.hpp"
#include "late.hpp"

namespace rota::detail {

template <typename T = void>
class handed_locks {
public:
    struct entry {
        fencing_token token = 0;
        microseconds ttl{};      // as it was granted
        instant until{};         // belief
        instant over{};          // it has ended at the server, too
        bool spent = false;      // not to be taken any more: it goes back
        bool goes_back = false;  // ... next
    };

    [[nodiscard]] bool empty() const { return all_.empty(); }

    void came(std::string const& schedule, entry const& lock, instant now) {
        give_back(schedule);  // one under an older token
        if (all_.size() >= 2 * left_by_sweep_ + 8) sweep(now);
        all_.insert_or_assign(schedule, lock);
    }

    /// For who wants it for `ttl`, under that generation: if at least half of that is left, and nobody would hold it for
    /// longer. It is theirs then.
    [[nodiscard]] std::optional<entry> take(std::string const& schedule, fencing_token generation, microseconds ttl,
                                            instant now) {
        auto const l = all_.find(schedule);
        if (l == all_.end() || l->second.token != generation || l->second.spent) return std::nullopt;
        if (l->second.ttl > ttl || now >= l->second.until || l->second.until - now < ttl / 2) return std::nullopt;
        auto const taken = l->second;
        all_.erase(l);
        return taken;
    }

    /// What has to be released before the schedule can be locked anew.
    [[nodiscard]] std::optional<fencing_token> in_the_way_of(std::string const& schedule, instant now) {
        auto const l = all_.find(schedule);
        if (l == all_.end()) return std::nullopt;
        if (now >= l->second.over) {
            all_.erase(l);
            return std::nullopt;
        }
        l->second.spent = true;
        return l->second.token;
    }

    /// When the server holds it for this node no more, whatever is done; min: now.
    [[nodiscard]] instant over(std::string const& schedule) const {
        auto const l = all_.find(schedule);
        return l == all_.end() ? instant::min() : l->second.over;
    }

    /// The schedule is to go, or has gone: the lock is released next.
    void give_back(std::string const& schedule) {
        auto const l = all_.find(schedule);
        if (l == all_.end() || l->second.goes_back) return;
        l->second.spent = l->second.goes_back = true;
        give_back(schedule, l->second.token);
    }
    /// One that may be at the server, and that nobody has a handle of.
    void give_back(std::string const& schedule, fencing_token token) { going_back_.push_back({schedule, token}); }
    template <typename Wanted>
    void give_back_unless(Wanted wanted) {
        for (auto const& [schedule, lock] : all_) {
            if (!wanted(schedule, lock.token)) give_back(schedule);
        }
    }
    /// The first schedule that is of use, with a lock that is not over and not on its way back: it is given back. False:
    /// there is none.
    template <typename OfUse>
    bool give_one_back(instant now, OfUse of_use) {
        for (auto const& [schedule, lock] : all_) {
            if (lock.goes_back || now >= lock.over || !of_use(schedule)) continue;
            give_back(schedule);
            return true;
        }
        return false;
    }
    [[nodiscard]] bool has_to_release() const { return !going_back_.empty(); }
    [[nodiscard]] std::optional<op::release_locks> next_release() const {
        if (going_back_.empty()) return std::nullopt;
        op::release_locks request{.kind = op::lock_kind::schedule};
        auto const count = static_cast<std::ptrdiff_t>(std::min(going_back_.size(), op::max_batch));
        request.items.assign(going_back_.rbegin(), going_back_.rbegin() + count);
        return request;
    }
    /// It is, or cannot be: then it runs out.
    void released(std::string const& schedule, fencing_token token) {
        auto const is_it = [&](auto const& l) { return l.token == token && l.name == schedule; };
        if (!going_back_.empty() && is_it(going_back_.back())) {  // as the answer to next_release() has them
            going_back_.pop_back();
        } else {
            std::erase_if(going_back_, is_it);
        }
        auto const l = all_.find(schedule);
        if (l != all_.end() && l->second.token == token) all_.erase(l);
    }

    /// What the server had may be lost: none is taken any more.
    void doubt() {
        for (auto& [schedule, lock] : all_) lock.until = instant::min();
    }
    void clear() {
        all_.clear();
        going_back_.clear();
    }

private:
    void sweep(instant now) {
        std::erase_if(all_, [now](auto const& l) { return now >= l.second.over; });
        left_by_sweep_ = all_.size();
    }

    std::map<std::string, entry, std::less<>> all_;
    std::vector<late<op::lock_ref, T>> going_back_;  // the last one first
    std::size_t left_by_sweep_ = 0;
};

}  // namespace rota::detail
