#include "tenancy/records.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <type_traits>

#include <nlohmann/json.hpp>

#include "storage/digest.hpp"
#include "storage/flat_json.hpp"
#include "storage/json.hpp"
#include "tenancy/api_key.hpp"

namespace tessera {
namespace {

using Json = nlohmann::ordered_json;

// Writes or reads the fields of a record: each record below is described once, by fields(), and the
// two visitors go over that description.

// How a single value looks in JSON.
Json to_json(const std::string& text) {
  return text;
}
Json to_json(std::int64_t number) {
  return number;
}
Json to_json(std::uint32_t number) {
  return number;
}
Json to_json(bool truth) {
  return truth;
}
Json to_json(WallTime time) {
  return time.time_since_epoch().count();
}
Json to_json(KeyKind kind) {
  return to_string(kind);
}
Json to_json(ScopeSet scopes) {
  return scopes.names();
}
Json to_json(const std::array<std::uint8_t, 32>& digest) {
  return to_hex(digest);
}
Json to_json(const RetiredSecret& secret) {
  return {{"pepper_version", to_json(secret.pepper_version)},
          {"hmac", to_json(secret.hmac)},
          {"valid_until", to_json(secret.valid_until)}};
}
template <class Tag>
Json to_json(const Id<Tag>& id) {
  return id.str();
}
Json to_json(const std::vector<std::string>& texts) {
  return texts;
}
Json to_json(const IpSet& ips) {
  return ips.texts();
}
Json to_json(ModelPermissions::Mode mode) {
  return static_cast<int>(mode);
}
Json to_json(const std::map<std::string, std::string, std::less<>>& texts) {
  return texts;
}
Json to_json(const std::vector<SpendAlert>& alerts);
Json to_json(const MeterLimits& limits);
Json to_json(const std::map<std::string, MeterLimits, std::less<>>& limits) {
  Json json = Json::object();
  for (const auto& [model, limit] : limits) json[model] = to_json(limit);
  return json;
}

// And back. These throw on a wrong type or value; decode() turns that into kCorrupt.
struct BadValue {};

void from_json(const Json& json, std::string& text) {
  text = json.get<std::string>();
}
void from_json(const Json& json, std::int64_t& number) {
  if (!json.is_number_integer()) throw BadValue();
  number = json.get<std::int64_t>();
}
void from_json(const Json& json, std::uint32_t& number) {
  if (!json.is_number_unsigned()) throw BadValue();
  number = json.get<std::uint32_t>();
}
void from_json(const Json& json, std::uint64_t& number) {
  if (!json.is_number_unsigned()) throw BadValue();
  number = json.get<std::uint64_t>();
}
void from_json(const Json& json, bool& truth) {
  truth = json.get<bool>();
}
void from_json(const Json& json, WallTime& time) {
  std::int64_t micros = 0;
  from_json(json, micros);
  time = WallTime(std::chrono::microseconds(micros));
}
void from_json(const Json& json, KeyKind& kind) {
  const auto found = key_kind_from_string(json.get<std::string>());
  if (!found) throw BadValue();
  kind = *found;
}
void from_json(const Json& json, ScopeSet& scopes) {
  for (const Json& name : json) {
    const auto scope = scope_from_string(name.get<std::string>());
    if (!scope) throw BadValue();
    scopes.insert(*scope);
  }
}
void from_json(const Json& json, std::array<std::uint8_t, 32>& digest) {
  const auto bytes = digest_from_hex(json.get<std::string>());
  if (!bytes) throw BadValue();
  digest = *bytes;
}
void from_json(const Json& json, RetiredSecret& secret) {
  from_json(json.at("pepper_version"), secret.pepper_version);
  from_json(json.at("hmac"), secret.hmac);
  from_json(json.at("valid_until"), secret.valid_until);
}
template <class Tag>
void from_json(const Json& json, Id<Tag>& id) {
  id = Id<Tag>(json.get<std::string>());
}
void from_json(const Json& json, Money& money) {
  from_json(json, money.pico_dollars);
}
void from_json(const Json& json, std::vector<std::string>& texts) {
  texts = json.get<std::vector<std::string>>();
}
void from_json(const Json& json, IpSet& ips) {
  auto parsed = IpSet::parse(json.get<std::vector<std::string>>());
  if (!parsed) throw BadValue();
  ips = *std::move(parsed);
}
void from_json(const Json& json, ModelPermissions::Mode& mode) {
  const int number = json.get<int>();
  if (number < 0 || number > static_cast<int>(ModelPermissions::Mode::kDenyList)) throw BadValue();
  mode = static_cast<ModelPermissions::Mode>(number);
}
void from_json(const Json& json, std::map<std::string, std::string, std::less<>>& texts) {
  if (!json.is_object()) throw BadValue();
  for (const auto& [name, text] : json.items()) texts[name] = text.get<std::string>();
}
void from_json(const Json& json, std::vector<SpendAlert>& alerts);
void from_json(const Json& json, MeterLimits& limits);
void from_json(const Json& json, std::map<std::string, MeterLimits, std::less<>>& limits) {
  for (const auto& [model, limit] : json.items()) from_json(limit, limits[model]);
}

// A field that records of an older build lack; it then has its default, which is never written.
template <class T>
struct Later {
  T& value;
};
template <class T>
Later(T&) -> Later<T>;

// The same, of a default that is not zero: so it is always written.
template <class T>
struct Added {
  T& value;
};
template <class T>
Added(T&) -> Added<T>;

// Records that stand in others.
struct Writer {
  Json json = Json::object();

  template <class T>
  void operator()(const char* name, const T& value) {
    json[name] = to_json(value);
  }
  template <class T>
  void operator()(const char* name, const std::optional<T>& value) {
    if (value) json[name] = to_json(*value);
  }
  template <class T>
  void operator()(const char* name, Later<T> field) {
    if (field.value != std::remove_const_t<T>()) json[name] = to_json(field.value);
  }
  template <class T>
  void operator()(const char* name, Added<T> field) {
    json[name] = to_json(field.value);
  }
};

// A record by itself, as its Writer's JSON would be dumped, without building it: a usage record and
// the totals it changes are written with every request.
class TextWriter {
 public:
  template <class T>
  void operator()(const char* name, const T& value) {
    begin(name);
    write(value);
  }
  template <class T>
  void operator()(const char* name, const std::optional<T>& value) {
    if (value) (*this)(name, *value);
  }
  template <class T>
  void operator()(const char* name, Later<T> field) {
    if (field.value != std::remove_const_t<T>()) (*this)(name, field.value);
  }
  template <class T>
  void operator()(const char* name, Added<T> field) {
    (*this)(name, field.value);
  }

  TextWriter() { text_.reserve(kUsualBytes); }

  std::string finish() && {
    text_ += '}';
    return std::move(text_);
  }

 private:
  void begin(const char* name) {
    text_ += text_.size() > 1 ? ",\"" : "\"";
    text_ += name;
    text_ += "\":";
  }

  void write(std::int64_t number) { append(number); }
  void write(std::uint32_t number) { append(number); }
  void write(std::uint64_t number) { append(number); }
  void write(WallTime time) { write(std::int64_t{time.time_since_epoch().count()}); }
  void write(Money money) { write(money.pico_dollars); }
  void write(const std::string& text) {
    if (!std::ranges::all_of(text, is_plain)) {
      text_ += to_text(Json(text));
      return;
    }
    text_ += '"';
    text_ += text;
    text_ += '"';
  }
  template <class Tag>
  void write(const Id<Tag>& id) {
    write(id.str());
  }
  template <class T>
  void write(const T& value) {
    text_ += to_text(to_json(value));
  }

  void append(auto number) {
    std::array<char, 24> digits;
    const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), number).ptr;
    text_.append(digits.data(), end);
  }

  // Needs no escape.
  static bool is_plain(char c) { return c >= 0x20 && c < 0x7F && c != '"' && c != '\\'; }

  static constexpr std::size_t kUsualBytes = 512;  // most are no longer

  std::string text_ = "{";
};

struct Reader {
  const Json& json;

  template <class T>
  void operator()(const char* name, T& value) {
    from_json(json.at(name), value);
  }
  template <class T>
  void operator()(const char* name, std::optional<T>& value) {
    if (json.contains(name)) from_json(json[name], value.emplace());
  }
  template <class T>
  void operator()(const char* name, Later<T> field) {
    if (json.contains(name)) from_json(json[name], field.value);
  }
  template <class T>
  void operator()(const char* name, Added<T> field) {
    if (json.contains(name)) from_json(json[name], field.value);
  }
};

// The same from a text that was only cut into its members. Whatever it cannot read makes it not ok,
// and the whole record is then read by a Reader.
class FlatReader {
 public:
  explicit FlatReader(const FlatJson& json) : json_(json) {}

  bool ok() const { return ok_; }

  template <class T>
  void operator()(const char* name, T& value) {
    const auto text = json_.find(name);
    ok_ = ok_ && text && read(*text, value);
  }
  template <class T>
  void operator()(const char* name, std::optional<T>& value) {
    if (const auto text = json_.find(name)) ok_ = ok_ && read(*text, value.emplace());
  }
  template <class T>
  void operator()(const char* name, Later<T> field) {
    if (const auto text = json_.find(name)) ok_ = ok_ && read(*text, field.value);
  }
  template <class T>
  void operator()(const char* name, Added<T> field) {
    if (const auto text = json_.find(name)) ok_ = ok_ && read(*text, field.value);
  }

 private:
  template <class T>
  static bool keep(const std::optional<T>& read, auto& value) {
    if (read) value = *read;
    return read.has_value();
  }

  static bool read(std::string_view text, std::string& value) {
    return keep(FlatJson::as_text(text), value);
  }
  static bool read(std::string_view text, std::int64_t& value) {
    return keep(FlatJson::as_integer<std::int64_t>(text), value);
  }
  static bool read(std::string_view text, std::uint32_t& value) {
    return keep(FlatJson::as_integer<std::uint32_t>(text), value);
  }
  static bool read(std::string_view text, std::uint64_t& value) {
    return keep(FlatJson::as_integer<std::uint64_t>(text), value);
  }
  static bool read(std::string_view text, WallTime& value) {
    const auto micros = FlatJson::as_integer<std::int64_t>(text);
    if (micros) value = WallTime(std::chrono::microseconds(*micros));
    return micros.has_value();
  }
  static bool read(std::string_view text, Money& value) {
    return keep(FlatJson::as_integer<std::int64_t>(text), value.pico_dollars);
  }
  template <class Tag>
  static bool read(std::string_view text, Id<Tag>& id) {
    const auto value = FlatJson::as_text(text);
    if (value) id = Id<Tag>(std::string(*value));
    return value.has_value();
  }
  static bool read(std::string_view text, KeyKind& kind) {
    const auto name = FlatJson::as_text(text);
    return name && keep(key_kind_from_string(*name), kind);
  }
  static bool read(std::string_view text, ScopeSet& scopes) {
    return FlatJson::each_item(text, [&](std::string_view item) {
      const auto name = FlatJson::as_text(item);
      const auto scope = name ? scope_from_string(*name) : std::nullopt;
      if (scope) scopes.insert(*scope);
      return scope.has_value();
    });
  }
  static bool read(std::string_view text, std::array<std::uint8_t, 32>& digest) {
    const auto hex = FlatJson::as_text(text);
    return hex && keep(digest_from_hex(*hex), digest);
  }
  // What few records have.
  template <class T>
  static bool read(std::string_view, T&) {
    return false;
  }

  const FlatJson& json_;
  bool ok_ = true;
};

// One description a record; `Record` is const when writing.
template <class R, class T>
concept Is = std::is_same_v<std::remove_const_t<R>, T>;

void fields(Is<Tenant> auto& tenant, auto visit) {
  visit("id", tenant.id);
  visit("name", tenant.name);
  visit("slug", tenant.slug);
  visit("created_at", tenant.created_at);
  visit("archived_at", tenant.archived_at);
}

void fields(Is<TenantLimits> auto& limits, auto visit) {
  visit("requests_per_minute", limits.requests_per_minute);
  visit("tokens_per_minute", limits.tokens_per_minute);
  visit("burst_requests", limits.burst_requests);
  visit("burst_tokens", limits.burst_tokens);
  visit("max_concurrent_requests", limits.max_concurrent_requests);
  visit("max_output_tokens", limits.max_output_tokens);
  visit("max_adapters", limits.max_adapters);
  visit("max_adapter_bytes", limits.max_adapter_bytes);
  visit("max_adapter_rank", Added{limits.max_adapter_rank});
  visit("max_concurrent_uploads", Added{limits.max_concurrent_uploads});
  visit("uploads_per_day", Added{limits.uploads_per_day});
  visit("max_queue", limits.max_queue);
  visit("max_resident_adapters", limits.max_resident_adapters);
  visit("max_resident_bytes", limits.max_resident_bytes);
  visit("requests_per_day", limits.requests_per_day);
  visit("tokens_per_day", limits.tokens_per_day);
  visit("tokens_per_month", limits.tokens_per_month);
  visit("spend_cents_per_month", limits.spend_cents_per_month);
}

void fields(Is<MeterLimits> auto& limits, auto visit) {
  visit("max_concurrent_requests", limits.max_concurrent_requests);
  visit("requests_per_minute", limits.requests_per_minute);
  visit("tokens_per_minute", limits.tokens_per_minute);
  visit("burst_requests", limits.burst_requests);
  visit("burst_tokens", limits.burst_tokens);
  visit("requests_per_day", limits.requests_per_day);
  visit("tokens_per_day", limits.tokens_per_day);
  visit("tokens_per_month", limits.tokens_per_month);
  visit("spend_cents_per_month", limits.spend_cents_per_month);
}

void fields(Is<TenantPolicy> auto& policy, auto visit) {
  visit("model_mode", Later{policy.models.mode});
  visit("models", Later{policy.models.models});
  visit("allowed_ips", Later{policy.allowed_ips});
  visit("model_limits", Later{policy.model_limits});
  visit("spend_alerts", Later{policy.spend_alerts});
  visit("weight", policy.weight);
  visit("tier", Later{policy.tier});
  visit("labels", Later{policy.labels});
}

void fields(Is<OrganizationAlerts> auto& alerts, auto visit) {
  visit("spend_alerts", Later{alerts.spend_alerts});
}

void fields(Is<SpendAlert> auto& alert, auto visit) {
  visit("id", alert.id);
  visit("threshold_cents", alert.threshold_cents);
  visit("recipients", alert.recipients);
  visit("subject_prefix", Later{alert.subject_prefix});
  visit("told_month", Later{alert.told_month});
}

void fields(Is<ServiceAccount> auto& account, auto visit) {
  visit("id", account.id);
  visit("tenant", account.tenant);
  visit("name", account.name);
  visit("created_at", account.created_at);
}

void fields(Is<ApiKeyRecord> auto& key, auto visit) {
  visit("id", key.id);
  visit("kind", key.kind);
  visit("tenant", key.tenant);
  visit("service_account", key.service_account);
  visit("name", key.name);
  visit("scopes", key.scopes);
  visit("pepper_version", key.pepper_version);
  visit("secret_hmac", key.secret_hmac);
  visit("created_at", key.created_at);
  visit("created_by", key.created_by);
  visit("expires_at", key.expires_at);
  visit("disabled_at", key.disabled_at);
  visit("retired", key.retired);
  visit("limits", Later{key.policy.limits});
  visit("allowed_models", Later{key.policy.allowed_models});
  visit("allowed_ips", Later{key.policy.allowed_ips});
  visit("allowed_tiers", Later{key.policy.allowed_tiers});
  visit("lenient", Later{key.policy.lenient});
}

void fields(Is<AuditRecord> auto& record, auto visit) {
  visit("id", record.id);
  visit("time", record.time);
  visit("event", record.event);
  visit("actor", record.actor);
  visit("tenant", record.tenant);
  visit("target", record.target);
  visit("reason", Later{record.reason});
}

void fields(Is<UsageRecord> auto& record, auto visit) {
  visit("request", record.request);
  visit("tenant", record.tenant);
  visit("key", record.key);
  visit("adapter", record.adapter);
  visit("model", record.model);
  visit("prompt_tokens", record.prompt_tokens);
  visit("cached_tokens", record.cached_tokens);
  visit("completion_tokens", record.completion_tokens);
  visit("service_tier", Later{record.service_tier});
  visit("operation", Later{record.operation});
  visit("trace", Later{record.trace});
  visit("cost", Later{record.cost});
  visit("finish", record.finish);
  visit("started", record.started);
  visit("finished", record.finished);
  visit("charged_as", Later{record.charged_as});
}

void fields(Is<KeyCharge> auto& charge, auto visit) {
  visit("content", charge.content.bytes);
  visit("first", charge.first);
  visit("begun", charge.begun);
  visit("charged", Later{charge.charged});
  visit("complete", Later{charge.complete});
  visit("requests", charge.requests);
}

void fields(Is<CountedTotals> auto& counted, auto visit) {
  visit("requests", counted.totals.requests);
  visit("prompt_tokens", counted.totals.prompt_tokens);
  visit("cached_tokens", counted.totals.cached_tokens);
  visit("completion_tokens", counted.totals.completion_tokens);
  visit("cost", Later{counted.totals.cost});
  visit("through", Later{counted.through});
}

Json to_json(const std::vector<SpendAlert>& alerts) {
  Json json = Json::array();
  for (const SpendAlert& alert : alerts) {
    Writer writer;
    fields(alert, std::ref(writer));
    json.push_back(std::move(writer.json));
  }
  return json;
}
void from_json(const Json& json, std::vector<SpendAlert>& alerts) {
  if (!json.is_array()) throw BadValue();
  for (const Json& item : json) {
    if (!item.is_object()) throw BadValue();
    fields(alerts.emplace_back(), Reader{item});
  }
}

Json to_json(const MeterLimits& limits) {
  Writer writer;
  fields(limits, std::ref(writer));
  return writer.json;
}
void from_json(const Json& json, MeterLimits& limits) {
  if (!json.is_object()) throw BadValue();
  fields(limits, Reader{json});
}

// False, and the record of no use, if its text has to be parsed.
template <class Record>
bool decode_flat(std::string_view text, Record& record) {
  const auto json = FlatJson::cut(text);
  if (!json) return false;
  FlatReader reader(*json);
  fields(record, std::ref(reader));
  return reader.ok();
}

template <class Record>
Result<Record> decode_parsed(std::string_view text) {
  const Error corrupt{Code::kCorrupt, "a record of the store cannot be read"};
  const auto json = parse_json(text);
  if (!json || !json->is_object()) return corrupt;
  try {
    Record record{};
    fields(record, Reader{*json});
    return record;
  } catch (const Json::exception&) {
    return corrupt;
  } catch (const BadValue&) {
    return corrupt;
  }
}

template <class Record>
std::string encode_fields(const Record& record) {
  TextWriter writer;
  fields(record, std::ref(writer));
  return std::move(writer).finish();
}

}  // namespace

std::string encode(const Tenant& tenant) {
  return encode_fields(tenant);
}
std::string encode(const TenantLimits& limits) {
  return encode_fields(limits);
}
std::string encode(const MeterLimits& limits) {
  return encode_fields(limits);
}
std::string encode(const TenantPolicy& policy) {
  return encode_fields(policy);
}
std::string encode(const ServiceAccount& account) {
  return encode_fields(account);
}
std::string encode(const ApiKeyRecord& key) {
  return encode_fields(key);
}
std::string encode(const AuditRecord& record) {
  return encode_fields(record);
}
std::string encode(const UsageRecord& record) {
  return encode_fields(record);
}
std::string encode(const CountedTotals& totals) {
  return encode_fields(totals);
}
std::string encode(const OrganizationAlerts& alerts) {
  return encode_fields(alerts);
}
std::string encode(const KeyCharge& charge) {
  return encode_fields(charge);
}

template <class Record>
Result<Record> decode(std::string_view text) {
  Result<Record> record;  // returned where it is read: a key's is large
  if (!decode_flat(text, *record)) record = decode_parsed<Record>(text);
  return record;
}

template <class Record>
Result<void> scan_records(const Store& store, Family family, std::string_view prefix,
                          std::string_view start,
                          const std::function<bool(std::string_view, const Record&)>& visit) {
  std::optional<Error> corrupt;
  auto scanned =
      store.scan(family, prefix, start, [&](std::string_view key, std::string_view value) {
        const auto record = decode<Record>(value);
        if (record) return visit(key, *record);
        corrupt = record.error();
        return false;
      });
  if (corrupt) return *corrupt;
  return scanned;
}

#define TESSERA_INSTANTIATE(Record)                                                            \
  template Result<Record> decode(std::string_view);                                            \
  template Result<void> scan_records(const Store&, Family, std::string_view, std::string_view, \
                                     const std::function<bool(std::string_view, const Record&)>&)

TESSERA_INSTANTIATE(Tenant);
TESSERA_INSTANTIATE(TenantLimits);
TESSERA_INSTANTIATE(MeterLimits);
TESSERA_INSTANTIATE(TenantPolicy);
TESSERA_INSTANTIATE(ServiceAccount);
TESSERA_INSTANTIATE(ApiKeyRecord);
TESSERA_INSTANTIATE(AuditRecord);
TESSERA_INSTANTIATE(UsageRecord);
TESSERA_INSTANTIATE(CountedTotals);
TESSERA_INSTANTIATE(OrganizationAlerts);
TESSERA_INSTANTIATE(KeyCharge);

#undef TESSERA_INSTANTIATE

}  // namespace tessera
