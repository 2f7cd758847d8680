// expect: rota: two transports given
#include <rota/coordinator.hpp>
#include <rota/transport/memory.hpp>

int main() {
    rota::basic_coordinator node{rota::options{.node_id = "a"}, rota::memory_transport{}, rota::memory_transport{}};
}
