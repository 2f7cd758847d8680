// What rota's asynchronous side asks of an event loop: to watch a descriptor, to call back after a time, and to run
// something later. poll_loop.hpp is one of rota's own; libuv_loop.hpp, libevent_loop.hpp and asio_loop.hpp adapt others
// in a hundred lines each, and so may you.
// Promises of a loop: callbacks run on its thread, one at a time, never inside the call that asked for them; a watch or
// timer that was destroyed or stopped calls back no more, also when that was done inside a callback, its own included.
// All of rota holds loops by a loop_ref, so that what uses one is compiled once, whichever it is.
#pragma once

#include <concepts>
#include <cstdint>
#include <memory>
#include <utility>

#include "../detail/unique_function.hpp"
#include "../types.hpp"

namespace rota {

/// What a descriptor is watched for, or has become; a set of bits.
enum class io_interest : std::uint8_t { none = 0, readable = 1, writable = 2, both = 3 };

[[nodiscard]] constexpr io_interest operator|(io_interest a, io_interest b) noexcept {
    return static_cast<io_interest>(static_cast<unsigned>(a) | static_cast<unsigned>(b));
}
[[nodiscard]] constexpr bool includes(io_interest all, io_interest some) noexcept {
    return (static_cast<unsigned>(all) & static_cast<unsigned>(some)) != 0;
}

/// A descriptor that a loop watches, until this is destroyed; which must be before the descriptor is closed, and before
/// the loop is destroyed. Loop's thread only.
class loop_watch {
public:
    loop_watch() = default;
    loop_watch(loop_watch const&) = delete;
    loop_watch& operator=(loop_watch const&) = delete;
    virtual ~loop_watch() = default;
    /// What to watch for from now on.
    virtual void want(io_interest interest) = 0;
};

/// A timer that fires once, each time it is started. Loop's thread only; to be destroyed before the loop.
class loop_timer {
public:
    loop_timer() = default;
    loop_timer(loop_timer const&) = delete;
    loop_timer& operator=(loop_timer const&) = delete;
    virtual ~loop_timer() = default;
    /// Fires that much later, and not at the time that it was set to before. 0 or less: soon.
    virtual void start(microseconds after) = 0;
    virtual void stop() = 0;
};

using watch_handle = std::unique_ptr<loop_watch>;
using timer_handle = std::unique_ptr<loop_timer>;

/// What they call. Level-triggered: called again and again while the descriptor stays ready. Errors and hang-ups count
/// as readable, or as writable if that is all that was asked for.
using watch_callback = detail::unique_function<void(io_interest ready)>;
using loop_task = detail::unique_function<void()>;

/// Requirements of an event loop `l`. Threads: post() by any, all else by the thread that runs the loop.
///
/// | expression                    | type         | meaning |
/// | l.watch(fd, interest, called) | watch_handle | calls `called(ready)` whenever fd is ready for what is of interest; one watch per descriptor |
/// | l.timer(called)               | timer_handle | calls `called()` when it fires; not started yet |
/// | l.post(task)                  | -            | runs the task once, later, in the order of posting; dropped unrun if the loop never runs again |
template <typename L>
concept event_loop =
    requires(L& l, int fd, io_interest interest, watch_callback watch_called, loop_task timer_called, loop_task task) {
        { l.watch(fd, interest, std::move(watch_called)) } -> std::same_as<watch_handle>;
        { l.timer(std::move(timer_called)) } -> std::same_as<timer_handle>;
        l.post(std::move(task));
    };

/// Any event_loop, by reference: the loop must outlive it, and everything that was made through it. Copied freely.
class loop_ref {
public:
    template <typename L>
        requires(!std::same_as<std::remove_cv_t<L>, loop_ref> && event_loop<L>)
    loop_ref(L& loop) noexcept : loop_{&loop},
                                 calls_{&of<L>} {}

    [[nodiscard]] watch_handle watch(int fd, io_interest interest, watch_callback called) const {
        return calls_->watch(loop_, fd, interest, std::move(called));
    }
    [[nodiscard]] timer_handle timer(loop_task called) const { return calls_->timer(loop_, std::move(called)); }
    /// Any thread.
    void post(loop_task task) const { calls_->post(loop_, std::move(task)); }

    /// Whether both are the same loop.
    friend bool operator==(loop_ref a, loop_ref b) noexcept { return a.loop_ == b.loop_; }

private:
    struct calls {
        watch_handle (*watch)(void*, int, io_interest, watch_callback);
        timer_handle (*timer)(void*, loop_task);
        void (*post)(void*, loop_task);
    };
    template <typename L>
    static constexpr calls of{[](void* l, int fd, io_interest interest, watch_callback called) {
                                  return static_cast<L*>(l)->watch(fd, interest, std::move(called));
                              },
                              [](void* l, loop_task called) { return static_cast<L*>(l)->timer(std::move(called)); },
                              [](void* l, loop_task task) { static_cast<L*>(l)->post(std::move(task)); }};

    void* loop_;
    calls const* calls_;
};

}  // namespace rota
