// expect: rota::sim: run_until takes a predicate that is called with a rota::sim::world& (or const&) and returns bool, or
#include <rota/sim.hpp>

int main() {
    rota::sim::world w{{.seed = 1}};
    return w.run_until([](rota::sim::world&) { return 1; }, std::chrono::seconds{1}) ? 0 : 1;
}
