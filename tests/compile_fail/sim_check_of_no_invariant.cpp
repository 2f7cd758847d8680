// expect: rota::sim: what is checked must derive from rota::sim::invariant, as sim::one_leader does
#include <rota/sim.hpp>

struct mine {};

int main() {
    rota::sim::world w{{.seed = 1}};
    w.check<rota::sim::one_leader, mine>();
}
