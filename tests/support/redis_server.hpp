// A real redis-server for one test: on a free loopback port and a unix socket, in a temporary directory of its own,
// stopped and cleaned up with its owner. It persists nothing unless told to, so stop() and start() give an empty server
// on the same port; after command({"SAVE"}), or with append-only configured, one with its data.
//
// command() has a connection of its own over the unix socket, which cannot be confused with another server's. Throws
// std::runtime_error when the server does not do as told within its time; nothing waits without a deadline.
#pragma once

#include <arpa/inet.h>
#include <hiredis/hiredis.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <charconv>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "child_process.hpp"
#include "poll_until.hpp"

namespace rota::test {

/// A fresh directory, removed with all that is in it.
class temporary_directory {
public:
    explicit temporary_directory(std::string const& prefix) {
        auto path = (std::filesystem::temp_directory_path() / (prefix + "XXXXXX")).string();
        if (!::mkdtemp(path.data())) throw_errno("mkdtemp " + path);
        path_ = path;
    }
    temporary_directory(temporary_directory const&) = delete;
    temporary_directory& operator=(temporary_directory const&) = delete;
    ~temporary_directory() {
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
    }

    [[nodiscard]] std::filesystem::path const& path() const { return path_; }

private:
    std::filesystem::path path_;
};

/// A loopback port that nobody has now; it may be gone when it is used, so be ready to try another. Below the range
/// from which the kernel takes ports for outgoing connections where possible: a client that keeps trying a stopped
/// server's port could otherwise be connected to itself, and hold the port for good.
[[nodiscard]] inline std::uint16_t free_port();

/// A reply of Redis, taken over from hiredis.
struct redis_reply {
    enum class type { nil, status, error, string, integer, array };

    type kind = type::nil;
    std::string text{};  ///< of a status, error or string
    long long integer = 0;
    std::vector<redis_reply> elements{};

    [[nodiscard]] bool is_error() const { return kind == type::error; }
    [[nodiscard]] bool ok() const { return kind == type::status && text == "OK"; }
};

struct redis_options {
    std::vector<std::string> config{};  ///< more arguments, e.g. {"--maxmemory", "100mb"}; they win over the defaults
    std::string password{};             ///< requirepass, and what command() authenticates with
    std::string program = "redis-server";
};

/// Owns a redis-server. One thread at a time.
class redis_server {
public:
    /// Starts it, and returns when it answers.
    explicit redis_server(redis_options options = {}) : options_{std::move(options)} { start_on_free_port(); }
    redis_server(redis_server const&) = delete;
    redis_server& operator=(redis_server const&) = delete;

    [[nodiscard]] std::uint16_t port() const { return port_; }
    [[nodiscard]] std::string address() const { return "127.0.0.1:" + std::to_string(port_); }
    [[nodiscard]] std::string url() const { return "redis://" + credentials() + address(); }
    [[nodiscard]] std::string unix_socket() const { return (directory_.path() / "redis.sock").string(); }
    [[nodiscard]] std::string unix_url() const { return "unix://" + unix_socket(); }
    [[nodiscard]] std::filesystem::path const& directory() const { return directory_.path(); }
    [[nodiscard]] child_process& process() { return process_; }

    /// What it has logged so far.
    [[nodiscard]] std::string log() const {
        std::ifstream file{directory_.path() / "redis.log"};
        return {std::istreambuf_iterator<char>{file}, {}};
    }

    /// Starts it again on the same port, and returns when it answers.
    void start() {
        launch();
        wait_until_ready(std::chrono::seconds{20});
    }

    /// The same without waiting, e.g. to meet it while it is loading. More arguments may be given for this start only.
    void launch(std::vector<std::string> const& more_config = {});

    /// Returns when it answers PING with anything but LOADING.
    void wait_until_ready(deadline until);

    /// SIGTERM: it shuts down in order (and saves, where persistence is configured).
    void stop() {
        disconnect();
        (void)process_.resume();
        (void)process_.signal(SIGTERM);
        if (!process_.exit_status(std::chrono::seconds{10})) process_.kill();
    }

    /// SIGKILL.
    void crash() {
        disconnect();
        process_.kill();
    }

    /// Removes what it has saved; to be called while it is stopped.
    void forget_data() const {
        for (auto const& entry : std::filesystem::directory_iterator{directory_.path()}) {
            if (entry.path().filename() != "redis.log") std::filesystem::remove_all(entry.path());
        }
    }

    /// SIGSTOP: connections stay open and nothing answers; new ones are accepted by the kernel, up to its backlog.
    void pause() {
        if (!process_.pause()) throw std::runtime_error("redis-server cannot be paused");
    }
    void resume() { (void)process_.resume(); }

    /// Sends a command and returns the reply, errors included. Throws if there is none within 5 s.
    redis_reply command(std::vector<std::string> const& arguments);

    /// The fields of INFO <section>.
    [[nodiscard]] std::map<std::string, std::string> info(std::string const& section);

    /// From INFO commandstats: how often each command was called since the start or CONFIG RESETSTAT. Names are in lower
    /// case, with subcommands as "client|setname"; what was never called is not there.
    [[nodiscard]] std::map<std::string, std::uint64_t> command_calls();

private:
    struct context_deleter {
        void operator()(redisContext* context) const { ::redisFree(context); }
    };
    struct reply_deleter {
        void operator()(redisReply* reply) const { ::freeReplyObject(reply); }
    };

    [[nodiscard]] std::string credentials() const {
        return options_.password.empty() ? "" : ":" + options_.password + "@";
    }
    void start_on_free_port();
    [[nodiscard]] bool answers();
    void connect();
    void disconnect() { connection_.reset(); }
    redis_reply exchange_command(std::vector<std::string> const& arguments);

    redis_options options_;
    temporary_directory directory_{"rota-redis-"};
    std::uint16_t port_ = 0;
    child_process process_;
    std::unique_ptr<redisContext, context_deleter> connection_;
};

namespace detail {

/// hiredis writes without MSG_NOSIGNAL: while this lives, a broken connection is an error and not the end of the test.
class sigpipe_blocked {
public:
    sigpipe_blocked() {
        sigemptyset(&pipe_);
        sigaddset(&pipe_, SIGPIPE);
        sigset_t pending;
        sigpending(&pending);
        was_pending_ = sigismember(&pending, SIGPIPE) == 1;
        ::pthread_sigmask(SIG_BLOCK, &pipe_, &before_);
    }
    sigpipe_blocked(sigpipe_blocked const&) = delete;
    sigpipe_blocked& operator=(sigpipe_blocked const&) = delete;
    ~sigpipe_blocked() {
        timespec const at_once{};
        if (!was_pending_) (void)::sigtimedwait(&pipe_, nullptr, &at_once);
        ::pthread_sigmask(SIG_SETMASK, &before_, nullptr);
    }

private:
    sigset_t pipe_{};
    sigset_t before_{};
    bool was_pending_ = false;
};

inline redis_reply copy_reply(redisReply const& reply) {
    using type = redis_reply::type;
    redis_reply result;
    switch (reply.type) {
        case REDIS_REPLY_STATUS: result.kind = type::status; break;
        case REDIS_REPLY_ERROR: result.kind = type::error; break;
        case REDIS_REPLY_STRING: result.kind = type::string; break;
        case REDIS_REPLY_INTEGER: result.kind = type::integer; break;
        case REDIS_REPLY_ARRAY: result.kind = type::array; break;
        default: break;
    }
    if (reply.str) result.text.assign(reply.str, reply.len);
    result.integer = reply.integer;
    for (std::size_t i = 0; i < reply.elements; ++i) result.elements.push_back(copy_reply(*reply.element[i]));
    return result;
}

/// Binds a port of loopback, 0 for any, and gives its number; 0 if it is taken.
inline std::uint16_t try_port(std::uint16_t port) {
    unique_fd const fd{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    if (!fd) throw_errno("socket");
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(port);
    socklen_t size = sizeof address;
    if (::bind(fd.get(), reinterpret_cast<sockaddr*>(&address), size) < 0) return 0;
    if (::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&address), &size) < 0) throw_errno("getsockname");
    return ntohs(address.sin_port);
}

}  // namespace detail

inline std::uint16_t free_port() {
    constexpr unsigned lowest = 10'000;
    unsigned first_outgoing = 32'768;
    std::ifstream{"/proc/sys/net/ipv4/ip_local_port_range"} >> first_outgoing;
    if (first_outgoing > lowest + 1000) {
        static unsigned next = static_cast<unsigned>(::getpid()) * 31;  // so that processes side by side differ
        for (int attempt = 0; attempt < 200; ++attempt) {
            next += 7;
            auto const port = detail::try_port(static_cast<std::uint16_t>(lowest + next % (first_outgoing - lowest)));
            if (port != 0) return port;
        }
    }
    if (auto const port = detail::try_port(0)) return port;
    throw_errno("no free port");
}

inline void redis_server::launch(std::vector<std::string> const& more_config) {
    disconnect();
    std::vector<std::string> arguments{
        options_.program,
        "--port",
        std::to_string(port_),
        "--bind",
        "127.0.0.1",
        "--unixsocket",
        unix_socket(),
        "--dir",
        directory_.path().string(),
        "--logfile",
        "redis.log",
        "--daemonize",
        "no",
        "--save",
        "",
        "--appendonly",
        "no",
    };
    if (!options_.password.empty()) arguments.insert(arguments.end(), {"--requirepass", options_.password});
    arguments.insert(arguments.end(), options_.config.begin(), options_.config.end());
    arguments.insert(arguments.end(), more_config.begin(), more_config.end());
    process_ =
        child_process::spawn(arguments, {.working_directory = directory_.path().string(), .out = output::discard});
}

inline void redis_server::start_on_free_port() {
    constexpr int attempts = 10;
    for (int attempt = 1;; ++attempt) {
        port_ = free_port();
        launch();
        try {
            return wait_until_ready(std::chrono::seconds{20});
        } catch (std::runtime_error const&) {
            bool const taken = !process_.running() && log().find("Address already in use") != std::string::npos;
            if (!taken || attempt == attempts) throw;
        }
    }
}

inline void redis_server::wait_until_ready(deadline until) {
    bool ended = false;
    if (poll_until(until, [&] { return (ended = !process_.running()) || answers(); }) && !ended) return;
    throw std::runtime_error("redis-server " + std::string{ended ? "ended" : "does not answer"} + "; its log:\n" +
                             log());
}

inline bool redis_server::answers() {
    try {
        auto const reply = command({"PING"});
        return !reply.is_error() || !reply.text.starts_with("LOADING");
    } catch (std::runtime_error const&) {
        return false;
    }
}

inline void redis_server::connect() {
    connection_.reset(::redisConnectUnixWithTimeout(unix_socket().c_str(), timeval{.tv_sec = 5, .tv_usec = 0}));
    if (!connection_ || connection_->err ||
        ::redisSetTimeout(connection_.get(), {.tv_sec = 5, .tv_usec = 0}) != REDIS_OK) {
        std::string const why = connection_ ? connection_->errstr : "out of memory";
        disconnect();
        throw std::runtime_error("no connection to redis-server: " + why);
    }
    if (!options_.password.empty()) (void)exchange_command({"AUTH", options_.password});
}

inline redis_reply redis_server::exchange_command(std::vector<std::string> const& arguments) {
    std::vector<char const*> texts;
    std::vector<std::size_t> sizes;
    for (auto const& each : arguments) {
        texts.push_back(each.data());
        sizes.push_back(each.size());
    }
    detail::sigpipe_blocked const guard;
    std::unique_ptr<redisReply, reply_deleter> const reply{static_cast<redisReply*>(
        ::redisCommandArgv(connection_.get(), static_cast<int>(texts.size()), texts.data(), sizes.data()))};
    if (reply) return detail::copy_reply(*reply);
    std::string const why = connection_->errstr;
    disconnect();
    throw std::runtime_error("no reply of redis-server to " + arguments.front() + ": " + why);
}

inline redis_reply redis_server::command(std::vector<std::string> const& arguments) {
    if (arguments.empty()) throw std::invalid_argument("command: no words");
    if (!connection_) connect();
    return exchange_command(arguments);
}

inline std::map<std::string, std::string> redis_server::info(std::string const& section) {
    auto const reply = command({"INFO", section});
    if (reply.kind != redis_reply::type::string) throw std::runtime_error("INFO " + section + ": " + reply.text);
    std::map<std::string, std::string> result;
    std::string_view rest = reply.text;
    while (!rest.empty()) {
        auto const end = std::min(rest.find("\r\n"), rest.size());
        auto const line = rest.substr(0, end);
        if (auto const colon = line.find(':'); colon != std::string_view::npos && line.front() != '#') {
            result.emplace(line.substr(0, colon), line.substr(colon + 1));
        }
        rest.remove_prefix(std::min(end + 2, rest.size()));
    }
    return result;
}

inline std::map<std::string, std::uint64_t> redis_server::command_calls() {
    constexpr std::string_view before_name = "cmdstat_";
    constexpr std::string_view before_calls = "calls=";
    std::map<std::string, std::uint64_t> result;
    for (auto const& [name, value] : info("commandstats")) {
        std::uint64_t calls = 0;
        if (!name.starts_with(before_name) || !value.starts_with(before_calls)) continue;
        std::from_chars(value.data() + before_calls.size(), value.data() + value.size(), calls);
        result.emplace(name.substr(before_name.size()), calls);
    }
    return result;
}

}  // namespace rota::test
