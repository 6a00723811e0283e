// result.hpp — a name for what storage/result.hpp declares, on a machine without Boost.
//
// The device check compiles a few files of engine/ that tell errors and return none; nothing that
// is compiled there may make a result.
#pragma once

namespace boost {
struct source_location;
namespace system {
template <class T, class E>
class result;
}  // namespace system
}  // namespace boost
