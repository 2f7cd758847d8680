// expect: schedule_lock
#include <rota/schedule_lock.hpp>

int main() {
    rota::schedule_lock lock;
    rota::schedule_lock copy{lock};
}
