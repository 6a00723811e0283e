#include "gateway/http/tenant_place.hpp"

namespace tessera {
namespace {

// "acme" of "acme.example.org:8080" for the domain "example.org"; deeper names are nobody's.
std::optional<std::string> slug_of_host(std::string_view host, std::string_view domain) {
  if (domain.empty()) return std::nullopt;
  const std::string name = to_lower(host.substr(0, host.rfind(':')));
  const std::string end = "." + to_lower(domain);
  if (name.size() <= end.size() || !name.ends_with(end)) return std::nullopt;
  std::string slug = name.substr(0, name.size() - end.size());
  if (slug.find('.') != slug.npos) return std::nullopt;
  return slug;
}

}  // namespace

std::optional<std::string> take_tenant_slug(Target& target, std::string_view host,
                                            std::string_view domain) {
  auto& segments = target.segments;
  if (segments.size() < 3 || segments[0] != "t") return slug_of_host(host, domain);
  std::string slug = std::move(segments[1]);
  segments.erase(segments.begin(), segments.begin() + 2);
  return slug;
}

}  // namespace tessera
