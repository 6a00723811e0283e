#include "adapters/registry_records.hpp"

#include <algorithm>
#include <array>
#include <optional>

#include <nlohmann/json.hpp>

#include "storage/flat_json.hpp"
#include "storage/json.hpp"
#include "storage/keys.hpp"

namespace tessera {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::array kStatuses{VersionStatus::kValidating, VersionStatus::kReady,
                               VersionStatus::kFailed, VersionStatus::kQuarantined};

Error corrupt(std::string_view what) {
  return {Code::kCorrupt, "an adapter record in the store is damaged: " + std::string(what)};
}

// Reads the fields of one record, parsed or only cut into its members. The first that is missing or
// of the wrong kind is remembered, and the values read after it mean nothing. Those that were added
// to the form later have a default.
class RecordReader {
 public:
  explicit RecordReader(const Json& json) : json_(&json) {}
  explicit RecordReader(const FlatJson& flat) : flat_(&flat) {}

  bool has(const char* field) const { return flat_ ? flat_->has(field) : json_->contains(field); }

  std::string text(const char* field) {
    if (flat_) return std::string(or_fail(field, FlatJson::as_text(flat_value(field))));
    const Json* value = find(field);
    if (value == nullptr || !value->is_string()) return fail(field), std::string();
    return value->get<std::string>();
  }

  template <class Number = std::int64_t>
  Number number(const char* field) {
    if (flat_) return or_fail(field, FlatJson::as_integer<Number>(flat_value(field)));
    const Json* value = find(field);
    if (value == nullptr || !value->is_number_integer()) return fail(field), Number{0};
    return value->get<Number>();
  }

  template <class Item>
  std::vector<Item> list(const char* field) {
    std::vector<Item> items;
    if (flat_) {
      const auto add = [&](std::string_view item) { return append(item, items); };
      if (!FlatJson::each_item(flat_value(field), add)) fail(field);
      return items;
    }
    const Json* value = find(field);
    if (value == nullptr || !value->is_array()) return fail(field), items;
    for (const Json& item : *value) {
      if (!is_a<Item>(item)) return fail(field), items;
      items.push_back(item.get<Item>());
    }
    return items;
  }

  Labels labels(const char* field) {
    Labels labels;
    if (flat_) return fail(field), labels;  // few have any
    const Json* value = find(field);
    if (value == nullptr || !value->is_object()) return fail(field), labels;
    for (const auto& [key, item] : value->items()) {
      if (!item.is_string()) return fail(field), labels;
      labels.emplace(key, item.get<std::string>());
    }
    return labels;
  }

  template <class Tag>
  void digest(const char* field, Digest<Tag>& digest) {
    const auto bytes = digest_from_hex(text(field));
    if (!bytes) return fail(field);
    digest.bytes = *bytes;
  }

  AliasTarget target() {
    AliasTarget target;
    const auto sticky = stickiness_from_string(text("sticky"));
    if (!sticky) fail("sticky");
    target.sticky = sticky.value_or(Stickiness::kUser);
    const auto numbers = list<int>("split");  // version, weight, version, weight …
    for (std::size_t i = 0; i + 1 < numbers.size(); i += 2) {
      target.shares.push_back({.version = numbers[i], .weight = numbers[i + 1]});
    }
    if (numbers.size() % 2 != 0 || !check_target(target)) fail("split");
    return target;
  }

  bool flag(const char* field) {
    if (flat_) {
      const std::string_view value = flat_value(field);
      if (value != "true" && value != "false") fail(field);
      return value == "true";
    }
    const Json* value = find(field);
    if (value == nullptr || !value->is_boolean()) return fail(field), false;
    return value->get<bool>();
  }

  WallTime time(const char* field) { return WallTime(std::chrono::microseconds(number(field))); }

  void fail(const char* field) {
    if (!error_) error_ = corrupt(field);
  }
  const std::optional<Error>& error() const { return error_; }

 private:
  template <class Item>
  static bool is_a(const Json& item) {
    return std::is_integral_v<Item> ? item.is_number_integer() : item.is_string();
  }
  const Json* find(const char* field) const {
    const auto found = json_->find(field);
    return found == json_->end() ? nullptr : &*found;
  }

  std::string_view flat_value(const char* field) const { return flat_->find(field).value_or(""); }
  template <class T>
  T or_fail(const char* field, const std::optional<T>& value) {
    if (!value) fail(field);
    return value.value_or(T{});
  }
  static bool append(std::string_view item, std::vector<std::string>& items) {
    const auto text = FlatJson::as_text(item);
    if (text) items.emplace_back(*text);
    return text.has_value();
  }
  template <class Integer>
  static bool append(std::string_view item, std::vector<Integer>& items) {
    const auto number = FlatJson::as_integer<Integer>(item);
    if (number) items.push_back(*number);
    return number.has_value();
  }

  const FlatJson* flat_ = nullptr;  // one of the two
  const Json* json_ = nullptr;
  std::optional<Error> error_;
};

Result<Json> parse_record(std::string_view text) {
  auto json = parse_json(text);
  if (!json || !json->is_object()) return corrupt("not a JSON object");
  return json;
}

// What `read` makes of the record, which is cut if it can be, and parsed where that does not do.
template <class Record, class Read>
Result<Record> read_record(std::string_view text, Read read) {
  if (const auto flat = FlatJson::cut(text)) {
    RecordReader reader(*flat);
    Record record = read(reader);
    if (!reader.error()) return record;
  }
  const auto json = parse_record(text);
  if (!json) return json.error();
  RecordReader reader(*json);
  Record record = read(reader);
  if (reader.error()) return *reader.error();
  return record;
}

std::int64_t micros(WallTime time) {
  return time.time_since_epoch().count();
}

void append_target(Json& json, const AliasTarget& target) {
  json["sticky"] = to_string(target.sticky);
  for (const AliasShare& share : target.shares) {
    json["split"].push_back(share.version);
    json["split"].push_back(share.weight);
  }
}

void append_content(Json& json, const AdapterVersion& version) {
  json["digest"] = to_hex(version.digest);
  json["content"] = to_hex(version.package.content);
  json["config_sha256"] = to_hex(version.config_sha256);
  json["tensors_sha256"] = to_hex(version.tensors_sha256);
  json["config_bytes"] = version.package.config_bytes;
  json["tensors_bytes"] = version.package.tensors_bytes;
  json["rank_max"] = version.rank_max;
  json["num_tensors"] = version.num_tensors;
  json["target_modules"] = version.target_modules;
  json["plain"] = version.is_plain;
  if (!version.invocation.empty()) json["invocation"] = version.invocation;
  json["packed_bytes"] = version.packed_bytes;
}

void read_content(RecordReader& reader, AdapterVersion& version) {
  reader.digest("digest", version.digest);
  reader.digest("content", version.package.content);
  reader.digest("config_sha256", version.config_sha256);
  if (reader.has("tensors_sha256")) reader.digest("tensors_sha256", version.tensors_sha256);
  version.package.config_bytes = reader.number<std::uint64_t>("config_bytes");
  version.package.tensors_bytes = reader.number<std::uint64_t>("tensors_bytes");
  version.rank_max = reader.number<int>("rank_max");
  version.num_tensors = reader.number<int>("num_tensors");
  version.target_modules = reader.list<std::string>("target_modules");
  if (reader.has("plain")) version.is_plain = reader.flag("plain");
  if (reader.has("invocation")) version.invocation = reader.list<TokenId>("invocation");
  if (reader.has("packed_bytes"))
    version.packed_bytes = reader.number<std::uint64_t>("packed_bytes");
}

VersionStatus read_status(RecordReader& reader) {
  if (!reader.has("status")) return VersionStatus::kReady;
  const std::string name = reader.text("status");
  const auto named = [&](VersionStatus status) { return to_string(status) == name; };
  const auto found = std::ranges::find_if(kStatuses, named);
  if (found != kStatuses.end()) return *found;
  reader.fail("status");
  return VersionStatus::kFailed;
}

Error invalid_labels(std::string_view what, std::string message) {
  return {Code::kInvalidValue, std::move(message), std::string(what)};
}

}  // namespace

std::string_view to_string(VersionStatus status) {
  switch (status) {
    case VersionStatus::kValidating:
      return "validating";
    case VersionStatus::kReady:
      return "ready";
    case VersionStatus::kFailed:
      return "failed";
    case VersionStatus::kQuarantined:
      break;
  }
  return "quarantined";
}

Result<void> check_labels(const Labels& labels, std::string_view what) {
  if (labels.size() > kMaxLabels) {
    return invalid_labels(what, "There may be at most " + std::to_string(kMaxLabels) + " pairs.");
  }
  for (const auto& [key, value] : labels) {
    if (key.empty() || key.size() > kMaxLabelKeyBytes || value.size() > kMaxLabelValueBytes) {
      return invalid_labels(what, "A key has 1 to " + std::to_string(kMaxLabelKeyBytes) +
                                      " bytes, a value at most " +
                                      std::to_string(kMaxLabelValueBytes) + ".");
    }
  }
  return {};
}

const AdapterVersion* AdapterInfo::find(int version) const {
  const auto found = versions.find(version);
  return found == versions.end() ? nullptr : found->second.get();
}

std::string etag_of(const AdapterInfo& adapter) {
  return '"' + adapter.id + '.' + std::to_string(adapter.revision) + '"';
}

std::string etag_of(const AdapterInfo& adapter, const Alias& alias) {
  return '"' + adapter.id + ".a" + std::to_string(alias.revision) + '"';
}

std::string version_record(const AdapterVersion& version) {
  Json json{{"id", version.id},
            {"status", to_string(version.status)},
            {"base", to_hex(version.base)},
            {"created_at", micros(version.created_at)},
            {"created_by", version.created_by.str()}};
  if (!version.metadata.empty()) json["metadata"] = version.metadata;
  if (version.has_bytes()) append_content(json, version);
  return to_text(json);
}

namespace {

AdapterVersion read_version(RecordReader& reader) {
  AdapterVersion version;
  version.id = reader.text("id");
  version.status = read_status(reader);
  reader.digest("base", version.base);
  version.created_at = reader.time("created_at");
  version.created_by = KeyId(reader.text("created_by"));
  if (reader.has("metadata")) version.metadata = reader.labels("metadata");
  if (reader.has("digest")) read_content(reader, version);
  const bool needs_bytes =
      version.status == VersionStatus::kReady || version.status == VersionStatus::kQuarantined;
  if (needs_bytes != version.has_bytes()) reader.fail("digest");
  return version;
}

AdapterInfo read_adapter(RecordReader& reader) {
  AdapterInfo adapter;
  adapter.id = reader.text("id");
  adapter.created_at = reader.time("created_at");
  adapter.next_version = reader.number<int>("next_version");
  if (reader.has("revision")) adapter.revision = reader.number<std::uint64_t>("revision");
  if (reader.has("labels")) adapter.labels = reader.labels("labels");
  return adapter;
}

Alias read_alias(RecordReader& reader) {
  return {.target = reader.target(),
          .revision = reader.number<std::uint64_t>("revision"),
          .moved_at = reader.time("moved_at"),
          .moved_by = KeyId(reader.text("moved_by"))};
}

}  // namespace

Result<AdapterVersion> parse_version_record(std::string_view text) {
  return read_record<AdapterVersion>(text, read_version);
}

std::string adapter_record(const AdapterInfo& adapter) {
  Json json{{"id", adapter.id},
            {"created_at", micros(adapter.created_at)},
            {"next_version", adapter.next_version},
            {"revision", adapter.revision}};
  if (!adapter.labels.empty()) json["labels"] = adapter.labels;
  return to_text(json);
}

Result<AdapterInfo> parse_adapter_record(std::string_view text) {
  return read_record<AdapterInfo>(text, read_adapter);
}

std::string alias_record(const Alias& alias) {
  Json json{{"revision", alias.revision},
            {"moved_at", micros(alias.moved_at)},
            {"moved_by", alias.moved_by.str()}};
  append_target(json, alias.target);
  return to_text(json);
}

// (Four bytes, the number of a version, were all of an alias once.)
Result<Alias> parse_alias_record(std::string_view text) {
  if (text.size() == sizeof(std::uint32_t)) {
    const auto version = static_cast<int>(keys::number_at_end(text));
    return Alias{.target = AliasTarget::one(version)};
  }
  return read_record<Alias>(text, read_alias);
}

std::string history_record(const std::vector<AliasMove>& history) {
  Json json = Json::array();
  for (const AliasMove& move : history) {
    Json item{{"moved_at", micros(move.moved_at)}, {"moved_by", move.moved_by.str()}};
    append_target(item, move.target);
    json.push_back(std::move(item));
  }
  return to_text(json);
}

Result<std::vector<AliasMove>> parse_history_record(std::string_view text) {
  const auto json = parse_json(text);
  if (!json || !json->is_array()) return corrupt("not a JSON array");
  std::vector<AliasMove> history;
  for (const Json& item : *json) {
    if (!item.is_object()) return corrupt("a target of an alias");
    RecordReader reader(item);
    history.push_back({.target = reader.target(),
                       .moved_at = reader.time("moved_at"),
                       .moved_by = KeyId(reader.text("moved_by"))});
    if (reader.error()) return *reader.error();
  }
  return history;
}

}  // namespace tessera
