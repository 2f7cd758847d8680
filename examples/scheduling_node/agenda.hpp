// What scheduling_node has to do next: a sink that learns what this node owns, and hands out the schedules as they fall
// due, each to one thread at a time; what was just acquired comes first.
//
// Events come in order and before the call returns that brought them, so after a lock was granted generation_of() is
// that of the ownership under which it was granted. A schedule that is to move stays on the list until it does: its lock
// is not granted then, and the owner may be left with it after all.
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
    static constexpr auto never = clock::time_point::max();

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

    /// A schedule to be run by whoever asked for it, who then says when it may fall due again (put_off).
    struct job {
        std::string schedule{};
        rota::fencing_token generation = 0;
        clock::time_point due{};
    };

    /// Waits for a schedule to fall due, but not after `until`, nor when stop is requested.
    [[nodiscard]] std::optional<job> next(std::stop_token const& stop, clock::time_point until = never) {
        std::unique_lock lock{mutex_};
        for (;;) {
            auto const now = clock::now();
            auto const due_at = first_due();
            if (stop.stop_requested()) return std::nullopt;
            if (due_at <= now) break;
            if (until <= now) return std::nullopt;
            wait(lock, stop, std::min(due_at, until));
        }
        auto const first = due_.extract(due_.begin()).value();
        auto& mine = owned_.find(first.second)->second;
        if (mine.due == at_once) mine.due = clock::now();
        return job{first.second, mine.generation, mine.due};
    }

    /// When the next one falls due, as things are.
    [[nodiscard]] clock::time_point next_due() const {
        std::lock_guard const lock{mutex_};
        return first_due();
    }

    /// The job is done, or could not be: its schedule falls due again a period after it last did.
    void put_off(job const& done, clock::duration period) {
        std::lock_guard const lock{mutex_};
        auto const s = owned_.find(done.schedule);
        if (s == owned_.end() || s->second.generation != done.generation) return;
        s->second.due = std::max(done.due + period, clock::now());
        due_.emplace(s->second.due, s->first);
        wake();
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

    /// Waits until the schedules are to be registered (at first, and again after the server has lost data), but not after
    /// `until`, nor when stop is requested. True once.
    [[nodiscard]] bool take_registration(std::stop_token const& stop, clock::time_point until) {
        std::unique_lock lock{mutex_};
        for (;;) {
            auto const now = clock::now();
            auto const due_at = in_contact_ && must_register_ ? register_not_before_ : never;
            if (stop.stop_requested()) return false;
            if (due_at <= now) break;
            if (until <= now) return false;
            wait(lock, stop, std::min(due_at, until));
        }
        must_register_ = false;
        return true;
    }
    void registration_failed(clock::duration retry_after) {
        std::lock_guard const lock{mutex_};
        must_register_ = true;
        register_not_before_ = clock::now() + retry_after;
    }

private:
    static constexpr auto at_once = clock::time_point::min();

    struct ownership {
        rota::fencing_token generation = 0;
        clock::time_point due = at_once;
    };

    [[nodiscard]] clock::time_point first_due() const {
        return in_contact_ && !due_.empty() ? std::max(due_.begin()->first, not_before_) : never;
    }

    void forget(std::string const& schedule) {
        auto const s = owned_.find(schedule);
        if (s == owned_.end()) return;
        due_.erase({s->second.due, s->first});
        owned_.erase(s);
    }

    // For news, or until then.
    void wait(std::unique_lock<std::mutex>& lock, std::stop_token const& stop, clock::time_point until) {
        auto const news = [seen = news_count_, this] { return news_count_ != seen; };
        if (until == never) {
            news_.wait(lock, stop, news);
        } else {
            news_.wait_until(lock, stop, until, news);
        }
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
