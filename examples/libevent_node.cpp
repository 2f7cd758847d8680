// A node on libevent, beside whatever else the event_base does. libevent_node [NODE_ID [REDIS]]; end it with Ctrl-C.
#include <chrono>
#include <csignal>
#include <functional>
#include <memory>

#include <event2/event.h>
#include <fmt/core.h>

#include <rota/loop/libevent_loop.hpp>
#include <rota/rota.hpp>

using namespace std::chrono_literals;

int main(int argc, char** argv) {
    std::unique_ptr<event_base, void (*)(event_base*)> const base{event_base_new(), event_base_free};
    rota::libevent_loop loop{*base};
    rota::basic_coordinator node{{.node_id = argc > 1 ? argv[1] : "libevent-node"},
                                 rota::hiredis_async{argc > 2 ? argv[2] : "redis://localhost:6379", loop}};
    node.run([&](rota::result<void> ended) {
        if (ended) return;
        fmt::print(stderr, "{}\n", ended.error().message());
        event_base_loopbreak(base.get());
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
    task stop = [&] {  // hands everything over: nobody waits for a ttl
        node.leave([&](rota::result<void>) { event_base_loopbreak(base.get()); });
    };
    auto const call = [](evutil_socket_t, short, void* what) { (*static_cast<task*>(what))(); };
    using event_handle = std::unique_ptr<event, void (*)(event*)>;
    event_handle const every_second{event_new(base.get(), -1, EV_PERSIST, call, &poll), event_free};
    event_handle const interrupted{evsignal_new(base.get(), SIGINT, call, &stop), event_free};
    event_handle const terminated{evsignal_new(base.get(), SIGTERM, call, &stop), event_free};
    timeval const second{1, 0};
    event_add(every_second.get(), &second);
    event_add(interrupted.get(), nullptr);
    event_add(terminated.get(), nullptr);
    event_base_dispatch(base.get());
}
