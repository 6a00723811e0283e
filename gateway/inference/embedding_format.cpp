// embedding_format.cpp — an answer of vectors of length one, as numbers or as base64 of float32.
#include <bit>
#include <cmath>
#include <cstring>
#include <utility>

#include <nlohmann/json.hpp>

#include "gateway/inference/answer_format.hpp"
#include "storage/json.hpp"

namespace tessera {
namespace {

using nlohmann::ordered_json;

static_assert(std::endian::native == std::endian::little);  // what base64 is of

std::string base64_of(const std::vector<float>& values) {
  constexpr std::string_view kDigits =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::vector<unsigned char> bytes(values.size() * sizeof(float));
  std::memcpy(bytes.data(), values.data(), bytes.size());
  std::string out;
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    const std::size_t count = std::min<std::size_t>(3, bytes.size() - i);
    std::uint32_t group = 0;
    for (std::size_t j = 0; j < 3; ++j) group = group << 8U | (j < count ? bytes[i + j] : 0U);
    for (std::size_t j = 0; j < 4; ++j) {
      out += j <= count ? kDigits[group >> (18U - 6U * j) & 63U] : '=';
    }
  }
  return out;
}

// A state of nothing but zeros stays as it is.
void make_unit(std::vector<float>& values) {
  double squares = 0.0;
  for (const double value : values) squares += value * value;
  if (squares == 0.0) return;
  const double length = std::sqrt(squares);
  for (float& value : values) value = static_cast<float>(static_cast<double>(value) / length);
}

class EmbeddingFormat final : public AnswerFormat {
 public:
  EmbeddingFormat(std::string model, const EmbeddingForm& form)
      : model_(std::move(model)), form_(form) {}

  // Embeddings are not streamed.
  std::string choice_begun(int) override { return {}; }
  std::string piece(int, const Piece&) override { return {}; }
  std::string choice_ended(int, const std::string&) override { return {}; }
  std::string ended(const Usage&) override { return {}; }
  std::string failed(const Error&, const ordered_json&) override { return {}; }

  std::string whole(const std::vector<FinishedChoice>& choices, const Usage& usage) override {
    ordered_json json;
    json["object"] = "list";
    json["data"] = ordered_json::array();
    for (const FinishedChoice& choice : choices) {
      ordered_json item;
      item["object"] = "embedding";
      item["index"] = json["data"].size();
      item["embedding"] = embedding(choice.state);
      json["data"].push_back(std::move(item));
    }
    json["model"] = model_;
    json["usage"]["prompt_tokens"] = usage.prompt_tokens;
    json["usage"]["total_tokens"] = usage.prompt_tokens;
    return to_text(json);
  }

 private:
  ordered_json embedding(std::vector<float> state) const {
    if (form_.dimensions) state.resize(static_cast<std::size_t>(*form_.dimensions));
    make_unit(state);
    if (form_.base64) return base64_of(state);
    return state;
  }

  std::string model_;
  EmbeddingForm form_;
};

}  // namespace

std::unique_ptr<AnswerFormat> make_embedding_format(std::string model, const EmbeddingForm& form) {
  return std::make_unique<EmbeddingFormat>(std::move(model), form);
}

}  // namespace tessera
