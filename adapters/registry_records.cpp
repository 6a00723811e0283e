#include "adapters/registry_records.hpp"

#include <optional>

#include <nlohmann/json.hpp>

#include "storage/json.hpp"

namespace tessera {
namespace {

using Json = nlohmann::ordered_json;

Error corrupt(std::string_view what) {
  return {Code::kCorrupt, "an adapter record in the store is damaged: " + std::string(what)};
}

// Reads the fields of one record. The first that is missing or of the wrong kind is remembered, and
// the values read after it mean nothing.
class RecordReader {
 public:
  explicit RecordReader(const Json& json) : json_(json) {}

  std::string text(const char* field) {
    const Json* value = find(field);
    if (value == nullptr || !value->is_string()) return fail(field), std::string();
    return value->get<std::string>();
  }

  std::int64_t number(const char* field) {
    const Json* value = find(field);
    if (value == nullptr || !value->is_number_integer()) return fail(field), 0;
    return value->get<std::int64_t>();
  }

  std::vector<std::string> texts(const char* field) {
    const Json* value = find(field);
    std::vector<std::string> texts;
    if (value == nullptr || !value->is_array()) return fail(field), texts;
    for (const Json& item : *value) {
      if (!item.is_string()) return fail(field), texts;
      texts.push_back(item.get<std::string>());
    }
    return texts;
  }

  template <class Tag>
  void digest(const char* field, Digest<Tag>& digest) {
    const auto bytes = digest_from_hex(text(field));
    if (!bytes) return fail(field);
    digest.bytes = *bytes;
  }

  WallTime time(const char* field) { return WallTime(std::chrono::microseconds(number(field))); }

  const std::optional<Error>& error() const { return error_; }

 private:
  const Json* find(const char* field) const {
    const auto found = json_.find(field);
    return found == json_.end() ? nullptr : &*found;
  }
  void fail(const char* field) {
    if (!error_) error_ = corrupt(field);
  }

  const Json& json_;
  std::optional<Error> error_;
};

Result<Json> parse_record(std::string_view text) {
  auto json = parse_json(text);
  if (!json || !json->is_object()) return corrupt("not a JSON object");
  return json;
}

}  // namespace

std::string version_record(const AdapterVersion& version) {
  return to_text({{"id", version.id},
                  {"digest", to_hex(version.digest)},
                  {"base", to_hex(version.base)},
                  {"content", to_hex(version.package.content)},
                  {"config_sha256", to_hex(version.config_sha256)},
                  {"config_bytes", version.package.config_bytes},
                  {"tensors_bytes", version.package.tensors_bytes},
                  {"rank_max", version.rank_max},
                  {"num_tensors", version.num_tensors},
                  {"target_modules", version.target_modules},
                  {"created_at", version.created_at.time_since_epoch().count()},
                  {"created_by", version.created_by.str()}});
}

Result<AdapterVersion> parse_version_record(std::string_view text) {
  const auto json = parse_record(text);
  if (!json) return json.error();
  RecordReader reader(*json);
  AdapterVersion version;
  version.id = reader.text("id");
  reader.digest("digest", version.digest);
  reader.digest("base", version.base);
  reader.digest("content", version.package.content);
  reader.digest("config_sha256", version.config_sha256);
  version.package.config_bytes = static_cast<std::uint64_t>(reader.number("config_bytes"));
  version.package.tensors_bytes = static_cast<std::uint64_t>(reader.number("tensors_bytes"));
  version.rank_max = static_cast<int>(reader.number("rank_max"));
  version.num_tensors = static_cast<int>(reader.number("num_tensors"));
  version.target_modules = reader.texts("target_modules");
  version.created_at = reader.time("created_at");
  version.created_by = KeyId(reader.text("created_by"));
  if (reader.error()) return *reader.error();
  return version;
}

std::string adapter_record(const AdapterInfo& adapter) {
  return to_text({{"id", adapter.id},
                  {"created_at", adapter.created_at.time_since_epoch().count()},
                  {"next_version", adapter.next_version}});
}

Result<AdapterInfo> parse_adapter_record(std::string_view text) {
  const auto json = parse_record(text);
  if (!json) return json.error();
  RecordReader reader(*json);
  AdapterInfo adapter;
  adapter.id = reader.text("id");
  adapter.created_at = reader.time("created_at");
  adapter.next_version = static_cast<int>(reader.number("next_version"));
  if (reader.error()) return *reader.error();
  return adapter;
}

}  // namespace tessera
