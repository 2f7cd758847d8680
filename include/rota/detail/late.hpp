// late<T, Parameter>: T, by a name that means something only once Parameter is known.
//
// Whoever includes rota has its templates parsed, used or not. What a template's body says about types that depend on
// its parameters is put aside until it is instantiated; all else is looked into at once, and std::optional<operation>
// alone makes some 2,500 instantiations. So a template that deals in dear types names them late, and what holds no
// template parameter at all (detail::in_words, validate) is one all the same: `template <typename = void>`.
// tests/bench/compile_time.py watches what this is for.
#pragma once

namespace rota::detail {

template <typename T, typename Parameter>
struct late_type {
    using type = T;
};
template <typename T, typename Parameter>
using late = typename late_type<T, Parameter>::type;

}  // namespace rota::detail
