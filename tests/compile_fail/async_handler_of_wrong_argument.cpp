// expect: rota: this handler cannot take the call's result
#include <string>

#include <rota/async_coordinator.hpp>

#include "../support/manual_loop.hpp"

void take(rota::basic_coordinator<rota_test::async_memory_transport>& node) {
    node.join([](std::string const&) {});
}
