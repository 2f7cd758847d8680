// expect: rota: measured<S> gives S the reports as weights, and this S counts schedules
#include <rota/strategy/constrained.hpp>
#include <rota/strategy/measured.hpp>

int main() {
    rota::measured<rota::constrained<>> const strategy;
    (void)strategy;
}
