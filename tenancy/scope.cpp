#include "tenancy/scope.hpp"

#include <array>

namespace tessera {
namespace {

constexpr std::array<std::string_view, kNumScopes> kNames{
    "api.model.request", "api.adapter.read", "api.adapter.write", "api.adapter.download",
    "api.tenant.read",   "api.tenant.write", "api.key.write",     "api.admin",
};

}  // namespace

std::string_view to_string(Scope scope) {
  return kNames[static_cast<std::size_t>(scope)];
}

std::optional<Scope> scope_from_string(std::string_view name) {
  for (std::size_t i = 0; i < kNames.size(); ++i) {
    if (kNames[i] == name) return static_cast<Scope>(i);
  }
  return std::nullopt;
}

std::vector<std::string> ScopeSet::names() const {
  std::vector<std::string> names;
  for (std::size_t i = 0; i < kNames.size(); ++i) {
    if (contains(static_cast<Scope>(i))) names.emplace_back(kNames[i]);
  }
  return names;
}

}  // namespace tessera
