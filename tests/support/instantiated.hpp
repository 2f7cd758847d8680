// The big templates that nearly every test uses, instantiated in instantiated.cpp alone: takes a third off the time that
// the tests take to compile. Whatever else a test uses (other defects, its own policies) is instantiated as usual.
// (Without #pragma once: instantiated.cpp includes it once more.)

#include <rota/detail/blocking_engine.hpp>
#include <rota/detail/store.hpp>
#include <rota/transport/memory.hpp>

#ifndef ROTA_TEST_INSTANTIATE
#define ROTA_TEST_INSTANTIATE extern template
#endif

ROTA_TEST_INSTANTIATE class rota::detail::blocking_engine<rota::detail::sound>;
ROTA_TEST_INSTANTIATE class rota::detail::node_core<rota::detail::sound>;
ROTA_TEST_INSTANTIATE class rota::detail::leader_machine<rota::detail::sound>;
ROTA_TEST_INSTANTIATE class rota::detail::audit_machine<rota::detail::sound>;
ROTA_TEST_INSTANTIATE class rota::detail::group_feed<rota::detail::sound>;
ROTA_TEST_INSTANTIATE class rota::detail::group_picture<rota::detail::sound>;
ROTA_TEST_INSTANTIATE class rota::detail::basic_store<rota::detail::sound>;
ROTA_TEST_INSTANTIATE class rota::basic_memory_transport<rota::detail::sound>;

#undef ROTA_TEST_INSTANTIATE
