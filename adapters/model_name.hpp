// model_name.hpp — what may stand in a request's "model" besides the base's own name.
//
//   support-bot                       its alias "prod"
//   support-bot:canary                an alias
//   support-bot@7                     a version, pinned
//   ft:<base>:<tenant>:support-bot:7  the same, as OpenAI writes fine-tuned models
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "adapters/alias.hpp"
#include "storage/ids.hpp"
#include "storage/result.hpp"

namespace tessera {

struct ModelName {
  std::string_view adapter;
  std::string_view alias = kDefaultAlias;  // unless it names a version
  int version = 0;                         // if it does
};

// Views into `text`. Nullopt if it is none of the forms, or an ft: of another base or tenant.
std::optional<ModelName> parse_model_name(std::string_view text, std::string_view base,
                                          const TenantId& tenant);

// [a-z0-9][a-z0-9._-]{0,62}: of adapters and of aliases.
bool is_valid_adapter_name(std::string_view name);

// A number from 1 on, written as itself and no other way ("07").
std::optional<int> parse_version_number(std::string_view text);

// The answer to a model that is not there, or not the caller's: always the same.
Error model_not_found(std::string_view model);

}  // namespace tessera
