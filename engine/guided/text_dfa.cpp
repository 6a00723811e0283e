#include "engine/guided/text_dfa.hpp"

#include <algorithm>
#include <deque>
#include <map>
#include <optional>
#include <vector>

#include "engine/guided/regex_terms.hpp"
#include "engine/guided/text_loop.hpp"

namespace tessera::guided {

// Rows are made when a state is first stepped from: one entry for each class of code points that
// the state's terms tell apart, so a literal's state has two and a free string's one.
struct TextDfa::Impl {
  static constexpr std::uint32_t kNone = ~std::uint32_t{0};

  struct Entry {
    PartitionTable::Index partition = 0;
    std::uint32_t terms = 0;  // in `terms`: must, then also
    std::uint32_t num_terms = 0;
    std::uint32_t facts = kNone;          // in `facts`, once asked for
    PartitionTable::Index takes = kNone;  // a region that it is known to take
  };
  struct Facts {
    std::optional<TextLoop> loop;
    std::optional<char32_t> forced;
    std::uint32_t horizon = 0;
    State seen = kUnknown;  // up to that horizon
    std::optional<std::string> shortest_rest;
    std::optional<std::uint32_t> region;
  };

  Impl(RegexPool& regexes, std::vector<Row>& its_rows, std::vector<State>& its_next)
      : pool(regexes), terms_of(regexes.impl()), rows(its_rows), next(its_next) {
    states.emplace_back();  // kDead
    rows.emplace_back();
    loop_sets.emplace_back();
  }

  State intern(std::span<const RegexId> tuple);
  State follow(State state, std::uint32_t code_point_class);
  // With a partition and a row; made when it is first stepped from.
  const Row& row_of(State state) {
    if (!rows[state].classes) make_row(state);
    return rows[state];
  }
  void make_row(State state);
  Facts& facts_of(State state);
  // Some of the classes of a state's partition.
  struct Classes {
    std::vector<bool> has;
    std::uint64_t size = 0;  // code points
  };
  State to(State state, std::uint32_t code_point_class);
  const ClassMembers& members_of(State state) const {
    return terms_of.partitions.members(states[state].partition);
  }
  template <class Holds>
  Classes classes_where(State state, const Holds& holds);
  Classes live_classes(State state);
  Classes same_classes(State state, const Classes& within);
  bool is_closed(State state, const Classes& live);
  std::uint32_t loop_set_of(State state, const Classes& classes);
  std::uint32_t intern_loop_set(const CodePointSet& set);
  TextLoop find_loop(State state);
  char32_t find_forced(State state);
  bool takes(State state, PartitionTable::Index region);
  std::uint32_t find_region(State state);
  std::uint32_t common_region(PartitionTable::Index own);

  RegexPool& pool;
  RegexPool::Impl& terms_of;
  std::vector<Entry> states;
  std::vector<Row>& rows;  // the automaton's, as is `next`
  std::vector<State>& next;
  std::vector<RegexId> terms;
  std::vector<Facts> facts;
  std::deque<CodePointSet> loop_sets;  // [0] stands for none
  HashIndex index;
  std::map<std::pair<PartitionTable::Index, std::vector<bool>>, std::uint32_t> known_loop_sets;
  std::size_t loop_set_bytes = 0;
  std::vector<PartitionTable::Index> regions;  // in use
};

TextDfa::State TextDfa::Impl::intern(std::span<const RegexId> tuple) {
  std::uint64_t hash = 11;
  for (const RegexId term : tuple) hash = mix(hash, term);
  const State found = index.find(hash, [&](State state) {
    const Entry& entry = states[state];
    return entry.num_terms == tuple.size() &&
           std::equal(tuple.begin(), tuple.end(), terms.begin() + entry.terms);
  });
  if (found != HashIndex::kNone) return found;
  Entry entry;
  entry.terms = static_cast<std::uint32_t>(terms.size());
  entry.num_terms = static_cast<std::uint32_t>(tuple.size());
  terms.insert(terms.end(), tuple.begin(), tuple.end());
  if ((states.size() & 0xFFU) == 0 &&
      terms_of.bytes() + next.capacity() * sizeof(State) > terms_of.limits.max_constraint_bytes) {
    throw FuelExhausted{};
  }
  states.push_back(entry);
  rows.emplace_back();
  const auto state = static_cast<State>(states.size() - 1);
  index.insert(hash, state);
  return state;
}

void TextDfa::Impl::make_row(State state) {
  Entry& entry = states[state];
  PartitionTable::Index partition = PartitionTable::kWhole;
  for (std::uint32_t i = 0; i < entry.num_terms; ++i) {
    partition = terms_of.partitions.product(partition, terms_of.partition(terms[entry.terms + i]));
  }
  entry.partition = partition;
  rows[state] = {&terms_of.partitions[partition], static_cast<std::uint32_t>(next.size())};
  next.resize(next.size() + terms_of.partitions[partition].num_classes(), kUnknown);
}

TextDfa::State TextDfa::Impl::follow(State state, std::uint32_t code_point_class) {
  const Entry entry = states[state];
  const char32_t by = terms_of.partitions[entry.partition].representative[code_point_class];
  std::vector<RegexId> tuple(entry.num_terms);
  tuple[0] = terms_of.derivative(terms[entry.terms], by);
  State to = kDead;
  if (terms_of.alive(tuple[0])) {
    for (std::uint32_t i = 1; i < entry.num_terms; ++i) {
      tuple[i] = terms_of.derivative(terms[entry.terms + i], by);
    }
    to = intern(tuple);
  }
  next[rows[state].first + code_point_class] = to;
  return to;
}

TextDfa::Impl::Facts& TextDfa::Impl::facts_of(State state) {
  if (states[state].facts == kNone) {
    states[state].facts = static_cast<std::uint32_t>(facts.size());
    facts.emplace_back();
  }
  return facts[states[state].facts];
}

std::uint32_t TextDfa::Impl::intern_loop_set(const CodePointSet& set) {
  const auto found = std::find(loop_sets.begin() + 1, loop_sets.end(), set);
  if (found != loop_sets.end()) return static_cast<std::uint32_t>(found - loop_sets.begin());
  loop_sets.push_back(set);
  loop_set_bytes += sizeof(CodePointSet) + set.ranges().size_bytes();
  return static_cast<std::uint32_t>(loop_sets.size() - 1);
}

TextDfa::TextDfa(RegexPool& pool) : impl_(std::make_unique<Impl>(pool, rows_, next_)) {}

TextDfa::~TextDfa() = default;

TextDfa::State TextDfa::start(RegexId must, std::span<const RegexId> also) {
  if (!impl_->pool.alive(must)) return kDead;
  std::vector<RegexId> tuple{must};
  tuple.insert(tuple.end(), also.begin(), also.end());
  return impl_->intern(tuple);
}

TextDfa::State TextDfa::step_anew(State state, char32_t code_point) {
  if (state == kDead || code_point >= kCodePointEnd || is_surrogate(code_point)) return kDead;
  return impl_->to(state, impl_->row_of(state).classes->class_of(code_point));
}

const Partition& TextDfa::make_classes(State state) {
  return *impl_->row_of(state).classes;
}

TextDfa::State TextDfa::step_class_anew(State state, std::uint32_t code_point_class) {
  return impl_->to(state, code_point_class);
}

bool TextDfa::any_step(State state, char32_t begin, char32_t end) {
  if (state == kDead) return false;
  Impl& dfa = *impl_;
  // One member of each class that meets the range is enough.
  const Partition& partition = *dfa.row_of(state).classes;
  for (char32_t c = begin; c < std::min(end, Partition::kAsciiEnd); ++c) {
    const bool same = c > begin && partition.ascii[c] == partition.ascii[c - 1];
    if (!same && step(state, c) != kDead) return true;
  }
  const auto& beyond = partition.beyond;
  auto span = std::upper_bound(beyond.begin(), beyond.end(), begin,
                               [](char32_t c, const auto& each) { return c < each.begin; });
  if (span != beyond.begin()) --span;
  for (; span != beyond.end() && span->begin < end; ++span) {
    const char32_t span_end = span + 1 == beyond.end() ? kCodePointEnd : (span + 1)->begin;
    char32_t low = std::max(begin, span->begin);
    if (is_surrogate(low)) low = kSurrogateEnd;
    if (low < std::min(end, span_end) && step(state, low) != kDead) return true;
  }
  return false;
}

bool TextDfa::accepts(State state) const {
  if (state == kDead) return false;
  return impl_->terms_of[impl_->terms[impl_->states[state].terms]].nullable;
}

bool TextDfa::matches(State state, std::size_t i) const {
  if (state == kDead) return false;
  return impl_->terms_of[impl_->terms[impl_->states[state].terms + 1 + i]].nullable;
}

TextLoop TextDfa::loop(State state) {
  if (state == kDead) return {};
  if (const auto& known = impl_->facts_of(state).loop) return *known;
  const TextLoop loop = impl_->find_loop(state);
  impl_->facts_of(state).loop = loop;
  return loop;
}

const CodePointSet& TextDfa::loop_set(std::uint32_t set) const {
  return impl_->loop_sets[set];
}

// The state that a class of code points leads to.
TextDfa::State TextDfa::Impl::to(State state, std::uint32_t code_point_class) {
  const State known = next[row_of(state).first + code_point_class];
  return known != kUnknown ? known : follow(state, code_point_class);
}

template <class Holds>
TextDfa::Impl::Classes TextDfa::Impl::classes_where(State state, const Holds& holds) {
  row_of(state);
  const std::vector<std::uint32_t>& sizes = members_of(state).sizes;
  Classes classes{std::vector<bool>(sizes.size()), 0};
  for (std::uint32_t i = 0; i < sizes.size(); ++i) {
    if (sizes[i] == 0 || !holds(i)) continue;
    classes.has[i] = true;
    classes.size += sizes[i];
  }
  return classes;
}

TextDfa::Impl::Classes TextDfa::Impl::live_classes(State state) {
  return classes_where(state, [&](std::uint32_t i) { return to(state, i) != kDead; });
}

// Of `within`, what leads to one state: the one that most code points lead to.
TextDfa::Impl::Classes TextDfa::Impl::same_classes(State state, const Classes& within) {
  Classes most;
  std::vector<State> tried;
  for (std::uint32_t i = 0; i < within.has.size(); ++i) {
    const State target = within.has[i] ? to(state, i) : kDead;
    if (target == kDead || std::find(tried.begin(), tried.end(), target) != tried.end()) continue;
    tried.push_back(target);
    Classes same = classes_where(
        state, [&](std::uint32_t j) { return within.has[j] && to(state, j) == target; });
    if (same.size > most.size) most = std::move(same);
    constexpr std::size_t kMostTried = 16;
    if (tried.size() == kMostTried) break;
  }
  return most;
}

std::uint32_t TextDfa::Impl::loop_set_of(State state, const Classes& classes) {
  const PartitionTable::Index partition = states[state].partition;
  const auto [at, added] = known_loop_sets.try_emplace({partition, classes.has}, 0);
  if (!added) return at->second;
  CodePointSet set;
  for (std::uint32_t i = 0; i < classes.has.size(); ++i) {
    if (classes.has[i]) set.add(members_of(state).sets[i]);
  }
  return at->second = intern_loop_set(set);
}

// Whether wherever `live` leads to goes on with just the same code points, in a few states.
bool TextDfa::Impl::is_closed(State state, const Classes& live) {
  constexpr std::size_t kMostStates = 6;
  const std::uint32_t set = loop_set_of(state, live);
  std::vector<State> round{state};
  for (std::size_t i = 0; i < round.size(); ++i) {
    const Classes classes = i == 0 ? live : live_classes(round[i]);
    if (classes.size != live.size || loop_set_of(round[i], classes) != set) return false;
    for (std::uint32_t c = 0; c < classes.has.size(); ++c) {
      if (!classes.has[c]) continue;
      const State target = to(round[i], c);
      if (std::find(round.begin(), round.end(), target) == round.end()) round.push_back(target);
      if (round.size() > kMostStates) return false;
    }
  }
  return true;
}

// Read off the term where that says all there is; else from the states around, or the state's own
// circle.
TextLoop TextDfa::Impl::find_loop(State state) {
  constexpr std::uint64_t kFewest = 8;  // code points; fewer prune a walk well by themselves
  const Classes live = live_classes(state);
  if (live.size < kFewest) return {};
  Classes set;
  std::uint32_t remaining = 0;
  if (const auto counted = text_loop(terms_of, terms[states[state].terms])) {
    const std::vector<char32_t>& members =
        terms_of.partitions[states[state].partition].representative;
    const CodePointSet& of = terms_of.sets[counted->set];
    set = classes_where(state, [&](std::uint32_t i) { return of.contains(members[i]); });
    remaining = counted->remaining;
  }
  if (remaining == 0 || set.size != live.size) {
    if (is_closed(state, live)) {
      set = live;
      remaining = RegexPool::kUnbounded;
    } else {
      Classes own = classes_where(state, [&](std::uint32_t i) { return to(state, i) == state; });
      if (own.size > 0 && (remaining == 0 || own.size > set.size)) {
        set = std::move(own);
        remaining = RegexPool::kUnbounded;
      }
    }
  }
  if (remaining == 0) return {};
  TextLoop loop{loop_set_of(state, set), remaining};
  const Classes same = same_classes(state, set);
  if (same.size > 0) loop.same = loop_set_of(state, same);
  return loop;
}

// ---- regions

namespace {

constexpr std::uint32_t kMostClasses = 24;  // with more, tokens have too little in common

}  // namespace

bool TextDfa::Impl::takes(State state, PartitionTable::Index region) {
  if (states[state].takes == region) return true;
  row_of(state);
  if (terms_of.partitions.product(region, states[state].partition) != region) return false;
  states[state].takes = region;
  return true;
}

// What states are told apart by that texts of common characters lead to. Where a rare one leads
// (the
// @ of an address) is not looked at: few tokens go there.
std::uint32_t TextDfa::Impl::find_region(State state) {
  constexpr std::string_view kCommon = "aetzAMZ059 .-_/";
  constexpr std::size_t kMostStates = 48;
  std::vector<State> round{state};
  PartitionTable::Index region = PartitionTable::kWhole;
  for (std::size_t i = 0; i < round.size(); ++i) {
    row_of(round[i]);
    region = terms_of.partitions.product(region, states[round[i]].partition);
    if (terms_of.partitions[region].num_classes() > kMostClasses) return kNoRegion;
    for (const char c : kCommon) {
      const auto of = rows[round[i]].classes->class_of(static_cast<unsigned char>(c));
      const State target = to(round[i], of);
      if (target == kDead || round.size() >= kMostStates) continue;
      if (std::find(round.begin(), round.end(), target) == round.end()) round.push_back(target);
    }
  }
  region = common_region(region);
  for (const State each : round) {
    Facts& known = facts_of(each);
    if (!known.region) known.region = region;
  }
  return region;
}

// One that is in use already and as fine, if there is one.
std::uint32_t TextDfa::Impl::common_region(PartitionTable::Index own) {
  for (const PartitionTable::Index region : regions) {
    if (terms_of.partitions.product(region, own) == region) return region;
  }
  regions.push_back(own);
  return own;
}

std::uint32_t TextDfa::region(State state) {
  if (state == kDead) return kNoRegion;
  if (const auto known = impl_->facts_of(state).region) return *known;
  const std::uint32_t region = impl_->find_region(state);
  impl_->facts_of(state).region = region;
  return region;
}

const Partition& TextDfa::region_classes(std::uint32_t region) const {
  return impl_->terms_of.partitions[region];
}

bool TextDfa::takes(State state, std::uint32_t region) {
  return impl_->takes(state, region);
}

std::uint32_t TextDfa::refine_region(State state, State at) {
  Impl& dfa = *impl_;
  const std::uint32_t region = this->region(state);
  if (region == kNoRegion || dfa.takes(at, region)) return region;
  const auto finer = dfa.terms_of.partitions.product(region, dfa.states[at].partition);
  const bool fine = dfa.terms_of.partitions[finer].num_classes() <= kMostClasses;
  return *(dfa.facts_of(state).region = fine ? dfa.common_region(finer) : kNoRegion);
}

TextDfa::State TextDfa::mask_state(State state) {
  const std::uint32_t horizon = impl_->pool.horizon();
  return horizon == 0 ? state : seen_up_to(state, horizon);
}

TextDfa::State TextDfa::seen_up_to(State state, std::uint32_t horizon) {
  if (state == kDead) return kDead;
  Impl& dfa = *impl_;
  if (const auto& facts = dfa.facts_of(state); facts.seen != kUnknown) {
    if (facts.horizon == horizon) return facts.seen;
  }
  const auto entry = dfa.states[state];
  std::vector<RegexId> tuple(dfa.terms.begin() + entry.terms,
                             dfa.terms.begin() + entry.terms + entry.num_terms);
  for (RegexId& term : tuple) term = guided::seen_up_to(dfa.terms_of, term, horizon);
  const State seen = dfa.intern(tuple);
  dfa.facts_of(state).horizon = horizon;
  dfa.facts_of(state).seen = seen;
  return seen;
}

char32_t TextDfa::forced(State state) {
  if (state == kDead || accepts(state)) return 0;
  if (const auto& known = impl_->facts_of(state).forced) return *known;
  const char32_t forced = impl_->find_forced(state);
  impl_->facts_of(state).forced = forced;
  return forced;
}

char32_t TextDfa::Impl::find_forced(State state) {
  const Classes live = live_classes(state);
  if (live.size != 1) return 0;
  const auto only = std::find(live.has.begin(), live.has.end(), true) - live.has.begin();
  return members_of(state).sets[static_cast<std::size_t>(only)].ranges().front().begin;
}

std::string TextDfa::shortest_rest(State state) {
  if (state == kDead) return {};
  if (const auto& known = impl_->facts_of(state).shortest_rest) return *known;
  std::string rest =
      impl_->terms_of.shortest(impl_->terms[impl_->states[state].terms]).value_or(std::string());
  impl_->facts_of(state).shortest_rest = rest;
  return rest;
}

RegexPool& TextDfa::pool() {
  return impl_->pool;
}

std::size_t TextDfa::bytes() const {
  const Impl& dfa = *impl_;
  return dfa.states.capacity() * sizeof(Impl::Entry) + rows_.capacity() * sizeof(Row) +
         next_.capacity() * sizeof(State) + dfa.terms.capacity() * sizeof(RegexId) +
         dfa.facts.capacity() * sizeof(Impl::Facts) + dfa.index.bytes() + dfa.loop_set_bytes +
         dfa.regions.size() * sizeof(PartitionTable::Index);
}

}  // namespace tessera::guided
