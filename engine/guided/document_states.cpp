#include "engine/guided/document_states.hpp"

#include <algorithm>

namespace tessera::guided {
DocumentStates::DocumentStates(Obligations& obligations)
    : obligations_(obligations),
      formulas_(obligations.formulas()),
      satisfier_(obligations),
      texts_(obligations.regexes()),
      keys_(obligations, texts_) {
  tuples_.intern({});
  sets_.intern({});
  states_.intern({});
  spaces_.emplace_back();
}

StateId DocumentStates::state(TupleId tuple, std::uint32_t room, std::uint32_t names,
                              std::uint32_t used, std::uint32_t seen) {
  return states_.intern(std::array<std::uint32_t, kNumWords>{tuple, room, names, used, seen});
}

StateId DocumentStates::object_state(TupleId tuple, StateId like, std::uint32_t used,
                                     std::uint32_t seen) {
  const auto from = words(like);
  return state(tuple, from[kRoom], from[kNames], used, seen);
}

// ---- values

TupleId DocumentStates::of_kind(TupleId value, Kind kind) {
  const std::uint64_t key = pair_key(value, static_cast<std::uint32_t>(kind));
  if (const auto known = of_kind_.find(key); known != of_kind_.end()) return known->second;
  std::vector<Literal> formulas;
  for (const Literal formula : tuple(value)) {
    formulas.push_back(obligations_.of_kind(formula, kind));
  }
  const TupleId id = tuples_.intern(formulas);
  of_kind_.emplace(key, id);
  return id;
}

bool DocumentStates::takes(TupleId value, Kind kind) {
  return tuple(of_kind(value, kind)).front() == kHolds;
}

Verdicts DocumentStates::literal_verdicts(TupleId value, Kind kind) {
  Verdicts verdicts;
  for (const Literal formula : tuple(of_kind(value, kind)).subspan(1)) {
    verdicts.push_back(formula == kHolds);
  }
  return verdicts;
}

TextDfa::State DocumentStates::string_start(TupleId value) {
  if (values_.size() <= value) values_.resize(value + 1);
  if (!values_[value].string_known) {
    const TextDfa::State state = text_start(value, Kind::kString);
    values_[value].string = state;
    values_[value].string_known = true;
  }
  return values_[value].string;
}

TextDfa::State DocumentStates::number_start(TupleId value) {
  if (values_.size() <= value) values_.resize(value + 1);
  if (!values_[value].number_known) {
    const TextDfa::State state = text_start(value, Kind::kNumber);
    values_[value].number = state;
    values_[value].number_known = true;
  }
  return values_[value].number;
}

TextDfa::State DocumentStates::text_start(TupleId value, Kind kind) {
  const auto formulas = tuple(of_kind(value, kind));
  if (formulas.front() == kFails) return TextDfa::kDead;
  std::vector<RegexId> must{obligations_.text(formulas.front(), kind)};
  std::vector<RegexId> also;
  RegexPool& regexes = obligations_.regexes();
  for (const Literal formula : formulas.subspan(1)) {
    also.push_back(obligations_.text(formula, kind));
    if (kind != Kind::kNumber || formula <= kFails) continue;
    // Only spellings of which the verdict is known.
    const RegexId fails = obligations_.text(negate(formula), kind);
    must.push_back(regexes.either(std::array{also.back(), fails}));
  }
  return texts_.start(regexes.both(must), also);
}

Verdicts DocumentStates::text_verdicts(TupleId value, TextDfa::State state) const {
  Verdicts verdicts(tuple(value).size() - 1);
  for (std::size_t i = 0; i < verdicts.size(); ++i) verdicts[i] = texts_.matches(state, i);
  return verdicts;
}

// ---- containers

std::uint32_t DocumentStates::space(TupleId value, TupleId object) {
  if (const auto known = space_ids_.find(value); known != space_ids_.end()) return known->second;
  spaces_.push_back(tuple(value).size() == 1
                        ? satisfier_.names(tuple(value).front())
                        : std::make_shared<NameSpace>(obligations_, tuple(value), tuple(object)));
  const auto id = static_cast<std::uint32_t>(spaces_.size() - 1);
  space_ids_.emplace(value, id);
  return id;
}

StateId DocumentStates::open_object(TupleId value, std::uint32_t room) {
  const std::uint64_t key = pair_key(value, room * 2);
  if (const auto known = opened_.find(key); known != opened_.end()) return known->second;
  const TupleId object = of_kind(value, Kind::kObject);
  StateId opened = 0;
  if (tuple(object).front() != kFails) {
    const std::uint32_t names = space(value, object);
    const std::vector<std::uint32_t> none(spaces_[names]->num_words());
    const StateId begun = state(object, room, names, sets_.intern(none));
    if (satisfier_.object(tuple(object).front(), object_place(begun))) opened = begun;
  }
  opened_.emplace(key, opened);
  return opened;
}

StateId DocumentStates::open_array(TupleId value, std::uint32_t room) {
  const std::uint64_t key = pair_key(value, room * 2 + 1);
  if (const auto known = opened_.find(key); known != opened_.end()) return known->second;
  const TupleId array = of_kind(value, Kind::kArray);
  const bool met = satisfier_.array(tuple(array).front(), room);
  const StateId opened = met ? state(array, room) : 0;
  opened_.emplace(key, opened);
  return opened;
}

bool DocumentStates::may_close(StateId state) const {
  return formulas_.at_end(tuple(words(state)[kTuple]).front());
}

Verdicts DocumentStates::closed_verdicts(StateId state) const {
  Verdicts verdicts;
  for (const Literal formula : tuple(words(state)[kTuple]).subspan(1)) {
    verdicts.push_back(formulas_.at_end(formula));
  }
  return verdicts;
}

ObjectPlace DocumentStates::object_place(StateId object) const {
  const auto of = words(object);
  return {spaces_[of[kNames]].get(), sets_[of[kUsed]], sets_[of[kSeen]], of[kRoom]};
}

// ---- names

KeyText::State DocumentStates::key_start(StateId object) {
  find_keys(object);
  return objects_[object].start;
}

KeyText::PlaceId DocumentStates::key_place(StateId object) {
  find_keys(object);
  return objects_[object].keys;
}

void DocumentStates::find_keys(StateId object) {
  if (objects_.size() <= object) objects_.resize(object + 1);
  if (objects_[object].keys_known) return;
  const NameSpace& names = this->names(object);
  KeyText::Place place;
  place.names = &names;
  place.allowed.resize(names.num_words());
  const auto seen = sets_[words(object)[kSeen]];
  place.seen.assign(seen.begin(), seen.end());
  const auto used = sets_[words(object)[kUsed]];
  const Plain plain = this->plain(tuple(words(object)[kTuple]).front());
  const std::uint32_t last_rank =
      plain.plain ? first_wanted_rank(object, plain) : ~std::uint32_t{0};
  std::optional<Satisfier::Witness> witness;
  Children* const children = plain.plain ? &this->children(object, plain.shapes) : nullptr;
  const auto comes = [&](KeyIndex key) {
    return plain.plain ? child_alive(object, plain.shapes, *children, key)
                       : may_come(object, key, witness);
  };
  for (std::uint32_t rank = 0; rank < names.num_names(); ++rank) {
    if (rank > last_rank && (rank < names.num_declared() || last_rank < names.num_declared()))
      break;
    const KeyIndex key = names.at_rank(rank);
    if (!has_bit(used, key) && comes(key)) set_bit(place.allowed, key);
  }
  if (last_rank >= names.num_declared()) {
    std::vector<RegexId> others;
    std::vector<RegexId> loose;
    for (KeyIndex key = names.num_names(); key < names.num_keys(); ++key) {
      if (!comes(key)) continue;
      others.push_back(names.classes()[key - names.num_names()].language);
      loose.push_back(names.loose_class(key - names.num_names()));
    }
    place.others = obligations_.regexes().either(others);
    place.loose = obligations_.regexes().either(loose);
  }
  const KeyText::PlaceId id = keys_.add_place(std::move(place));
  const KeyText::State start = keys_.start(id);
  objects_[object] = {true, id, start};
}

// Under kSchema, a declared name that must come stands in the way of those behind it.
std::uint32_t DocumentStates::first_wanted_rank(StateId object, const Plain& plain) const {
  std::uint32_t first = ~std::uint32_t{0};
  if (obligations_.options().property_order != PropertyOrder::kSchema) return first;
  const NameSpace& names = this->names(object);
  for (const NameId name : plain.wanted) {
    const std::uint32_t rank = names.rank(names.find(name));
    if (rank < names.num_declared()) first = std::min(first, rank);
  }
  return first;
}

DocumentStates::Plain DocumentStates::plain(Literal owed) {
  if (const auto known = plains_.find(owed); known != plains_.end()) return known->second;
  Plain found{.plain = true, .shapes = kHolds, .wanted = {}};
  std::vector<Literal> shapes;
  for (const Literal part : formulas_.conjuncts(owed)) {
    const Op op = formulas_.op(part);
    if (op == Op::kHas && !negated(part)) {
      found.wanted.push_back(formulas_.a(part));
    } else if ((op == Op::kShape || op == Op::kForAll || op == Op::kNames) && !negated(part)) {
      shapes.push_back(part);
    } else {
      found.plain = false;
    }
  }
  found.shapes = formulas_.all(shapes);
  return plains_.emplace(owed, std::move(found)).first->second;
}

DocumentStates::Children& DocumentStates::children(StateId object, Literal shapes) {
  const auto of = words(object);
  const std::uint32_t row =
      sets_.intern(std::array{shapes, of[kNames] + 1, of[kRoom], ~std::uint32_t{0}});
  Children& children = children_[row];
  if (children.known.empty()) {
    const std::uint32_t num_words = names(object).num_keys() / 32 + 1;
    children.known.resize(num_words);
    children.alive.resize(num_words);
    children_bytes_ += sizeof children + 2 * num_words * sizeof(std::uint32_t);
  }
  return children;
}

bool DocumentStates::child_alive(StateId object, Literal shapes, Children& children, KeyIndex key) {
  if (has_bit(children.known, key)) return has_bit(children.alive, key);
  const Literal stepped = obligations_.step_member(shapes, names(object).key(key));
  const Satisfier::Parts parts = satisfier_.split(stepped);
  const bool alive = parts.rest != kFails && satisfier_.place(parts.must, room(object));
  set_bit(children.known, key);
  if (alive) set_bit(children.alive, key);
  return alive;
}

// Asked of an object's names in the order they may come. One way to settle what is owed lets most
// of them come as well; only of the others it takes a search.
bool DocumentStates::may_come(StateId object, KeyIndex key,
                              std::optional<Satisfier::Witness>& witness) {
  const NameSpace& names = this->names(object);
  const auto place_of = [&](NameId name) { return order_of(names, names.find(name)); };
  const std::uint32_t place = order_of(names, key);
  const bool too_early = witness && std::ranges::any_of(witness->names, [&](NameId name) {
                           return place_of(name) < place;
                         });
  if (!witness || (witness->met && too_early)) {
    ObjectPlace where = object_place(object);
    const std::uint32_t used = mark_before(object, place);
    where.used = sets_[used];
    witness = satisfier_.witness(tuple(words(object)[kTuple]).front(), where);
  }
  if (!witness->met) return false;
  if (key < names.num_names() &&
      std::ranges::find(witness->names, names.name(key)) != witness->names.end()) {
    return true;
  }
  if (satisfier_.stays_met(*witness, names.key(key), room(object))) return true;
  ObjectPlace where = object_place(object);
  where.used = sets_[mark_before(object, place)];
  Satisfier::Witness with_it =
      satisfier_.witness_with(tuple(words(object)[kTuple]).front(), where, key);
  if (!with_it.met) return false;
  witness = std::move(with_it);
  return true;
}

// ---- members

// Where a name stands among those that come in a certain order; under kAny, none does.
std::uint32_t DocumentStates::order_of(const NameSpace& names, KeyIndex key) const {
  if (obligations_.options().property_order != PropertyOrder::kSchema) return 0;
  return key < names.num_names() ? std::min(names.rank(key), names.num_declared())
                                 : names.num_declared();
}

// The names that may not come any more where one at `place` in the order does.
std::uint32_t DocumentStates::mark_before(StateId object, std::uint32_t place) {
  const NameSpace& names = this->names(object);
  const auto used = sets_[words(object)[kUsed]];
  std::vector<std::uint32_t> now(used.begin(), used.end());
  for (std::uint32_t rank = 0; rank < place; ++rank) set_bit(now, names.at_rank(rank));
  return sets_.intern(now);
}

// The names that may not come after this one.
std::uint32_t DocumentStates::mark_used(StateId object, KeyIndex key) {
  const NameSpace& names = this->names(object);
  const std::uint32_t before = mark_before(object, order_of(names, key));
  if (key >= names.num_names()) return before;
  std::vector<std::uint32_t> now(sets_[before].begin(), sets_[before].end());
  set_bit(now, key);
  return sets_.intern(now);
}

bool DocumentStates::rest_of_object(StateId object, Literal rest, std::uint32_t used) {
  if (formulas_.at_end(rest)) return true;
  const auto of = words(object);
  const StateId question =
      state(tuples_.intern(std::array{rest}), of[kRoom], of[kNames], used, of[kSeen]);
  if (const auto known = rests_.find(question); known != rests_.end()) return known->second;
  const bool met = satisfier_.object(rest, object_place(question));
  rests_.emplace(question, met);
  return met;
}

Satisfier::NextValue DocumentStates::next_member(StateId object, KeyIndex key, std::uint32_t used) {
  const Literal owed = tuple(words(object)[kTuple]).front();
  const Literal stepped = obligations_.step_member(owed, names(object).key(key));
  return satisfier_.next_value(stepped, room(object), [&](Literal rest) {
    return rest_of_object(object, rest, used) ? kHolds : kFails;
  });
}

// Apart from all indices of known names and all names' ids.
constexpr std::uint32_t kClassMemo = 1U << 31U;

DocumentStates::Step DocumentStates::member(StateId object, KeyIndex key, NameId name) {
  const NameSpace& names = this->names(object);
  const bool known_name = key < names.num_names();
  const bool is_class = !known_name && name == kNoName;
  const std::uint64_t memo = pair_key(object, known_name ? key
                                              : is_class ? kClassMemo | key
                                                         : names.num_names() + name);
  if (const auto known = steps_.find(memo); known != steps_.end()) return known->second;
  if (!known_name && !is_class) key = names.class_of(name);
  Step step;
  if (key < names.num_keys()) {
    const std::uint32_t used = mark_used(object, key);
    std::uint32_t seen = words(object)[kSeen];
    if (!known_name && name != kNoName) {
      std::vector<std::uint32_t> now(sets_[seen].begin(), sets_[seen].end());
      now.insert(std::ranges::upper_bound(now, name), name);
      seen = sets_.intern(now);
    }
    std::vector<Literal> stepped;
    for (const Literal formula : tuple(words(object)[kTuple]).subspan(1)) {
      stepped.push_back(obligations_.step_member(formula, names.key(key)));
    }
    step = make_step(object, next_member(object, key, used), std::move(stepped), used, seen);
  }
  steps_.emplace(memo, step);
  return step;
}

DocumentStates::Step DocumentStates::make_step(StateId like, Satisfier::NextValue next,
                                               std::vector<Literal> stepped, std::uint32_t used,
                                               std::uint32_t seen) {
  if (next.must == kFails) return {};
  stepped.insert(stepped.begin(), next.after);
  const TupleId after = tuples_.intern(stepped);
  const auto& questions = this->questions(after).questions();
  std::vector<Literal> value{next.must};
  value.insert(value.end(), questions.begin(), questions.end());
  return {object_state(after, like, used, seen), tuples_.intern(value)};
}

// What a container's formulas wait for while one of its values is read.
const ListQuestions& DocumentStates::questions(TupleId meanwhile) {
  const auto known = questions_.find(meanwhile);
  if (known != questions_.end()) return *known->second;
  std::vector<Literal> asked;
  for (const Literal formula : tuple(meanwhile)) collect_asked(formula, asked);
  std::ranges::sort(asked);
  asked.erase(std::unique(asked.begin(), asked.end()), asked.end());
  auto made = std::make_unique<const ListQuestions>(formulas_, asked);
  return *questions_.emplace(meanwhile, std::move(made)).first->second;
}

void DocumentStates::collect_asked(Literal formula, std::vector<Literal>& places) const {
  std::vector<Literal> stack{formula};
  while (!stack.empty()) {
    const Literal literal = stack.back();
    stack.pop_back();
    if (literal <= kFails || !formulas_.asks_next(literal)) continue;
    if (formulas_.op(literal) == Op::kNext) {
      places.push_back(formulas_.a(literal));
    } else {
      const auto children = formulas_.children(literal);
      stack.insert(stack.end(), children.begin(), children.end());
    }
  }
}

StateId DocumentStates::after(StateId meanwhile, const Verdicts& verdicts) {
  const auto of = words(meanwhile);
  if (verdicts.empty()) return meanwhile;
  const ListQuestions& questions = this->questions(of[kTuple]);
  std::vector<Literal> now;
  for (const Literal formula : tuple(of[kTuple])) {
    now.push_back(formulas_.rewrite_next(formula, [&](Literal atom) {
      return questions.verdict(formulas_.a(atom), verdicts) ? kHolds : kFails;
    }));
  }
  return object_state(tuples_.intern(now), meanwhile, of[kUsed], of[kSeen]);
}

// ---- items

Satisfier::NextValue DocumentStates::next_item(StateId array) {
  const Literal owed = tuple(words(array)[kTuple]).front();
  return satisfier_.next_value(obligations_.step_item(owed), room(array),
                               [&](Literal rest) { return values_before(array, rest); });
}

// The values after which the rest can be met. Where items are compared, that may be all but some of
// those with which the rest was met in one way: any other value leaves that way open.
Literal DocumentStates::values_before(StateId array, Literal rest) {
  if (!formulas_.remembers(rest)) return satisfier_.array(rest, room(array)) ? kHolds : kFails;
  if (formulas_.at_end(rest)) return kHolds;
  if (!satisfier_.array(rest, room(array))) return kFails;
  std::vector<ValueId> in_the_way;
  for (const ItemPlan& item : satisfier_.items(rest, room(array))) {
    const ValueId value = satisfier_.value(item.value, room(array));
    const Literal after = obligations_.note_item(rest, value);
    if (!satisfier_.array(after, room(array))) in_the_way.push_back(value);
  }
  std::ranges::sort(in_the_way);
  in_the_way.erase(std::unique(in_the_way.begin(), in_the_way.end()), in_the_way.end());
  return negate(formulas_.values(in_the_way));
}

bool DocumentStates::remembers(StateId array) const {
  return std::ranges::any_of(tuple(words(array)[kTuple]),
                             [&](Literal formula) { return formulas_.remembers(formula); });
}

StateId DocumentStates::note_item(StateId array, ValueId item) {
  std::vector<Literal> now;
  for (const Literal formula : tuple(words(array)[kTuple])) {
    now.push_back(obligations_.note_item(formula, item));
  }
  return object_state(tuples_.intern(now), array, 0, 0);
}

DocumentStates::Step DocumentStates::item(StateId array) {
  const std::uint64_t memo = pair_key(array, 0);
  if (const auto known = steps_.find(memo); known != steps_.end()) return known->second;
  std::vector<Literal> stepped;
  for (const Literal formula : tuple(words(array)[kTuple]).subspan(1)) {
    stepped.push_back(obligations_.step_item(formula));
  }
  const Step step = make_step(array, next_item(array), std::move(stepped), 0, 0);
  steps_.emplace(memo, step);
  return step;
}

// ---- plans

std::vector<MemberPlan> DocumentStates::members(StateId object) {
  std::vector<MemberPlan> plan =
      satisfier_.members(tuple(words(object)[kTuple]).front(), object_place(object));
  const NameSpace& names = this->names(object);
  std::ranges::stable_sort(plan, {}, [&](const MemberPlan& member) {
    const KeyIndex key = names.find(member.name);
    return key < names.num_names() ? names.rank(key) : names.num_names();
  });
  return plan;
}

std::vector<ItemPlan> DocumentStates::items(StateId array) {
  return satisfier_.items(tuple(words(array)[kTuple]).front(), room(array));
}

std::string DocumentStates::members_text(StateId object) {
  return satisfier_.text_of(members(object), room(object));
}

std::string DocumentStates::items_text(StateId array) {
  return satisfier_.text_of(items(array), room(array));
}

std::size_t DocumentStates::bytes() const {
  constexpr std::size_t kMapEntry = 56;
  const std::size_t entries = of_kind_.size() + opened_.size() + steps_.size() + children_.size() +
                              rests_.size() + plains_.size();
  return obligations_.bytes() + satisfier_.bytes() + texts_.bytes() + keys_.bytes() +
         tuples_.bytes() + sets_.bytes() + states_.bytes() + entries * kMapEntry + children_bytes_ +
         values_.size() * sizeof(ValueFacts) + objects_.size() * sizeof(ObjectFacts);
}

}  // namespace tessera::guided
