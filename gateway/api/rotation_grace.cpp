#include "gateway/api/rotation_grace.hpp"

#include <cstdint>
#include <optional>

#include "gateway/api/fields.hpp"
#include "storage/json.hpp"

namespace tessera {

Result<std::chrono::seconds> read_rotation_grace(std::string_view body) {
  if (body.empty()) return kDefaultRotationGrace;
  const auto json = parse_json(body);
  if (!json) return json.error();
  std::optional<std::int64_t> seconds;
  Fields fields(*json);
  fields.integer("grace_seconds", {0, kMaxRotationGrace.count()}, seconds);
  if (auto read = fields.finish(); !read) return read.error();
  return seconds ? std::chrono::seconds(*seconds) : kDefaultRotationGrace;
}

}  // namespace tessera
