// A mutex with a fast lane: whoever comes by it waits for one holder at most, however many others queue up. A node's
// heartbeats take it, so that threads which use the connection all the time cannot make the node miss its deadline.
#pragma once

#include <mutex>

namespace rota::detail {

/// Of those in the queue one at a time stands beside the door; only with that one does the fast lane compete. Neither
/// lane is fair among its own.
class two_lane_mutex {
public:
    void lock() {
        queue_.lock();
        enter();
    }
    void unlock() {
        inside_.unlock();
        queue_.unlock();
    }

    /// The same mutex by its fast lane, for a lock_guard.
    class fast_lane {
    public:
        explicit fast_lane(two_lane_mutex& m) : mutex_{m} {}
        void lock() { mutex_.enter(); }
        void unlock() { mutex_.inside_.unlock(); }

    private:
        two_lane_mutex& mutex_;
    };

private:
    void enter() {
        std::lock_guard const at_the_door{door_};
        inside_.lock();
    }

    std::mutex queue_, door_, inside_;
};

}  // namespace rota::detail
