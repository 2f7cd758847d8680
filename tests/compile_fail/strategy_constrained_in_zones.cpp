// expect: rota: zoned<S> asks S for one zone at a time, and this S must see the whole group: turn them round
#include <rota/coordinator.hpp>
#include <rota/strategy/constrained.hpp>
#include <rota/strategy/zoned.hpp>
#include <rota/transport/memory.hpp>

using mine = rota::zoned<rota::constrained<>>;

int main() { rota::basic_coordinator node{rota::options{.node_id = "a"}, rota::memory_transport{}, mine{}}; }
