// expect: rota: two event sinks given
// expect: rota::sinks
#include <rota/coordinator.hpp>
#include <rota/transport/memory.hpp>

int main() {
    rota::basic_coordinator node{rota::options{.node_id = "a"}, rota::memory_transport{}, [](rota::event const&) {},
                                 [](rota::node_joined const&) {}};
}
