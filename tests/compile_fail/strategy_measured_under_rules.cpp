// expect: rota: constrained<S> asks S for what no rule decides, and this S must see the whole plan: turn them round
#include <rota/coordinator.hpp>
#include <rota/strategy/constrained.hpp>
#include <rota/strategy/graced.hpp>
#include <rota/strategy/measured.hpp>
#include <rota/transport/memory.hpp>

using mine = rota::graced<rota::constrained<rota::measured<>>>;

int main() { rota::basic_coordinator node{rota::options{.node_id = "a"}, rota::memory_transport{}, mine{}}; }
