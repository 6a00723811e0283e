#include <string>
#include <utility>

#include "gateway/api/fields.hpp"
#include "gateway/config.hpp"
#include "gateway/inference/openai_types.hpp"
#include "gateway/inference/prompt_fields.hpp"

namespace tessera {
namespace {

void read_encoding(Fields& fields, bool& base64) {
  std::string encoding;
  fields.text("encoding_format", kMaxJsonBytes, encoding);
  base64 = encoding == "base64";
  if (base64 || encoding.empty() || encoding == "float") return;
  fields.fail(Code::kInvalidValue, "encoding_format",
              "'encoding_format' must be 'float' or 'base64'.");
}

void read_pooling(Fields& fields, PromptOutput& pooling) {
  std::string name;
  fields.text("pooling", kMaxJsonBytes, name);
  if (name == "mean") pooling = PromptOutput::kMeanState;
  if (name.empty() || name == "mean" || name == "last") return;
  fields.fail(Code::kInvalidValue, "pooling", "'pooling' must be 'last' or 'mean'.");
}

}  // namespace

Result<EmbeddingRequest> parse_embedding_request(const nlohmann::ordered_json& body) {
  EmbeddingRequest request;
  std::optional<std::int64_t> dimensions;
  Fields fields(body);
  read_model(fields, request.options);
  read_encoding(fields, request.base64);
  read_pooling(fields, request.pooling);
  fields.integer("dimensions", {1, kMaxInt}, dimensions);
  const auto* input = fields.required_any("input");
  if (auto read = fields.finish(); !read) return read.error();

  if (dimensions) request.dimensions = static_cast<int>(*dimensions);
  request.options.max_tokens = 0;
  auto inputs = read_prompts(*input, "input", kMaxEmbeddingInputs);
  if (!inputs) return inputs.error();
  request.inputs = *std::move(inputs);
  return request;
}

}  // namespace tessera
