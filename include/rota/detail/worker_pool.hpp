// The threads on which a worker's handlers run. Made as they are needed, at most so many; joined by the destructor, which
// waits for whatever they do.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "late.hpp"

namespace rota::detail {

template <typename T = void>
class worker_pool {
    using work = late<std::function<void(std::uint32_t)>, T>;
    using thread = late<std::thread, T>;
    using number = late<std::uint32_t, T>;

public:
    /// `work` is called with what push() was given, by up to `limit` threads at once.
    worker_pool(std::size_t limit, work call) : limit_{limit}, work_{std::move(call)} {}
    worker_pool(worker_pool const&) = delete;
    worker_pool& operator=(worker_pool const&) = delete;
    ~worker_pool() {
        {
            std::lock_guard const lock{mutex_};
            closing_ = true;
        }
        more_.notify_all();
        for (auto& t : threads_) t.join();
    }

    /// std::system_error: there is no thread at all, and none can be made.
    void push(std::uint32_t item) {
        {
            std::lock_guard const lock{mutex_};
            waiting_.push_back(item);
            if (idle_ < waiting_.size() && threads_.size() < limit_) grow();
        }
        more_.notify_one();
    }

private:
    void grow() {
        try {
            threads_.emplace_back([this] { serve(); });
        } catch (std::system_error const&) {
            if (threads_.empty()) throw;
        }
    }

    void serve() {
        std::unique_lock lock{mutex_};
        for (;;) {
            ++idle_;
            more_.wait(lock, [this] { return closing_ || !waiting_.empty(); });
            --idle_;
            if (waiting_.empty()) return;
            auto const item = waiting_.front();
            waiting_.pop_front();
            lock.unlock();
            work_(item);
            lock.lock();
        }
    }

    std::size_t limit_;
    work work_;
    std::mutex mutex_;  // of what follows
    std::condition_variable more_;
    std::deque<number> waiting_;
    std::size_t idle_ = 0;
    bool closing_ = false;
    std::vector<thread> threads_;
};

}  // namespace rota::detail
