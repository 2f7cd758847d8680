// expect: rota: this type is no policy
#include <rota/coordinator.hpp>
#include <rota/transport/memory.hpp>

struct mine {};

int main() { rota::basic_coordinator node{rota::options{.node_id = "a"}, rota::memory_transport{}, mine{}}; }
