// brute_force_schemas.hpp — small schemas and texts for the brute-force recogniser, from a seed.
//
// Every keyword occurs, alone and with others, under boolean combinations and references, but
// bounds are small: no string needs more than a few characters to be completed, no array or object
// more than three items or members.
#pragma once

#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "tests/engine/guided/plain_validator.hpp"

namespace tessera::guided {

class SchemaMaker {
 public:
  explicit SchemaMaker(std::uint64_t seed) : random_(seed) {}

  Value make();
  // A compact text of `value`, one of many: members in any order if `shuffle`, escapes, 1.0 for 1.
  std::string spell(const Value& value, bool shuffle);
  std::size_t below(std::size_t limit) { return random_() % limit; }

 private:
  bool chance(unsigned percent) { return random_() % 100 < percent; }
  int between(int low, int high) {
    return low + static_cast<int>(random_() % static_cast<std::uint64_t>(high - low + 1));
  }
  template <class T>
  const T& one_of(const std::vector<T>& all) {
    return all[below(all.size())];
  }

  Value any(int depth);
  Value scalar();
  Value string();
  Value number();
  Value array(int depth);
  Value object(int depth);
  Value part(int depth);
  Value combination(int depth);
  Value constant(int depth);
  Value values(int depth);
  void add_counts(Value& schema, const char* least, const char* most);
  void add_member_rules(Value& schema, int depth);
  void add_combination(Value& schema, const Value& alike, int depth);

  std::mt19937_64 random_;
  bool refers_ = false;
};

// Schemas of the kinds that people write, within the same bounds.
std::vector<Value> everyday_schemas();

}  // namespace tessera::guided
