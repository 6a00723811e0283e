// asked_constraint.hpp — a constraint as a request asks for it, and the answer if it cannot be had.
#pragma once

#include <string>
#include <vector>

#include "engine/guided/constraint.hpp"
#include "gateway/http/http.hpp"
#include "storage/ids.hpp"

namespace tessera {

struct AskedConstraint {
  // Where it comes from: the JSON path, and what messages call it.
  struct Place {
    std::string param;  // "response_format.json_schema.schema"
    std::string what;   // "schema for response_format 'invoice'"
  };

  guided::ConstraintSpec spec = {};
  Place place = {};
  std::vector<Place> tags = {};  // of spec.tags.tags, by index
};

// 400 with the code of what is wrong, the first finding as the message, and all of them in
// error.details: [{"pointer", "keyword", "reason"}, …], "param" in them where the findings are not
// all of error.param.
HttpResponse constraint_refusal(const AskedConstraint& asked, const guided::CompileError& error,
                                const RequestId& request);

}  // namespace tessera
