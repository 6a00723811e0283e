// post_processor.hpp — the ids that a tokenizer puts before and after a whole text.
#pragma once

#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "kernels/model_spec.hpp"
#include "storage/result.hpp"

namespace tessera {

struct PostProcessor {
  std::vector<TokenId> prefix;
  std::vector<TokenId> suffix;

  // `node` is tokenizer.json's "post_processor": null, ByteLevel (which concerns offsets only),
  // TemplateProcessing, BertProcessing, RobertaProcessing, or a Sequence of them.
  // Errors: kUnsupportedModel, param is the path of the field.
  static Result<PostProcessor> from_json(const nlohmann::ordered_json& node,
                                         const std::string& path);
};

}  // namespace tessera
