// hostile_cases.hpp — schemas, patterns and grammars made to be slow, large or wrong to serve.
//
// What is asked of each is the same: it is answered, by a constraint or by findings, within a bound
// of CPU time and memory, and a constraint has no dead end. Written as a generator, because the
// larger ones are megabytes of text. Seeds: section 2.3 of the survey (what makes other systems
// slow), their issue trackers, and what each of our own limits counts.
#pragma once

#include <string>
#include <vector>

#include "engine/guided/constraint.hpp"

namespace tessera::guided {

struct HostileCase {
  std::string name;
  ConstraintSpec spec;
  bool endless = false;  // its shortest text is beyond what anyone waits for
};

std::vector<HostileCase> hostile_schemas();
std::vector<HostileCase> hostile_patterns();
std::vector<HostileCase> hostile_grammars();

}  // namespace tessera::guided
