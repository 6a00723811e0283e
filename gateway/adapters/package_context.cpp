#include "gateway/adapters/package_context.hpp"

#include <memory>
#include <optional>
#include <string>
#include <utility>

namespace tessera {
namespace {

struct TokenizerToCompare {
  const Tokenizer* tokenizer = nullptr;
  const TokenizerIdentity* identity = nullptr;  // null: it is not from a tokenizer.json
};

std::optional<std::string> difference(const TokenizerToCompare& base, const CarriedFile& file) {
  if (base.identity == nullptr) return "This server's tokenizer cannot be compared with a file.";
  return tokenizer_file_difference(*base.identity, *base.tokenizer, file.name, file.content);
}

// Read from the model's own text, once.
class LateTokenizer {
 public:
  explicit LateTokenizer(const ModelInfo& info) : info_(info) {}

  TokenizerToCompare get() {
    if (!tokenizer_) read();
    return {tokenizer_.get(), identity_ ? &*identity_ : nullptr};
  }

 private:
  void read() {
    auto tokenizer = Tokenizer::from_json(info_.tokenizer);
    auto identity = TokenizerIdentity::from_json(info_.tokenizer);
    if (!tokenizer || !identity) return;
    tokenizer_ = *std::move(tokenizer);
    identity_.emplace(*std::move(identity));
  }

  const ModelInfo& info_;
  std::unique_ptr<Tokenizer> tokenizer_;
  std::optional<TokenizerIdentity> identity_;
};

}  // namespace

PackageContext package_context(const ServedModel& model, const BaseModel& base,
                               PageType page_type) {
  return {.base = base,
          .tokenizer =
              [&model](const CarriedFile& file) {
                const auto& identity = model.tokenizer_identity;
                return difference({model.tokenizer.get(), identity ? &*identity : nullptr}, file);
              },
          .chat_template = model.packed->info().chat_template,
          .page_type = page_type};
}

PackageContext package_context(const PackedModel& model, const BaseModel& base,
                               PageType page_type) {
  const auto late = std::make_shared<LateTokenizer>(model.info());
  return {.base = base,
          .tokenizer = [late](const CarriedFile& file) { return difference(late->get(), file); },
          .chat_template = model.info().chat_template,
          .page_type = page_type};
}

}  // namespace tessera
