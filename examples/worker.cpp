// The program that most users want: it registers schedules, runs a function for those that this node owns, and on Ctrl-C or
// SIGTERM ends what is in hand and hands the rest over. Start it in several terminals: worker node-1, worker node-2, ...
#if !__has_include(<hiredis/hiredis.h>)
#error "worker talks to Redis: it needs hiredis (Debian: libhiredis-dev)"
#endif

#include <chrono>
#include <cstdio>
#include <thread>

#include <rota/sink/log_sink.hpp>
#include <rota/transport/hiredis_sync.hpp>
#include <rota/worker.hpp>

int main(int argc, char** argv) {
    using namespace std::chrono_literals;
    rota::worker w{{.node_id = argc > 1 ? argv[1] : "node-1"},
                   rota::every(2s),
                   rota::worker_options{.threads = 4, .max_run_time = 1min},
                   rota::hiredis_sync{argc > 2 ? argv[2] : "localhost:6379"},
                   rota::log_sink{}};
    w.add("feed-1", "feed-2", "feed-3", "feed-4", "feed-5", "feed-6");
    return w.run_until_signal([](rota::job& j) {
        for (int step = 0; step < 20 && !j.stop_requested(); ++step) std::this_thread::sleep_for(10ms);  // the work
        std::printf("polled %s under token %llu\n", j.schedule().c_str(), static_cast<unsigned long long>(j.token()));
        std::fflush(stdout);
    });
}
