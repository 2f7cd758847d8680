// The scheduling of a worker, without clock, threads or I/O: it is told facts (owned, lost, granted, ended, stop, ...) and
// says what to do (next(), stops()) and until when there is nothing to do (due(), next_stop()). worker_engine.hpp carries
// it out; tests script it.
//
// What holds, whatever comes: at most one run of a schedule is in hand, and at most `slots` in all; nothing is started
// after stop(), nor of a schedule that is lost or being handed over; locks are extended only while the handler runs; each
// lock that was granted is given up exactly once (release, let_go, or by leaving).
#pragma once

#include <algorithm>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "../error.hpp"
#include "../events.hpp"
#include "../run_report.hpp"
#include "../strategy/hashing.hpp"
#include "../trigger/trigger.hpp"
#include "../types.hpp"
#include "../worker_options.hpp"
#include "late.hpp"

namespace rota::detail {

/// The same moment on both clocks of a node.
struct clock_reading {
    instant now{};
    microseconds wall{};  ///< since the Unix epoch
};

/// A trigger policy, type-erased.
class trigger_port {
public:
    [[nodiscard]] virtual std::optional<microseconds> next_run(schedule_times const&) const = 0;

protected:
    ~trigger_port() = default;
};

/// What next() wants done, in this order. A slot is the place of one run, from the request for its lock on.
struct worker_actions {
    struct acquisition {
        std::uint32_t slot = 0;
        std::string schedule{};
    };
    struct start {
        std::uint32_t slot = 0;
        std::string schedule{};
        fencing_token generation = 0;
        std::uint32_t attempt = 0;
    };

    bool look = false;                     ///< then tell what is owned (owns())
    std::vector<std::uint32_t> release;    ///< the run is over; the slot is free
    std::vector<std::uint32_t> let_go;     ///< the same of the lock, but its handler still runs
    bool take_no_more = false;             ///< let the leader move what is idle here; comes once
    bool leave = false;                    ///< the group; comes once, then nothing is acquired or extended
    std::vector<std::uint32_t> extend;     ///< then extended() or not_extended() each
    std::vector<start> starts;             ///< then not_started() or ended() each
    std::vector<acquisition> acquire;      ///< then granted() or refused() each
    std::vector<schedule_triggered> done;  ///< what was asked for, and is done; then not_told() if that fails
    std::vector<run_report> reports;

    [[nodiscard]] bool empty() const {
        return !look && !take_no_more && !leave && release.empty() && let_go.empty() && extend.empty() &&
               starts.empty() && acquire.empty() && done.empty() && reports.empty();
    }
    /// Besides reports.
    [[nodiscard]] bool only_starts() const {
        return !starts.empty() && !look && !take_no_more && !leave && release.empty() && let_go.empty() &&
               extend.empty() && acquire.empty() && done.empty();
    }
};

struct stop_order {
    std::uint32_t slot = 0;
    stop_cause cause{};
};

/// Not thread-safe. Times never go back.
template <typename T = void>
class worker_machine {
    using actions = late<worker_actions, T>;

public:
    /// `w`: filled in and checked, `threads` too. `outage_pause`: after a failure that concerns all. `handoff_deadline`: the
    /// leader's, which should be that of this node.
    worker_machine(worker_options const& w, microseconds outage_pause, microseconds handoff_deadline,
                   trigger_port const& trigger, std::uint64_t seed)
        : rules_{w},
          outage_pause_{outage_pause},
          handoff_deadline_{handoff_deadline},
          refusal_pause_{std::max(w.lock_ttl / 16, microseconds{1000})},
          trigger_{trigger},
          random_{seed},
          runs_(w.threads) {}

    // ---------------------------------------------------------------- facts: the node

    void joined(instant now) { resumed(now); }
    void suspended() { contact_ = false, doubt_ = true; }
    void resumed(instant now) { contact_ = true, look_soon(now); }
    /// Left, lost or fenced: it owns nothing.
    void gone() {
        contact_ = false;
        doubt_ = true;
        while (!owned_.empty()) lost(std::string{owned_.begin()->first});
    }
    [[nodiscard]] bool in_contact() const { return contact_; }

    // ---------------------------------------------------------------- facts: schedules

    void owned(std::string const& id, fencing_token generation, clock_reading t) {
        auto& e = entries_.try_emplace(id).first->second;
        e.stamp = stamp_;
        if (e.owned && !e.revoked && e.generation == generation) return;
        unqueue(e);
        bool const fresh = !e.owned || e.generation != generation;
        e.id = id;
        e.owned = true;
        e.revoked = false;
        if (fresh) {
            e.generation = generation;
            e.owned_since = t.now;
            e.last_start = e.last_end = std::nullopt;
            e.attempt = 1;
            e.again = false;
            e.asked = 0;
            if (!e.busy) plan(e, t);
        } else {  // the hand-over is off
            queue(e);
            if (e.asked != 0) (void)trigger(id, t.now);
        }
        owned_[id] = &e;
    }
    void revoked(std::string const& id) {
        auto const s = entries_.find(id);
        if (s == entries_.end() || !s->second.owned) return;
        s->second.revoked = true;
        unqueue(s->second);
    }
    void lost(std::string const& id) {
        auto const s = entries_.find(id);
        if (s == entries_.end()) return;
        unqueue(s->second);
        s->second.owned = false;
        s->second.asked = 0;
        owned_.erase(id);
        if (!s->second.busy) entries_.erase(s);
    }
    void look_soon(instant now) { look_at_ = std::min(look_at_, now); }
    /// All that is owned now: the answer to worker_actions::look.
    template <typename Schedules>
    void owns(Schedules const& all, clock_reading t) {
        ++stamp_;
        for (auto const& s : all) {
            if (s.handing_over && is_revoked(s.id, s.generation)) {
                entries_.find(s.id)->second.stamp = stamp_;
                continue;
            }
            owned(s.id, s.generation, t);
            if (s.triggered != 0) triggered(s.id, s.triggered, t.now);
            if (s.handing_over) revoked(s.id);
        }
        std::vector<std::string> gone;
        for (auto const& [id, e] : owned_) {
            if (e->stamp != stamp_) gone.push_back(id);
        }
        for (auto const& id : gone) lost(id);
        look_at_ = t.now + outage_pause_;  // not all that changes is told
    }
    /// The group asks for a run of it, under that token.
    void triggered(std::string const& id, fencing_token token, instant now) {
        auto const s = entries_.find(id);
        if (s == entries_.end() || !s->second.owned) return;
        if (token <= s->second.asked || token <= s->second.done) return;
        s->second.asked = token;
        (void)trigger(id, now);
    }
    /// A run of it is wanted now, or once the one in hand is over. False: this node does not own it (or hands it over).
    bool trigger(std::string const& id, instant now) {
        auto const s = entries_.find(id);
        if (s == entries_.end() || !s->second.owned || s->second.revoked || stopping_) return false;
        auto& e = s->second;
        if (!e.busy) {
            be_due(e, now);
        } else if (!is_to_begin(e)) {
            e.again = true;
        }
        return true;
    }

    // ---------------------------------------------------------------- facts: locks

    void granted(std::uint32_t slot, fencing_token token, instant valid_until, clock_reading t) {
        auto& r = runs_[slot];
        auto& e = *r.of;
        r.token = token;
        r.generation = e.generation;
        if (stopping_ || !contact_ || !e.owned || e.revoked || valid_until - t.now <= rules_.stop_margin) {
            give_back(r, t);
            return;
        }
        r.at = stage::starting;
        r.started = t.now;
        r.valid_until = valid_until;
        r.extend_at = t.now + rules_.lock_ttl / 2;
        if (token == e.generation) extend_soon(r, t.now);
        r.attempt = e.attempt;
        r.asked = e.asked;
        e.refusal_told = false;
    }
    void refused(std::uint32_t slot, error const& why, clock_reading t) {
        auto& r = runs_[slot];
        auto& e = *r.of;
        auto due = t.now + refusal_pause_;
        switch (why.code) {
            case errc::not_owner:
            case errc::unknown_schedule: look_soon(t.now + refusal_pause_); break;
            case errc::lock_lost: break;
            case errc::locked_by_other:
                if (!std::exchange(e.refusal_told, true)) {
                    report(r, run_report::what::refused, t.now).why = why.message();
                }
                break;
            default:  // of the node, or of the server
                rest_until_ = t.now + outage_pause_;
                due = t.now;
        }
        e.busy = false;
        r = {};
        if (e.owned) e.due = due, queue(e);
        forget_unowned(e);
    }
    void extended(std::uint32_t slot, instant valid_until, instant now) {
        auto& r = runs_[slot];
        if (r.at != stage::running) return;
        r.valid_until = valid_until;
        r.extend_at = now + rules_.lock_ttl / 2;
    }
    void not_extended(std::uint32_t slot, error const& why, instant now) {
        auto& r = runs_[slot];
        if (r.at != stage::running) return;
        bool const for_good = why == errc::lock_lost || why == errc::not_owner;
        if (why == errc::lock_lost) r.valid_until = now;
        r.extend_at = for_good ? instant::max() : now + std::max(rules_.lock_ttl / 16, microseconds{1000});
    }
    /// What the handle says. (A node that ticks may be believed in for longer than was known when the lock was granted.)
    void valid_until(std::uint32_t slot, instant until) { runs_[slot].valid_until = until; }

    // ---------------------------------------------------------------- facts: runs

    /// The handler was not called: the lock ended before, or stop() came.
    void not_started(std::uint32_t slot, clock_reading t) { give_back(runs_[slot], t); }

    /// The handler has returned; `failure`: it threw, or returned an error.
    void ended(std::uint32_t slot, std::optional<std::string> failure, clock_reading t) {
        auto& r = runs_[slot];
        auto& e = *r.of;
        auto& told = report(r, failure ? run_report::what::failed : run_report::what::finished, t.now);
        e.busy = false;
        bool const same = r.generation == e.generation;  // not gone and back meanwhile, to begin anew
        if (e.owned && same) {
            e.last_start = r.started;
            e.last_end = t.now;
        }
        bool const is_last = !failure || r.attempt >= rules_.retry.attempts;
        bool const retry = same && !is_last;
        if (retry) {
            told.retry_in = backoff(e.attempt);
            ++e.attempt;
        } else {
            e.attempt = 1;
        }
        if (failure) told.why = *std::move(failure);
        // One that had to stop early is not done: whoever owns it next is asked for a run, too.
        bool const cut_off = r.cause == stop_cause::lock_ending || r.cause == stop_cause::shutting_down;
        if (r.asked != 0 && is_last && !cut_off) {
            if (e.asked == r.asked) e.asked = 0;
            e.done = r.asked;
            done_.push_back({e.id, r.asked});
        }
        if (e.owned) {
            if (std::exchange(e.again, false)) {
                be_due(e, t.now);
            } else if (retry) {
                be_due(e, t.now + *told.retry_in);
            } else if (e.asked != 0) {
                be_due(e, t.now + refusal_pause_);
            } else {
                plan(e, t);
            }
        }
        r.at = r.lock_over ? stage::free : stage::releasing;
        forget_unowned(e);
        if (r.at == stage::free) r = {};
    }

    /// What was to be told to be done was not told.
    void not_told(std::vector<schedule_triggered> const& runs, instant now) {
        done_.insert(done_.end(), runs.begin(), runs.end());
        tell_done_at_ = now + outage_pause_;
    }

    // ---------------------------------------------------------------- facts: the end

    /// Nothing is started any more; what runs has drain_budget. No effect a second time.
    void stop(instant now) { stop_within(rules_.drain_budget, now); }
    /// The node takes no part any more: runs in hand are asked to stop, and waited for.
    void end(instant now) {
        drain_until_ = ask_from_ = now;
        stopping_ = true;
    }
    [[nodiscard]] bool stopping() const { return stopping_; }
    [[nodiscard]] bool has_left() const { return left_; }
    /// All is over: it has left, and no handler runs.
    [[nodiscard]] bool done() const {
        return left_ && reports_.empty() &&
               std::all_of(runs_.begin(), runs_.end(), [](run const& r) { return r.at == stage::free; });
    }

    // ---------------------------------------------------------------- what to do

    [[nodiscard]] actions next(instant now) {
        actions a;
        if (contact_ && !stopping_ && look_at_ <= now) {
            look_at_ = instant::max();
            a.look = true;
        }
        bool extend = false;
        for (auto& r : runs_) {
            if (r.at == stage::releasing) {
                a.release.push_back(number(r));
                r = {};
            } else if (r.at == stage::running) {
                if (now >= ignored_from(r)) {
                    r.told = true;
                    report(r, run_report::what::stop_ignored, now);
                    if (!std::exchange(r.lock_over, true)) a.let_go.push_back(number(r));
                }
                extend = extend || (!r.lock_over && now >= r.extend_at);
            }
        }
        if (extend) {  // and who would follow soon
            for (auto& r : runs_) {
                if (r.at != stage::running || r.lock_over || now < r.extend_at - rules_.lock_ttl / 8) continue;
                a.extend.push_back(number(r));
                r.extend_at = now + rules_.lock_ttl / 16;  // until the answer is there
            }
        }
        start_and_acquire(a, now);
        if (now >= tell_done_at_ || stopping_) a.done = std::exchange(done_, {});
        if (stopping_ && !left_ && (now >= drain_until_ || idle())) leave(a);
        if (now >= take_no_more_from()) a.take_no_more = takes_no_more_ = true;
        a.reports = std::exchange(reports_, {});
        return a;
    }

    /// Until when next() has nothing to do if no fact comes before.
    [[nodiscard]] instant due() const {
        if (!reports_.empty()) return instant::min();
        auto when = done_.empty() ? instant::max() : tell_done_at_;
        for (auto const& r : runs_) {
            if (r.at == stage::starting || r.at == stage::releasing) return instant::min();
            if (r.at != stage::running) continue;
            when = std::min(when, ignored_from(r));
            if (!r.lock_over) when = std::min(when, r.extend_at);
        }
        if (stopping_) {
            if (left_) return when;
            return idle() ? instant::min() : std::min({when, drain_until_, take_no_more_from()});
        }
        if (!contact_) return when;
        when = std::min(when, look_at_);
        bool const room = std::any_of(runs_.begin(), runs_.end(), [](run const& r) { return r.at == stage::free; });
        if (room && !queue_.empty()) when = std::min(when, std::max(queue_.begin()->first.first, rest_until_));
        return when;
    }

    // ---------------------------------------------------------------- whom to ask to stop (apart from next(), which may
    // be held up by the network)

    /// The slots whose handle should be asked first (valid_until()): as far as is known, it is about to end.
    [[nodiscard]] std::vector<std::uint32_t> expiring(instant now) {
        std::vector<std::uint32_t> list;
        for (auto const& r : runs_) {
            if (r.at != stage::running || r.cause != stop_cause::none) continue;
            if (doubt_ || r.valid_until - rules_.stop_margin <= now) list.push_back(number(r));
        }
        doubt_ = false;
        return list;
    }
    [[nodiscard]] std::vector<stop_order> stops(instant now) {
        std::vector<stop_order> orders;
        for (auto& r : runs_) {
            if (r.at != stage::running || r.cause != stop_cause::none || now < stop_due(r)) continue;
            r.cause = now >= r.valid_until - rules_.stop_margin ? stop_cause::lock_ending
                      : stopping_ && now >= ask_from_           ? stop_cause::shutting_down
                                                                : stop_cause::max_run_time;
            r.asked_at = now;
            report(r, run_report::what::stop_requested, now);
            orders.push_back({number(r), r.cause});
        }
        return orders;
    }
    [[nodiscard]] instant next_stop() const {
        auto when = instant::max();
        for (auto const& r : runs_) {
            if (r.at != stage::running || r.cause != stop_cause::none) continue;
            if (doubt_) return instant::min();
            when = std::min(when, stop_due(r));
        }
        return when;
    }

private:
    enum class stage : std::uint8_t { free, acquiring, starting, running, releasing };

    struct entry {
        std::string id{};
        fencing_token generation = 0;
        bool owned = false;
        bool revoked = false;
        bool busy = false;   // a slot is its
        bool again = false;  // triggered meanwhile
        bool queued = false;
        bool refusal_told = false;
        fencing_token asked = 0;  // a run, by the group
        fencing_token done = 0;   // the latest of these that is
        std::uint32_t attempt = 1;
        std::uint64_t stamp = 0;
        std::uint64_t place = 0;
        instant due = instant::max();
        instant owned_since{};
        std::optional<instant> last_start;
        std::optional<instant> last_end;
    };

    struct run {
        stage at = stage::free;
        entry* of = nullptr;
        fencing_token token = 0;
        fencing_token generation = 0;
        std::uint32_t attempt = 0;
        fencing_token asked = 0;
        instant started{};
        instant valid_until{};
        instant extend_at{};
        stop_cause cause = stop_cause::none;
        instant asked_at{};
        bool lock_over = false;  // given up while the handler still runs
        bool told = false;       // that it ignores its stop request
    };

    // One that came with its schedule lasts less than lock_ttl: well before the run would be asked to stop.
    void extend_soon(run& r, instant now) const {
        auto const left = r.valid_until - now;
        auto const wait = std::min(left / 2, (left - rules_.stop_margin) * 3 / 4);
        r.extend_at = std::min(r.extend_at, now + std::max(wait, rules_.lock_ttl / 16));
    }
    [[nodiscard]] std::uint32_t number(run const& r) const { return static_cast<std::uint32_t>(&r - runs_.data()); }

    // Its lock is still being asked for.
    [[nodiscard]] bool is_to_begin(entry const& e) const {
        return std::any_of(runs_.begin(), runs_.end(),
                           [&](run const& r) { return r.of == &e && r.at == stage::acquiring; });
    }

    [[nodiscard]] bool is_revoked(std::string const& id, fencing_token generation) const {
        auto const s = entries_.find(id);
        return s != entries_.end() && s->second.owned && s->second.revoked && s->second.generation == generation;
    }

    // ---------------------------------------------------------------- what is due when

    void queue(entry& e) {
        if (!e.owned || e.revoked || e.busy || e.queued || e.due == instant::max()) return;
        e.place = ++places_;
        queue_.emplace(std::pair{e.due, e.place}, &e);
        e.queued = true;
    }
    void unqueue(entry& e) {
        if (std::exchange(e.queued, false)) queue_.erase({e.due, e.place});
    }
    void be_due(entry& e, instant when) {
        unqueue(e);
        e.due = when;
        queue(e);
    }
    void plan(entry& e, clock_reading t) {
        auto const wait = trigger_.next_run({e.id, t.now, t.wall, e.owned_since, e.last_start, e.last_end});
        auto const most = instant::max() - t.now;
        be_due(e, wait && *wait < most ? t.now + std::max(*wait, microseconds{}) : instant::max());
    }
    void forget_unowned(entry& e) {
        if (!e.owned && !e.busy) entries_.erase(entries_.find(e.id));
    }

    // Twice as long each time, less up to half at random.
    [[nodiscard]] microseconds backoff(std::uint32_t attempt) {
        auto wait = rules_.retry.first;
        while (--attempt > 0 && wait < rules_.retry.most) wait *= 2;
        wait = std::min(wait, rules_.retry.most);
        random_ = mix(random_ + 0x9e3779b97f4a7c15U);
        return wait -
               microseconds{static_cast<microseconds::rep>(random_ % static_cast<std::uint64_t>(wait.count() / 2 + 1))};
    }

    // ---------------------------------------------------------------- runs

    void give_back(run& r, clock_reading t) {
        auto& e = *r.of;
        e.busy = false;
        r.at = stage::releasing;
        if (e.owned) be_due(e, t.now + refusal_pause_);
        forget_unowned(e);
    }

    void start_and_acquire(actions& a, instant now) {
        for (auto& r : runs_) {
            if (r.at == stage::starting) {
                if (stopping_ || !contact_ || !r.of->owned || r.of->revoked) {
                    r.of->busy = false;
                    if (r.of->owned) be_due(*r.of, now);
                    forget_unowned(*r.of);
                    a.release.push_back(number(r));
                    r = {};
                    continue;
                }
                r.at = stage::running;
                report(r, run_report::what::started, now);
                a.starts.push_back({number(r), r.of->id, r.generation, r.attempt});
            }
        }
        if (stopping_ || !contact_ || now < rest_until_) return;
        for (auto& r : runs_) {
            if (r.at != stage::free) continue;
            if (queue_.empty() || queue_.begin()->first.first > now) return;
            auto& e = *queue_.begin()->second;
            unqueue(e);
            e.busy = true;
            r.at = stage::acquiring;
            r.of = &e;
            r.attempt = e.attempt;
            a.acquire.push_back({number(r), e.id});
        }
    }

    [[nodiscard]] instant ignored_from(run const& r) const {
        return r.cause == stop_cause::none || r.told ? instant::max() : r.asked_at + rules_.stop_grace;
    }

    [[nodiscard]] instant stop_due(run const& r) const {
        auto when = r.valid_until - rules_.stop_margin;
        if (rules_.max_run_time > microseconds{}) when = std::min(when, r.started + rules_.max_run_time);
        return stopping_ ? std::min(when, ask_from_) : when;
    }

    run_report& report(run const& r, run_report::what kind, instant now) {
        auto const ran = r.at == stage::running ? now - r.started : microseconds{};
        reports_.push_back({.kind = kind,
                            .schedule = r.of->id,
                            .token = r.token,
                            .generation = r.generation,
                            .attempt = r.attempt,
                            .took = ran,
                            .cause = r.cause});
        return reports_.back();
    }

    // ---------------------------------------------------------------- the end

    void stop_within(microseconds budget, instant now) {
        if (std::exchange(stopping_, true)) return;
        drain_until_ = now + budget;
        ask_from_ = drain_until_ - std::min(rules_.stop_grace, budget / 2);
    }
    [[nodiscard]] bool idle() const {
        return std::all_of(runs_.begin(), runs_.end(), [](run const& r) { return r.at == stage::free; });
    }
    // While runs go on, others may have what is idle. Those runs are to be handed over too then, so not so early that
    // handoff_deadline would end them before drain_budget does.
    [[nodiscard]] instant take_no_more_from() const {
        if (!stopping_ || left_ || !contact_ || takes_no_more_) return instant::max();
        bool const any = std::any_of(owned_.begin(), owned_.end(),
                                     [](auto const& s) { return !s.second->busy && !s.second->revoked; });
        return any ? drain_until_ - handoff_deadline_ : instant::max();
    }
    // What still runs loses its lock by it.
    void leave(actions& a) {
        for (auto& r : runs_) r.lock_over = r.at == stage::running;
        left_ = true;
        contact_ = false;
        doubt_ = true;
        a.extend.clear();
        a.leave = true;
    }

    worker_options rules_;
    microseconds outage_pause_;
    microseconds handoff_deadline_;
    microseconds refusal_pause_;
    trigger_port const& trigger_;
    std::uint64_t random_;

    std::map<std::string, entry, std::less<>> entries_;  // what is owned, or runs
    std::map<std::string, entry*> owned_;
    std::map<std::pair<instant, std::uint64_t>, entry*> queue_;  // those due at the same time in the order of coming
    std::uint64_t places_ = 0;
    std::vector<run> runs_;  // by slot
    std::vector<run_report> reports_;
    std::vector<schedule_triggered> done_;
    instant tell_done_at_ = instant::min();
    std::uint64_t stamp_ = 0;

    bool contact_ = false;
    bool doubt_ = false;  // handles may have ended all at once
    instant rest_until_ = instant::min();
    instant look_at_ = instant::max();

    bool stopping_ = false;
    bool takes_no_more_ = false;
    bool left_ = false;
    instant drain_until_ = instant::max();
    instant ask_from_ = instant::max();
};

}  // namespace rota::detail
