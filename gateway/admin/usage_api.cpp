// usage_api.cpp — what was consumed: by everyone, for admins; by the caller's own tenant.
#include <algorithm>
#include <charconv>
#include <utility>

#include <nlohmann/json.hpp>

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

// Array parameters come as `group_by=x&group_by=y` or `group_by[]=x&group_by[]=y`.
Result<void> read_groups(const Target& target, UsageQuery& query) {
  for (const auto& [name, value] : target.query) {
    if (name == "project_ids" || name == "project_ids[]") query.tenant = TenantId(value);
    if (name != "group_by" && name != "group_by[]") continue;
    if (value == "project_id") {
      query.by_tenant = true;
    } else if (value == "api_key_id") {
      query.by_key = true;
    } else if (value == "model" || value == "line_item") {
      query.by_model = true;
    } else {
      return Error{Code::kInvalidValue, "'group_by' must be project_id, api_key_id or model.",
                   "group_by"};
    }
  }
  return {};
}

struct PagedQuery {
  UsageQuery usage;
  std::size_t limit = 0;  // buckets
};

Result<PagedQuery> read_query(const Target& target, WallTime now) {
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
  UsageQuery query{.from = from_unix(**start), .to = to, .bucket_width = width->width};
  if (auto read = read_groups(target, query); !read) return read.error();
  const auto limit = integer_parameter(target, "limit", 1, width->max_limit);
  if (!limit) return limit.error();
  if (auto begun = begin_at_page(target, query); !begun) return begun.error();
  return PagedQuery{query, static_cast<std::size_t>(limit->value_or(width->default_limit))};
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
using GroupJson = ordered_json (*)(const UsageGroup&);

ordered_json usage_json(const UsageGroup& group) {
  ordered_json result;
  result["object"] = "organization.usage.completions.result";
  result.update(totals_json(group.totals));
  result["project_id"] = text_or_null(group.tenant.str());
  result["api_key_id"] = text_or_null(group.key.str());
  result["model"] = text_or_null(group.model);
  return result;
}

ordered_json embeddings_json(const UsageGroup& group) {
  ordered_json result;
  result["object"] = "organization.usage.embeddings.result";
  result["input_tokens"] = group.totals.prompt_tokens;
  result["num_model_requests"] = group.totals.requests;
  result["project_id"] = text_or_null(group.tenant.str());
  result["api_key_id"] = text_or_null(group.key.str());
  result["model"] = text_or_null(group.model);
  return result;
}

// `value_pico_usd` is exact.
ordered_json cost_json(const UsageGroup& group) {
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

ordered_json bucket_json(const UsageBucket& bucket, GroupJson group_json) {
  ordered_json json;
  json["object"] = "bucket";
  json["start_time"] = unix_seconds(bucket.start);
  json["end_time"] = unix_seconds(bucket.end);
  json["results"] = ordered_json::array();
  for (const UsageGroup& group : bucket.groups) json["results"].push_back(group_json(group));
  return json;
}

ordered_json window_json(const LimitsView::Window& window) {
  ordered_json json;
  json["limit"] = window.limit;
  json["remaining"] = window.remaining;
  json["reset_ms"] = std::chrono::ceil<std::chrono::milliseconds>(window.reset).count();
  return json;
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

// Buckets in which nothing was used are left out. Of one operation or tenant only, if given.
Result<Reply> page_of_buckets(Platform& platform, const Call& call, GroupJson group_json,
                              const std::optional<std::string>& operation,
                              const std::optional<TenantId>& tenant = {}) {
  auto asked = read_query(call.target, call.received_wall);
  if (!asked) return asked.error();
  UsageQuery& query = asked->usage;
  if (tenant) query.tenant = tenant;
  query.operation = operation;
  if (auto skipped = skip_empty_time(*platform.ledger, query); !skipped) return skipped.error();
  auto buckets = usage_buckets(*platform.ledger, query);
  if (!buckets) return buckets.error();
  std::erase_if(*buckets, [](const UsageBucket& bucket) { return bucket.groups.empty(); });
  const bool has_more = buckets->size() > asked->limit;
  ordered_json body;
  body["object"] = "page";
  body["data"] = ordered_json::array();
  for (const UsageBucket& bucket :
       std::span(*buckets).first(std::min(asked->limit, buckets->size()))) {
    body["data"].push_back(bucket_json(bucket, group_json));
  }
  body["has_more"] = has_more;
  body["next_page"] = nullptr;
  if (has_more) body["next_page"] = page_name((*buckets)[asked->limit].start);
  return json_reply(body);
}

}  // namespace

Result<Reply> get_completions_usage(Platform& platform, Call& call) {
  return page_of_buckets(platform, call, usage_json, kCompletions);
}

Result<Reply> get_embeddings_usage(Platform& platform, Call& call) {
  return page_of_buckets(platform, call, embeddings_json, "embeddings");
}

Result<Reply> get_own_completions_usage(Platform& platform, Call& call) {
  return page_of_buckets(platform, call, usage_json, kCompletions, call.caller.tenant);
}

Result<Reply> get_costs(Platform& platform, Call& call) {
  return page_of_buckets(platform, call, cost_json, std::nullopt);
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
  body["adapters"]["limit"] = call.caller.limits.max_adapters;
  body["adapters"]["used"] = stored.adapters;
  body["adapter_bytes"]["limit"] = call.caller.limits.max_adapter_bytes;
  body["adapter_bytes"]["used"] = stored.bytes;
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
