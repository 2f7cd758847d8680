// A node on an event loop: one thread, nothing waits. async_node [NODE_ID [REDIS]]; start several, end one with Ctrl-C.
#include <chrono>
#include <csignal>
#include <string>
#include <utility>

#include <fmt/core.h>
#include <unistd.h>

#include <rota/rota.hpp>

namespace {

using namespace std::chrono_literals;

rota::poll_loop loop;

void stop(int) { loop.stop(); }  // async-signal-safe

}  // namespace

int main(int argc, char** argv) {
    std::string const id = argc > 1 ? argv[1] : fmt::format("node-{}", ::getpid());
    rota::basic_coordinator node{{.node_id = id},
                                 rota::hiredis_async{argc > 2 ? argv[2] : "redis://localhost:6379", loop},
                                 rota::log_sink{stderr, id}};
    int code = 0;
    node.run([&](rota::result<void> ended) {
        if (!ended) fmt::print(stderr, "{}\n", ended.error().message());
        code = ended ? 0 : 1;
        loop.stop();
    });
    node.register_schedules({{"feed-1"}, {"feed-2"}, {"feed-3"}, {"feed-4"}}, [](rota::results<void> done) {
        if (!done.all()) fmt::print(stderr, "not registered: {}\n", done.all().error().message());
    });

    // Once a second, each of its schedules under a lock. A longer run would extend() it.
    rota::timer_handle every_second;
    every_second = loop.timer([&] {
        for (auto& s : node.owned()) {
            node.try_lock(s.id, 5s, [](rota::result<rota::async_lock> lock) {
                if (lock) fmt::print("polling {} under token {}\n", lock->name(), lock->token());
            });  // released as the handler ends
        }
        every_second->start(1s);
    });
    every_second->start(1s);

    std::signal(SIGINT, stop);
    std::signal(SIGTERM, stop);
    loop.run();

    every_second->stop();
    node.leave([&](rota::result<void>) { loop.stop(); });  // hands everything over: nobody waits for a ttl
    loop.run_for(2s);
    return code;
}
