// expect: rota: an argument is given twice
#include <rota/coordinator.hpp>
#include <rota/transport/memory.hpp>

int main() {
    rota::memory_store store;
    rota::basic_coordinator<rota::memory_transport> node{rota::options{.node_id = "a"}, rota::memory_transport{store},
                                                         rota::memory_transport{store}};
}
