// fuel.hpp — work that is counted instead of timed, and every limit of guided generation.
//
// Schemas, patterns and grammars are hostile input. Whatever grows with them (derivatives, states,
// searches for a witness) spends fuel, so that the same input always ends at the same place on any
// machine. Running dry throws FuelExhausted, which never leaves engine/guided: compile() turns it
// into a finding, Matcher into an error of that one request.
#pragma once

#include <cstddef>
#include <cstdint>

namespace tessera::guided {

struct GuidedLimits {
  std::size_t max_source_bytes = std::size_t{1} << 20;  // of a schema, pattern or grammar
  int max_source_depth = 64;                            // nesting of a schema's own JSON
  int max_output_depth = 128;                           // nesting of what is generated
  std::size_t max_schema_nodes = 100'000;
  std::size_t max_properties = 20'000;  // names, in all of a schema
  std::size_t max_enum_values = 50'000;
  std::size_t max_enum_bytes = std::size_t{4} << 20;
  std::size_t max_pattern_bytes = std::size_t{16} << 10;
  std::size_t max_pattern_nodes = 50'000;
  int max_pattern_depth = 128;
  std::uint32_t max_repeat = 1'000'000;  // n of {m,n}
  std::size_t max_grammar_rules = 10'000;
  std::size_t max_findings = 100;  // told at once
  std::uint64_t compile_fuel = 2'000'000;
  std::uint64_t mask_fuel = 2'000'000;  // for one mask
  // For the first masks, made at compile where they are not cheap, so that what cannot be served is
  // refused then; 0: not made.
  std::uint64_t trial_fuel = 500'000;
  std::size_t max_constraint_bytes = std::size_t{32} << 20;  // tables of one constraint
  std::size_t max_store_bytes = std::size_t{1} << 30;        // of all constraints of a model
  int max_earley_items = 20'000;                             // of one row
  int max_whitespace = 16;  // bytes in a row under the flexible policy
  int max_rollback = 64;    // tokens
};

struct FuelExhausted {};

// Not thread-safe. A tank is refilled before each piece of work that has its own budget.
class Fuel {
 public:
  explicit Fuel(std::uint64_t units) : left_(units) {}

  // One unit is about one derivative or one step of a search: some 25 to 100 ns.
  void spend(std::uint64_t units = 1) {
    if (units > left_) {
      left_ = 0;
      throw FuelExhausted{};
    }
    left_ -= units;
  }
  void refill(std::uint64_t units) { left_ = units; }
  std::uint64_t left() const { return left_; }

 private:
  std::uint64_t left_;
};

}  // namespace tessera::guided
