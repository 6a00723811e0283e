// usage_api.cpp — what was consumed: by everyone, for admins; by the caller's own tenant.
#include <algorithm>
#include <charconv>
#include <span>
#include <utility>

#include <nlohmann/json.hpp>

#include "gateway/admin/calendar_json.hpp"
#include "gateway/api/api_json.hpp"
#include "gateway/handlers.hpp"

namespace tessera {
namespace {

using nlohmann::ordered_json;
using std::chrono::seconds;

constexpr const char* kCompletions = "";                   // as the ledger has them
constexpr std::int64_t kMaxUnixSeconds = 253'402'300'799;  // the end of the year 9999

WallTime from_unix(std::int64_t unix_time) {
  return WallTime(seconds(unix_time));
}

// A width of buckets, with OpenAI's sizes of a page of them.
struct BucketWidth {
  std::string_view name;
  seconds width;
  std::int64_t default_limit;
  std::int64_t max_limit;
};
constexpr BucketWidth kBucketWidths[] = {
    {"1m", seconds(60), 60, 1440}, {"1h", seconds(3600), 24, 168}, {"1d", seconds(86400), 7, 31}};

Result<BucketWidth> bucket_width(const Target& target) {
  const std::string_view name = target.parameter("bucket_width").value_or("1d");
  for (const BucketWidth& known : kBucketWidths) {
    if (name == known.name) return known;
  }
  return Error{Code::kInvalidValue, "'bucket_width' must be 1m, 1h or 1d.", "bucket_width"};
}

// A page begins with the bucket whose first second its name tells: "page_1700000000".
constexpr std::string_view kPagePrefix = "page_";

std::string page_name(WallTime start) {
  return std::string(kPagePrefix) + std::to_string(unix_seconds(start));
}

Error no_such_page() {
  return {Code::kInvalidValue, "'page' must be the 'next_page' of this query.", "page"};
}

// Moves the query's beginning to that of the page that is asked for.
Result<void> begin_at_page(const Target& target, UsageQuery& query) {
  const auto page = target.parameter("page");
  if (!page) return {};
  if (!page->starts_with(kPagePrefix)) return no_such_page();
  const std::string_view digits = page->substr(kPagePrefix.size());
  std::int64_t unix_time = 0;
  const auto parsed = std::from_chars(digits.data(), digits.data() + digits.size(), unix_time);
  const bool is_time = parsed.ec == std::errc() && parsed.ptr == digits.data() + digits.size() &&
                       unix_time >= 0 && unix_time <= kMaxUnixSeconds;
  if (!is_time) return no_such_page();
  const WallTime start = from_unix(unix_time);
  if (start < query.from || start > query.to ||
      (start - query.from) % query.bucket_width != seconds(0)) {
    return no_such_page();
  }
  query.from = start;
  return {};
}

// What OpenAI lets a report be grouped by and cut down to. Nobody here is a user, and nothing a
// batch: they are null and false wherever they are asked for.
enum class UsageOf : std::uint8_t { kTexts, kEmbeddings, kCosts };

constexpr std::string_view kGroupsOfCompletions[] = {"project_id", "user_id", "api_key_id",
                                                     "model",      "batch",   "service_tier"};
constexpr std::string_view kGroupsOfEmbeddings[] = {"project_id", "user_id", "api_key_id", "model"};
constexpr std::string_view kGroupsOfCosts[] = {"project_id", "line_item", "api_key_id"};

std::span<const std::string_view> groups_of(UsageOf report) {
  switch (report) {
    case UsageOf::kTexts:
      return kGroupsOfCompletions;
    case UsageOf::kEmbeddings:
      return kGroupsOfEmbeddings;
    case UsageOf::kCosts:
      break;
  }
  return kGroupsOfCosts;
}

struct PagedQuery {
  UsageQuery usage;
  std::size_t limit = 0;  // buckets
  bool by_batch = false;
  bool none = false;  // it asks for what there is none of: a user's, or batches
};

Error no_such_group(UsageOf report) {
  std::string words;
  for (const std::string_view word : groups_of(report)) {
    words += (words.empty() ? "" : ", ") + std::string(word);
  }
  return {Code::kInvalidValue, "'group_by' must be of: " + words + ".", "group_by"};
}

Result<void> read_group(UsageOf report, std::string_view value, PagedQuery& query) {
  const auto known = groups_of(report);
  const bool is_model = report == UsageOf::kCosts && value == "model";  // what a line item is
  if (std::ranges::find(known, value) == known.end() && !is_model) return no_such_group(report);
  query.usage.by_tenant |= value == "project_id";
  query.usage.by_key |= value == "api_key_id";
  query.usage.by_model |= value == "model" || value == "line_item";
  query.usage.by_tier |= value == "service_tier";
  query.by_batch |= value == "batch";
  return {};
}

Result<void> read_batch(std::string_view value, PagedQuery& query) {
  if (value != "true" && value != "false") {
    return Error{Code::kInvalidValue, "'batch' must be true or false.", "batch"};
  }
  query.none |= value == "true";
  return {};
}

// Array parameters come as `group_by=x&group_by=y` or `group_by[]=x&group_by[]=y`. All that name
// filters have to hold; of one filter, any value.
Result<void> read_filters(UsageOf report, const Target& target, PagedQuery& query) {
  for (const auto& [full_name, value] : target.query) {
    std::string_view name = full_name;
    if (name.ends_with("[]")) name.remove_suffix(2);
    if (name == "project_ids") query.usage.tenants.insert(value);
    if (name == "api_key_ids") query.usage.keys.insert(value);
    if (report != UsageOf::kCosts && name == "models") query.usage.models.insert(value);
    if (report != UsageOf::kCosts && name == "user_ids") query.none = true;
    Result<void> read;
    if (report == UsageOf::kTexts && name == "batch") read = read_batch(value, query);
    if (name == "group_by") read = read_group(report, value, query);
    if (!read) return read;
  }
  return {};
}

// Costs come by the day with OpenAI, and more of them at once.
std::int64_t largest_page(UsageOf report, const BucketWidth& width) {
  constexpr std::int64_t kMostDaysOfCosts = 180;
  return report == UsageOf::kCosts && width.name == "1d" ? kMostDaysOfCosts : width.max_limit;
}

Result<PagedQuery> read_query(UsageOf report, const Target& target, WallTime now) {
  const auto start = integer_parameter(target, "start_time", 0, kMaxUnixSeconds);
  if (!start) return start.error();
  const auto end = integer_parameter(target, "end_time", 0, kMaxUnixSeconds);
  if (!end) return end.error();
  if (!*start) {
    return Error{Code::kMissingRequiredParameter, "Missing required parameter: 'start_time'.",
                 "start_time"};
  }
  const auto width = bucket_width(target);
  if (!width) return width.error();
  const WallTime to = *end ? from_unix(**end) : now + seconds(1);
  PagedQuery query;
  query.usage = {.from = from_unix(**start), .to = to, .bucket_width = width->width};
  if (auto read = read_filters(report, target, query); !read) return read.error();
  const auto limit = integer_parameter(target, "limit", 1, largest_page(report, *width));
  if (!limit) return limit.error();
  if (auto begun = begin_at_page(target, query.usage); !begun) return begun.error();
  query.limit = static_cast<std::size_t>(limit->value_or(width->default_limit));
  return query;
}

ordered_json text_or_null(const std::string& text) {
  return text.empty() ? ordered_json(nullptr) : ordered_json(text);
}

ordered_json totals_json(const UsageTotals& totals) {
  ordered_json json;
  json["input_tokens"] = totals.prompt_tokens;
  json["input_cached_tokens"] = totals.cached_tokens;
  json["output_tokens"] = totals.completion_tokens;
  json["num_model_requests"] = totals.requests;
  return json;
}

// How a group of a bucket is shown.
using GroupJson = ordered_json (*)(const UsageGroup&, const PagedQuery&);

ordered_json usage_json(const UsageGroup& group, const PagedQuery& query) {
  ordered_json result;
  result["object"] = "organization.usage.completions.result";
  result.update(totals_json(group.totals));
  result["project_id"] = text_or_null(group.tenant.str());
  result["user_id"] = nullptr;
  result["api_key_id"] = text_or_null(group.key.str());
  result["model"] = text_or_null(group.model);
  result["batch"] = query.by_batch ? ordered_json(false) : ordered_json(nullptr);
  result["service_tier"] = text_or_null(group.service_tier);
  return result;
}

ordered_json embeddings_json(const UsageGroup& group, const PagedQuery&) {
  ordered_json result;
  result["object"] = "organization.usage.embeddings.result";
  result["input_tokens"] = group.totals.prompt_tokens;
  result["num_model_requests"] = group.totals.requests;
  result["project_id"] = text_or_null(group.tenant.str());
  result["user_id"] = nullptr;
  result["api_key_id"] = text_or_null(group.key.str());
  result["model"] = text_or_null(group.model);
  return result;
}

// `value_pico_usd` is exact.
ordered_json cost_json(const UsageGroup& group, const PagedQuery&) {
  ordered_json result;
  result["object"] = "organization.costs.result";
  result["amount"]["value"] = group.totals.cost.dollars();
  result["amount"]["value_pico_usd"] = group.totals.cost.pico_dollars;
  result["amount"]["currency"] = "usd";
  result["line_item"] = text_or_null(group.model);
  result["project_id"] = text_or_null(group.tenant.str());
  result["api_key_id"] = text_or_null(group.key.str());
  return result;
}

ordered_json bucket_json(const UsageBucket& bucket, const PagedQuery& query, GroupJson group_json) {
  ordered_json json;
  json["object"] = "bucket";
  json["start_time"] = unix_seconds(bucket.start);
  json["end_time"] = unix_seconds(bucket.end);
  json["results"] = ordered_json::array();
  for (const UsageGroup& group : bucket.groups) {
    json["results"].push_back(group_json(group, query));
  }
  return json;
}

ordered_json window_json(const LimitsView::Window& window) {
  ordered_json json;
  json["limit"] = window.limit;
  json["remaining"] = window.remaining;
  json["reset_ms"] = std::chrono::ceil<std::chrono::milliseconds>(window.reset).count();
  return json;
}

ordered_json use_of(const std::optional<std::int64_t>& limit, std::size_t used) {
  ordered_json json;
  json["limit"] = limit ? ordered_json(*limit) : ordered_json(nullptr);
  json["used"] = used;
  return json;
}

// Of the adapters in memory those that the caller's tenant was the first to ask for.
void add_resident_use(ordered_json& body, const Caller& caller, const HostCache& cache) {
  const HostCache::Held held = cache.held_by(caller.tenant.str());
  body["resident_adapters"] = use_of(caller.limits.max_resident_adapters, held.adapters.size());
  body["resident_adapter_bytes"] = use_of(caller.limits.max_resident_bytes, held.bytes);
}

// Moves the query's beginning by whole buckets to the first record, or to the end if there is none,
// so that asking for "all time" is cheap. Errors: those of the ledger.
Result<void> skip_empty_time(const UsageLedger& ledger, UsageQuery& query) {
  WallTime first = std::max(query.from, query.to);
  auto scanned = ledger.scan(query.from, query.to, [&](const UsageRecord& record) {
    first = record.finished;
    return false;
  });
  if (!scanned) return scanned.error();
  query.from += (first - query.from) / query.bucket_width * query.bucket_width;
  return {};
}

// Empty if it asks for what there is none of.
Result<std::vector<UsageBucket>> read_buckets(const UsageLedger& ledger, PagedQuery& asked) {
  if (asked.none) return std::vector<UsageBucket>();
  if (auto skipped = skip_empty_time(ledger, asked.usage); !skipped) return skipped.error();
  return usage_buckets(ledger, asked.usage);
}

// Buckets in which nothing was used are left out. Of one operation or tenant only, if given.
Result<Reply> page_of_buckets(Platform& platform, const Call& call, UsageOf report,
                              GroupJson group_json, const std::optional<std::string>& operation,
                              const std::optional<TenantId>& tenant = {}) {
  auto asked = read_query(report, call.target, call.received_wall);
  if (!asked) return asked.error();
  asked->usage.operation = operation;
  if (tenant) asked->usage.tenants = {tenant->str()};
  auto buckets = read_buckets(*platform.ledger, *asked);
  if (!buckets) return buckets.error();
  std::erase_if(*buckets, [](const UsageBucket& bucket) { return bucket.groups.empty(); });
  const bool has_more = buckets->size() > asked->limit;
  ordered_json body;
  body["object"] = "page";
  body["data"] = ordered_json::array();
  for (const UsageBucket& bucket :
       std::span(*buckets).first(std::min(asked->limit, buckets->size()))) {
    body["data"].push_back(bucket_json(bucket, *asked, group_json));
  }
  body["has_more"] = has_more;
  body["next_page"] = nullptr;
  if (has_more) body["next_page"] = page_name((*buckets)[asked->limit].start);
  return json_reply(body);
}

}  // namespace

Result<Reply> get_completions_usage(Platform& platform, Call& call) {
  return page_of_buckets(platform, call, UsageOf::kTexts, usage_json, kCompletions);
}

Result<Reply> get_embeddings_usage(Platform& platform, Call& call) {
  return page_of_buckets(platform, call, UsageOf::kEmbeddings, embeddings_json, "embeddings");
}

Result<Reply> get_own_completions_usage(Platform& platform, Call& call) {
  return page_of_buckets(platform, call, UsageOf::kTexts, usage_json, kCompletions,
                         call.caller.tenant);
}

Result<Reply> get_costs(Platform& platform, Call& call) {
  return page_of_buckets(platform, call, UsageOf::kCosts, cost_json, std::nullopt);
}

Result<Reply> get_own_usage(Platform& platform, Call& call) {
  const TenantId& tenant = call.caller.tenant;
  const auto totals = platform.ledger->totals_by_tenant(tenant);
  if (!totals) return totals.error();
  const auto adapters = platform.ledger->adapters_of(tenant);
  if (!adapters) return adapters.error();
  const LimitsView view = platform.admission.view(call.caller, now_of(platform.clock));
  const AdapterRegistry::Usage stored = platform.adapters->usage(tenant);

  ordered_json body;
  body["object"] = "usage";
  body["project_id"] = tenant.str();
  body["requests_per_minute"] = window_json(view.requests);
  body["tokens_per_minute"] = window_json(view.tokens);
  body["concurrent_requests"]["limit"] = view.max_concurrent_requests;
  body["concurrent_requests"]["used"] = view.concurrent_requests;
  const Now now = now_of(platform.clock);
  add_calendar_use(body, call.caller.limits, platform.admission.use(call.caller, now), now.wall);
  body["adapters"]["limit"] = call.caller.limits.max_adapters;
  body["adapters"]["used"] = stored.adapters;
  body["adapter_bytes"]["limit"] = call.caller.limits.max_adapter_bytes;
  body["adapter_bytes"]["used"] = stored.bytes;
  add_resident_use(body, call.caller, *platform.host_cache);
  body["totals"] = totals_json(*totals);
  body["by_adapter"] = ordered_json::array();
  for (const auto& [digest, sum] : *adapters) {
    ordered_json entry;
    entry["adapter_sha256"] = text_or_null(digest);  // null: the base
    entry.update(totals_json(sum));
    body["by_adapter"].push_back(std::move(entry));
  }
  return json_reply(body);
}

}  // namespace tessera
