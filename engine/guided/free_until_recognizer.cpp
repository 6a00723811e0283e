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
// it is the other recognizer's own. While all that was read is a part of `from` it has the node
// kOpening and how long that part is: the other recognizer may have read the same.
class FreeUntilRecognizer final : public Recognizer {
 public:
  FreeUntilRecognizer(FreeSegment segment, std::unique_ptr<Recognizer> then)
      : from_(std::move(segment.from)),
        until_(std::move(segment.until)),
        until_token_(segment.until_token),
        free_tokens_(std::move(segment.free_tokens)),
        then_(std::move(then)) {
    if (!until_.empty()) triggers_ = TagTriggers({until_});
    if (until_token_) std::erase(free_tokens_, *until_token_);
  }

  Position start() override {
    if (then_->start().dead()) return {};
    return {.node = from_.empty() ? kFree : kOpening};
  }

  Position step(Position position, std::uint8_t byte) override {
    if (position.node == kOpening) return step_opening(position.mode, byte);
    if (position.node != kFree) return then_->step(position, byte);
    const TagTriggers::State next = triggers_.step(position.mode, byte);
    if (!triggers_.found(next).empty()) return then_->start();
    return {.node = kFree, .mode = next};
  }

  Position step_special(Position at, TokenId token) override {
    const Position position = unopened(at);
    if (position.dead()) return {};
    if (position.node != kFree) return then_->step_special(position, token);
    if (token == until_token_) return then_->start();
    return std::ranges::count(free_tokens_, token) != 0 ? Position{.node = kFree} : Position{};
  }

  void add_special(Position at, TokenMask& mask) override {
    const Position position = unopened(at);
    if (position.dead()) return;
    if (position.node != kFree) return then_->add_special(position, mask);
    for (const TokenId token : free_tokens_) mask.set(token);
    if (until_token_) mask.set(*until_token_);
  }

  bool accepting(Position at) override {
    const Position position = unopened(at);
    return !position.dead() && position.node != kFree && then_->accepting(position);
  }
  bool finished(Position position) override {
    return is_own(position) ? false : then_->finished(position);
  }

  MaskKey mask_key(Position position) override {
    if (!is_own(position)) return then_->mask_key(position);
    const auto node = std::uint64_t{position.node} << 32U;
    return {.high = ~std::uint64_t{0}, .low = node | position.mode};
  }

  ByteLoop loop(Position position) override {
    if (position.node == kOpening) return {};
    if (position.node != kFree) return then_->loop(position);
    if (position.mode != TagTriggers::kRoot) return {};
    const CodePointSet* harmless = &triggers_.harmless();
    return {.set = harmless, .remaining = RegexPool::kUnbounded, .same = harmless};
  }

  void fill(Position position, const Vocabulary& vocabulary, TokenMask& mask) override {
    if (!is_own(position)) return then_->fill(position, vocabulary, mask);
    walk_.fill(*this, position, vocabulary, mask);
    add_tokens_beside_utf8(*this, position, vocabulary, mask);
  }

  std::optional<std::uint8_t> forced(Position position) override {
    if (position.node == kFree) return std::nullopt;
    if (position.node != kOpening) return then_->forced(position);
    const auto opening = static_cast<std::uint8_t>(from_[position.mode]);
    const Position other = unopened(position);
    if (other.dead()) return opening;
    return then_->forced(other) == opening ? std::optional(opening) : std::nullopt;
  }

  // Nothing if only a special token can end the free text.
  std::string shortest_rest(Position at) override {
    const Position position = unopened(at);
    if (position.dead()) return from_.substr(at.mode) + shortest_rest({.node = kFree});
    if (position.node != kFree) return then_->shortest_rest(position);
    if (until_.empty()) return {};
    return until_.substr(triggers_.depth(position.mode)) + then_->shortest_rest(then_->start());
  }

  std::size_t bytes() const override { return triggers_.bytes() + then_->bytes(); }

 private:
  // Larger than any table grows.
  static constexpr std::uint32_t kFree = ~std::uint32_t{0};
  static constexpr std::uint32_t kOpening = kFree - 1;

  static bool is_own(Position position) {
    return position.node == kFree || position.node == kOpening;
  }

  // Where the other recognizer is if what was read of `from` is its own text: dead if it cannot be.
  // Of no opening, the position itself.
  Position unopened(Position position) {
    if (position.node != kOpening) return position;
    Position other = then_->start();
    for (std::uint32_t i = 0; i < position.mode && !other.dead(); ++i) {
      other = then_->step(other, static_cast<std::uint8_t>(from_[i]));
    }
    return other;
  }

  Position step_opening(std::uint32_t read, std::uint8_t byte) {
    if (byte != static_cast<std::uint8_t>(from_[read])) {
      const Position other = unopened({.node = kOpening, .mode = read});
      return other.dead() ? other : then_->step(other, byte);
    }
    if (read + 1 == from_.size()) return {.node = kFree};
    return {.node = kOpening, .mode = read + 1};
  }

  std::string from_;
  std::string until_;
  std::optional<TokenId> until_token_;
  std::vector<TokenId> free_tokens_;
  std::unique_ptr<Recognizer> then_;
  TagTriggers triggers_;
  TokenWalk<FreeUntilRecognizer> walk_;
};

}  // namespace

std::unique_ptr<Recognizer> make_free_until_recognizer(FreeSegment segment,
                                                       std::unique_ptr<Recognizer> then) {
  if (segment.until.empty() && !segment.until_token) return then;
  return std::make_unique<FreeUntilRecognizer>(std::move(segment), std::move(then));
}

}  // namespace tessera::guided
