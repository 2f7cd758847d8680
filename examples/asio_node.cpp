// A node on standalone Asio, beside whatever else the io_context does. asio_node [NODE_ID [REDIS]]; end it with Ctrl-C.
#include <chrono>
#include <csignal>
#include <functional>
#include <string>

#include <fmt/core.h>
#include <asio/io_context.hpp>
#include <asio/signal_set.hpp>
#include <asio/steady_timer.hpp>

#include <rota/loop/asio_loop.hpp>
#include <rota/rota.hpp>

using namespace std::chrono_literals;

int main(int argc, char** argv) {
    asio::io_context io{1};
    rota::asio_loop loop{io};
    rota::basic_coordinator node{{.node_id = argc > 1 ? argv[1] : "asio-node"},
                                 rota::hiredis_async{argc > 2 ? argv[2] : "redis://localhost:6379", loop}};
    node.run([&](rota::result<void> ended) {
        if (ended) return;
        fmt::print(stderr, "{}\n", ended.error().message());
        io.stop();
    });
    node.register_schedules({{"feed-1"}, {"feed-2"}, {"feed-3"}, {"feed-4"}}, [](rota::results<void>) {});

    asio::steady_timer timer{io};
    std::function<void()> const every_second = [&] {
        timer.expires_after(1s);
        timer.async_wait([&](asio::error_code stopped) {
            if (stopped) return;
            for (auto& s : node.owned()) {
                node.try_lock(s.id, 5s, [](rota::result<rota::async_lock> lock) {
                    if (lock) fmt::print("polling {} under token {}\n", lock->name(), lock->token());
                });
            }
            every_second();
        });
    };
    every_second();

    asio::signal_set signals{io, SIGINT, SIGTERM};
    signals.async_wait([&](asio::error_code, int) {
        timer.cancel();
        node.leave([&](rota::result<void>) { io.stop(); });  // hands everything over: nobody waits for a ttl
    });
    io.run();
}
