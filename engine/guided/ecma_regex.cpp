#include "engine/guided/ecma_regex.hpp"

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "engine/guided/ecma_classes.hpp"
#include "engine/guided/ecma_left_context.hpp"
#include "engine/guided/ecma_syntax.hpp"
#include "engine/guided/regex_terms.hpp"

namespace tessera::guided {
namespace {

constexpr std::uint32_t kUnbounded = RegexPool::kUnbounded;
using Pool = RegexPool::Impl;

// For each state of the left context: the language of all the text from a position to the end.
using Rest = std::vector<RegexId>;

// Compiles from right to left. before(node, rest) is what may stand from the beginning of `node`
// on, if `rest` is what may stand behind it; so a lookahead is an intersection with all that
// follows, $ keeps the empty rest, and what asks about the left picks by the context's state.
class Compiler {
 public:
  Compiler(const EcmaTree& tree, Pool& pool, const GuidedLimits& limits)
      : tree_(tree), pool_(pool), limits_(limits), left_(pool) {}

  // Strings that begin with a match at `end`; if `search`, those that have one anywhere.
  Result<RegexId> compile(std::uint32_t root, RegexId end, bool search) {
    collect_left(root);
    if (!failed() && !left_.build()) {
      unsupported("what it asks of the text before a position takes too many states");
    }
    if (failed()) return std::move(*error_);
    Rest rest = before(root, Rest(left_.size(), end));
    if (search && !failed()) rest = repeated_set(everything(), 0, kUnbounded, rest);
    if (failed()) return std::move(*error_);
    return rest.front();
  }

 private:
  bool failed() const { return error_.has_value(); }
  void unsupported(std::string what) {
    if (!failed()) error_ = Error{Code::kUnsupportedParameter, std::move(what)};
  }
  // What most patterns come to is free, as reading them is.
  void pay(std::uint64_t units) {
    constexpr std::uint64_t kFree = 256;
    work_ += units;
    if (work_ > kFree) pool_.fuel.spend(std::min(units, work_ - kFree));
  }
  static CodePointSet everything() {
    CodePointSet all;
    all.add(0, kCodePointEnd);
    return all;
  }
  static bool uniform(const Rest& rest) {
    return std::all_of(rest.begin(), rest.end(), [&](RegexId r) { return r == rest.front(); });
  }
  Rest nothing() const { return Rest(left_.size(), RegexPool::kNothing); }

  // Notes what the pattern asks of the left, outside of lookbehinds (they have their own left).
  void collect_left(std::uint32_t at) {
    const EcmaNode& node = tree_.nodes[at];
    if (failed() || node.pure) return;
    language_.resize(tree_.nodes.size());
    if (node.kind == EcmaKind::kStart) language_[at] = left_.add(RegexPool::kEmpty);
    if (node.kind == EcmaKind::kBoundary) {
      language_[at] = left_.add(pool_.concat(RegexPool::kAnything, word()));
    }
    if (node.kind == EcmaKind::kLookbehind) {
      if (asks_right(node.children.front())) {
        return unsupported("a lookbehind that asks about what follows cannot be enforced");
      }
      Compiler inner(tree_, pool_, limits_);
      auto language = inner.compile(node.children.front(), RegexPool::kEmpty, true);
      if (!language) {
        error_ = language.error();
        return;
      }
      language_[at] = left_.add(*language);
      return;
    }
    for (const std::uint32_t child : node.children) collect_left(child);
  }
  bool asks_right(std::uint32_t at) const {
    const EcmaNode& node = tree_.nodes[at];
    if (node.pure || node.kind == EcmaKind::kLookbehind) return false;
    if (node.kind == EcmaKind::kConcat) {
      bool reads = false;  // what follows within reads something, and that is all a boundary sees
      for (auto c = node.children.rbegin(); c != node.children.rend(); ++c) {
        const bool sees_within = reads && tree_.nodes[*c].kind == EcmaKind::kBoundary;
        if (!sees_within && asks_right(*c)) return true;
        reads = reads || tree_.nodes[*c].shortest > 0;
      }
      return false;
    }
    if (node.kind == EcmaKind::kEnd || node.kind == EcmaKind::kBoundary ||
        node.kind == EcmaKind::kLookahead) {
      return true;
    }
    return std::any_of(node.children.begin(), node.children.end(),
                       [&](std::uint32_t child) { return asks_right(child); });
  }
  RegexId word() { return pool_.set(ecma_word_characters()); }

  // A node without assertions, as a language.
  RegexId language(std::uint32_t at) {
    const EcmaNode& node = tree_.nodes[at];
    switch (node.kind) {
      case EcmaKind::kSet:
        return pool_.set(tree_.sets[node.set]);
      case EcmaKind::kConcat: {
        RegexId term = RegexPool::kEmpty;
        for (auto c = node.children.rbegin(); c != node.children.rend(); ++c) {
          term = pool_.concat(language(*c), term);
        }
        return term;
      }
      case EcmaKind::kEither: {
        std::vector<RegexId> parts;
        parts.reserve(node.children.size());
        for (const std::uint32_t child : node.children) parts.push_back(language(child));
        return pool_.either(std::move(parts));
      }
      case EcmaKind::kRepeat:
        return pool_.repeat(language(node.children.front()), node.min, node.max);
      default:
        return RegexPool::kEmpty;
    }
  }

  Rest before(std::uint32_t at, const Rest& rest) {
    if (failed()) return nothing();
    const EcmaNode& node = tree_.nodes[at];
    if (node.pure && uniform(rest)) {
      return Rest(left_.size(), pool_.concat(language(at), rest.front()));
    }
    pay(1 + left_.size() / 8);
    switch (node.kind) {
      case EcmaKind::kEmpty:
        return rest;
      case EcmaKind::kSet:
        return before_set(tree_.sets[node.set], rest);
      case EcmaKind::kConcat: {
        Rest out = rest;
        for (auto c = node.children.rbegin(); c != node.children.rend(); ++c) {
          out = before(*c, out);
        }
        return out;
      }
      case EcmaKind::kEither:
        return before_either(node, rest);
      case EcmaKind::kRepeat:
        return before_repeat(node, rest);
      default:
        return before_assertion(at, node, rest);
    }
  }

  Rest before_either(const EcmaNode& node, const Rest& rest) {
    std::vector<std::vector<RegexId>> parts(left_.size());
    for (const std::uint32_t child : node.children) {
      const Rest branch = before(child, rest);
      for (std::size_t q = 0; q < branch.size(); ++q) parts[q].push_back(branch[q]);
    }
    Rest out;
    for (auto& part : parts) out.push_back(pool_.either(std::move(part)));
    return out;
  }

  Rest before_assertion(std::uint32_t at, const EcmaNode& node, const Rest& rest) {
    Rest out = rest;
    Rest ahead;
    if (node.kind == EcmaKind::kLookahead) {
      ahead = before(node.children.front(), Rest(left_.size(), RegexPool::kAnything));
    }
    for (std::size_t q = 0; q < out.size(); ++q) {
      switch (node.kind) {
        case EcmaKind::kStart:
        case EcmaKind::kLookbehind:
          if (left_.holds(q, language_[at]) == node.negative) out[q] = RegexPool::kNothing;
          break;
        case EcmaKind::kEnd:
          out[q] = pool_.both(out[q], RegexPool::kEmpty);
          break;
        case EcmaKind::kLookahead:
          out[q] = pool_.both(out[q], node.negative ? pool_.complement(ahead[q]) : ahead[q]);
          break;
        default: {  // a boundary: a word character on exactly one side
          const RegexId begins = pool_.concat(word(), RegexPool::kAnything);
          const bool other_side = left_.holds(q, language_[at]) == node.negative;
          out[q] = pool_.both(out[q], other_side ? begins : pool_.complement(begins));
        }
      }
    }
    return out;
  }

  // [from][to]: what a body without assertions reads on the way from one state to another.
  using Matrix = std::vector<Rest>;

  Rest before_set(const CodePointSet& set, const Rest& rest) {
    const Matrix& leads = leads_of(set);
    Rest out;
    std::size_t work = rest.size() * rest.size() / 64;
    for (const Rest& from : leads) {
      std::vector<RegexId> ways;
      for (std::size_t to = 0; to < rest.size(); ++to) {
        if (from[to] == RegexPool::kNothing || rest[to] == RegexPool::kNothing) continue;
        ways.push_back(pool_.concat(from[to], rest[to]));
      }
      work += ways.size();
      out.push_back(pool_.either(std::move(ways)));
    }
    pay(work);
    return out;
  }

  // The part of a set that leads from each state to each. Within repetitions it is asked for again
  // and again.
  const Matrix& leads_of(const CodePointSet& set) {
    constexpr std::uint64_t kUnitsOfSplit = 16;  // for each part of each state
    const auto [known, is_new] = leads_.try_emplace(pool_.set(set));
    Matrix& leads = known->second;
    if (!is_new) return leads;
    for (std::size_t q = 0; q < left_.size(); ++q) {
      pay(kUnitsOfSplit * left_.num_parts(q));
      Rest to;
      for (const CodePointSet& part : left_.split(set, q)) to.push_back(pool_.set(part));
      leads.push_back(std::move(to));
    }
    return leads;
  }

  template <class Body>  // Rest(const Rest&)
  Matrix ways(const Body& body) {
    Matrix matrix(left_.size(), nothing());
    for (std::size_t to = 0; to < left_.size(); ++to) {
      Rest unit = nothing();
      unit[to] = RegexPool::kEmpty;
      const Rest column = body(unit);
      for (std::size_t from = 0; from < left_.size(); ++from) matrix[from][to] = column[from];
    }
    return matrix;
  }

  Rest repeated_set(const CodePointSet& set, std::uint32_t min, std::uint32_t max,
                    const Rest& rest) {
    if (uniform(rest)) {
      return Rest(left_.size(), pool_.concat(pool_.repeat(pool_.set(set), min, max), rest.front()));
    }
    return repeated([&](const Rest& after) { return before_set(set, after); }, min, max, rest);
  }

  Rest before_repeat(const EcmaNode& node, const Rest& rest) {
    const std::uint32_t child = node.children.front();
    const auto body = [&](const Rest& after) { return before(child, after); };
    if (tree_.nodes[child].pure) return repeated(body, node.min, node.max, rest);
    if (node.max != kUnbounded) return unrolled(body, node.min, node.max, rest);
    const auto reading = [&](const Rest& after) { return before_reading(child, after); };
    return unrolled(body, node.min, node.min, endless(reading, rest));
  }

  // Like before(), but of the ways through a node only those that read something: ECMA-262 refuses
  // an iteration that reads nothing once there have been enough.
  Rest before_reading(std::uint32_t at, const Rest& rest) {
    const EcmaNode& node = tree_.nodes[at];
    if (node.shortest > 0) return before(at, rest);
    switch (node.kind) {
      case EcmaKind::kConcat: {
        Rest after = rest;  // what stands before the children already done, anyhow
        Rest out = nothing();
        for (auto c = node.children.rbegin(); c != node.children.rend(); ++c) {
          out = joined(before_reading(*c, after), through(*c, out));
          after = before(*c, after);
        }
        return out;
      }
      case EcmaKind::kEither: {
        Rest out = nothing();
        for (const std::uint32_t child : node.children) {
          out = joined(out, before_reading(child, rest));
        }
        return out;
      }
      case EcmaKind::kRepeat: {
        if (node.min > 1 && !node.pure) {
          unsupported("an assertion in a repetition within a repetition cannot be enforced");
          return nothing();
        }
        EcmaNode others = node;  // all but the first that reads
        others.min = 0;
        if (others.max != kUnbounded) --others.max;
        return before_reading(node.children.front(), before_repeat(others, rest));
      }
      default:
        return nothing();
    }
  }

  // Of the ways through a node only those that read nothing.
  Rest through(std::uint32_t at, const Rest& rest) {
    const EcmaNode& node = tree_.nodes[at];
    if (node.shortest > 0) return nothing();
    switch (node.kind) {
      case EcmaKind::kConcat: {
        Rest out = rest;
        for (const std::uint32_t child : node.children) out = through(child, out);
        return out;
      }
      case EcmaKind::kEither: {
        Rest out = nothing();
        for (const std::uint32_t child : node.children) out = joined(out, through(child, rest));
        return out;
      }
      case EcmaKind::kRepeat:
        return node.min == 0 ? rest : through(node.children.front(), rest);
      default:
        return before(at, rest);
    }
  }

  Rest joined(Rest a, const Rest& b) {
    for (std::size_t q = 0; q < a.size(); ++q) a[q] = pool_.either(a[q], b[q]);
    return a;
  }

  // The linear case: no assertion within.
  template <class Body>
  Rest repeated(const Body& body, std::uint32_t min, std::uint32_t max, const Rest& rest) {
    if (max == 0) return rest;
    const Matrix matrix = ways(body);
    if (auto out = repeated_alike(matrix, min, max, rest)) return *out;
    if (max == kUnbounded) return unrolled(body, min, min, closed(matrix, rest));
    return unrolled(body, min, max, rest);
  }

  // The common cases: a body leaves the state as it was, or where it leads to depends on what it
  // reads alone (always so for a set, where the state is what the last character was).
  std::optional<Rest> repeated_alike(const Matrix& matrix, std::uint32_t min, std::uint32_t max,
                                     const Rest& rest) {
    const std::size_t size = matrix.size();
    bool stays = true;
    bool alike = true;
    for (std::size_t q = 0; q < size; ++q) {
      alike = alike && matrix[q] == matrix.front();
      for (std::size_t to = 0; to < size; ++to) {
        stays = stays && (q == to || matrix[q][to] == RegexPool::kNothing);
      }
    }
    Rest out = nothing();
    for (std::size_t q = 0; q < size && stays; ++q) {
      out[q] = pool_.concat(pool_.repeat(matrix[q][q], min, max), rest[q]);
    }
    if (stays) return out;
    if (!alike) return std::nullopt;
    std::vector<RegexId> last;
    for (std::size_t to = 0; to < size; ++to) {
      last.push_back(pool_.concat(matrix.front()[to], rest[to]));
    }
    const RegexId others = pool_.repeat(pool_.either(matrix.front()), std::max(min, 1U) - 1,
                                        max == kUnbounded ? max : max - 1);
    const RegexId often = pool_.concat(others, pool_.either(std::move(last)));
    for (std::size_t q = 0; q < size; ++q) {
      out[q] = min == 0 ? pool_.either(rest[q], often) : often;
    }
    return out;
  }

  // The least solution of X = rest + matrix X, by elimination (Arden's rule).
  Rest closed(Matrix matrix, Rest rest) {
    const std::size_t size = matrix.size();
    for (std::size_t i = size; i-- > 0;) {
      pay(1 + i * i / 64);
      const RegexId around = pool_.repeat(matrix[i][i], 0, kUnbounded);
      rest[i] = pool_.concat(around, rest[i]);
      for (std::size_t j = 0; j < i; ++j) matrix[i][j] = pool_.concat(around, matrix[i][j]);
      for (std::size_t r = 0; r < i; ++r) {
        if (matrix[r][i] == RegexPool::kNothing) continue;
        pay(i);
        rest[r] = pool_.either(rest[r], pool_.concat(matrix[r][i], rest[i]));
        for (std::size_t j = 0; j < i; ++j) {
          matrix[r][j] = pool_.either(matrix[r][j], pool_.concat(matrix[r][i], matrix[i][j]));
        }
      }
    }
    for (std::size_t i = 0; i < size; ++i) {
      for (std::size_t j = 0; j < i; ++j) {
        rest[i] = pool_.either(rest[i], pool_.concat(matrix[i][j], rest[j]));
      }
    }
    return rest;
  }

  template <class Body>
  Rest unrolled(const Body& body, std::uint32_t min, std::uint32_t max, const Rest& rest) {
    constexpr std::uint32_t kMostCopies = 256;
    if (max > kMostCopies) {
      unsupported("an assertion next to or inside a repetition of more than " +
                  std::to_string(kMostCopies) + " times cannot be enforced");
      return nothing();
    }
    Rest out = rest;
    for (std::uint32_t i = 0; i < max && !failed(); ++i) {
      pool_.fuel.spend();
      out = body(out);
      if (i + min >= max) continue;  // the copies that must be there come first
      for (std::size_t q = 0; q < out.size(); ++q) out[q] = pool_.either(rest[q], out[q]);
    }
    return out;
  }

  // Assertions within an endless repetition: its rest is given by an equation over itself.
  template <class Body>
  Rest endless(const Body& body, const Rest& rest) {
    Rest unknown;
    for (const RegexId end : rest) unknown.push_back(pool_.make_fixpoint(pool_[end].nullable));
    const Rest more = body(unknown);
    for (std::size_t q = 0; q < rest.size(); ++q) {
      pool_.define_fixpoint(unknown[q], pool_.either(rest[q], more[q]));
    }
    return unknown;
  }

  const EcmaTree& tree_;
  Pool& pool_;
  const GuidedLimits& limits_;
  LeftContext left_;
  std::vector<std::size_t> language_;          // of each node that asks about the left: its number
  std::unordered_map<RegexId, Matrix> leads_;  // of each set
  std::uint64_t work_ = 0;                     // in units of fuel
  std::optional<Error> error_;
};

Result<RegexId> parse(std::string_view pattern, RegexPool& pool, const GuidedLimits& limits,
                      bool search) {
  const auto tree = read_ecma(pattern, limits);
  if (!tree) return tree.error();
  Compiler compiler(*tree, pool.impl(), limits);
  return compiler.compile(tree->root, search ? RegexPool::kAnything : RegexPool::kEmpty, search);
}

}  // namespace

Result<RegexId> parse_ecma_search(std::string_view pattern, RegexPool& pool,
                                  const GuidedLimits& limits) {
  return parse(pattern, pool, limits, true);
}

Result<RegexId> parse_ecma_whole(std::string_view pattern, RegexPool& pool,
                                 const GuidedLimits& limits) {
  return parse(pattern, pool, limits, false);
}

}  // namespace tessera::guided
