#include "adapters/base_model.hpp"

#include <algorithm>

#include "adapters/module_naming.hpp"

namespace tessera {
namespace {

std::string_view last_component(std::string_view path) {
  while (path.ends_with('/')) path.remove_suffix(1);
  return path.substr(path.rfind('/') + 1);  // npos + 1 is 0: the whole
}

}  // namespace

bool BaseModel::accepts(std::string_view base_model_name_or_path) const {
  const std::string_view last = last_component(base_model_name_or_path);
  const auto matches = [&](std::string_view alias) {
    return base_model_name_or_path == alias || (!last.empty() && last == last_component(alias));
  };
  return matches(name) || std::ranges::any_of(aliases, matches);
}

std::string_view BaseModule::target() const {
  return name().substr(name().rfind('.') + 1);
}

std::vector<BaseModule> base_modules(const ModelSpec& spec) {
  return named_modules(spec, {});
}

}  // namespace tessera
