// Masks against a recogniser that tries: every token of a vocabulary, at many states of many
// schemas.
//
// A sample by default; TESSERA_LONG=1 takes a million pairs of a state and a token, over more than
// a thousand schemas. TESSERA_SEED and TESSERA_SCHEMAS choose others. What is too much for the
// recogniser is given up, and counted.
#include "tests/engine/guided/brute_force.hpp"

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include <gtest/gtest.h>

#include "engine/guided/matcher.hpp"
#include "tests/engine/guided/brute_force_schemas.hpp"

namespace tessera::guided {
namespace {

constexpr std::size_t kShown = 20;

std::uint64_t from_environment(const char* name, std::uint64_t otherwise) {
  const char* set = std::getenv(name);
  return set == nullptr ? otherwise : std::strtoull(set, nullptr, 10);
}

// Every byte, and tokens that lie across the places where the grammar changes.
std::shared_ptr<const Vocabulary> make_vocabulary() {
  VocabularyTokens tokens;
  for (int byte = 0; byte < 256; ++byte) tokens.bytes.emplace_back(1, static_cast<char>(byte));
  for (const char* token :
       {"{\"",      "\":",     "\",\"",   "\"}",    "\"]",      "{}",    "[]",    "}}",
        "]}",       "}]",      "},",      "],",     "},{",      "],[",   "[{",    "{\"a\":",
        ",\"b\":",  "\"a\"",   "\"ab\":", "\"c\":", "\"b\":[",  "true",  "tr",    "alse",
        "null",     "ull",     "12",      "10",     "-1",       "0.5",   ".5",    ".25",
        "0.",       "25",      "00",      "ab",     "aa",       "ba",    "xyz",   "x-",
        "é",        "\xA9x",   "a\xC3",   "😀",      "\xF0\x9F", "\\u",   "\\u00", "0061",
        "\\ud83d",  "\\ude00", "\\\"",    "\\n",    "a\"",      "b\",",  "\"\"",  "[\"",
        "[1",       "1,",      "1}",      "1]",     "2,2",      "0,0",   "\"x",   "\"a\":1",
        "{\"a\":1", ":{",      ":[",      ":\"",    ":true",    ":null", "e}",    "l,",
        ":\"a\"",   "z",       "AB"}) {
    tokens.bytes.emplace_back(token);
  }
  tokens.bytes.emplace_back();
  tokens.special.assign(tokens.bytes.size(), false);
  tokens.special.back() = true;
  tokens.vocab_size = static_cast<int>(tokens.bytes.size());
  tokens.end_tokens = {tokens.vocab_size - 1};
  tokens.encode = [](std::string_view text) {
    std::vector<TokenId> ids;
    for (const char c : text) ids.push_back(static_cast<unsigned char>(c));
    return ids;
  };
  return std::make_shared<const Vocabulary>(std::move(tokens));
}

// How numbers are written is asked elsewhere: which of them have an exponent is a matter of choice,
// and the recogniser has three decimals. True where the answer depends on that.
bool depends_on_spelling(const std::string& text) {
  const auto read = read_partial(text);
  const Partial* inner = read ? &*read : nullptr;
  while (inner != nullptr && inner->child != nullptr) inner = inner->child.get();
  return inner != nullptr && inner->kind == Partial::Kind::kNumber;
}

bool is_too_exact(const std::string& text) {
  std::size_t digits = 0;
  bool fraction = false;
  for (const char c : text) {
    const bool digit = c >= '0' && c <= '9';
    digits = digit && fraction ? digits + 1 : 0;
    fraction = c == '.' || (fraction && digit);
    if (digits > 3) return true;
  }
  return false;
}

// e or E after a number that is still open.
bool makes_exponent(std::string_view before, std::string_view token) {
  const std::string text = std::string(before) + std::string(token);
  for (std::size_t end = before.size(); end < text.size(); ++end) {
    if (text[end] != 'e' && text[end] != 'E') continue;
    if (depends_on_spelling(text.substr(0, end))) return true;
  }
  return false;
}

struct Counts {
  std::size_t schemas = 0;
  std::size_t unsatisfiable = 0;  // by both
  std::size_t refused = 0;        // satisfiable, but not compiled
  std::size_t given_up = 0;       // too much for the recogniser part of the way; not in `schemas`
  std::size_t states = 0;
  std::size_t pairs = 0;
  std::size_t live = 0;
  std::size_t over = 0;   // refused by the mask though a document begins so
  std::size_t under = 0;  // allowed though none does
};

class Audit {
 public:
  explicit Audit(std::uint64_t seed) : maker_(seed), vocabulary_(make_vocabulary()) {}

  void schema(const Value& schema, bool ordered) {
    try {
      whole_schema(schema, ordered);
    } catch (const BruteForce::TooMuchToTry&) {
      ++counts_.given_up;
    }
  }

  SchemaMaker& maker() { return maker_; }
  const Counts& counts() const { return counts_; }

 private:
  static constexpr int kTexts = 3;
  // A few seconds' worth. A few schemas in a hundred would take many minutes.
  static constexpr std::uint64_t kMostTries = 3'000'000;

  void whole_schema(const Value& schema, bool ordered) {
    BruteForce oracle(schema, ordered, kMostTries);
    if (ordered && !oracle.one_order()) return whole_schema(schema, false);
    auto compiled = compile_constraint(spec(schema, ordered), vocabulary_);
    if (const auto* error = std::get_if<CompileError>(&compiled)) {
      ++counts_.schemas;
      return refusal(oracle, *error);
    }
    constraint_ = std::get<std::shared_ptr<Constraint>>(std::move(compiled));
    ordered_ = ordered;
    compare(oracle, "");
    for (int i = 0; i < kTexts && !oracle.documents().empty(); ++i) {
      const auto& documents = oracle.documents();
      // Those that were found last are the larger ones.
      const std::size_t from = i % 2 == 0 ? 0 : documents.size() / 2;
      const Value& document = documents[from + maker_.below(documents.size() - from)];
      const std::string text = maker_.spell(document, !ordered);
      if (!oracle.whole(text)) continue;  // its members lie in another order
      compare(oracle, text.substr(0, maker_.below(text.size() + 1)));
    }
    wander(oracle);
    ++counts_.schemas;
  }

  static ConstraintSpec spec(const Value& schema, bool ordered) {
    ConstraintSpec spec;
    spec.kind = ConstraintKind::kJsonSchema;
    spec.source = schema.dump();
    spec.schema.integer_form = spec.document.integer_form = IntegerForm::kValue;
    spec.document.property_order = ordered ? PropertyOrder::kSchema : PropertyOrder::kAny;
    return spec;
  }

  void refusal(BruteForce& oracle, const CompileError& error) {
    if (oracle.documents().empty()) {
      ++counts_.unsatisfiable;
      return;
    }
    ++counts_.refused;
    show("refused", oracle, error.findings.front().keyword + ": " + error.findings.front().reason,
         oracle.documents().front().dump());
  }

  // A text that the masks lead to, one token of many bytes at a time, and states along it.
  void wander(BruteForce& oracle) {
    Matcher matcher(constraint_);
    std::string text;
    for (int step = 0; step < 6; ++step) {
      const auto mask = matcher.mask();
      if (mask == nullptr) return;
      std::vector<TokenId> allowed;
      for (TokenId id = 0; id + 1 < vocabulary_->vocab_size(); ++id) {
        if ((*mask)[id] && !makes_exponent(text, vocabulary_->bytes(id))) allowed.push_back(id);
      }
      if (allowed.empty()) return;
      const TokenId next = allowed[maker_.below(allowed.size())];
      if (!matcher.accept(next)) return;
      text += vocabulary_->bytes(next);
      if (step == 2 || step == 5) compare(oracle, text);
    }
  }

  void compare(BruteForce& oracle, const std::string& text) {
    if (is_too_exact(text)) return;
    Matcher matcher(constraint_);
    for (const char c : text) {
      if (matcher.accept(static_cast<unsigned char>(c))) continue;
      // Where a document's own beginning is refused, that is the mistake.
      if (oracle.live(text)) count(true, false, oracle, text, "(the text itself)");
      return;
    }
    const auto mask = matcher.mask();
    ASSERT_NE(mask, nullptr) << oracle.validator().root() << " after " << text;
    ++counts_.states;
    const TokenId end = vocabulary_->vocab_size() - 1;
    for (TokenId id = 0; id < end; ++id) {
      const std::string_view token = vocabulary_->bytes(id);
      const std::string whole = text + std::string(token);
      if (makes_exponent(text, token) || is_too_exact(whole)) continue;
      bool live = oracle.live(whole);
      if (!live && (*mask)[id]) {
        if (depends_on_spelling(whole)) continue;  // 3 goes on as 3e-1
        live = has_witness(oracle, text, id);
      }
      count(live, (*mask)[id], oracle, text, token);
    }
    count(oracle.whole(text), (*mask)[end], oracle, text, "(end)");
  }

  // Where the recogniser has tried in vain: whether what the constraint itself would end the text
  // with makes a document.
  bool has_witness(BruteForce& oracle, const std::string& text, TokenId id) {
    Matcher matcher(constraint_);
    for (const char c : text) {
      if (!matcher.accept(static_cast<unsigned char>(c))) return false;
    }
    if (!matcher.accept(id)) return false;
    std::string whole = text + std::string(vocabulary_->bytes(id));
    for (const TokenId rest : matcher.shortest_completion()) whole += vocabulary_->bytes(rest);
    return oracle.whole(whole);
  }

  void count(bool live, bool allowed, const BruteForce& oracle, std::string_view text,
             std::string_view token) {
    ++counts_.pairs;
    counts_.live += live ? 1 : 0;
    if (live == allowed) return;
    ++(live ? counts_.over : counts_.under);
    show(live ? "over" : "under", oracle, text, token);
  }

  void show(const char* what, const BruteForce& oracle, std::string_view text,
            std::string_view token) {
    const std::string schema = oracle.validator().root().dump();
    if (schema == last_shown_ || shown_ == kShown) return;
    last_shown_ = schema;
    ++shown_;
    std::cout << what << (ordered_ ? " (ordered)" : "") << ": " << schema << "\n    after " << text
              << "\n    " << Value(std::string(token)).dump(-1, ' ', true, kReplace) << "\n";
  }

  static constexpr auto kReplace = Value::error_handler_t::replace;

  SchemaMaker maker_;
  std::shared_ptr<const Vocabulary> vocabulary_;
  std::shared_ptr<Constraint> constraint_;
  bool ordered_ = false;
  Counts counts_;
  std::string last_shown_;
  std::size_t shown_ = 0;
};

TEST(BruteForce, MasksAllowExactlyTheTokensThatSomeDocumentGoesOnWith) {
  const bool all = std::getenv("TESSERA_LONG") != nullptr;
  const std::uint64_t seed = from_environment("TESSERA_SEED", 20261121);
  const std::uint64_t schemas = from_environment("TESSERA_SCHEMAS", all ? 1300 : 40);
  std::cout << "seed " << seed << "\n";
  Audit audit(seed);
  for (const Value& schema : everyday_schemas()) {
    audit.schema(schema, false);
    audit.schema(schema, true);
  }
  for (std::uint64_t i = 0; i < schemas; ++i) audit.schema(audit.maker().make(), i % 3 == 0);
  const Counts& counts = audit.counts();
  std::cout << counts.schemas << " schemas (" << counts.unsatisfiable
            << " of them without a document, " << counts.refused << " refused), " << counts.given_up
            << " more given up, " << counts.states << " states, " << counts.pairs << " pairs, "
            << counts.live << " live: " << counts.over << " over, " << counts.under << " under\n";
  EXPECT_EQ(counts.over, 0U);
  EXPECT_EQ(counts.under, 0U);
  EXPECT_LE(counts.refused * 100, counts.schemas);
  EXPECT_LE(counts.given_up * 10, counts.schemas);
}

// What the recogniser says is checked where that is easy: of a document every beginning is live.
TEST(BruteForce, EveryBeginningOfADocumentIsLive) {
  SchemaMaker maker(7);
  int texts = 0;
  for (int i = 0; i < 60; ++i) {
    BruteForce oracle(maker.make(), false);
    for (std::size_t k = 0; k < std::min<std::size_t>(3, oracle.documents().size()); ++k) {
      const std::string text = maker.spell(oracle.documents()[k], true);
      EXPECT_TRUE(oracle.whole(text)) << oracle.validator().root() << " " << text;
      for (std::size_t end = 0; end < text.size(); ++end) {
        EXPECT_TRUE(oracle.live(text.substr(0, end)))
            << oracle.validator().root() << " " << text.substr(0, end);
      }
      ++texts;
    }
  }
  EXPECT_GT(texts, 100);
}

}  // namespace
}  // namespace tessera::guided
