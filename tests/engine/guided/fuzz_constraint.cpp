// fuzz_constraint.cpp — any grammar, schema, set of tags or list of choices is refused with
// findings or compiled, within its fuel; what is compiled can be followed, and from everywhere it
// has an end.
//
// The first byte says what the input is, the second steers the walk, the rest is the source.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>
#include <variant>

#include "engine/guided/compiled_constraint.hpp"

namespace {

using namespace tessera::guided;

// Longer inputs are cut: what they could show, shorter ones show sooner.
constexpr std::size_t kMaxBytes = 200;

void require(bool holds) {
  if (!holds) std::abort();
}

GuidedLimits small_limits() {
  GuidedLimits limits;
  limits.compile_fuel = 8'000;
  limits.mask_fuel = 4'000;
  limits.max_constraint_bytes = std::size_t{8} << 20;
  limits.max_earley_items = 500;
  return limits;
}

std::shared_ptr<const Vocabulary> bytes_alone() {
  static const auto made = [] {
    VocabularyTokens tokens;
    for (int byte = 0; byte < 256; ++byte) tokens.bytes.emplace_back(1, static_cast<char>(byte));
    tokens.bytes.emplace_back();
    tokens.special.assign(tokens.bytes.size(), false);
    tokens.special.back() = true;
    tokens.end_tokens = {256};
    tokens.vocab_size = 257;
    tokens.encode = [](std::string_view text) {
      std::vector<tessera::TokenId> ids;
      for (const char byte : text) ids.push_back(static_cast<unsigned char>(byte));
      return ids;
    };
    return std::make_shared<const Vocabulary>(std::move(tokens));
  }();
  return made;
}

// Lines: the first is a trigger, then of each three a begin, an end and a body.
TagRules tags_of(std::string_view source, unsigned how) {
  const auto line = [&] {
    const auto end = std::min(source.find('\n'), source.size());
    const std::string text(source.substr(0, end));
    source.remove_prefix(std::min(end + 1, source.size()));
    return text;
  };
  TagRules rules;
  rules.triggers.push_back(line());
  while (!source.empty() && rules.tags.size() < 8) {
    Tag tag;
    tag.begin = rules.triggers.front() + line();
    tag.end = line();
    auto body = std::make_shared<ConstraintSpec>();
    body->source = line();
    body->kind = how % 2 == 0 ? ConstraintKind::kRegex : ConstraintKind::kJsonSchema;
    tag.body = std::move(body);
    rules.tags.push_back(std::move(tag));
  }
  rules.at_least_one = (how & 2) != 0;
  rules.stop_after_first = (how & 4) != 0;
  rules.free_text = (how & 8) == 0;
  return rules;
}

ConstraintSpec spec_of(unsigned kind, unsigned how, std::string_view source) {
  ConstraintSpec spec;
  spec.source = source;
  switch (kind % 6) {
    case 0:
      spec.kind = ConstraintKind::kLark;
      break;
    case 1:
      spec.kind = ConstraintKind::kGbnf;
      break;
    case 2:
      spec.kind = ConstraintKind::kTags;
      spec.tags = tags_of(source, how);
      break;
    case 3:
      spec.kind = ConstraintKind::kRegex;
      break;
    default:
      spec.kind = ConstraintKind::kJsonSchema;
      spec.document.property_order = kind % 6 == 4 ? PropertyOrder::kSchema : PropertyOrder::kAny;
      spec.document.whitespace = (how & 1) != 0 ? Whitespace::kFlexible : Whitespace::kCompact;
      spec.document.escapes = (how & 2) != 0 ? Escapes::kMinimal : Escapes::kJson;
      spec.document.integer_form = (how & 4) != 0 ? IntegerForm::kValue : IntegerForm::kDigits;
      spec.schema.integer_form = spec.document.integer_form;
  }
  return spec;
}

// Steps by bytes that `seed` chooses among the live ones. At a few places the shortest rest is
// read.
void walk(CompiledRecognizer& compiled, const GuidedLimits& limits, unsigned seed) {
  Recognizer& recognizer = *compiled.recognizer;
  Position at = recognizer.start();
  require(!at.dead());
  for (int steps = 0; steps < 24; ++steps) {
    compiled.fuel.refill(limits.mask_fuel);
    if (steps % 8 == 3) {
      Position end = at;
      const std::string rest = recognizer.shortest_rest(at);
      for (const char byte : rest) {
        compiled.fuel.refill(limits.mask_fuel);
        end = recognizer.step(end, static_cast<std::uint8_t>(byte));
        require(!end.dead());
      }
      require(recognizer.accepting(end));
      compiled.fuel.refill(limits.mask_fuel);
    }
    const auto forced = recognizer.forced(at);
    Position next;
    for (unsigned tried = 0; tried < 256 && next.dead(); ++tried) {
      const auto byte = static_cast<std::uint8_t>(forced ? *forced : (seed + tried * 37) % 256);
      next = recognizer.step(at, byte);
      if (forced) require(!next.dead());
    }
    if (next.dead()) {
      require(recognizer.accepting(at));
      return;
    }
    at = next;
    seed = seed * 1'103'515'245 + 12'345;
    seed = (seed >> 8) ^ seed;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) return 0;
  const std::string_view source(reinterpret_cast<const char*>(data) + 2,
                                std::min(size - 2, kMaxBytes));
  const auto limits = small_limits();
  const auto spec = spec_of(data[0], data[1], source);
  auto made = compile_recognizer(spec, *bytes_alone(), limits);
  if (const auto* error = std::get_if<CompileError>(&made)) {
    require(!error->findings.empty() && error->findings.size() <= limits.max_findings);
    return 0;
  }
  try {
    walk(*std::get<std::unique_ptr<CompiledRecognizer>>(made), limits, data[1]);
  } catch (const FuelExhausted&) {
  }
  return 0;
}
