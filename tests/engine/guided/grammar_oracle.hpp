// grammar_oracle.hpp — the texts of a small grammar by enumeration: what the Earley rows must agree
// with. Nothing here knows of items, rows or automata: a language is the set of its texts up to a
// length, and a grammar's is the least fixpoint of its rules.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <vector>

namespace tessera::guided {

using Texts = std::set<std::string>;

class GrammarOracle {
 public:
  enum class Syntax : std::uint8_t { kLark, kGbnf };

  // A random grammar over a and b; with `ignored`, c may stand between lexemes and around them.
  GrammarOracle(std::uint64_t seed, std::size_t max_length, bool ignored)
      : random_(seed), max_length_(max_length), ignored_(ignored) {
    const std::size_t num_rules = 1 + below(4);
    for (std::size_t i = 0; i < num_rules; ++i) names_.push_back("r" + std::string(i + 1, 'x'));
    for (std::size_t i = 0; i < num_rules; ++i) rules_.push_back(choice(2));
  }

  std::string print(Syntax syntax) const {
    const bool lark = syntax == Syntax::kLark;
    std::string text = lark ? "start: " + names_[0] + "\n" : "root ::= " + names_[0] + "\n";
    for (std::size_t i = 0; i < rules_.size(); ++i)
      text += names_[i] + (lark ? ": " : " ::= ") + print(*rules_[i], syntax) + "\n";
    if (ignored_) text += "%ignore \"c\"\n";
    return text;
  }

  // All texts up to the length.
  Texts texts() {
    std::vector<Texts> found(rules_.size());
    for (bool grown = true; grown;) {
      grown = false;
      for (std::size_t i = 0; i < rules_.size(); ++i) {
        Texts texts = of(*rules_[i], found);
        grown = grown || texts.size() > found[i].size();
        found[i] = std::move(texts);
      }
    }
    return ignored_ ? joined(found[0], ignorable()) : found[0];
  }

  // Whether a rule in reach of the first derives no text at all.
  bool has_unproductive_rule() const {
    std::vector<bool> productive(rules_.size());
    for (std::size_t round = 0; round <= rules_.size(); ++round)
      for (std::size_t i = 0; i < rules_.size(); ++i)
        productive[i] = is_productive(*rules_[i], productive);
    std::vector<bool> reached(rules_.size());
    reach(0, reached);
    for (std::size_t i = 0; i < rules_.size(); ++i)
      if (reached[i] && !productive[i]) return true;
    return false;
  }

 private:
  struct Node {
    enum class Kind : std::uint8_t { kText, kRule, kSequence, kChoice, kRepeat } kind;
    std::string text = {};
    std::size_t rule = 0;
    std::size_t min = 0;
    std::size_t max = 0;  // kMany: no end
    std::vector<std::unique_ptr<Node>> parts = {};
  };
  using Kind = Node::Kind;
  static constexpr std::size_t kMany = 1000;

  std::size_t below(std::size_t end) { return random_() % end; }

  std::unique_ptr<Node> choice(int depth) {
    Node node{.kind = Kind::kChoice};
    for (std::size_t i = 0, n = 1 + below(3); i < n; ++i) node.parts.push_back(sequence(depth));
    return std::make_unique<Node>(std::move(node));
  }

  std::unique_ptr<Node> sequence(int depth) {
    Node node{.kind = Kind::kSequence};
    for (std::size_t i = 0, n = below(8) == 0 ? 0 : 1 + below(3); i < n; ++i)
      node.parts.push_back(item(depth));
    return std::make_unique<Node>(std::move(node));
  }

  std::unique_ptr<Node> item(int depth) {
    static const std::vector<std::string> kTexts = {"a", "b", "ab", "ba", "aa"};
    const std::size_t kind = below(10);
    Node node{.kind = Kind::kText, .text = kTexts[below(kTexts.size())]};
    if (kind >= 4) node = {.kind = Kind::kRule, .rule = below(names_.size())};
    auto made = std::make_unique<Node>(std::move(node));
    if (kind >= 8 && depth > 0) made = choice(depth - 1);
    if (below(5) != 0) return made;
    static constexpr std::size_t kBounds[][2] = {{0, 1}, {0, kMany}, {1, kMany}, {0, 2}, {2, 3}};
    const auto& bounds = kBounds[below(std::size(kBounds))];
    Node repeat{.kind = Kind::kRepeat, .min = bounds[0], .max = bounds[1]};
    repeat.parts.push_back(std::move(made));
    return std::make_unique<Node>(std::move(repeat));
  }

  std::string print(const Node& node, Syntax syntax) const {
    std::string text;
    switch (node.kind) {
      case Kind::kText:
        return '"' + node.text + '"';
      case Kind::kRule:
        return names_[node.rule];
      case Kind::kSequence:
        for (const auto& part : node.parts) {
          const std::string printed = print(*part, syntax);
          text += part->kind == Kind::kChoice ? "( " + printed + ") " : printed + ' ';
        }
        return text;
      case Kind::kChoice:
        for (const auto& part : node.parts)
          text += (text.empty() ? "" : "| ") + print(*part, syntax) + ' ';
        return text;
      case Kind::kRepeat:
        break;
    }
    text = "( " + print(*node.parts[0], syntax) + " )";
    if (node.max == kMany) return text + (node.min == 0 ? "*" : "+");
    if (node.max == 1) return text + "?";
    const std::string min = std::to_string(node.min);
    const std::string max = std::to_string(node.max);
    return text + (syntax == Syntax::kLark ? "~" + min + ".." + max : "{" + min + "," + max + "}");
  }

  Texts joined(const Texts& first, const Texts& second) const {
    Texts all;
    for (const std::string& a : first)
      for (const std::string& b : second)
        if (a.size() + b.size() <= max_length_) all.insert(a + b);
    return all;
  }

  Texts ignorable() const {
    Texts texts;
    for (std::size_t i = 0; i <= max_length_; ++i) texts.insert(std::string(i, 'c'));
    return texts;
  }

  Texts of(const Node& node, const std::vector<Texts>& found) const {
    Texts all;
    switch (node.kind) {
      case Kind::kText:
        return ignored_ ? joined(ignorable(), {node.text}) : Texts{node.text};
      case Kind::kRule:
        return found[node.rule];
      case Kind::kSequence:
        all = {""};
        for (const auto& part : node.parts) all = joined(all, of(*part, found));
        return all;
      case Kind::kChoice:
        for (const auto& part : node.parts) all.merge(of(*part, found));
        return all;
      case Kind::kRepeat:
        break;
    }
    const Texts once = of(*node.parts[0], found);
    Texts some = {""};
    for (std::size_t i = 0; i <= std::min(node.max, node.min + max_length_); ++i) {
      if (i >= node.min) all.insert(some.begin(), some.end());
      some = joined(some, once);
    }
    return all;
  }

  bool is_productive(const Node& node, const std::vector<bool>& productive) const {
    const auto known = [&](const auto& part) { return is_productive(*part, productive); };
    switch (node.kind) {
      case Kind::kText:
        return true;
      case Kind::kRule:
        return productive[node.rule];
      case Kind::kSequence:
        return std::ranges::all_of(node.parts, known);
      case Kind::kChoice:
        return std::ranges::any_of(node.parts, known);
      case Kind::kRepeat:
        return node.min == 0 || known(node.parts[0]);
    }
    return false;
  }

  void reach(std::size_t rule, std::vector<bool>& reached) const {
    if (reached[rule]) return;
    reached[rule] = true;
    reach_in(*rules_[rule], reached);
  }
  void reach_in(const Node& node, std::vector<bool>& reached) const {
    if (node.kind == Kind::kRule) reach(node.rule, reached);
    for (const auto& part : node.parts) reach_in(*part, reached);
  }

  std::mt19937_64 random_;
  std::size_t max_length_;
  bool ignored_;
  std::vector<std::string> names_;
  std::vector<std::unique_ptr<Node>> rules_;
};

}  // namespace tessera::guided
