#include "tests/bench/guided/cases.hpp"

#include <bit>
#include <cstdint>
#include <ctime>
#include <random>
#include <stdexcept>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "engine/guided/constraint.hpp"

namespace tessera::guided {
namespace {

using Ids = std::vector<TokenId>;

std::int64_t now_ns() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return std::int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

template <class T>
T chosen(const Json& object, const char* field,
         std::initializer_list<std::pair<const char*, T>> of) {
  const std::string name = object.value(field, std::string(of.begin()->first));
  for (const auto& [known, value] : of) {
    if (name == known) return value;
  }
  throw std::runtime_error(std::string("no such ") + field + ": " + name);
}

ConstraintSpec read_case(const Json& object) {
  ConstraintSpec spec;
  spec.kind = ConstraintKind::kJsonSchema;
  spec.source = object.at("schema").get<std::string>();
  spec.schema.default_draft = chosen<Draft>(object, "draft",
                                            {{"draft2020-12", Draft::k2020_12},
                                             {"draft2019-09", Draft::k2019_09},
                                             {"draft7", Draft::k7},
                                             {"draft6", Draft::k6},
                                             {"draft4", Draft::k4}});
  spec.schema.assert_formats = object.value("formats", true);
  spec.schema.integer_form = chosen<IntegerForm>(
      object, "integers", {{"digits", IntegerForm::kDigits}, {"value", IntegerForm::kValue}});
  const Json documents = object.value("documents", Json::object());
  for (const auto& [uri, text] : documents.items()) {
    spec.schema.documents.emplace_back(uri, text.get<std::string>());
  }
  spec.document.integer_form = spec.schema.integer_form;
  spec.document.property_order = chosen<PropertyOrder>(
      object, "order", {{"schema", PropertyOrder::kSchema}, {"any", PropertyOrder::kAny}});
  spec.document.whitespace =
      chosen<Whitespace>(object, "whitespace",
                         {{"compact", Whitespace::kCompact}, {"flexible", Whitespace::kFlexible}});
  return spec;
}

const char* kind_name(CompileError::Kind kind) {
  switch (kind) {
    case CompileError::Kind::kInvalid:
      return "invalid";
    case CompileError::Kind::kUnsupported:
      return "unsupported";
    case CompileError::Kind::kTooLarge:
      return "too large";
    case CompileError::Kind::kTooComplex:
      return "too complex";
  }
  return "unknown";
}

void write_refusal(const CompileError& error, Json& answer) {
  answer["refused"] = kind_name(error.kind);
  Json& findings = answer["findings"] = Json::array();
  for (const GuidedFinding& finding : error.findings) {
    findings.push_back(
        {{"pointer", finding.pointer}, {"keyword", finding.keyword}, {"reason", finding.reason}});
  }
}

// nullptr if it was refused, which is then in `answer`.
std::shared_ptr<Constraint> compile(const ConstraintSpec& spec, const SharedVocabulary& vocabulary,
                                    Json& answer) {
  const std::int64_t start = now_ns();
  auto compiled = compile_constraint(spec, vocabulary);
  answer["compile_ns"].push_back(now_ns() - start);
  if (auto* error = std::get_if<CompileError>(&compiled)) {
    write_refusal(*error, answer);
    return nullptr;
  }
  return std::get<std::shared_ptr<Constraint>>(std::move(compiled));
}

bool may_end(Matcher& matcher, const Vocabulary& vocabulary) {
  const auto mask = matcher.mask();
  return mask != nullptr && (*mask)[vocabulary.end_tokens().front()];
}

// One instance, until a token is refused.
Json follow(const std::shared_ptr<Constraint>& constraint, const Vocabulary& vocabulary,
            const Ids& ids, Json& ns) {
  Matcher matcher(constraint);
  int accepted = 0;
  int disagree = 0;
  bool failed = false;
  for (const TokenId id : ids) {
    const std::int64_t start = now_ns();
    const auto mask = matcher.mask();
    const bool accepts = matcher.accept(id);
    ns.push_back(now_ns() - start);
    failed = mask == nullptr;
    if (failed) break;
    if ((*mask)[id] != accepts) ++disagree;
    if (!accepts) break;
    ++accepted;
  }
  const bool whole = accepted == static_cast<int>(ids.size());
  const bool end = whole && matcher.accepting();
  if (whole && end != may_end(matcher, vocabulary)) ++disagree;
  return {{"tokens", accepted},
          {"whole", whole},
          {"end", end},
          {"failed", failed},
          {"disagree", disagree}};
}

// Documents drawn from masks: the caller's share of tokens that close something, the rest uniform.
class Walker {
 public:
  Walker(std::shared_ptr<Constraint> constraint, const Vocabulary& vocabulary, std::uint64_t seed)
      : constraint_(std::move(constraint)), vocabulary_(vocabulary), random_(seed) {
    for (TokenId id = 0; id < vocabulary.vocab_size(); ++id) {
      if (closes(vocabulary.bytes(id))) closing_.push_back(id);
    }
  }

  // After `soft` tokens it closes what it can, after `hard` it takes the shortest way out.
  void draw(int soft, int hard, Json& answer) {
    Matcher matcher(constraint_);
    std::string text;
    for (int step = 0; step < hard; ++step) {
      const auto mask = matcher.mask();
      if (mask == nullptr) return put(answer["failed"], text);
      const TokenId next = choose(*mask, step >= soft ? 3 : 1);
      if (next < 0) return put(answer["dead"], text);
      if (is_end(next)) return put(answer["documents"], text);
      if (!matcher.accept(next)) return put(answer["disagree"], text);
      text += vocabulary_.bytes(next);
      ++num_tokens_;
    }
    finish(matcher, std::move(text), answer);
  }

  std::int64_t num_tokens() const { return num_tokens_; }

 private:
  static bool closes(std::string_view bytes) {
    return !bytes.empty() &&
           std::string_view("\"}],").find(bytes.front()) != std::string_view::npos;
  }
  bool is_end(TokenId id) const {
    for (const TokenId end : vocabulary_.end_tokens()) {
      if (end == id) return true;
    }
    return false;
  }

  // Bytes as characters of U+0000 to U+00FF: a document that is not UTF-8 would be a finding too.
  static void put(Json& list, const std::string& bytes) {
    std::string text;
    for (const char c : bytes) {
      const auto byte = static_cast<unsigned char>(c);
      if (byte < 0x80) {
        text += c;
      } else {
        text += static_cast<char>(0xC0U | byte >> 6);
        text += static_cast<char>(0x80U | (byte & 63U));
      }
    }
    list.push_back(text);
  }

  // The shortest completion, every token of which the masks must allow.
  void finish(Matcher& matcher, std::string text, Json& answer) {
    for (const TokenId id : matcher.shortest_completion()) {
      const auto mask = matcher.mask();
      if (mask == nullptr) return put(answer["failed"], text);
      if (!(*mask)[id] || !matcher.accept(id)) return put(answer["disagree"], text);
      text += vocabulary_.bytes(id);
      ++num_tokens_;
    }
    put(matcher.accepting() ? answer["documents"] : answer["open"], text);
  }

  // -1: nothing is allowed.
  TokenId choose(const TokenMask& mask, unsigned closing_of_4) {
    if (random_() % 4 < closing_of_4) {
      for (const TokenId end : vocabulary_.end_tokens()) {
        if (mask[end]) return end;
      }
      const TokenId found = choose_closing(mask);
      if (found >= 0) return found;
    }
    return choose_any(mask);
  }

  TokenId choose_closing(const TokenMask& mask) {
    Ids allowed;
    for (const TokenId id : closing_) {
      if (mask[id]) allowed.push_back(id);
    }
    return allowed.empty() ? TokenId{-1} : allowed[random_() % allowed.size()];
  }

  TokenId choose_any(const TokenMask& mask) {
    std::size_t count = 0;
    for (const std::uint64_t word : mask.words())
      count += static_cast<std::size_t>(std::popcount(word));
    if (count == 0) return -1;
    std::size_t skip = random_() % count;
    for (std::size_t i = 0; i < mask.words().size(); ++i) {
      std::uint64_t word = mask.words()[i];
      const auto here = static_cast<std::size_t>(std::popcount(word));
      if (skip >= here) {
        skip -= here;
        continue;
      }
      for (; skip > 0; --skip) word &= word - 1;
      return static_cast<TokenId>(64 * i + static_cast<std::size_t>(std::countr_zero(word)));
    }
    return -1;
  }

  std::shared_ptr<Constraint> constraint_;
  const Vocabulary& vocabulary_;
  std::mt19937_64 random_;
  Ids closing_;
  std::int64_t num_tokens_ = 0;
};

}  // namespace

Json empty_intervals(int count) {
  Json ns = Json::array();
  for (int i = 0; i < count; ++i) {
    const std::int64_t start = now_ns();
    ns.push_back(now_ns() - start);
  }
  return {{"ns", std::move(ns)}};
}

Json replay(const Json& request, const SharedVocabulary& vocabulary) {
  Json answer;
  const ConstraintSpec spec = read_case(request.at("replay"));
  const auto instances = request.at("ids").get<std::vector<Ids>>();
  const auto constraint = compile(spec, vocabulary, answer);
  if (constraint == nullptr) return answer;
  Json& cold = answer["cold_ns"] = Json::array();
  Json& results = answer["instances"] = Json::array();
  for (const Ids& ids : instances) results.push_back(follow(constraint, *vocabulary, ids, cold));
  if (!request.value("warm", false)) return answer;
  Json& warm = answer["warm_ns"] = Json::array();
  for (const Ids& ids : instances) follow(constraint, *vocabulary, ids, warm);
  return answer;
}

Json masks(const Json& request, const SharedVocabulary& vocabulary) {
  Json answer;
  const auto constraint = compile(read_case(request.at("masks")), vocabulary, answer);
  if (constraint == nullptr) return answer;
  Json& lists = answer["masks"] = Json::array();
  for (const Json& prefix : request.at("ids")) {
    Matcher matcher(constraint);
    bool accepted = true;
    for (const Json& id : prefix) accepted = accepted && matcher.accept(id.get<TokenId>());
    const auto mask = accepted ? matcher.mask() : nullptr;
    Json& list = lists.emplace_back();
    if (mask == nullptr) continue;
    list = Json::array();
    for (TokenId id = 0; id < vocabulary->vocab_size(); ++id) {
      if ((*mask)[id]) list.push_back(id);
    }
  }
  return answer;
}

Json walk(const Json& request, const SharedVocabulary& vocabulary) {
  Json answer;
  const auto constraint = compile(read_case(request.at("walk")), vocabulary, answer);
  if (constraint == nullptr) return answer;
  for (const char* list : {"documents", "dead", "open", "failed", "disagree"}) {
    answer[list] = Json::array();
  }
  Walker walker(constraint, *vocabulary, request.value("seed", std::uint64_t{1}));
  for (int i = 0; i < request.value("count", 1); ++i) {
    walker.draw(request.value("soft", 40), request.value("hard", 200), answer);
  }
  answer["tokens"] = walker.num_tokens();
  return answer;
}

}  // namespace tessera::guided
