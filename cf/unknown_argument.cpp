// expect: rota: an argument is none of this coordinator's policies
#include <rota/coordinator.hpp>
#include <rota/transport/memory.hpp>

int main() {
    rota::basic_coordinator<rota::memory_transport> node{rota::options{.node_id = "a"}, rota::memory_transport{}, 7};
}
