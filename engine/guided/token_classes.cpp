#include "engine/guided/token_classes.hpp"

#include <algorithm>

#include "engine/guided/ranked_trie.hpp"
#include "engine/guided/utf8_pending.hpp"
#include "engine/guided/vocabulary.hpp"
#include "engine/text/utf8.hpp"

namespace tessera::guided {

// Goes over the sorted tokens once, reading of each what it does not have in common with the one
// before, and beside it over the trie of classes that it makes.
class TokenClasses::Builder {
 public:
  Builder(const Vocabulary& vocabulary, TokenClasses& out)
      : vocabulary_(vocabulary), out_(out), path_(vocabulary.longest_token() + 1) {}

  void run() {
    const auto num_tokens = static_cast<std::uint32_t>(vocabulary_.ids().size());
    // So many nodes are no shorter a walk than the vocabulary's own.
    const std::size_t too_many = vocabulary_.trie().num_nodes() / 2;
    nodes_.emplace_back();
    ids_.reserve(num_tokens);
    for (std::uint32_t rank = 0; rank < num_tokens; ++rank) {
      if (nodes_.size() > too_many) return;
      const std::string_view token = vocabulary_.bytes_at(rank);
      const std::size_t alike = vocabulary_.alike(rank);
      if (alike <= stop_.at) stop_ = read(token, alike);
      if (stop_.kind == Stop::Kind::kDead) continue;
      // Where the token ends, or its last whole code point does.
      const At& at = path_[std::min(stop_.at, token.size())];
      if (stop_.kind == Stop::Kind::kNone && at.left == 0) {
        ids_.push_back({at.draft, rank, 0});
        ++nodes_[at.draft].num_ids;
      } else {
        add_exit(at.draft, rank, at.whole);
      }
    }
    number_nodes();
  }

 private:
  static constexpr std::uint32_t kNone = ~std::uint32_t{0};

  struct Draft {
    std::uint32_t parent = 0;
    std::uint32_t of = 0;
    std::uint32_t first_child = kNone;
    std::uint32_t last_child = kNone;  // asked for
    std::uint32_t next_sibling = kNone;
    std::uint32_t num_ids = 0;
    std::uint32_t num_exits = 0;
  };
  struct At {
    std::uint32_t draft = 0;  // the classes up to there
    std::uint32_t whole = 0;  // bytes that are whole code points
    std::uint32_t left = 0;   // bytes of the code point that is begun, or not 0
    Utf8Pending pending;
  };
  struct Placed {
    std::uint32_t draft;
    std::uint32_t rank;
    std::uint32_t whole;  // of an exit: bytes before it
  };
  // Before which byte reading stopped: at the end, at what is of no class, or never to be alive.
  struct Stop {
    enum class Kind : std::uint8_t { kNone, kExit, kDead } kind = Kind::kNone;
    std::size_t at = 0;
  };

  // From where `depth` bytes are read.
  Stop read(std::string_view token, std::size_t depth) {
    for (; depth < token.size(); ++depth) {
      const auto byte = static_cast<std::uint8_t>(token[depth]);
      const At& at = path_[depth];
      At& next = path_[depth + 1];
      if (byte < 0x80) {
        if (at.left != 0) return {Stop::Kind::kDead, depth};
        if (out_.quoted_ && byte < 0x20) return {Stop::Kind::kDead, depth};
        if (out_.quoted_ && (byte == '"' || byte == '\\')) return {Stop::Kind::kExit, depth};
        next = {draft_child(at.draft, byte), at.whole + 1, 0, Utf8Pending()};
        continue;
      }
      const Utf8Pending pending = at.pending.next(byte);
      if (pending.dead()) return {Stop::Kind::kDead, depth};
      if (pending.whole()) {
        next = {draft_child(at.draft, pending.code_point()), static_cast<std::uint32_t>(depth) + 1,
                0, Utf8Pending()};
      } else {
        next = {at.draft, at.whole, 1, pending};
      }
    }
    return {Stop::Kind::kNone, token.size()};
  }

  std::uint32_t draft_child(std::uint32_t draft, char32_t code_point) {
    const std::uint32_t of = out_.classes_.class_of(code_point);
    std::uint32_t child = nodes_[draft].last_child;
    if (child != kNone && nodes_[child].of == of) return child;
    child = nodes_[draft].first_child;
    while (child != kNone && nodes_[child].of != of) child = nodes_[child].next_sibling;
    if (child != kNone) return nodes_[draft].last_child = child;
    child = static_cast<std::uint32_t>(nodes_.size());
    nodes_.push_back({.parent = draft, .of = of, .next_sibling = nodes_[draft].first_child});
    nodes_[draft].first_child = nodes_[draft].last_child = child;
    if (out_.samples_[of].empty()) append_utf8(out_.samples_[of], code_point);
    return child;
  }

  void add_exit(std::uint32_t draft, std::uint32_t rank, std::uint32_t whole) {
    exits_.push_back({draft, rank, whole});
    ++nodes_[draft].num_exits;
  }

  // In preorder.
  void number_nodes() {
    std::vector<std::uint32_t> number(nodes_.size());
    std::vector<std::uint32_t> ends;  // of the nodes on the way down, as drafts
    std::vector<Node>& nodes = out_.nodes_;
    nodes.reserve(nodes_.size() + 1);
    std::uint32_t at = 0;
    std::uint32_t ids = 0;
    std::uint32_t exits = 0;
    while (at != kNone) {
      const Draft& draft = nodes_[at];
      number[at] = static_cast<std::uint32_t>(nodes.size());
      nodes.push_back({number[draft.parent], 0, ids, exits, draft.of});
      ids += draft.num_ids;
      exits += draft.num_exits;
      ends.push_back(at);
      at = draft.first_child;
      while (at == kNone && !ends.empty()) {
        nodes[number[ends.back()]].end = static_cast<std::uint32_t>(nodes.size());
        at = nodes_[ends.back()].next_sibling;
        ends.pop_back();
      }
    }
    nodes.push_back({0, 0, ids, exits, 0});
    place_ids(number);
    place_exits(number);
  }

  void place_ids(std::span<const std::uint32_t> number) {
    out_.ids_.resize(ids_.size());
    std::vector<std::uint32_t> next(out_.nodes_.size());
    for (std::size_t i = 0; i < next.size(); ++i) next[i] = out_.nodes_[i].ids;
    for (const Placed& placed : ids_) {
      const TokenId id = vocabulary_.ids()[placed.rank];
      out_.ids_[next[number[placed.draft]]++] = id;
      out_.all_.set(id);
    }
  }

  void place_exits(std::span<const std::uint32_t> number) {
    struct Found {
      std::uint32_t node;
      Exit exit;
    };
    std::vector<Found> found;
    for (const Placed& placed : exits_) {
      const std::string_view rest = vocabulary_.bytes_at(placed.rank).substr(placed.whole);
      found.push_back({number[placed.draft], {rest, 0, vocabulary_.ids()[placed.rank]}});
    }
    std::ranges::stable_sort(found, [](const Found& a, const Found& b) {
      return a.node != b.node ? a.node < b.node : a.exit.rest < b.exit.rest;
    });
    for (std::size_t i = 0; i < found.size(); ++i) {
      if (i > 0 && found[i].node == found[i - 1].node) {
        const std::string_view before = found[i - 1].exit.rest;
        const std::string_view rest = found[i].exit.rest;
        const auto differs = std::ranges::mismatch(before, rest).in2;
        found[i].exit.alike = static_cast<std::uint32_t>(differs - rest.begin());
      }
      out_.exits_.push_back(found[i].exit);
    }
  }

  const Vocabulary& vocabulary_;
  TokenClasses& out_;
  std::vector<Draft> nodes_;
  std::vector<At> path_;  // [i]: after i bytes of the token
  Stop stop_;
  std::vector<Placed> ids_;
  std::vector<Placed> exits_;
};

TokenClasses::TokenClasses(const Vocabulary& vocabulary, const Partition& classes, bool quoted)
    : classes_(classes),
      quoted_(quoted),
      samples_(classes.num_classes()),
      all_(vocabulary.vocab_size()) {
  Builder(vocabulary, *this).run();
}

bool TokenClasses::is(const Partition& classes, bool quoted) const {
  return quoted == quoted_ && classes.ascii == classes_.ascii && classes.beyond == classes_.beyond;
}

std::size_t TokenClasses::bytes() const {
  return sizeof *this + nodes_.capacity() * sizeof(Node) + ids_.capacity() * sizeof(TokenId) +
         exits_.capacity() * sizeof(Exit) + samples_.size() * sizeof(std::string) +
         classes_.beyond.size() * sizeof(Partition::Span) + all_.words().size_bytes();
}

}  // namespace tessera::guided
