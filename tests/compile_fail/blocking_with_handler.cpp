// expect: rota: over a blocking transport try_lock returns its result and takes no handler
#include <chrono>

#include <rota/coordinator.hpp>
#include <rota/transport/memory.hpp>

void take(rota::basic_coordinator<rota::memory_transport>& node) {
    node.try_lock("x", std::chrono::seconds{5}, [](auto) {});
}
