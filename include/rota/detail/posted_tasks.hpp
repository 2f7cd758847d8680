// Tasks that any thread posts to an event loop, and the descriptor that wakes it for them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <iterator>
#include <mutex>
#include <new>
#include <utility>
#include <vector>

#include <sys/eventfd.h>
#include <unistd.h>

#include "unique_function.hpp"

namespace rota::detail {

/// Threads: post() and wake() by any, the rest by the loop's.
class posted_tasks {
public:
    /// Throws std::bad_alloc where the system has no descriptor left.
    posted_tasks() : event_{::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)} {
        if (event_ < 0) throw std::bad_alloc{};
    }
    posted_tasks(posted_tasks const&) = delete;
    posted_tasks& operator=(posted_tasks const&) = delete;
    ~posted_tasks() { ::close(event_); }

    void post(unique_function<void()> task) {
        bool first = false;
        {
            std::lock_guard const lock{mutex_};
            first = posted_.empty() && asleep_;
            posted_.push_back(std::move(task));
        }
        if (first) wake();  // else it has been, or looks before it sleeps
    }
    /// For a loop that says when it sleeps: at other times it need not be woken, since it looks here before. False:
    /// there is something to run. Then end_sleep(), in any case.
    [[nodiscard]] bool begin_sleep() {
        std::lock_guard const lock{mutex_};
        asleep_ = posted_.empty();
        return asleep_;
    }
    void end_sleep() {
        std::lock_guard const lock{mutex_};
        asleep_ = false;
    }
    void wake() noexcept {
        std::uint64_t const one = 1;
        [[maybe_unused]] auto const ignored = ::write(event_, &one, sizeof one);  // fails only if it is readable anyway
    }

    /// Polls readable after a post() or wake(), until calm().
    [[nodiscard]] int descriptor() const noexcept { return event_; }
    void calm() noexcept {
        std::uint64_t count = 0;
        [[maybe_unused]] auto const ignored = ::read(event_, &count, sizeof count);
    }
    /// Runs what has been posted; what these post is for the next time, so that none can keep the loop from other work.
    /// Where one throws, the others are there the next time, in front.
    void run() {
        struct turn {
            explicit turn(posted_tasks& t) : all{t}, tasks{std::exchange(t.spare_, {})} {
                std::lock_guard const lock{all.mutex_};
                tasks.swap(all.posted_);
            }
            ~turn() {
                if (next < tasks.size()) all.put_back(tasks, next);
                tasks.clear();
                all.spare_ = std::move(tasks);
            }
            posted_tasks& all;
            std::vector<unique_function<void()>> tasks;
            std::size_t next = 0;
        } now{*this};
        while (now.next < now.tasks.size()) now.tasks[now.next++]();
    }

private:
    void put_back(std::vector<unique_function<void()>>& tasks, std::size_t from) {
        std::lock_guard const lock{mutex_};
        posted_.insert(posted_.begin(), std::make_move_iterator(tasks.begin() + static_cast<std::ptrdiff_t>(from)),
                       std::make_move_iterator(tasks.end()));
        wake();
    }

    int event_;
    std::mutex mutex_;
    bool asleep_ = true;  // as far as is known: whoever does not say is woken for each first one
    std::vector<unique_function<void()>> posted_;
    std::vector<unique_function<void()>> spare_;  // its memory
};

}  // namespace rota::detail
