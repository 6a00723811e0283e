#include "gateway/api/rate_limits.hpp"

#include <nlohmann/json.hpp>

#include "gateway/http/error_body.hpp"

namespace tessera {
namespace {

std::string whole_seconds(std::chrono::nanoseconds duration) {
  return std::to_string(std::chrono::ceil<std::chrono::seconds>(duration).count());
}

// "rpm";q=600;w=60: a policy of so many a minute.
std::string per_minute(std::string_view name, std::int64_t quota) {
  return '"' + std::string(name) + "\";q=" + std::to_string(quota) + ";w=60";
}

// "rpm";r=599;t=1: what is left of it, and in how many seconds all of it is back.
std::string left(std::string_view name, const LimitsView::Window& window) {
  return '"' + std::string(name) + "\";r=" + std::to_string(window.remaining) +
         ";t=" + whole_seconds(window.reset);
}

}  // namespace

void add_rate_limit_headers(Headers& headers, const LimitsView& view) {
  const auto add_window = [&](const std::string& what, const LimitsView::Window& window) {
    headers.emplace_back("x-ratelimit-limit-" + what, std::to_string(window.limit));
    headers.emplace_back("x-ratelimit-remaining-" + what, std::to_string(window.remaining));
    headers.emplace_back("x-ratelimit-reset-" + what, go_duration(window.reset));
  };
  add_window("requests", view.requests);
  add_window("tokens", view.tokens);
  headers.emplace_back("RateLimit-Policy",
                       per_minute("rpm", view.requests.limit) + ", " +
                           per_minute("tpm", view.tokens.limit) +
                           ", \"conc\";q=" + std::to_string(view.max_concurrent_requests) +
                           ";qu=\"concurrent-requests\"");
  const auto free_slots =
      std::max<std::int64_t>(view.max_concurrent_requests - view.concurrent_requests, 0);
  headers.emplace_back("RateLimit", left("rpm", view.requests) + ", " + left("tpm", view.tokens) +
                                        ", \"conc\";r=" + std::to_string(free_slots));
}

HttpResponse refusal_response(const RateRefusal& refusal, const RequestId& request) {
  nlohmann::ordered_json details;
  details["policy"] = to_string(refusal.policy);
  details["level"] = to_string(refusal.level);
  const bool is_own = refusal.level != Level::kOrganization;  // of which the numbers may be told
  if (is_own) details["limit"] = refusal.limit;
  details["requested"] = refusal.requested;
  if (is_own) details["remaining"] = refusal.remaining;
  const auto wait = std::chrono::ceil<std::chrono::milliseconds>(refusal.retry_after);
  if (refusal.code == Code::kRateLimitExceeded) details["retry_after_ms"] = wait.count();
  HttpResponse response = error_response(to_error(refusal), request, details);
  if (refusal.code == Code::kRateLimitExceeded) add_retry_after(response, refusal.retry_after);
  return response;
}

std::string go_duration(std::chrono::nanoseconds duration) {
  const auto ms = std::chrono::ceil<std::chrono::milliseconds>(duration).count();
  if (ms <= 0) return "0s";
  if (ms < 1000) return std::to_string(ms) + "ms";
  std::string seconds = std::to_string(ms / 1000 % 60);
  if (ms % 1000 != 0) {
    std::string fraction = std::to_string(1000 + ms % 1000).substr(1);
    fraction.erase(fraction.find_last_not_of('0') + 1);
    seconds += '.' + fraction;
  }
  const auto minutes = ms / 60'000;
  std::string out = minutes >= 60 ? std::to_string(minutes / 60) + 'h' : "";
  if (minutes > 0) out += std::to_string(minutes % 60) + 'm';
  return out + seconds + 's';
}

}  // namespace tessera
