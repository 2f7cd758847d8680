// Runs a check on a thread of its own, so that a call that never ends is found out: the thread is then left behind, with
// all that it uses, and the check ends with what it has found. Where no thread can be started, calls are timed only
// once they have ended.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <system_error>
#include <thread>
#include <utility>

namespace rota::detail {

/// The time of the call that is under way, shared by who makes it and who watches.
class call_watch {
public:
    using clock = std::chrono::steady_clock;
    struct abandoned {};  ///< thrown in a thread that was left behind, should its call end after all

    explicit call_watch(clock::duration deadline) : deadline_{deadline} {}

    void begin() {
        std::lock_guard const lock{mutex_};
        in_call_ = true;
        began_ = clock::now();
    }
    /// Returns how long it took. What the call used may be changed from here on.
    clock::duration end() {
        std::lock_guard const lock{mutex_};
        if (left_behind_) throw abandoned{};
        in_call_ = false;
        return clock::now() - began_;
    }
    void finish() {
        std::lock_guard const lock{mutex_};
        finished_ = true;
        changed_.notify_all();
    }

    [[nodiscard]] clock::duration deadline() const { return deadline_; }

    /// Waits until the check has finished, true; or a call takes too long: then calls leave(), while what that call uses
    /// cannot change, and returns false.
    template <typename Leave>
    bool wait(Leave const& leave) {
        std::unique_lock lock{mutex_};
        for (;;) {
            if (finished_) return true;
            auto const now = clock::now();
            auto const until = (in_call_ ? began_ : now) + deadline_;
            if (now >= until) break;
            changed_.wait_until(lock, until);
        }
        left_behind_ = true;
        leave();
        return false;
    }

private:
    clock::duration deadline_;
    std::mutex mutex_;
    std::condition_variable changed_;
    clock::time_point began_{};
    bool in_call_ = false;
    bool finished_ = false;
    bool left_behind_ = false;
};

/// Calls check->run(), which uses check->watch for its calls; check->overdue() is called if one of them takes too long.
template <typename Check>
void run_watched(std::shared_ptr<Check> const& check) {
    auto const work = [check] {
        try {
            check->run();
        } catch (call_watch::abandoned const&) {
            return;
        }
        check->watch.finish();
    };
    std::thread worker;
    try {
        worker = std::thread{work};
    } catch (std::system_error const&) {
        return work();
    }
    if (check->watch.wait([&] { check->overdue(); })) {
        worker.join();
    } else {
        worker.detach();
    }
}

}  // namespace rota::detail
