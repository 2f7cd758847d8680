// expect: rota: what is to be checked is no strategy: it lacks `rota::plan make_plan(rota::cluster_view const&) const`
#include <rota/check_strategy.hpp>

struct mine {
    rota::plan make_plan(rota::cluster_view const&) { return {}; }
};

int main() { return rota::check_strategy(mine{}).passed ? 0 : 1; }
