// expect: rota: the clock policy's now must be const
#include <rota/coordinator.hpp>
#include <rota/transport/memory.hpp>

struct mine {
    rota::instant now() { return {}; }
};

int main() { rota::basic_coordinator node{rota::options{.node_id = "a"}, rota::memory_transport{}, mine{}}; }
