// expect: rota: over an asynchronous transport try_lock takes a handler last, and does not wait
#include <chrono>

#include <rota/async_coordinator.hpp>

#include "../support/manual_loop.hpp"

void take(rota::basic_coordinator<rota_test::async_memory_transport>& node) {
    node.try_lock("x", std::chrono::seconds{5});
}
