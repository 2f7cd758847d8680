// A line for whoever operates the process.
#pragma once

#include <cstdio>
#include <string>

#include <signal.h>

namespace rota::detail {

/// Holds back the SIGPIPE that this thread may cause while it lives: no reason for a process to end.
class without_sigpipe {
public:
    without_sigpipe() noexcept {
        ::sigemptyset(&pipe_);
        ::sigaddset(&pipe_, SIGPIPE);
        was_pending_ = is_pending();
        ::pthread_sigmask(SIG_BLOCK, &pipe_, &before_);
    }
    ~without_sigpipe() {
        int number = 0;
        if (!was_pending_ && is_pending()) ::sigwait(&pipe_, &number);
        ::pthread_sigmask(SIG_SETMASK, &before_, nullptr);
    }
    without_sigpipe(without_sigpipe const&) = delete;
    without_sigpipe& operator=(without_sigpipe const&) = delete;

private:
    [[nodiscard]] static bool is_pending() noexcept {
        sigset_t pending;
        return ::sigpending(&pending) == 0 && ::sigismember(&pending, SIGPIPE) == 1;
    }
    sigset_t pipe_;
    sigset_t before_;
    bool was_pending_ = false;
};

/// To stderr, as one fwrite. That nobody reads it, or there is no room, is no failure.
inline void say(std::string line) {
    line.insert(0, "rota: ") += '\n';
    without_sigpipe const quiet;
    static_cast<void>(std::fwrite(line.data(), 1, line.size(), stderr));
}

}  // namespace rota::detail
