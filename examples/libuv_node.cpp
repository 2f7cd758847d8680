// A node on libuv, beside whatever else the loop does. libuv_node [NODE_ID [REDIS]]; end it with Ctrl-C.
#include <chrono>
#include <csignal>
#include <functional>

#include <fmt/core.h>
#include <uv.h>

#include <rota/loop/libuv_loop.hpp>
#include <rota/rota.hpp>

using namespace std::chrono_literals;

int main(int argc, char** argv) {
    auto* const uv = uv_default_loop();
    rota::libuv_loop loop{*uv};
    rota::basic_coordinator node{{.node_id = argc > 1 ? argv[1] : "libuv-node"},
                                 rota::hiredis_async{argc > 2 ? argv[2] : "redis://localhost:6379", loop}};
    node.run([&](rota::result<void> ended) {
        if (ended) return;
        fmt::print(stderr, "{}\n", ended.error().message());
        uv_stop(uv);
    });
    node.register_schedules({{"feed-1"}, {"feed-2"}, {"feed-3"}, {"feed-4"}}, [](rota::results<void>) {});

    using task = std::function<void()>;
    task poll = [&] {
        for (auto& s : node.owned()) {
            node.try_lock(s.id, 5s, [](rota::result<rota::async_lock> lock) {
                if (lock) fmt::print("polling {} under token {}\n", lock->name(), lock->token());
            });
        }
    };
    task stop = [&] { node.leave([&](rota::result<void>) { uv_stop(uv); }); };  // hands everything over at once

    uv_timer_t every_second;
    uv_timer_init(uv, &every_second);
    every_second.data = &poll;
    uv_timer_start(&every_second, [](uv_timer_t* timer) { (*static_cast<task*>(timer->data))(); }, 1000, 1000);
    uv_signal_t signals[2];
    for (int i = 0; i < 2; ++i) {
        uv_signal_init(uv, &signals[i]);
        signals[i].data = &stop;
        auto const call = [](uv_signal_t* signal, int) { (*static_cast<task*>(signal->data))(); };
        uv_signal_start(&signals[i], call, i == 0 ? SIGINT : SIGTERM);
    }
    uv_run(uv, UV_RUN_DEFAULT);
}
