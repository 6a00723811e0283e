#include "engine/guided/code_point_trie.hpp"

#include <algorithm>

#include "engine/guided/utf8_pending.hpp"
#include "engine/guided/vocabulary.hpp"

namespace tessera::guided {

// Goes over the sorted tokens once, reading of each what it does not have in common with the one
// before. Nodes come in preorder, and are put in order of their depth when all are there.
class CodePointTrie::Reader {
 public:
  Reader(const Vocabulary& vocabulary, bool quoted, CodePointTrie& out)
      : vocabulary_(vocabulary),
        quoted_(quoted),
        out_(out),
        path_(vocabulary.longest_token() + 1) {}

  void run() {
    const auto num_tokens = static_cast<std::uint32_t>(vocabulary_.ids().size());
    drafts_.emplace_back();
    for (std::uint32_t rank = 0; rank < num_tokens; ++rank) {
      const std::string_view token = vocabulary_.bytes_at(rank);
      const std::size_t alike = vocabulary_.alike(rank);
      if (alike <= stop_.at) stop_ = read(token, alike);
      if (stop_.kind != Stop::Kind::kDead) place(rank, token);
    }
    number_nodes();
    number_symbols();
    place_ids();
    place_exits();
  }

 private:
  struct Draft {
    std::uint32_t parent = 0;
    std::uint32_t depth = 0;
    std::uint32_t last_child = 0;
    char32_t code_point = 0;
  };
  struct At {
    std::uint32_t draft = 0;  // the code points up to there
    std::uint32_t whole = 0;  // their bytes
    Utf8Pending pending;      // the code point that is begun
  };
  struct Placed {
    std::uint32_t draft;
    std::uint32_t rank;
  };
  // Before which byte reading stopped: at the end, at what is no code point of the text, or never
  // to be alive.
  struct Stop {
    enum class Kind : std::uint8_t { kNone, kExit, kDead } kind = Kind::kNone;
    std::size_t at = 0;
  };

  // From where `depth` bytes are read.
  Stop read(std::string_view token, std::size_t depth) {
    for (; depth < token.size(); ++depth) {
      const auto byte = static_cast<std::uint8_t>(token[depth]);
      const At& at = path_[depth];
      if (quoted_ && at.pending.whole()) {
        if (byte < 0x20) return {Stop::Kind::kDead, depth};
        if (byte == '"' || byte == '\\') return {Stop::Kind::kExit, depth};
      }
      const Utf8Pending pending = at.pending.next(byte);
      if (pending.dead()) return {Stop::Kind::kDead, depth};
      path_[depth + 1] = pending.whole() ? At{child(at.draft, pending.code_point()),
                                              static_cast<std::uint32_t>(depth) + 1, Utf8Pending()}
                                         : At{at.draft, at.whole, pending};
    }
    return {Stop::Kind::kNone, token.size()};
  }

  // Tokens are sorted, and code points as their bytes are: it is the last child or none.
  std::uint32_t child(std::uint32_t parent, char32_t code_point) {
    const std::uint32_t last = drafts_[parent].last_child;
    if (last != 0 && drafts_[last].code_point == code_point) return last;
    const auto made = static_cast<std::uint32_t>(drafts_.size());
    drafts_.push_back({parent, drafts_[parent].depth + 1, 0, code_point});
    return drafts_[parent].last_child = made;
  }

  // Where the token ends, or its last whole code point does.
  void place(std::uint32_t rank, std::string_view token) {
    const At& at = path_[std::min(stop_.at, token.size())];
    if (stop_.kind == Stop::Kind::kNone && at.pending.whole()) {
      ended_.push_back({at.draft, rank});
    } else {
      out_.exits_.push_back({token.substr(at.whole), at.draft, vocabulary_.ids()[rank]});
    }
  }

  void number_nodes() {
    std::vector<std::uint32_t> next;  // [d]: the number of the next node of that depth
    for (const Draft& draft : drafts_) {
      if (next.size() < draft.depth + 2) next.resize(draft.depth + 2);
      ++next[draft.depth + 1];
    }
    for (std::size_t depth = 1; depth < next.size(); ++depth) next[depth] += next[depth - 1];
    numbers_.reserve(drafts_.size());
    out_.nodes_.resize(drafts_.size());
    for (const Draft& draft : drafts_) {
      numbers_.push_back(next[draft.depth]++);
      out_.nodes_[numbers_.back()].parent = numbers_[draft.parent];
    }
  }

  void number_symbols() {
    char32_t greatest = 0;
    for (const Draft& draft : drafts_) greatest = std::max(greatest, draft.code_point);
    std::vector<std::uint32_t> number(greatest + 1);
    for (std::size_t i = 1; i < drafts_.size(); ++i) number[drafts_[i].code_point] = 1;
    for (char32_t c = 0; c <= greatest; ++c) {
      if (number[c] == 0) continue;
      number[c] = static_cast<std::uint32_t>(out_.symbols_.size());
      out_.symbols_.push_back(c);
    }
    for (std::size_t i = 1; i < drafts_.size(); ++i) {
      out_.nodes_[numbers_[i]].symbol = number[drafts_[i].code_point];
    }
  }

  void place_ids() {
    for (Placed& placed : ended_) placed.draft = numbers_[placed.draft];
    std::ranges::stable_sort(ended_, {}, &Placed::draft);
    for (const Placed& placed : ended_) {
      const TokenId id = vocabulary_.ids()[placed.rank];
      out_.ids_.push_back(id);
      out_.nodes_of_ids_.push_back(placed.draft);
      out_.all_.set(id);
    }
  }

  void place_exits() {
    for (Exit& exit : out_.exits_) exit.node = numbers_[exit.node];
    std::ranges::stable_sort(out_.exits_, {}, &Exit::rest);
  }

  const Vocabulary& vocabulary_;
  bool quoted_;
  CodePointTrie& out_;
  std::vector<At> path_;  // [i]: after i bytes of the token
  Stop stop_;
  std::vector<Draft> drafts_;           // in preorder
  std::vector<std::uint32_t> numbers_;  // of nodes, by draft
  std::vector<Placed> ended_;
};

CodePointTrie::CodePointTrie(const Vocabulary& vocabulary, bool quoted)
    : all_(vocabulary.vocab_size()) {
  Reader(vocabulary, quoted, *this).run();
}

}  // namespace tessera::guided
