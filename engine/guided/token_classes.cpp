#include "engine/guided/token_classes.hpp"

#include <algorithm>

#include "engine/guided/code_point_trie.hpp"
#include "engine/guided/vocabulary.hpp"
#include "engine/text/utf8.hpp"

namespace tessera::guided {

// Folds the trie of code points: each of its nodes goes where its parent went, by its class.
class TokenClasses::Builder {
 public:
  Builder(const CodePointTrie& from, std::size_t too_many, TokenClasses& out)
      : from_(from),
        too_many_(too_many),
        out_(out),
        draft_of_(scratch().draft_of),
        children_(scratch().children) {}

  void run() {
    if (out_.classes_.num_classes() > kMostClasses) return;
    classify_symbols();
    if (!fold()) return;
    count_tokens();
    number_nodes();
    place_ids();
    place_exits();
  }

 private:
  static constexpr std::uint32_t kNone = ~std::uint32_t{0};
  static constexpr std::uint32_t kMostClasses = 64;

  struct Draft {
    std::uint32_t parent = 0;
    std::uint32_t of = 0;
    std::uint32_t first_child = kNone;
    std::uint32_t next_sibling = kNone;
    std::uint32_t num_ids = 0;
    std::uint32_t num_exits = 0;
  };

  struct Scratch {
    std::vector<std::uint32_t> draft_of;
    std::vector<std::uint32_t> children;
  };

  // This thread's: a megabyte or two that need not be had anew each time.
  static Scratch& scratch() {
    thread_local Scratch scratch;
    return scratch;
  }

  void classify_symbols() {
    for (const char32_t symbol : from_.symbols()) {
      const std::uint32_t of = out_.classes_.class_of(symbol);
      class_of_.push_back(static_cast<std::uint8_t>(of));
      if (out_.samples_[of].empty()) append_utf8(out_.samples_[of], symbol);
    }
  }

  // False if there are too many.
  bool fold() {
    const std::span<const CodePointTrie::Node> nodes = from_.nodes();
    const std::size_t num_classes = out_.classes_.num_classes();
    draft_of_.resize(nodes.size());
    drafts_.emplace_back();
    children_.assign(num_classes, 0);
    for (std::uint32_t node = 1; node < nodes.size(); ++node) {
      const std::uint32_t parent = draft_of_[nodes[node].parent];
      const std::uint32_t of = class_of_[nodes[node].symbol];
      std::uint32_t draft = children_[parent * num_classes + of];
      if (draft == 0) {
        if (drafts_.size() > too_many_) return false;
        draft = children_[parent * num_classes + of] = add_draft(parent, of);
        children_.resize(drafts_.size() * num_classes);
      }
      draft_of_[node] = draft;
    }
    return true;
  }

  std::uint32_t add_draft(std::uint32_t parent, std::uint32_t of) {
    const auto draft = static_cast<std::uint32_t>(drafts_.size());
    drafts_.push_back({.parent = parent, .of = of, .next_sibling = drafts_[parent].first_child});
    return drafts_[parent].first_child = draft;
  }

  void count_tokens() {
    for (const std::uint32_t node : from_.nodes_of_ids()) ++drafts_[draft_of_[node]].num_ids;
    for (const CodePointTrie::Exit& exit : from_.exits()) ++drafts_[draft_of_[exit.node]].num_exits;
  }

  // In preorder.
  void number_nodes() {
    numbers_.resize(drafts_.size());
    std::vector<std::uint32_t> ends;  // of the nodes on the way down, as drafts
    std::vector<Node>& nodes = out_.nodes_;
    nodes.reserve(drafts_.size() + 1);
    std::uint32_t at = 0;
    std::uint32_t ids = 0;
    std::uint32_t exits = 0;
    while (at != kNone) {
      const Draft& draft = drafts_[at];
      numbers_[at] = static_cast<std::uint32_t>(nodes.size());
      nodes.push_back({numbers_[draft.parent], 0, ids, exits, draft.of});
      ids += draft.num_ids;
      exits += draft.num_exits;
      ends.push_back(at);
      at = draft.first_child;
      while (at == kNone && !ends.empty()) {
        nodes[numbers_[ends.back()]].end = static_cast<std::uint32_t>(nodes.size());
        at = drafts_[ends.back()].next_sibling;
        ends.pop_back();
      }
    }
    nodes.push_back({0, 0, ids, exits, 0});
  }

  void place_ids() {
    const std::size_t num_ids = from_.ids().size();
    out_.ids_.resize(num_ids);
    std::vector<std::uint32_t> next(drafts_.size());
    for (std::size_t i = 0; i < next.size(); ++i) next[i] = out_.nodes_[numbers_[i]].ids;
    const TokenId* const ids = from_.ids().data();
    const std::uint32_t* const nodes = from_.nodes_of_ids().data();
    TokenId* const placed = out_.ids_.data();
    for (std::size_t i = 0; i < num_ids; ++i) placed[next[draft_of_[nodes[i]]]++] = ids[i];
  }

  // Sorted as they come, within each node.
  void place_exits() {
    out_.exits_.resize(from_.exits().size());
    std::vector<std::uint32_t> next(drafts_.size());
    for (std::size_t i = 0; i < next.size(); ++i) next[i] = out_.nodes_[numbers_[i]].exits;
    for (const CodePointTrie::Exit& exit : from_.exits()) {
      const std::uint32_t draft = draft_of_[exit.node];
      const std::uint32_t place = next[draft]++;
      std::uint32_t alike = 0;
      if (place > out_.nodes_[numbers_[draft]].exits) {
        const auto differs = std::ranges::mismatch(out_.exits_[place - 1].rest, exit.rest).in2;
        alike = static_cast<std::uint32_t>(differs - exit.rest.begin());
      }
      out_.exits_[place] = {exit.rest, alike, exit.id};
    }
  }

  const CodePointTrie& from_;
  std::size_t too_many_;
  TokenClasses& out_;
  std::vector<std::uint8_t> class_of_;    // by symbol
  std::vector<std::uint32_t>& draft_of_;  // by node of code points
  std::vector<std::uint32_t>& children_;  // by draft and class; 0: none
  std::vector<Draft> drafts_;
  std::vector<std::uint32_t> numbers_;  // of nodes, by draft
};

TokenClasses::TokenClasses(const Vocabulary& vocabulary, const Partition& classes, bool quoted)
    : classes_(classes),
      quoted_(quoted),
      samples_(classes.num_classes()),
      all_(&vocabulary.code_points(quoted).all()) {
  // More nodes are no shorter a walk than one over all code points, which takes a few loads each.
  constexpr std::size_t kFewerNodes = 24;
  constexpr std::size_t kFewNodes = 1024;
  const std::size_t all_nodes = vocabulary.code_points(quoted).nodes().size();
  const std::size_t too_many = std::max(all_nodes / kFewerNodes, kFewNodes);
  Builder(vocabulary.code_points(quoted), too_many, *this).run();
}

bool TokenClasses::is(const Partition& classes, bool quoted) const {
  return quoted == quoted_ && classes.ascii == classes_.ascii && classes.beyond == classes_.beyond;
}

std::size_t TokenClasses::bytes() const {
  return sizeof *this + nodes_.capacity() * sizeof(Node) + ids_.capacity() * sizeof(TokenId) +
         exits_.capacity() * sizeof(Exit) + samples_.size() * sizeof(std::string) +
         classes_.beyond.size() * sizeof(Partition::Span);
}

}  // namespace tessera::guided
