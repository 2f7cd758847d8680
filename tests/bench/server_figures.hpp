// What the benchmarks learn from Redis and the system about a group at work: how long each script took, what each
// connection received, how long another client waited, memory and CPU time of processes.
//
// Script times come from SLOWLOG, which is told to keep every call above a small limit with its time in microseconds;
// how many there were in all says `INFO commandstats`. Together they give each quantile above the limit exactly, where
// LATENCY HISTOGRAM would round to powers of two. They are times by the clock: when others use the machine, a script may
// have been waiting for its CPU.
#pragma once

#include <dirent.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <fstream>
#include <map>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <rota/detail/redis_scripts.hpp>

#include "../support/redis_server.hpp"

namespace rota::test {

/// How long the scripts took since reset().
class script_times {
public:
    explicit script_times(redis_server& server) : server_{server} {
        for (std::size_t i = 0; i < rota::detail::script_count; ++i) {
            auto const id = static_cast<rota::detail::script_id>(i);
            auto const digest = server.command({"SCRIPT", "LOAD", rota::detail::script_text(id)}).text;
            names_[digest] = rota::detail::script_name(id);
        }
        (void)server.command({"CONFIG", "SET", "slowlog-max-len", "100000"});
        (void)server.command({"CONFIG", "SET", "slowlog-log-slower-than", std::to_string(limit_us)});
    }

    void reset() {
        (void)server_.command({"CONFIG", "RESETSTAT"});
        (void)server_.command({"SLOWLOG", "RESET"});
    }

    struct script {
        std::string_view name{};
        std::size_t slow = 0;  // calls above the limit
        double longest_ms = 0;
    };
    struct summary {
        std::uint64_t calls = 0;
        double mean_ms = 0;
        double p99_ms = 0;  // the limit, if it is below that
        double longest_ms = 0;
        std::vector<script> slowest{};  // by their longest call
    };
    static constexpr double limit_ms = 0.3;

    [[nodiscard]] summary read() {
        summary all;
        all.calls = server_.command_calls()["evalsha"];
        auto const stats = server_.info("commandstats")["cmdstat_evalsha"];
        if (auto const at = stats.find("usec_per_call="); at != std::string::npos) {
            all.mean_ms = std::strtod(stats.c_str() + at + 14, nullptr) / 1e3;
        }
        std::vector<double> slow;
        std::map<std::string_view, script> by_name;
        for (auto const& entry : server_.command({"SLOWLOG", "GET", "-1"}).elements) {
            if (entry.elements.size() < 4 || entry.elements[3].elements.size() < 2) continue;
            auto const name = names_.find(entry.elements[3].elements[1].text);
            if (name == names_.end()) continue;
            auto const ms = static_cast<double>(entry.elements[2].integer) / 1e3;
            slow.push_back(ms);
            auto& one = by_name[name->second];
            one.name = name->second;
            ++one.slow;
            one.longest_ms = std::max(one.longest_ms, ms);
        }
        std::sort(slow.begin(), slow.end());
        auto const above_p99 = static_cast<std::size_t>(all.calls / 100);  // so many are longer
        all.p99_ms = slow.size() > above_p99 ? slow[slow.size() - 1 - above_p99] : limit_ms;
        all.longest_ms = slow.empty() ? limit_ms : slow.back();
        for (auto const& [name, one] : by_name) all.slowest.push_back(one);
        std::sort(all.slowest.begin(), all.slowest.end(),
                  [](script const& a, script const& b) { return a.longest_ms > b.longest_ms; });
        return all;
    }

private:
    static constexpr int limit_us = 300;

    redis_server& server_;
    std::map<std::string, std::string_view> names_;
};

/// Bytes that this process has received so far over TCP connections to the server, by node: both connections of each, the
/// one for requests, which has the node's name, and the one for what is pushed.
[[nodiscard]] inline std::map<std::string, std::uint64_t> bytes_received(redis_server& server) {
    std::map<std::string, std::string> name_of;  // by the port at our end
    auto const list = server.command({"CLIENT", "LIST"}).text;
    auto const field = [](std::string_view line, std::string_view name) {
        auto const at = line.find(name);
        if (at == std::string_view::npos) return std::string{};
        auto const value = line.substr(at + name.size());
        return std::string{value.substr(0, value.find_first_of(" \n"))};
    };
    for (std::string_view rest = list; !rest.empty();) {
        auto const line = rest.substr(0, rest.find('\n'));
        rest.remove_prefix(std::min(line.size() + 1, rest.size()));
        auto const address = field(line, " addr=");
        auto const name = field(line, " name=");
        name_of[address.substr(address.rfind(':') + 1)] = name.substr(0, name.find(':'));
    }

    std::map<std::string, std::uint64_t> received;
    DIR* const descriptors = ::opendir("/proc/self/fd");
    if (!descriptors) throw_errno("/proc/self/fd");
    while (auto const* entry = ::readdir(descriptors)) {
        int const fd = std::atoi(entry->d_name);
        sockaddr_in here{};
        socklen_t size = sizeof here;
        if (::getsockname(fd, reinterpret_cast<sockaddr*>(&here), &size) != 0 || here.sin_family != AF_INET) continue;
        // tcpi_bytes_received of the kernel's struct tcp_info, which the C library's does not have.
        constexpr std::size_t offset = 128;
        unsigned char info[offset + sizeof(std::uint64_t)];
        size = sizeof info;
        if (::getsockopt(fd, IPPROTO_TCP, 11 /* TCP_INFO */, info, &size) != 0 || size < sizeof info) continue;
        std::uint64_t bytes = 0;
        std::memcpy(&bytes, info + offset, sizeof bytes);
        auto const name = name_of.find(std::to_string(ntohs(here.sin_port)));
        if (name != name_of.end()) received[name->second] += bytes;
    }
    ::closedir(descriptors);
    return received;
}

/// A field of /proc/<process>/status that is in kB: VmRSS, VmHWM. 0 for this process.
[[nodiscard]] inline double memory_bytes(std::string_view field, pid_t process = 0) {
    std::ifstream status{"/proc/" + (process == 0 ? std::string{"self"} : std::to_string(process)) + "/status"};
    for (std::string line; std::getline(status, line);) {
        if (line.starts_with(field)) return std::strtod(line.c_str() + field.size() + 1, nullptr) * 1024;
    }
    throw std::runtime_error("no " + std::string{field} + " of process " + std::to_string(process));
}

/// Seconds of CPU time that the server has used since it started.
[[nodiscard]] inline double cpu_seconds(redis_server& server) {
    auto const info = server.info("cpu");
    return std::stod(info.at("used_cpu_user")) + std::stod(info.at("used_cpu_sys"));
}

/// Binds the process to the `which`-th CPU that it may use, counted round. 0 for this one.
inline void run_on_cpu(std::size_t which, pid_t process) {
    cpu_set_t allowed;
    if (::sched_getaffinity(process, sizeof allowed, &allowed) != 0 || CPU_COUNT(&allowed) == 0) return;
    which %= static_cast<std::size_t>(CPU_COUNT(&allowed));
    for (std::size_t cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
        if (!CPU_ISSET(cpu, &allowed) || which-- > 0) continue;
        cpu_set_t one;
        CPU_ZERO(&one);
        CPU_SET(cpu, &one);
        (void)::sched_setaffinity(process, sizeof one, &one);
        return;
    }
}

/// Lets the process (0: this one) go before all ordinary ones and those of a lower level, where the system allows it.
inline bool run_first(pid_t process, int level = 1) {
    sched_param const priority{.sched_priority = level};
    return ::sched_setscheduler(process, SCHED_FIFO, &priority) == 0;
}

/// Gives the server a CPU and this process, with what it starts while this lives, another, before other programs where
/// the system allows it; and tells so.
class a_cpu_each {
public:
    explicit a_cpu_each(pid_t server, bool tell = true) {
        bool const apart = ::sched_getaffinity(0, sizeof before_, &before_) == 0 && CPU_COUNT(&before_) > 1;
        if (apart) {
            // The server first: what it may use is looked up before this process, from which it inherited that, is bound.
            run_on_cpu(1, server);
            run_on_cpu(0, 0);
        }
        bool const first = apart && run_first(server) && run_first(0);
        if (!tell) return;
        std::printf("%s%s\n", apart ? "client and server on a CPU each" : "client and server on whatever CPU",
                    first ? ", before other programs" : "");
    }
    a_cpu_each(a_cpu_each const&) = delete;
    a_cpu_each& operator=(a_cpu_each const&) = delete;
    ~a_cpu_each() {
        sched_param const ordinary{};
        (void)::sched_setscheduler(0, SCHED_OTHER, &ordinary);
        (void)::sched_setaffinity(0, sizeof before_, &before_);
    }

private:
    cpu_set_t before_{};
};

/// Seconds of CPU time of a process, by the clock that counts it.
[[nodiscard]] inline double cpu_seconds_of(pid_t process) {
    clockid_t clock{};
    timespec used{};
    if (::clock_getcpuclockid(process, &clock) != 0 || ::clock_gettime(clock, &used) != 0) {
        throw std::runtime_error("no CPU time of process " + std::to_string(process));
    }
    return static_cast<double>(used.tv_sec) + static_cast<double>(used.tv_nsec) / 1e9;
}

}  // namespace rota::test
