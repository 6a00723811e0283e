#include <algorithm>
#include <utility>

#include "engine/guided/free_text_tokens.hpp"
#include "engine/guided/tag_recognizer.hpp"
#include "engine/guided/tag_triggers.hpp"
#include "engine/guided/token_mask.hpp"
#include "engine/guided/token_walk.hpp"

namespace tessera::guided {
namespace {

// While the text is free a position has the node kFree and how much of `until` has been read; then
// it is the other recognizer's own.
class FreeUntilRecognizer final : public Recognizer {
 public:
  FreeUntilRecognizer(std::string until, std::optional<TokenId> until_token,
                      std::vector<TokenId> free_tokens, std::unique_ptr<Recognizer> then)
      : until_(std::move(until)),
        until_token_(until_token),
        free_tokens_(std::move(free_tokens)),
        then_(std::move(then)) {
    if (!until_.empty()) triggers_ = TagTriggers({until_});
    if (until_token_) std::erase(free_tokens_, *until_token_);
  }

  Position start() override { return then_->start().dead() ? Position{} : Position{.node = kFree}; }

  Position step(Position position, std::uint8_t byte) override {
    if (position.node != kFree) return then_->step(position, byte);
    const TagTriggers::State next = triggers_.step(position.mode, byte);
    if (!triggers_.found(next).empty()) return then_->start();
    return {.node = kFree, .mode = next};
  }

  Position step_special(Position position, TokenId token) override {
    if (position.node != kFree) return then_->step_special(position, token);
    if (token == until_token_) return then_->start();
    return std::ranges::count(free_tokens_, token) != 0 ? Position{.node = kFree} : Position{};
  }

  void add_special(Position position, TokenMask& mask) override {
    if (position.node != kFree) return then_->add_special(position, mask);
    for (const TokenId token : free_tokens_) mask.set(token);
    if (until_token_) mask.set(*until_token_);
  }

  bool accepting(Position position) override {
    return position.node != kFree && then_->accepting(position);
  }
  bool finished(Position position) override {
    return position.node != kFree && then_->finished(position);
  }

  MaskKey mask_key(Position position) override {
    if (position.node != kFree) return then_->mask_key(position);
    return {.high = ~std::uint64_t{0}, .low = ~std::uint64_t{position.mode}};
  }

  ByteLoop loop(Position position) override {
    if (position.node != kFree) return then_->loop(position);
    if (position.mode != TagTriggers::kRoot) return {};
    const CodePointSet* harmless = &triggers_.harmless();
    return {.set = harmless, .remaining = RegexPool::kUnbounded, .same = harmless};
  }

  void fill(Position position, const Vocabulary& vocabulary, TokenMask& mask) override {
    if (position.node != kFree) return then_->fill(position, vocabulary, mask);
    walk_.fill(*this, position, vocabulary, mask);
    add_tokens_beside_utf8(*this, position, vocabulary, mask);
  }

  std::optional<std::uint8_t> forced(Position position) override {
    return position.node != kFree ? then_->forced(position) : std::nullopt;
  }

  // Nothing if only a special token can end the free text.
  std::string shortest_rest(Position position) override {
    if (position.node != kFree) return then_->shortest_rest(position);
    if (until_.empty()) return {};
    return until_.substr(triggers_.depth(position.mode)) + then_->shortest_rest(then_->start());
  }

  std::size_t bytes() const override { return triggers_.bytes() + then_->bytes(); }

 private:
  static constexpr std::uint32_t kFree = ~std::uint32_t{0};  // larger than any table grows

  std::string until_;
  std::optional<TokenId> until_token_;
  std::vector<TokenId> free_tokens_;
  std::unique_ptr<Recognizer> then_;
  TagTriggers triggers_;
  TokenWalk<FreeUntilRecognizer> walk_;
};

}  // namespace

std::unique_ptr<Recognizer> make_free_until_recognizer(std::string until,
                                                       std::optional<TokenId> until_token,
                                                       std::vector<TokenId> free_tokens,
                                                       std::unique_ptr<Recognizer> then) {
  if (until.empty() && !until_token) return then;
  return std::make_unique<FreeUntilRecognizer>(std::move(until), until_token,
                                               std::move(free_tokens), std::move(then));
}

}  // namespace tessera::guided
