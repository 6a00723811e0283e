#include "gateway/api/rate_limits.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdint>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

#include "gateway/http/error_body.hpp"

namespace tessera {
namespace {

// These stand in every answer of inference: each is put together in one string, not of many.
void append(std::string& out, std::string_view text) {
  out += text;
}
void append(std::string& out, std::int64_t number) {
  std::array<char, 24> digits;
  const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), number).ptr;
  out.append(digits.data(), end);
}

template <class... Parts>
std::string joined(const Parts&... parts) {
  constexpr std::size_t kUsualChars = 96;
  std::string out;
  out.reserve(kUsualChars);
  (append(out, parts), ...);
  return out;
}

std::int64_t whole_seconds(std::chrono::nanoseconds duration) {
  return std::chrono::ceil<std::chrono::seconds>(duration).count();
}

void add_window(Headers& headers, const std::array<const char*, 3>& names,
                const LimitsView::Window& window) {
  headers.emplace_back(names[0], std::to_string(window.limit));
  headers.emplace_back(names[1], std::to_string(window.remaining));
  headers.emplace_back(names[2], go_duration(window.reset));
}

}  // namespace

void add_rate_limit_headers(Headers& headers, const LimitsView& view) {
  add_window(headers,
             {"x-ratelimit-limit-requests", "x-ratelimit-remaining-requests",
              "x-ratelimit-reset-requests"},
             view.requests);
  add_window(
      headers,
      {"x-ratelimit-limit-tokens", "x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens"},
      view.tokens);
  // q: a policy of so many a minute.
  headers.emplace_back(
      "RateLimit-Policy",
      joined("\"rpm\";q=", view.requests.limit, ";w=60, \"tpm\";q=", view.tokens.limit,
             ";w=60, \"conc\";q=", view.max_concurrent_requests, ";qu=\"concurrent-requests\""));
  // r: what is left of it; t: in how many seconds all of it is back.
  const auto free_slots =
      std::max<std::int64_t>(view.max_concurrent_requests - view.concurrent_requests, 0);
  headers.emplace_back(
      "RateLimit", joined("\"rpm\";r=", view.requests.remaining, ";t=",
                          whole_seconds(view.requests.reset), ", \"tpm\";r=", view.tokens.remaining,
                          ";t=", whole_seconds(view.tokens.reset), ", \"conc\";r=", free_slots));
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
