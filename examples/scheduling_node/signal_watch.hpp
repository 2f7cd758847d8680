// The signals that scheduling_node goes by, taken in by a thread that does nothing else.
#pragma once

#include <pthread.h>
#include <signal.h>

#include <cstdlib>
#include <functional>
#include <stop_token>
#include <thread>
#include <utility>

namespace example {

/// Turns SIGINT and SIGTERM into a request to stop; a second one ends the process at once. On SIGUSR1 it calls what it was
/// given, on its own thread. Make it before any other: they inherit that these signals are blocked, so only its own thread
/// gets them, by waiting.
class signal_watch {
public:
    signal_watch(std::stop_source stop, std::function<void()> on_usr1) {
        ::sigemptyset(&signals_);
        ::sigaddset(&signals_, SIGINT);
        ::sigaddset(&signals_, SIGTERM);
        ::sigaddset(&signals_, SIGUSR1);
        ::pthread_sigmask(SIG_BLOCK, &signals_, nullptr);
        thread_ =
            std::jthread{[this, stop = std::move(stop), on_usr1 = std::move(on_usr1)](std::stop_token done) mutable {
                for (int signal = 0; ::sigwait(&signals_, &signal) == 0 && !done.stop_requested();) {
                    if (signal == SIGUSR1) {
                        on_usr1();
                    } else if (!stop.request_stop()) {
                        std::_Exit(128 + signal);
                    }
                }
            }};
    }
    signal_watch(signal_watch const&) = delete;
    signal_watch& operator=(signal_watch const&) = delete;
    ~signal_watch() {
        thread_.request_stop();
        ::pthread_kill(thread_.native_handle(), SIGTERM);  // ends its wait
    }

private:
    sigset_t signals_{};
    std::jthread thread_;
};

}  // namespace example
