// brute_force.hpp — is a text the beginning of a document that a schema allows? By trying.
//
// The oracle that masks are held against, written for that and for nothing else: it knows no
// automaton and no formula. It reads what there is of the document and completes it from inside out
// with every candidate it has: strings by appending up to a few characters, numbers up to a few
// digits, arrays and objects up to three more items or members, whose values come from a pool of
// small documents. Whether a completed document counts is for PlainValidator to say.
//
// Two values are interchangeable as an item (or as a member's value) if the same of the schemas
// that stand at an item's place hold for both; of each such class a few are kept. So a text said to
// be live has a witness that was validated. One said not to be is only as sure as there were
// candidates enough, which the schemas of brute_force_schemas.hpp see to: their bounds are small.
//
// Texts are compact, integers by value, strings with any escapes; a number has no exponent.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "tests/engine/guided/partial_document.hpp"
#include "tests/engine/guided/plain_validator.hpp"

namespace tessera::guided {

// Not thread-safe.
class BruteForce {
 public:
  // Thrown by all that follows where a schema is too much for trying: nothing is said of it.
  struct TooMuchToTry {};

  // `ordered`: declared names come in the order written, before the others. `most_tries`: a value
  // against a schema.
  BruteForce(Value schema, bool ordered, std::uint64_t most_tries = ~std::uint64_t{0});

  // With `ordered` there must be one order: no value is described by two `properties` that differ,
  // nor by one that what comes before it may rule out.
  bool one_order() const;

  bool live(std::string_view text);
  bool whole(std::string_view text);  // is itself an allowed document
  const std::vector<Value>& documents() const { return documents_; }  // some that are
  const PlainValidator& validator() const { return validator_; }

 private:
  // Where a value stands, and so what it is judged by.
  enum Role { kRoot, kItem, kMember, kName, kNumRoles };
  using Profile = std::uint64_t;                          // bit i: schemas_[role][i] holds
  using Choices = std::map<Profile, std::vector<Value>>;  // of each profile a few, all different
  using Schemas = std::vector<const Value*>;

  struct Need {
    int items = 0;    // that an array may have to be given
    int members = 0;  // an object
  };
  Need need(const Value& schema, int depth) const;
  void collect(const Value& schema);
  void collect_part(const std::string& keyword, const Value& argument);
  void collect_constant(const Value& constant);
  void collect_number(const Value& number, bool divisor);
  std::size_t put(Role role, const Value& schema);
  void put_member(const Value& schema, const char* how, const std::string& name = {});
  const Value& own(const char* keyword, const Value& argument);
  void mention(const std::string& name);
  void make_alphabet(const std::string& schema);
  void make_pool();
  void add_containers();
  void put_into_pool(const Value& value);
  std::vector<Value> representatives(Role role) const;
  std::vector<Value> members_for(const std::string& name, const Choices& choices) const;
  const std::vector<Value>& new_members_for(const std::string& name);
  Profile reach(const std::string& name) const;
  std::vector<std::string> candidate_names(std::size_t fresh) const;

  Profile profile(Role role, const Value& value) const;
  void add(Choices& choices, Role role, const Value& value) const;
  bool settled(const Choices& choices, Role role) const;

  const Choices& endings(const Partial& partial, Role role, const Schemas& places);
  std::string state_key(const Partial& partial, Role role, const Schemas& places);
  Choices find_endings(const Partial& partial, Role role, const Schemas& places);
  void end_string(const CodePoints& begun, Choices& choices, Role role) const;
  void end_number(const std::string& begun, Choices& choices, Role role) const;
  void end_array(const Partial& partial, Choices& choices, Role role, const Schemas& places);
  void more_items(Value& array, int more, Choices& choices, Role role) const;
  void end_object(const Partial& partial, Choices& choices, Role role, const Schemas& places);
  void more_members(Value& object, int more, std::size_t from,
                    const std::vector<std::string>& order, Choices& choices, Role role);
  CodePoints interchangeable(const CodePoints& text) const;
  std::vector<CodePoints> begun_strings(const PartialString& string) const;

  bool in_order(const Partial& partial, const Schemas& places) const;
  bool in_order(const Value& value, const Schemas& places) const;
  bool names_in_order(const std::vector<std::string>& names, const Schemas& places) const;
  std::vector<std::vector<std::string>> declarations(const Schemas& places) const;
  std::vector<std::string> declared(const Schemas& places) const;
  bool may_follow(const Value& object, const std::string& name,
                  const std::vector<std::string>& order) const;
  bool may_stop_declaring(const Value& schema) const;
  bool declares_below(const Schemas& places, int depth) const;
  void add_in_place(const Value& schema, Schemas& places) const;
  Schemas root_places() const;
  Schemas places_of(const Schemas& places, const std::string& name) const;
  Schemas places_of(const Schemas& places, std::size_t index) const;

  PlainValidator validator_;
  bool ordered_;
  mutable std::uint64_t tries_left_;
  bool unique_ = false;   // uniqueItems somewhere: values of a profile are not interchangeable
  int most_items_ = 1;    // that may have to be added to an array
  int most_members_ = 1;  // to an object
  std::array<Schemas, kNumRoles> schemas_;
  // Of each of schemas_[kMember]: the names whose values it is for.
  struct Reach {
    bool all = false;
    std::set<std::string> names;
    std::set<std::string> patterns;
  };
  std::vector<Reach> reach_;
  std::deque<Value> owned_;         // schemas of our own among them
  std::vector<std::string> names_;  // mentioned in the schema
  std::vector<Value> constants_;    // with all their parts
  std::set<std::string> numbers_;   // texts worth trying
  CodePoints special_;              // characters that the schema tells apart from their like
  std::vector<CodePoints> tails_;   // what is appended to a string
  std::array<Choices, kNumRoles> pool_;
  std::map<std::string, std::vector<Value>> new_members_;
  std::vector<Value> documents_;
  std::unordered_map<std::string, Choices> endings_;
};

}  // namespace tessera::guided
