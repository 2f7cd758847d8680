// expect: rota: the clock policy lacks `rota::instant now() const`
#include <rota/coordinator.hpp>
#include <rota/transport/memory.hpp>

struct mine {
    int now() const { return 0; }
};

int main() { rota::basic_coordinator node{rota::options{.node_id = "a"}, rota::memory_transport{}, mine{}}; }
