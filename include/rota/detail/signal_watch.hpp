// SIGINT and SIGTERM as a wish to stop, while an object lives: the first calls a function, on a thread of this object's;
// a second ends the process at once, with the exit code that a shell gives to it. (Not within 200 ms: who signals a process
// and then its group, as timeout(1) does, means it once.) A signal that was ignored stays so.
// What was in force before is put back by the destructor. The handler does nothing but write to a pipe.
#pragma once

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <functional>
#include <optional>
#include <stdexcept>
#include <system_error>
#include <thread>
#include <utility>

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

namespace rota::detail {

inline std::atomic<int> signal_pipe{-1};

extern "C" inline void rota_detail_on_signal(int number) {
    auto const before = errno;
    auto const byte = static_cast<char>(number);
    static_cast<void>(!::write(signal_pipe.load(), &byte, 1));
    errno = before;
}

template <typename T = void>
class signal_watch {
public:
    /// std::logic_error: there is one already; std::system_error: no descriptor or thread is left.
    explicit signal_watch(std::function<void()> on_first) {
        int ends[2];
        if (::pipe(ends) != 0) throw std::system_error(errno, std::generic_category(), "rota: pipe");
        for (int i = 0; i < 2; ++i) static_cast<void>(::fcntl(ends[i], F_SETFD, FD_CLOEXEC));
        read_ = ends[0];
        write_ = ends[1];
        int none = -1;
        if (!signal_pipe.compare_exchange_strong(none, write_)) {
            close_both();
            throw std::logic_error("rota: run_until_signal() is under way already in this process");
        }
        try {
            thread_ = std::thread{[this, first = std::move(on_first)] { serve(first); }};
        } catch (...) {
            signal_pipe.store(-1);
            close_both();
            throw;
        }
        for (auto& s : signals_) {
            ::sigaction(s.number, nullptr, &s.before);
            s.ours = s.before.sa_handler != SIG_IGN;
            if (!s.ours) continue;
            struct sigaction action{};
            action.sa_handler = rota_detail_on_signal;
            action.sa_flags = SA_RESTART;
            ::sigemptyset(&action.sa_mask);
            ::sigaction(s.number, &action, nullptr);
        }
    }
    signal_watch(signal_watch const&) = delete;
    signal_watch& operator=(signal_watch const&) = delete;
    ~signal_watch() {
        for (auto& s : signals_) {
            if (s.ours) ::sigaction(s.number, &s.before, nullptr);
        }
        char const end = 0;
        static_cast<void>(!::write(write_, &end, 1));
        thread_.join();
        signal_pipe.store(-1);
        close_both();
    }

private:
    using clock = std::chrono::steady_clock;

    struct watched {
        int number = 0;
        struct sigaction before{};
        bool ours = false;
    };

    void serve(std::function<void()> const& first) const {
        std::optional<clock::time_point> stopping;
        for (;;) {
            char byte = 0;
            ssize_t got = 0;
            do {
                got = ::read(read_, &byte, 1);
            } while (got < 0 && errno == EINTR);
            if (got <= 0 || byte == 0) return;
            if (!stopping) {
                stopping = clock::now();
                first();
            } else if (clock::now() - *stopping >= std::chrono::milliseconds{200}) {
                std::_Exit(128 + byte);
            }
        }
    }
    void close_both() const {
        ::close(read_);
        ::close(write_);
    }

    int read_ = -1;
    int write_ = -1;
    std::thread thread_;
    watched signals_[2] = {{SIGINT}, {SIGTERM}};
};

}  // namespace rota::detail
