// A complete node: registers schedules, takes part in the group, runs what it owns, and leaves in order. Start it in
// several terminals, kill one, and watch its schedules move. `--help` lists its options and what it prints.
//
// There are two of it, which nobody can tell apart from outside: blocking_node, on threads, and async_node (`--async`), on
// an event loop. What happens comes to both through the same event sinks: `report` says it, `agenda` makes of it what is
// to be run next.
#if !__has_include(<hiredis/hiredis.h>)
#error "scheduling_node talks to Redis: it needs hiredis (Debian: libhiredis-dev)"
#endif

#include <cstdio>
#include <variant>

#include <fmt/core.h>

#include <rota/transport/hiredis_async.hpp>  // (the build links hiredis to a program whose .cpp names it)
#include <rota/transport/hiredis_sync.hpp>

#include "scheduling_node/async_node.hpp"
#include "scheduling_node/blocking_node.hpp"
#include "scheduling_node/command_line.hpp"

int main(int argc, char** argv) {
    auto const read = example::read_command_line(argc, argv);
    if (auto const* words = std::get_if<example::parting_words>(&read)) {
        fmt::print(words->exit_code == 0 ? stdout : stderr, "{}", words->text);
        return words->exit_code;
    }
    auto const& asked = std::get<example::settings>(read);
    if (asked.async) return example::async_node{asked}.run();
    return example::blocking_node{asked}.run();
}
