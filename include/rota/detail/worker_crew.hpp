// The threads of a worker, which take turns. One of them at a time is at the helm: it steers, a step at a time, until a
// step leaves it something to do that may take long. Then another takes the helm, and it does that itself: who learns of
// a run begins it, and no thread has to be woken first. On a busy machine that wait is longer than all else between the
// news and the run. The others do what is handed to them, or sleep.
//
// The pattern is known as Leader/Followers: Schmidt, O'Ryan, Kircher, Pyarali, Buschmann, PLoP 2000. (What is at the helm
// here is the leader there; here that word is for the group's.)
#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <mutex>
#include <optional>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "late.hpp"

namespace rota::detail {

/// What a step at the helm ends with.
struct worker_step {
    bool over = false;                    ///< it was the last one
    std::optional<std::uint32_t> item{};  ///< to be done by the thread that made the step
};

/// Threads are made as they are needed, and joined by finish(). What is given to it is called without any lock.
template <typename T = void>
class worker_crew {
    using steering = late<std::function<worker_step()>, T>;
    using work = late<std::function<void(std::uint32_t)>, T>;
    using hook = late<std::function<void()>, T>;
    using thread = late<std::thread, T>;
    using number = late<std::uint32_t, T>;

public:
    /// `hands`: as many items are there at once, at most; so with one thread more there is one for each and one for the
    /// helm. `call` does an item, and does not throw. `on_end` is called once: after the last step, or one that threw.
    worker_crew(std::size_t hands, steering steer, work call, hook on_end)
        : limit_{hands + 1},
          steer_{std::move(steer)},
          work_{std::move(call)},
          on_end_{std::move(on_end)} {}
    worker_crew(worker_crew const&) = delete;
    worker_crew& operator=(worker_crew const&) = delete;
    ~worker_crew() {
        end({});
        finish();
    }

    void start() {
        try {
            std::lock_guard const lock{mutex_};
            grow();
        } catch (...) {
            end(std::current_exception());
        }
    }

    /// Waits for the end, and for all threads. Returns what a step threw; std::system_error: there is no thread but the one
    /// at the helm, and none can be made.
    std::exception_ptr finish() {
        {
            std::unique_lock lock{mutex_};
            ended_.wait(lock, [this] { return over_; });
        }
        for (auto& t : threads_) t.join();  // none is made any more
        threads_.clear();
        return std::exchange(failure_, {});
    }

    /// By whoever is at the helm: another thread does it.
    void push(std::uint32_t item) {
        {
            std::lock_guard const lock{mutex_};
            items_.push_back(item);
            if (idle_ < items_.size()) grow();
        }
        more_.notify_one();
    }

private:
    // False: none can be made, and those that there are have to do.
    bool grow() {
        if (over_ || threads_.size() == limit_) return false;
        try {
            threads_.emplace_back([this] { serve(); });
            return true;
        } catch (std::system_error const&) {
            if (threads_.size() < 2) throw;
            return false;
        }
    }

    void serve() {
        for (;;) {
            auto const item = next_item();
            if (!item) return;
            work_(*item);
        }
    }

    // By way of the helm, if that is free. Nothing: all is over.
    std::optional<number> next_item() {
        std::unique_lock lock{mutex_};
        ++idle_;
        more_.wait(lock, [this] { return over_ || !steered_ || !items_.empty(); });
        --idle_;
        if (over_) return std::nullopt;
        if (!items_.empty()) {
            auto const item = items_.front();
            items_.pop_front();
            return item;
        }
        steered_ = true;
        lock.unlock();
        try {
            return steer();
        } catch (...) {
            end(std::current_exception());
            return std::nullopt;
        }
    }

    // Until there is something to do and another takes the helm; or all is over.
    std::optional<number> steer() {
        for (;;) {
            auto const step = steer_();
            if (step.over) {
                end({});
                return std::nullopt;
            }
            if (step.item && leave_helm()) return step.item;
            if (step.item) push(*step.item);
        }
    }

    bool leave_helm() {
        {
            std::lock_guard const lock{mutex_};
            // Those that sleep may be needed for the items that wait.
            if (idle_ <= items_.size() && !grow()) return false;
            steered_ = false;
        }
        more_.notify_one();
        return true;
    }

    void end(std::exception_ptr why) {
        {
            std::lock_guard const lock{mutex_};
            if (over_) return;
            over_ = true;
            failure_ = std::move(why);
        }
        more_.notify_all();
        ended_.notify_all();
        on_end_();
    }

    std::size_t limit_;
    steering steer_;
    work work_;
    hook on_end_;
    std::mutex mutex_;  // of what follows
    std::condition_variable more_, ended_;
    std::deque<number> items_;  // for whoever has time
    std::size_t idle_ = 0;
    bool steered_ = false;  // somebody is at the helm
    bool over_ = false;
    std::exception_ptr failure_;
    std::vector<thread> threads_;
};

}  // namespace rota::detail
