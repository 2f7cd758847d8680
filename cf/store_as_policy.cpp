// expect: of a memory_store, pass rota::memory_transport{store}
#include <rota/coordinator.hpp>
#include <rota/transport/memory.hpp>

int main() {
    rota::memory_store store;
    rota::basic_coordinator node{rota::options{.node_id = "a"}, store};
}
