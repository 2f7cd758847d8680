// Child processes of a test: started with fork and exec, owned by a move-only handle, killed and reaped with it.
//
// A child dies with its parent, however that ends (PR_SET_PDEATHSIG; more exactly with the thread that spawned it, so
// spawn from a thread that lives as long as the child should). It inherits stdin from /dev/null, its stdout and stderr,
// and no other descriptor. A line_reader takes its stdout apart, with a deadline; a line_collector does so for several
// children in one background thread and stamps each line with its time of arrival.
#pragma once

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <condition_variable>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "poll_until.hpp"

namespace rota::test {

/// Owns a file descriptor.
class unique_fd {
public:
    unique_fd() = default;
    explicit unique_fd(int fd) : fd_{fd} {}
    unique_fd(unique_fd&& other) noexcept : fd_{std::exchange(other.fd_, -1)} {}
    unique_fd& operator=(unique_fd&& other) noexcept {
        std::swap(fd_, other.fd_);
        other.reset();
        return *this;
    }
    ~unique_fd() { reset(); }

    [[nodiscard]] int get() const { return fd_; }
    explicit operator bool() const { return fd_ >= 0; }
    void reset() {
        if (fd_ >= 0) ::close(fd_);
        fd_ = -1;
    }

private:
    int fd_ = -1;
};

[[noreturn]] inline void throw_errno(std::string const& what, int error = errno) {
    throw std::system_error(error, std::generic_category(), what);
}

/// Reads lines from a descriptor, which it makes non-blocking. One thread at a time.
class line_reader {
public:
    line_reader() = default;
    explicit line_reader(unique_fd fd) : fd_{std::move(fd)}, at_end_{!fd_} {
        if (fd_ && ::fcntl(fd_.get(), F_SETFL, O_NONBLOCK) < 0) throw_errno("fcntl(O_NONBLOCK)");
    }

    /// The next line without its '\n'; nothing if none is whole by `until`, or at the end of the stream. Text after the
    /// last '\n' is given as a last line; ended_whole() tells it from others.
    [[nodiscard]] std::optional<std::string> next_line(deadline until) {
        while (true) {
            if (auto line = take_line()) return line;
            if (at_end_) return std::nullopt;
            pollfd waiting{.fd = fd_.get(), .events = POLLIN, .revents = 0};
            bool const last_look = until.passed();
            int const ready = ::poll(&waiting, 1, until.poll_timeout_ms());
            if (ready < 0 && errno != EINTR) throw_errno("poll");
            if (ready > 0) {
                read_available();
            } else if (last_look) {
                return std::nullopt;
            }
        }
    }

    /// A line that has been read already.
    [[nodiscard]] std::optional<std::string> take_line() {
        auto const end = buffer_.find('\n', searched_);
        if (end == std::string::npos) {
            searched_ = buffer_.size();
            if (!at_end_ || start_ == buffer_.size()) return std::nullopt;
            ended_whole_ = false;
        }
        auto const length = end == std::string::npos ? std::string::npos : end - start_;
        auto line = buffer_.substr(start_, length);
        start_ = searched_ = end == std::string::npos ? buffer_.size() : end + 1;
        return line;
    }

    /// Reads what is there without waiting. False at the end of the stream.
    bool read_available() {
        buffer_.erase(0, std::exchange(start_, 0));
        searched_ = 0;
        std::array<char, 16 * 1024> chunk;
        while (!at_end_) {
            auto const got = ::read(fd_.get(), chunk.data(), chunk.size());
            if (got > 0) {
                buffer_.append(chunk.data(), static_cast<std::size_t>(got));
                if (buffer_.size() > max_buffered) break;
            } else if (got < 0 && errno == EINTR) {
                continue;
            } else if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
                break;
            } else {
                at_end_ = true;
                fd_.reset();
            }
        }
        return !at_end_;
    }

    /// Nothing more will be read. Lines may still be there to take.
    [[nodiscard]] bool at_end() const { return at_end_; }
    /// False once a line was taken that the end of the stream cut off.
    [[nodiscard]] bool ended_whole() const { return ended_whole_; }
    [[nodiscard]] int fd() const { return fd_.get(); }

private:
    static constexpr std::size_t max_buffered = std::size_t{16} << 20;  // then the writer waits

    unique_fd fd_;
    std::string buffer_;
    std::size_t start_ = 0;
    std::size_t searched_ = 0;
    bool at_end_ = true;
    bool ended_whole_ = true;
};

enum class output { pipe, inherit, discard };
enum class error_output { inherit, discard, join_stdout };

struct spawn_options {
    std::vector<std::string> environment{};  ///< NAME=value, in place of or in addition to the parent's
    std::string working_directory{};         ///< empty: the parent's
    output out = output::pipe;
    error_output err = error_output::inherit;
};

/// How a process ended: by exit(code), or by a signal.
struct process_exit {
    std::optional<int> code{};
    int signal = 0;

    [[nodiscard]] bool success() const { return code == 0; }
    [[nodiscard]] std::string describe() const {
        return code ? "exit code " + std::to_string(*code) : "signal " + std::to_string(signal);
    }
    friend bool operator==(process_exit const&, process_exit const&) = default;
};

/// Owns a child process. Members are for one thread at a time.
class child_process {
public:
    child_process() = default;
    child_process(child_process&& other) noexcept
        : pid_{std::exchange(other.pid_, -1)},
          ended_{other.ended_},
          out_{std::move(other.out_)} {}
    child_process& operator=(child_process&& other) noexcept {
        child_process moved{std::move(other)};
        std::swap(pid_, moved.pid_);
        std::swap(ended_, moved.ended_);
        std::swap(out_, moved.out_);
        return *this;
    }
    ~child_process() { kill(); }

    /// Starts argv[0] (searched in PATH if it holds no '/'). Throws std::system_error if it cannot be started, exec
    /// included.
    [[nodiscard]] static child_process spawn(std::vector<std::string> const& argv, spawn_options const& options = {});

    [[nodiscard]] pid_t pid() const { return pid_; }

    /// True while it has neither ended nor been reaped.
    [[nodiscard]] bool running() {
        reap();
        return pid_ > 0 && !ended_;
    }

    /// Sends the signal; false if the child has ended. Never hits another process: a pid is not reused before reaping.
    bool signal(int number) { return running() && ::kill(pid_, number) == 0; }

    /// SIGSTOP; true once it has stopped.
    [[nodiscard]] bool pause(deadline until = std::chrono::seconds{5}) {
        if (!signal(SIGSTOP)) return false;
        return poll_until(until, [&] {
            siginfo_t state{};
            return ::waitid(P_PID, static_cast<id_t>(pid_), &state, WSTOPPED | WNOHANG) == 0 && state.si_pid == pid_;
        });
    }
    bool resume() { return signal(SIGCONT); }

    /// How it ended, if it did by `until`.
    [[nodiscard]] std::optional<process_exit> exit_status(deadline until) {
        (void)poll_until(until, [&] { return !running(); });
        return ended_;
    }

    /// SIGKILL, and reaped on return. Nothing happens if it has ended already.
    void kill() {
        if (!running()) return;
        ::kill(pid_, SIGKILL);
        while (!ended_ && pid_ > 0) reap(0);
    }

    /// The next line of its stdout; see line_reader.
    [[nodiscard]] std::optional<std::string> next_line(deadline until) { return out_.next_line(until); }

    /// Its stdout, e.g. for a line_collector; next_line then has nothing more to give.
    [[nodiscard]] line_reader take_stdout() { return std::exchange(out_, {}); }

private:
    void reap(int flags = WNOHANG) {
        if (pid_ <= 0 || ended_) return;
        int status = 0;
        pid_t const reaped = ::waitpid(pid_, &status, flags);
        if (reaped == pid_) {
            ended_ = WIFEXITED(status) ? process_exit{.code = WEXITSTATUS(status)}
                                       : process_exit{.signal = WTERMSIG(status)};
        } else if (reaped < 0 && errno != EINTR) {
            pid_ = -1;  // somebody else reaped it: nothing is owned any more
        }
    }

    pid_t pid_ = -1;
    std::optional<process_exit> ended_;
    line_reader out_;
};

/// A line of a child, and when it was read here.
struct collected_line {
    std::string source;
    std::string text;
    deadline::clock::time_point arrived;
    bool whole = true;  ///< false: cut off by the end of the stream
};

/// Collects the lines of any number of children in one background thread. Members may be called by any thread.
class line_collector {
public:
    line_collector() : wake_{::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)} {
        if (!wake_) throw_errno("eventfd");
        thread_ = std::jthread{[this](std::stop_token stop) { collect(stop); }};
    }
    line_collector(line_collector const&) = delete;
    line_collector& operator=(line_collector const&) = delete;
    ~line_collector() {
        thread_.request_stop();
        wake();
    }

    void add(std::string source, line_reader reader) {
        {
            std::lock_guard const hold{mutex_};
            added_.push_back({std::move(source), std::move(reader)});
            ++open_;
        }
        wake();
    }

    /// All lines since the last call, in order of arrival. Lines of one source keep their order.
    [[nodiscard]] std::vector<collected_line> take() {
        std::lock_guard const hold{mutex_};
        return std::exchange(lines_, {});
    }

    /// Waits until there is something to take. False if nothing came by `until`, or all sources have ended.
    [[nodiscard]] bool wait(deadline until) {
        std::unique_lock hold{mutex_};
        changed_.wait_until(hold, until.at(), [&] { return !lines_.empty() || open_ == 0; });
        return !lines_.empty();
    }

    /// Waits until all sources have ended and their last lines are there to take.
    [[nodiscard]] bool wait_all_ended(deadline until) {
        std::unique_lock hold{mutex_};
        return changed_.wait_until(hold, until.at(), [&] { return open_ == 0; });
    }

private:
    struct open_source {
        std::string name;
        line_reader reader;
    };

    void wake() {
        std::uint64_t const one = 1;
        (void)!::write(wake_.get(), &one, sizeof one);
    }

    void collect(std::stop_token const& stop) {
        std::vector<open_source> sources;
        std::vector<pollfd> waiting;
        while (!stop.stop_requested()) {
            {
                std::lock_guard const hold{mutex_};
                for (auto& each : added_) sources.push_back(std::move(each));
                added_.clear();
            }
            for (auto& each : sources) take_lines(each);
            std::erase_if(sources, [](open_source const& each) { return each.reader.at_end(); });

            waiting.assign(1, {.fd = wake_.get(), .events = POLLIN, .revents = 0});
            for (auto const& each : sources)
                waiting.push_back({.fd = each.reader.fd(), .events = POLLIN, .revents = 0});
            if (::poll(waiting.data(), waiting.size(), -1) < 0 && errno != EINTR) throw_errno("poll");
            std::uint64_t drained = 0;
            (void)!::read(wake_.get(), &drained, sizeof drained);
        }
    }

    void take_lines(open_source& from) {
        from.reader.read_available();
        auto const now = deadline::clock::now();
        std::vector<collected_line> fresh;
        while (auto line = from.reader.take_line()) {
            fresh.push_back({from.name, std::move(*line), now, from.reader.ended_whole()});
        }
        if (fresh.empty() && !from.reader.at_end()) return;
        {
            std::lock_guard const hold{mutex_};
            for (auto& line : fresh) lines_.push_back(std::move(line));
            if (from.reader.at_end()) --open_;
        }
        changed_.notify_all();
    }

    unique_fd wake_;
    std::mutex mutex_;
    std::condition_variable changed_;
    std::vector<open_source> added_;
    std::vector<collected_line> lines_;
    std::size_t open_ = 0;
    std::jthread thread_;  // last: it uses all of the above
};

namespace detail {

inline std::string find_program(std::string const& name) {
    if (name.find('/') != std::string::npos) return std::filesystem::absolute(name).string();
    char const* const path = std::getenv("PATH");
    std::string_view rest = path ? path : "/usr/bin:/bin";
    while (!rest.empty()) {
        auto const end = std::min(rest.find(':'), rest.size());
        auto const candidate = std::string{rest.substr(0, end)} + "/" + name;
        if (::access(candidate.c_str(), X_OK) == 0) return candidate;
        rest.remove_prefix(std::min(end + 1, rest.size()));
    }
    throw_errno("no program in PATH: " + name, ENOENT);
}

inline std::vector<std::string> environment_with(std::vector<std::string> const& changes) {
    auto const name_of = [](std::string_view entry) { return entry.substr(0, entry.find('=')); };
    std::vector<std::string> result = changes;
    for (char** entry = environ; *entry; ++entry) {
        bool replaced = false;
        for (auto const& change : changes) replaced = replaced || name_of(change) == name_of(*entry);
        if (!replaced) result.emplace_back(*entry);
    }
    return result;
}

inline std::vector<char*> null_terminated(std::vector<std::string>& strings) {
    std::vector<char*> result;
    for (auto& each : strings) result.push_back(each.data());
    result.push_back(nullptr);
    return result;
}

struct pipe_ends {
    unique_fd read, write;
};

inline pipe_ends make_pipe() {
    std::array<int, 2> ends{};
    if (::pipe2(ends.data(), O_CLOEXEC) < 0) throw_errno("pipe2");
    return {unique_fd{ends[0]}, unique_fd{ends[1]}};
}

/// What a child gets: made before fork, because between fork and exec only system calls are safe.
struct exec_plan {
    char const* program;
    char* const* argv;
    char* const* environment;
    char const* working_directory;  // null: the parent's
    int null_fd;
    int out_fd;  // -1: the parent's
    error_output err;
    int failure_fd;
    pid_t parent;
};

[[noreturn]] inline void exec_in_child(exec_plan const& plan) {
    auto const fail_if = [&](bool failed) {
        if (!failed) return;
        int const error = errno;
        (void)!::write(plan.failure_fd, &error, sizeof error);
        ::_exit(127);
    };
    fail_if(::prctl(PR_SET_PDEATHSIG, SIGKILL) < 0);
    if (::getppid() != plan.parent) ::_exit(127);  // it died before the line above

    sigset_t none;
    sigemptyset(&none);
    ::sigprocmask(SIG_SETMASK, &none, nullptr);
    ::signal(SIGPIPE, SIG_DFL);

    fail_if(::dup2(plan.null_fd, STDIN_FILENO) < 0);
    if (plan.out_fd >= 0) fail_if(::dup2(plan.out_fd, STDOUT_FILENO) < 0);
    if (plan.err == error_output::discard) fail_if(::dup2(plan.null_fd, STDERR_FILENO) < 0);
    if (plan.err == error_output::join_stdout) fail_if(::dup2(STDOUT_FILENO, STDERR_FILENO) < 0);
    // hiredis, for one, opens its sockets without close-on-exec
    for (int fd = STDERR_FILENO + 1; fd < 1024; ++fd) ::fcntl(fd, F_SETFD, FD_CLOEXEC);

    if (plan.working_directory) fail_if(::chdir(plan.working_directory) < 0);
    ::execve(plan.program, plan.argv, plan.environment);
    fail_if(true);
    ::_exit(127);
}

}  // namespace detail

inline child_process child_process::spawn(std::vector<std::string> const& argv, spawn_options const& options) {
    if (argv.empty()) throw std::invalid_argument("spawn: no program");
    auto const program = detail::find_program(argv.front());
    auto arguments = argv;
    auto environment = detail::environment_with(options.environment);
    auto const argument_pointers = detail::null_terminated(arguments);
    auto const environment_pointers = detail::null_terminated(environment);

    unique_fd null{::open("/dev/null", O_RDWR | O_CLOEXEC)};
    if (!null) throw_errno("open /dev/null");
    auto failure = detail::make_pipe();
    detail::pipe_ends lines;
    if (options.out == output::pipe) lines = detail::make_pipe();

    detail::exec_plan const plan{
        .program = program.c_str(),
        .argv = argument_pointers.data(),
        .environment = environment_pointers.data(),
        .working_directory = options.working_directory.empty() ? nullptr : options.working_directory.c_str(),
        .null_fd = null.get(),
        .out_fd = options.out == output::pipe      ? lines.write.get()
                  : options.out == output::discard ? null.get()
                                                   : -1,
        .err = options.err,
        .failure_fd = failure.write.get(),
        .parent = ::getpid(),
    };

    child_process child;
    child.pid_ = ::fork();
    if (child.pid_ < 0) throw_errno("fork");
    if (child.pid_ == 0) detail::exec_in_child(plan);

    // exec closes the other end: the read gives the child's errno, or 0 bytes once its program runs
    failure.write.reset();
    int error = 0;
    ssize_t got = 0;
    do {
        got = ::read(failure.read.get(), &error, sizeof error);
    } while (got < 0 && errno == EINTR);
    if (got != 0) throw_errno("cannot start " + program, got == static_cast<ssize_t>(sizeof error) ? error : EIO);

    if (options.out == output::pipe) child.out_ = line_reader{std::move(lines.read)};
    return child;
}

}  // namespace rota::test
