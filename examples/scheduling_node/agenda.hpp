// What scheduling_node has to do next: a sink that learns what this node owns, and hands out the schedules as they fall
// due; what was just acquired comes first.
//
// Events come in order and before the call returns that brought them, so after a lock was granted generation_of() is
// that of the ownership under which it was granted.
#pragma once

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include <rota/events.hpp>

namespace example {

class agenda {
public:
    using clock = std::chrono::steady_clock;

    /// `idle`: nothing ever falls due.
    agenda(std::string self, bool idle) : self_{std::move(self)}, idle_{idle} {}

    // ------------------------------------------------ the event sink

    void operator()(rota::ownership_changed const& e) {
        std::lock_guard const lock{mutex_};
        if (e.to.id == self_) {
            forget(e.schedule);
            auto const& [name, fresh] = *owned_.insert_or_assign(e.schedule, ownership{e.generation}).first;
            if (!idle_) due_.emplace(fresh.due, name);
            wake();
        } else if (e.from.id == self_) {
            forget(e.schedule);
        }
    }
    void operator()(rota::handoff_requested const& e) {  // no new run of it; one in hand may be finished
        std::lock_guard const lock{mutex_};
        auto const s = owned_.find(e.schedule);
        if (s == owned_.end()) return;
        due_.erase({s->second.due, s->first});
        s->second.handing_over = true;
    }
    void operator()(rota::node_joined const&) { set_in_contact(true); }
    void operator()(rota::node_resumed const&) { set_in_contact(true); }
    void operator()(rota::node_suspended const&) { set_in_contact(false); }
    void operator()(rota::node_fenced const&) { set_in_contact(false); }
    void operator()(rota::node_left const&) { set_in_contact(false); }
    void operator()(rota::node_lost const& e) {
        set_in_contact(false);
        std::lock_guard const lock{mutex_};
        if (e.data_lost) must_register_ = true;
    }

    // ------------------------------------------------ for the one who works

    /// Waits for a schedule to fall due, but not after `until`, nor when stop is requested or a registration is due.
    [[nodiscard]] std::optional<std::string> next(std::stop_token const& stop, clock::time_point until) {
        std::unique_lock lock{mutex_};
        auto const now_due = [&] {
            return in_contact_ && !due_.empty() && std::max(due_.begin()->first, not_before_) <= clock::now();
        };
        while (!stop.stop_requested() && !now_due() && !registration_due() && clock::now() < until) {
            auto wake_at = until;
            if (in_contact_ && !due_.empty()) wake_at = std::min(until, std::max(due_.begin()->first, not_before_));
            news_.wait_until(lock, stop, wake_at, [seen = news_count_, this] { return news_count_ != seen; });
        }
        if (stop.stop_requested() || !now_due()) return std::nullopt;
        return due_.begin()->second;
    }

    /// The schedule is worked on, or could not be: it falls due again a period later.
    void put_off(std::string const& schedule, clock::duration period) {
        std::lock_guard const lock{mutex_};
        auto const s = owned_.find(schedule);
        if (s == owned_.end() || s->second.handing_over) return;
        due_.erase({s->second.due, s->first});
        auto const now = clock::now();
        bool const is_fresh = s->second.due == clock::time_point::min();
        s->second.due = is_fresh ? now + period : std::max(s->second.due + period, now);
        due_.emplace(s->second.due, s->first);
    }

    /// Nothing falls due for that long, or until there is contact anew.
    void rest(clock::duration time) {
        std::lock_guard const lock{mutex_};
        not_before_ = clock::now() + time;
    }

    /// The fencing token of this node's ownership; nothing if it does not own it.
    [[nodiscard]] std::optional<rota::fencing_token> generation_of(std::string const& schedule) const {
        std::lock_guard const lock{mutex_};
        auto const s = owned_.find(schedule);
        if (s == owned_.end()) return std::nullopt;
        return s->second.generation;
    }

    [[nodiscard]] std::vector<std::string> owned() const {
        std::lock_guard const lock{mutex_};
        std::vector<std::string> names;
        if (!in_contact_) return names;
        for (auto const& [name, mine] : owned_) names.push_back(name);
        return names;
    }

    /// Whether the schedules are to be registered now: at first, and again after the server has lost data. True once.
    [[nodiscard]] bool take_registration() {
        std::lock_guard const lock{mutex_};
        if (!registration_due()) return false;
        must_register_ = false;
        return true;
    }
    void registration_failed(clock::duration retry_after) {
        std::lock_guard const lock{mutex_};
        must_register_ = true;
        register_not_before_ = clock::now() + retry_after;
    }

private:
    struct ownership {
        rota::fencing_token generation = 0;
        clock::time_point due = clock::time_point::min();
        bool handing_over = false;
    };

    void forget(std::string const& schedule) {
        auto const s = owned_.find(schedule);
        if (s == owned_.end()) return;
        due_.erase({s->second.due, s->first});
        owned_.erase(s);
    }

    [[nodiscard]] bool registration_due() const {
        return in_contact_ && must_register_ && clock::now() >= register_not_before_;
    }

    void set_in_contact(bool on) {
        std::lock_guard const lock{mutex_};
        in_contact_ = on;
        not_before_ = {};
        wake();
    }

    void wake() {
        ++news_count_;
        news_.notify_all();
    }

    std::string self_;
    bool idle_;

    mutable std::mutex mutex_;
    std::condition_variable_any news_;
    unsigned long news_count_ = 0;
    bool in_contact_ = false;
    bool must_register_ = true;
    std::map<std::string, ownership> owned_;
    std::set<std::pair<clock::time_point, std::string>> due_;
    clock::time_point not_before_{};
    clock::time_point register_not_before_{};
};

}  // namespace example
