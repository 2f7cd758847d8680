// expect: rota: no transport given
#include <rota/coordinator.hpp>

int main() { rota::basic_coordinator node{rota::options{.node_id = "a"}, rota::least_moves{}}; }
