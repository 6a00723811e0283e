// requested_model.cpp — "model" and "adapters" of a request: one adapter, a mix of several, or
// none.
#include <algorithm>
#include <cstdio>
#include <utility>

#include "gateway/inference/inference.hpp"
#include "gateway/platform.hpp"

namespace tessera {
namespace {

Error wrong_term(std::size_t index, const std::string& what) {
  const std::string param = "adapters[" + std::to_string(index) + "].model";
  return {Code::kInvalidValue, "'" + param + "' " + what, param};
}

StickyKeys keys_of(const InferenceOptions& options) {
  return {.user = options.user, .session = options.session};
}

std::string weight_text(float weight) {
  char text[32];
  std::snprintf(text, sizeof text, "%g", static_cast<double>(weight));
  return text;
}

// Takes the next adapter of a mix over.
Result<void> add_term(ResolvedModel& mixed, ResolvedModel term, float weight) {
  const std::size_t index = mixed.mix.size();
  if (!term.adapter) return wrong_term(index, "is the base; give the adapters to be mixed.");
  if (!term.is_plain) {
    return wrong_term(index, "cannot be mixed: the adapter has more than pairs of matrices.");
  }
  const auto is_same = [&](const MixedAdapter& other) { return other.digest == *term.adapter; };
  if (std::ranges::any_of(mixed.mix, is_same)) {
    return wrong_term(index, "is an adapter that stands here twice; add its weights.");
  }
  mixed.mix.push_back({.digest = *term.adapter, .weight = weight});
  mixed.version += (index > 0 ? "+" : "") + term.version + "*" + weight_text(weight);
  std::ranges::move(term.pins, std::back_inserter(mixed.pins));
  return {};
}

Result<ResolvedModel> resolve_mix(Platform& platform, const Caller& caller,
                                  const InferenceOptions& options) {
  auto mixed = resolve_model(platform, caller, options.model, keys_of(options));
  if (!mixed) return mixed;
  if (mixed->adapter) {
    return Error{Code::kInvalidValue,
                 "'model' must be the base, '" + platform.model.name() +
                     "', where 'adapters' says what is mixed.",
                 "model"};
  }
  for (std::size_t i = 0; i < options.adapters.size(); ++i) {
    const RequestedAdapter& requested = options.adapters[i];
    auto term = resolve_model(platform, caller, requested.model, keys_of(options));
    if (!term) {
      const std::string param = "adapters[" + std::to_string(i) + "].model";
      return Error{term.error().code, term.error().message, param};
    }
    const auto weight = static_cast<float>(requested.weight);
    if (auto added = add_term(*mixed, *std::move(term), weight); !added) return added.error();
  }
  mixed->adapter = mix_digest(mixed->mix);
  return mixed;
}

}  // namespace

Result<ResolvedModel> resolve_requested(Platform& platform, const Caller& caller,
                                        const InferenceOptions& options) {
  auto model = options.adapters.empty()
                   ? resolve_model(platform, caller, options.model, keys_of(options))
                   : resolve_mix(platform, caller, options);
  if (!model || !model->adapter) return model;
  const std::string& tenant = caller.tenant.str();
  if (model->mix.empty()) platform.host_cache->prefetch(*model->adapter, tenant);
  for (const MixedAdapter& term : model->mix) platform.host_cache->prefetch(term.digest, tenant);
  return model;
}

}  // namespace tessera
