// The table of error replies, and the server's words as people are to read them.
#include <rota/detail/redis_error.hpp>

#include "../catch.hpp"

namespace redis_error_test {

using rota::errc;
using rota::detail::after_error;
using rota::detail::meaning_of;
using rota::detail::readable_error;

TEST_CASE("what an error reply means for the caller and for the connection") {
    struct row {
        char const* text;
        errc code;
        after_error next;
    };
    row const table[] = {
        {"LOADING Redis is loading the dataset in memory", errc::unavailable, after_error::keep},
        {"BUSY Redis is busy running a script. You can only call SCRIPT KILL", errc::unavailable, after_error::keep},
        {"TRYAGAIN Multiple keys request during rehashing of slot", errc::unavailable, after_error::keep},
        {"NOSCRIPT No matching script. Please use EVAL.", errc::unavailable, after_error::reload},
        {"READONLY You can't write against a read only replica.", errc::unavailable, after_error::close},
        {"UNBLOCKED force unblock from blocking operation", errc::unavailable, after_error::close},
        {"NOREPLICAS Not enough good replicas to write.", errc::unavailable, after_error::close},
        {"CLUSTERDOWN The cluster is down", errc::unavailable, after_error::close},
        {"MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.", errc::unavailable,
         after_error::close},
        {"ERR max number of clients reached", errc::unavailable, after_error::close},
        {"OOM command not allowed when used memory > 'maxmemory'.", errc::refused_by_server, after_error::keep},
        {"MISCONF Redis is configured to save RDB snapshots", errc::refused_by_server, after_error::keep},
        {"NOAUTH Authentication required.", errc::refused_by_server, after_error::close},
        {"WRONGPASS invalid username-password pair or user is disabled.", errc::refused_by_server, after_error::close},
        {"DENIED Redis is running in protected mode", errc::refused_by_server, after_error::close},
        {"NOPERM this user has no permissions to run the 'evalsha' command", errc::refused_by_server,
         after_error::keep},
        {"WRONGTYPE Operation against a key holding the wrong kind of value", errc::refused_by_server,
         after_error::keep},
        {"MOVED 3999 127.0.0.1:6381", errc::refused_by_server, after_error::keep},
        {"ASK 3999 127.0.0.1:6381", errc::refused_by_server, after_error::keep},
        {"ERR Protocol error: invalid multibulk length", errc::protocol, after_error::close},
        {"ERR something else", errc::refused_by_server, after_error::keep},
        {"", errc::refused_by_server, after_error::keep},
    };
    for (auto const& row : table) {
        INFO(row.text);
        CHECK(meaning_of(row.text).code == row.code);
        CHECK(meaning_of(row.text).next == row.next);
    }
}

TEST_CASE("errors raised in a script lose what only a debugger wants") {
    // Redis 7
    CHECK(readable_error("WRONGTYPE Operation against a key holding the wrong kind of value script: "
                         "956ac7400b4485995027f6ca245f2a19788a2042, on @user_script:1.") ==
          "WRONGTYPE Operation against a key holding the wrong kind of value");
    // Redis 6.2
    CHECK(readable_error(
              "ERR Error running script (call to f_956ac7400b4485995027f6ca245f2a19788a2042): @user_script:12: "
              "WRONGTYPE Operation against a key holding the wrong kind of value") ==
          "WRONGTYPE Operation against a key holding the wrong kind of value");
    CHECK(readable_error(
              "ERR Error running script (call to f_956ac7400b4485995027f6ca245f2a19788a2042): @user_script:12: "
              "@user_script: 12: -READONLY You can't write against a read only replica.\r\n") ==
          "READONLY You can't write against a read only replica.");
    // Redis 6.2, caught by the script
    CHECK(readable_error("@user_script: 3: -OOM command not allowed when used memory > 'maxmemory'. [SET]") ==
          "OOM command not allowed when used memory > 'maxmemory'. [SET]");
}

TEST_CASE("words are one line of printable text without arguments") {
    CHECK(readable_error("ERR unknown command 'AUTH', with args beginning with: 'hunter2' ") ==
          "ERR unknown command 'AUTH'");
    CHECK(readable_error("ERR a\nb\x1b[31m") == "ERR a?b?[31m");
    CHECK(readable_error(std::string(5000, 'x')).size() == 300);
    CHECK(readable_error("").empty());
}

TEST_CASE("a secret is taken out wherever it stands") {
    using rota::detail::without;
    CHECK(without("a hunter2 b hunter2", "hunter2") == "a *** b ***");
    CHECK(without("a", "") == "a");
    CHECK(without("****", "*") == "************");
}

}  // namespace redis_error_test
